//! The table's row: everything that is known of a command beside what it does.

use super::{Ctx, Done};
use crate::resp::Args;

/// What a command does.
pub type Handler = fn(&mut Ctx<'_>, Args<'_>) -> Done;

/// One command, or one subcommand of a container.
///
/// A `const fn` builder: a family's file opens with its rows. From them come arity errors, COMMAND
/// and its subcommands, GETKEYS, ACL categories, the check on replicas, commandstats, the
/// documentation and the tests over the whole table.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// The name in capitals; a subcommand's without its container's.
    pub name: &'static str,
    /// Arguments with the name (and the container's): exactly so many, or at least -n.
    pub arity: i32,
    /// What it does.
    pub handler: Handler,
    /// What the engine has to know.
    pub flags: Flags,
    /// Where its keys are.
    pub keys: &'static [KeySpec],
    /// Which of its arguments are channels.
    pub channels: Channels,
    /// ACL categories beside those that follow from the flags.
    pub categories: Categories,
    /// Arguments as the documentation writes them: `key field value [field value ...]`.
    pub syntax: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// The Redis version that brought it.
    pub since: &'static str,
    /// The group of the documentation, where its categories do not tell.
    pub group: Option<&'static str>,
    /// Since when it should not be used any more, and what should be instead.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// It is not for clients.
    pub internal: bool,
    /// Its cost.
    pub complexity: &'static str,
    /// Hints for clients and proxies (COMMAND's tips).
    pub tips: &'static [&'static str],
    /// A container's subcommands.
    pub subcommands: &'static [Spec],
}

/// Which of a command's arguments are channels that its user must be allowed to use. Leaving one
/// is allowed to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// None.
    None,
    /// The first.
    First,
    /// All.
    All,
    /// All, and they are patterns.
    Patterns,
}

/// A set of bits with names.
macro_rules! bits {
    ($(#[$doc:meta])* $set:ident: $inner:ty { $($(#[$bit_doc:meta])* $name:ident = $bit:expr, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $set(pub $inner);

        impl $set {
            $($(#[$bit_doc])* pub const $name: $set = $set(1 << $bit);)*
            /// All of them with their names as COMMAND prints them, in its order.
            pub const NAMES: &'static [($set, &'static str)] = &[$(($set::$name, $text)),*];

            /// Whether all of `other` are in this set.
            pub const fn has(self, other: $set) -> bool {
                self.0 & other.0 == other.0
            }

            /// This set and `other`.
            pub const fn with(self, other: $set) -> $set {
                $set(self.0 | other.0)
            }

            /// This set without `other`.
            pub const fn without(self, other: $set) -> $set {
                $set(self.0 & !other.0)
            }

            /// The names of those in this set.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                $set::NAMES.iter().filter(move |(bit, _)| self.has(*bit)).map(|(_, name)| *name)
            }
        }
    };
}

bits! {
    /// What the engine has to know of a command (COMMAND's flags).
    Flags: u32 {
        /// Changes data.
        WRITE = 0, "write";
        /// Reads data.
        READONLY = 1, "readonly";
        /// Refused while memory is over its limit.
        DENY_OOM = 2, "denyoom";
        /// Of interest to an administrator.
        ADMIN = 4, "admin";
        /// Publish/subscribe.
        PUBSUB = 5, "pubsub";
        /// Not for scripts.
        NO_SCRIPT = 6, "noscript";
        /// May wait.
        BLOCKING = 8, "blocking";
        /// Allowed while data is loaded.
        LOADING = 9, "loading";
        /// Allowed on a replica that has lost its primary.
        STALE = 10, "stale";
        /// Not shown by MONITOR.
        SKIP_MONITOR = 11, "skip_monitor";
        /// Not kept by SLOWLOG.
        SKIP_SLOWLOG = 12, "skip_slowlog";
        /// Takes constant or logarithmic time.
        FAST = 14, "fast";
        /// Allowed before AUTH.
        NO_AUTH = 15, "no_auth";
        /// Writes effects although it is no write command (EVAL_RO, PUBLISH).
        MAY_REPLICATE = 16, "may_replicate";
        /// May be called without keys although it can take some.
        NO_MANDATORY_KEYS = 25, "no_mandatory_keys";
        /// Not allowed while new data is loaded beside the old.
        NO_ASYNC_LOADING = 23, "no_async_loading";
        /// Not allowed between MULTI and EXEC.
        NO_MULTI = 24, "no_multi";
        /// Its keys depend on its arguments.
        MOVABLE_KEYS = 19, "movablekeys";
        /// Allowed while a script runs too long.
        ALLOW_BUSY = 26, "allow_busy";
    }
}

impl Flags {
    /// The flags of requests that are executed together: what any of them needs, and of what is
    /// allowed only that which all are.
    pub const fn together(self, other: Flags) -> Flags {
        let needs = Flags::WRITE
            .with(Flags::READONLY)
            .with(Flags::DENY_OOM)
            .with(Flags::MAY_REPLICATE)
            .with(Flags::NO_ASYNC_LOADING);
        let allowed = Flags::STALE.with(Flags::LOADING);
        let forbidden = Flags(allowed.0 & !other.0);
        self.with(Flags(needs.0 & other.0)).without(forbidden)
    }
}

bits! {
    /// ACL categories.
    Categories: u32 {
        /// Names, types and deadlines of keys.
        KEYSPACE = 0, "@keyspace";
        /// Reads.
        READ = 1, "@read";
        /// Writes.
        WRITE = 2, "@write";
        /// Sets.
        SET = 3, "@set";
        /// Sorted sets.
        SORTED_SET = 4, "@sortedset";
        /// Lists.
        LIST = 5, "@list";
        /// Hashes.
        HASH = 6, "@hash";
        /// Strings.
        STRING = 7, "@string";
        /// Bitmaps.
        BITMAP = 8, "@bitmap";
        /// HyperLogLog.
        HYPERLOGLOG = 9, "@hyperloglog";
        /// Geo.
        GEO = 10, "@geo";
        /// Streams.
        STREAM = 11, "@stream";
        /// Publish/subscribe.
        PUBSUB = 12, "@pubsub";
        /// For administrators.
        ADMIN = 13, "@admin";
        /// Fast.
        FAST = 14, "@fast";
        /// Not fast.
        SLOW = 15, "@slow";
        /// May wait.
        BLOCKING = 16, "@blocking";
        /// Dangerous.
        DANGEROUS = 17, "@dangerous";
        /// About the connection.
        CONNECTION = 18, "@connection";
        /// Transactions.
        TRANSACTION = 19, "@transaction";
        /// Scripts.
        SCRIPTING = 20, "@scripting";
    }
}

bits! {
    /// What a command does to a key.
    KeyFlags: u16 {
        /// Reads it, changes nothing.
        RO = 0, "RO";
        /// Reads and changes it.
        RW = 1, "RW";
        /// Replaces it unread.
        OW = 2, "OW";
        /// Removes it.
        RM = 3, "RM";
        /// Returns or copies its data.
        ACCESS = 4, "access";
        /// Changes its data.
        UPDATE = 5, "update";
        /// Adds data.
        INSERT = 6, "insert";
        /// Deletes data.
        DELETE = 7, "delete";
        /// Is no key really.
        NOT_KEY = 8, "not_key";
        /// The spec does not find all keys.
        INCOMPLETE = 9, "incomplete";
        /// What is done to the key depends on the arguments.
        VARIABLE_FLAGS = 10, "variable_flags";
    }
}

/// Where some of a command's keys are (Redis 7's key specifications).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    /// Where to begin.
    pub begin: Begin,
    /// How to go on from there.
    pub find: Find,
    /// What is done to them.
    pub flags: KeyFlags,
}

/// Where keys begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// At this argument.
    Index(usize),
    /// Behind this word, looked for from this argument on (from the end if negative).
    Keyword(&'static str, i32),
}

/// Which arguments are keys, seen from where they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Find {
    /// Every `step`th up to `last` (0 = just the first; -1 = the last argument), or, with `limit`
    /// 2 or more, through the first `limit`th part of the arguments.
    Range {
        /// Relative to the first; negative: from the end.
        last: i32,
        /// From key to key.
        step: usize,
        /// See above.
        limit: usize,
    },
    /// Their count stands at `count`, the first at `first`, both relative to where they begin.
    Count {
        /// Where the count is.
        count: usize,
        /// Where the first key is.
        first: usize,
        /// From key to key.
        step: usize,
    },
}

impl Spec {
    /// A command of this name, arity and deed; everything else is added by the methods below.
    pub const fn new(name: &'static str, arity: i32, handler: Handler) -> Self {
        Spec {
            name,
            arity,
            handler,
            flags: Flags(0),
            keys: &[],
            channels: Channels::None,
            categories: Categories(0),
            syntax: "",
            summary: "",
            since: "1.0.0",
            group: None,
            deprecated: None,
            internal: false,
            complexity: "O(1)",
            tips: &[],
            subcommands: &[],
        }
    }

    /// A container: `handler` is not called, one of the subcommands is.
    pub const fn container(name: &'static str, subcommands: &'static [Spec]) -> Self {
        let mut spec = Spec::new(name, -2, super::unreachable_container);
        spec.subcommands = subcommands;
        spec
    }

    /// A container that does something without a subcommand as well (COMMAND).
    pub const fn callable(mut self, handler: Handler) -> Self {
        self.handler = handler;
        self.arity = -1;
        self
    }

    /// Adds flags.
    pub const fn flags(mut self, flags: Flags) -> Self {
        self.flags = self.flags.with(flags);
        self
    }

    /// Changes data.
    pub const fn write(self) -> Self {
        self.flags(Flags::WRITE)
    }

    /// Reads data.
    pub const fn read(self) -> Self {
        self.flags(Flags::READONLY)
    }

    /// Takes constant or logarithmic time.
    pub const fn fast(self) -> Self {
        self.flags(Flags::FAST)
    }

    /// Refused while memory is over its limit.
    pub const fn deny_oom(self) -> Self {
        self.flags(Flags::DENY_OOM)
    }

    /// For administrators: `admin`, and the categories that go with it.
    pub const fn admin(self) -> Self {
        self.flags(Flags::ADMIN)
    }

    /// Not for scripts.
    pub const fn no_script(self) -> Self {
        self.flags(Flags::NO_SCRIPT)
    }

    /// Allowed while loading, and on a stale replica.
    pub const fn always(self) -> Self {
        self.flags(Flags::LOADING.with(Flags::STALE))
    }

    /// Adds ACL categories.
    pub const fn of(mut self, categories: Categories) -> Self {
        self.categories = self.categories.with(categories);
        self
    }

    /// Its keys, in the general form.
    pub const fn key_specs(mut self, keys: &'static [KeySpec]) -> Self {
        self.keys = keys;
        self
    }

    /// Its channels.
    pub const fn channels(mut self, channels: Channels) -> Self {
        self.channels = channels;
        self
    }

    /// Syntax and summary for the documentation.
    pub const fn doc(mut self, syntax: &'static str, summary: &'static str) -> Self {
        self.syntax = syntax;
        self.summary = summary;
        self
    }

    /// The Redis version that brought it.
    pub const fn since(mut self, since: &'static str) -> Self {
        self.since = since;
        self
    }

    /// The group of the documentation.
    pub const fn group(mut self, group: &'static str) -> Self {
        self.group = Some(group);
        self
    }

    /// Since when it should not be used any more, and what should be instead.
    pub const fn deprecated(mut self, since: &'static str, by: &'static str) -> Self {
        self.deprecated = Some((since, by));
        self
    }

    /// Not for clients.
    pub const fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    /// Its cost.
    pub const fn cost(mut self, complexity: &'static str) -> Self {
        self.complexity = complexity;
        self
    }

    /// Hints for clients and proxies.
    pub const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    /// Whether `count` arguments, the name included, are right.
    pub const fn takes(&self, count: usize) -> bool {
        if self.arity >= 0 {
            count == self.arity as usize
        } else {
            count >= self.arity.unsigned_abs() as usize
        }
    }

    /// Whether it changes data.
    pub const fn is_write(&self) -> bool {
        self.flags.has(Flags::WRITE)
    }

    /// All its ACL categories: its own, and those that follow from its flags.
    pub fn all_categories(&self) -> Categories {
        let mut all = self.categories;
        for (flag, category) in [
            (Flags::WRITE, Categories::WRITE),
            (Flags::READONLY, Categories::READ),
            (Flags::ADMIN, Categories::ADMIN.with(Categories::DANGEROUS)),
            (Flags::PUBSUB, Categories::PUBSUB),
            (Flags::FAST, Categories::FAST),
            (Flags::BLOCKING, Categories::BLOCKING),
        ] {
            if self.flags.has(flag) {
                all = all.with(category);
            }
        }
        if all.has(Categories::READ) && all.has(Categories::SCRIPTING) {
            all = all.without(Categories::READ);
        }
        if all.has(Categories::FAST) { all } else { all.with(Categories::SLOW) }
    }

    /// Which argument is the first key, where that can be told without the request; 0: none is.
    pub fn first_key(&self) -> usize {
        let spec = self.keys.iter().find(|spec| !spec.flags.has(KeyFlags::NOT_KEY));
        match spec.map(|spec| (spec.begin, spec.find)) {
            Some((Begin::Index(index), Find::Range { .. })) => index,
            Some((Begin::Index(index), Find::Count { first, .. })) => index + first,
            Some((Begin::Keyword(..), _)) | None => 0,
        }
    }

    /// Calls `visit` with each key of a request and what is done to it. What only tells a cluster
    /// where the request belongs is none.
    pub fn each_key<'a>(&self, args: Args<'a>, visit: &mut dyn FnMut(&'a [u8], KeyFlags)) {
        for spec in self.keys.iter().filter(|spec| !spec.flags.has(KeyFlags::NOT_KEY)) {
            spec.each(args, visit);
        }
    }
}

impl KeySpec {
    /// The one key at `index`.
    pub const fn one(index: usize, flags: KeyFlags) -> Self {
        KeySpec::range(index, 0, 1, flags)
    }

    /// Keys from `first` to `last` (relative to the first, or from the end if negative).
    pub const fn range(first: usize, last: i32, step: usize, flags: KeyFlags) -> Self {
        KeySpec { begin: Begin::Index(first), find: Find::Range { last, step, limit: 0 }, flags }
    }

    /// As many keys as argument `index` says, right behind it.
    pub const fn counted(index: usize, flags: KeyFlags) -> Self {
        let find = Find::Count { count: 0, first: 1, step: 1 };
        KeySpec { begin: Begin::Index(index), find, flags }
    }

    fn each<'a>(&self, args: Args<'a>, visit: &mut dyn FnMut(&'a [u8], KeyFlags)) {
        let Some(start) = self.start(args) else { return };
        let (first, last, step) = match self.find {
            Find::Range { last, step, limit } => {
                let end = args.len() as i64 - 1;
                let last = match (last, limit) {
                    (0.., _) => start as i64 + i64::from(last),
                    (_, 0 | 1) => end + 1 + i64::from(last),
                    (_, limit) => start as i64 + (end - start as i64 + 1) / limit as i64 - 1,
                };
                (start, last.min(end), step)
            }
            Find::Count { count, first, step } => {
                let number = args.get(start + count).map_or(0, super::args::leading_int);
                let first = start + first;
                let room = args.len() as i64 - first as i64;
                if number <= 0 || number > room {
                    return;
                }
                (first, first as i64 + (number - 1) * step as i64, step)
            }
        };
        let flags =
            if self.flags.has(KeyFlags::VARIABLE_FLAGS) { flags_of_set(args) } else { self.flags };
        let mut at = first;
        while at as i64 <= last {
            if let Some(key) = args.get(at) {
                visit(key, flags);
            }
            at += step.max(1);
        }
    }

    fn start(&self, args: Args<'_>) -> Option<usize> {
        match self.begin {
            Begin::Index(index) => (index < args.len()).then_some(index),
            Begin::Keyword(word, from @ 0..) => (from as usize..args.len())
                .find(|at| super::args::is(&args[*at], word))
                .map(|at| at + 1),
            Begin::Keyword(word, from) => {
                let last = args.len().checked_sub(from.unsigned_abs() as usize)?;
                (0..=last).rev().find(|at| super::args::is(&args[*at], word)).map(|at| at + 1)
            }
        }
    }
}

/// What SET, the one command whose arguments say so, does to its key.
fn flags_of_set(args: Args<'_>) -> KeyFlags {
    let returns = args.iter().skip(3).any(|arg| super::args::is(arg, "GET"));
    if returns {
        KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE)
    } else {
        KeyFlags::OW.with(KeyFlags::UPDATE)
    }
}

/// The usual key specifications, by what is done to the key at argument 1.
pub mod key {
    use super::{KeyFlags, KeySpec};

    /// Read: `RO access`.
    pub const READ: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))];
    /// Looked at without returning data: `RO`.
    pub const LOOK: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RO)];
    /// Changed: `RW update`.
    pub const UPDATE: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::UPDATE))];
    /// Added to: `RW insert`.
    pub const INSERT: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::INSERT))];
    /// Parts are deleted: `RW delete`.
    pub const DELETE: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::DELETE))];
    /// Returned and changed: `RW access update`.
    pub const ACCESS_UPDATE: &[KeySpec] =
        &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE))];
    /// Returned and deleted: `RW access delete`.
    pub const ACCESS_DELETE: &[KeySpec] =
        &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE))];
    /// No keys, but all arguments from the first on say where a request belongs.
    pub const SHARD_CHANNELS: &[KeySpec] = &[KeySpec::range(1, -1, 1, KeyFlags::NOT_KEY)];
    /// The like, of the first argument alone.
    pub const SHARD_CHANNEL: &[KeySpec] = &[KeySpec::one(1, KeyFlags::NOT_KEY)];
    /// Replaced: `OW update`.
    pub const OVERWRITE: &[KeySpec] = &[KeySpec::one(1, KeyFlags::OW.with(KeyFlags::UPDATE))];
    /// Every argument is a key that is read.
    pub const READ_ALL: &[KeySpec] =
        &[KeySpec::range(1, -1, 1, KeyFlags::RO.with(KeyFlags::ACCESS))];
}
