//! When a reply is like another.

use crate::wire::Value;

use super::Command;

/// How the replies of a command are compared. Errors are always compared as they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mode {
    Exact,
    /// Elements, in groups, in any order: each server has its own.
    Groups(usize),
    /// Numbers within so much, because the servers read their clocks one after the other.
    Near(u64),
    /// The same kinds of values, as many: what was drawn by lot.
    Shape,
    /// The same kind of value: what only one server can know, such as its settings.
    Kind,
}

/// Whom our reply is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Like {
    pub(super) redis: bool,
    pub(super) valkey: bool,
}

impl Like {
    /// Whether it is like any.
    pub(super) fn any(self) -> bool {
        self.redis || self.valkey
    }
}

/// What to look at in the replies to a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) mode: Mode,
    /// Whether Redis has a say: about hashes it has none once a field had a deadline.
    pub(super) of_redis: bool,
    script: bool,
    scan: bool,
    counts_references: bool,
    /// It sets a time that is over: Redis 7.0 takes the key out a moment later, Valkey at once. Or
    /// it ends a key that Redis may not have: Redis calls that `del`, Valkey `expired`.
    pub(super) is_late: bool,
}

impl Asked {
    pub(super) fn new(name: &[u8], command: &Command, redis_apart: bool) -> Asked {
        let mode = mode(name, &command[1..]);
        // What a scan from elsewhere answers does not depend on what is there.
        let of_hashes = name.starts_with(b"H") && mode != Mode::Kind;
        Asked {
            mode,
            scan: name.ends_with(b"SCAN"),
            counts_references: name == b"OBJECT"
                && command.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"REFCOUNT")),
            of_redis: !(redis_apart && of_hashes),
            script: name.starts_with(b"EVAL"),
            is_late: name == b"SET"
                && command[1..].windows(2).any(|pair| is_over(&pair[0], &pair[1]))
                || redis_apart && ends_at_once(name, command),
        }
    }

    /// The same in a transaction. Nothing follows a scan there: its first page is each server's own,
    /// as are the references to a value that the queue may hold.
    pub(super) fn queued(self) -> Asked {
        let is_own = self.scan || self.counts_references;
        Asked { mode: if is_own { Mode::Kind } else { self.mode }, ..self }
    }

    pub(super) fn like(self, ours: &Value, redis: &Value, valkey: &Value) -> Like {
        // Valkey names no digest in a script's error: of texts that fail, their beginning counts.
        let beginning = self.script && same_beginning(ours, valkey);
        Like {
            redis: self.of_redis && same(self.mode, ours, redis),
            valkey: beginning || same(self.mode, ours, valkey),
        }
    }
}

/// Whether a key gets a deadline that is over.
fn ends_at_once(name: &[u8], command: &Command) -> bool {
    let Some(time) = command.get(2) else { return false };
    match name {
        b"EXPIRE" | b"PEXPIRE" => time.starts_with(b"-") || time == b"0",
        b"EXPIREAT" => time.starts_with(b"-") || is_over(b"EXAT", time),
        b"PEXPIREAT" => time.starts_with(b"-") || is_over(b"PXAT", time),
        _ => false,
    }
}

fn is_over(option: &[u8], time: &[u8]) -> bool {
    let is_point = [&b"EXAT"[..], b"PXAT"].iter().any(|word| option.eq_ignore_ascii_case(word));
    let time = std::str::from_utf8(time).ok().and_then(|time| time.parse().ok());
    // The grammar's points are in 1970 or in the year 3021.
    is_point && time.is_some_and(|time: i64| time < 10_000_000_000)
}

/// How every reply of a transaction compares, if ours has one for each command.
fn elements(queued: &[Asked], replies: &[Value]) -> Option<Vec<Like>> {
    let item = |server: usize, at: usize| match &replies[server] {
        Value::Array(items) if items.len() == queued.len() => &items[at],
        whole => whole,
    };
    let compare = |(at, asked): (usize, &Asked)| asked.like(item(0, at), item(1, at), item(2, at));
    let complete = matches!(&replies[0], Value::Array(items) if items.len() == queued.len());
    complete.then(|| queued.iter().enumerate().map(compare).collect())
}

/// Whether the replies of a transaction are like a real server's as a whole.
pub(super) fn all_like(queued: &[Asked], replies: &[Value]) -> Like {
    match elements(queued, replies) {
        Some(likes) => Like {
            redis: likes.iter().all(|like| like.redis) && !replies[1].is_error(),
            valkey: likes.iter().all(|like| like.valkey) && !replies[2].is_error(),
        },
        None => Like { redis: replies[0] == replies[1], valkey: replies[0] == replies[2] },
    }
}

/// Whether each reply of a transaction is like a real server's: any of its commands may be one that
/// they part in.
pub(super) fn each_like(queued: &[Asked], replies: &[Value]) -> bool {
    elements(queued, replies).is_some_and(|likes| likes.iter().all(|like| like.any()))
}

fn mode(name: &[u8], args: &[Vec<u8>]) -> Mode {
    let has = |word: &str| args.iter().any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    match name {
        _ if has("HELP") => Mode::Kind,
        _ if name.ends_with(b"SCAN") && !scans_whole(name, args) => Mode::Kind,
        b"HSCAN" if has("NOVALUES") => Mode::Groups(1),
        b"HGETALL" | b"HSCAN" | b"ZSCAN" => Mode::Groups(2),
        b"HKEYS" | b"HVALS" | b"SMEMBERS" | b"SINTER" | b"SUNION" | b"SDIFF" | b"KEYS"
        | b"SCAN" | b"SSCAN" | b"PUBSUB" | b"EVAL" => Mode::Groups(1),
        b"TTL" | b"EXPIRETIME" | b"HTTL" | b"HEXPIRETIME" => Mode::Near(3),
        b"PTTL" | b"PEXPIRETIME" | b"HPTTL" | b"HPEXPIRETIME" => Mode::Near(3000),
        b"OBJECT" if has("IDLETIME") => Mode::Near(3),
        b"RANDOMKEY" | b"SRANDMEMBER" | b"HRANDFIELD" | b"ZRANDMEMBER" | b"SPOP" | b"TIME"
        | b"ROLE" => Mode::Shape,
        b"CONFIG" if args.iter().any(|arg| arg.contains(&b'*')) => Mode::Kind,
        b"DUMP" | b"LASTSAVE" | b"MEMORY" | b"HELLO" | b"INFO" | b"COMMAND" | b"LATENCY"
        | b"SLOWLOG" | b"MODULE"
            if !has("GETKEYS") && !has("GETKEYSANDFLAGS") =>
        {
            Mode::Kind
        }
        b"CLIENT" if has("ID") || has("INFO") || has("LIST") => Mode::Kind,
        _ => Mode::Exact,
    }
}

/// Whether a SCAN begins at the beginning. What comes from elsewhere is each server's own.
pub(super) fn scans_whole(name: &[u8], args: &[Vec<u8>]) -> bool {
    args.get(cursor_at(name) - 1).is_none_or(|cursor| cursor == b"0")
}

/// Where the cursor of a SCAN stands.
pub(super) fn cursor_at(name: &[u8]) -> usize {
    if name == b"SCAN" { 1 } else { 2 }
}

fn same(mode: Mode, ours: &Value, other: &Value) -> bool {
    match mode {
        Mode::Exact => ours == other,
        Mode::Groups(size) => ours.sorted(size) == other.sorted(size),
        Mode::Near(by) => near(ours, other, by),
        Mode::Shape => shape(ours, other),
        Mode::Kind => same_kind(ours, other),
    }
}

fn near(ours: &Value, other: &Value, by: u64) -> bool {
    match (ours, other) {
        // Negative answers are no times.
        (Value::Integer(a), Value::Integer(b)) if *a >= 0 && *b >= 0 => a.abs_diff(*b) <= by,
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| near(a, b, by))
        }
        _ => ours == other,
    }
}

fn shape(ours: &Value, other: &Value) -> bool {
    match (ours, other) {
        (Value::Array(a), Value::Array(b)) | (Value::Set(a), Value::Set(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| shape(a, b))
        }
        _ => same_kind(ours, other),
    }
}

fn same_kind(ours: &Value, other: &Value) -> bool {
    match (ours, other) {
        (Value::Error(_), Value::Error(_)) => ours == other,
        _ => std::mem::discriminant(ours) == std::mem::discriminant(other),
    }
}

/// Whether both are errors alike up to where a script is named; Valkey does not speak of Redis.
fn same_beginning(ours: &Value, other: &Value) -> bool {
    let beginning = |value: &Value| {
        let text = value.to_string();
        let beginning = text.split(" script: ").next().unwrap_or_default();
        beginning.replace("Redis command", "command").replace(" Please use EVAL.", "")
    };
    ours.is_error() && other.is_error() && beginning(ours) == beginning(other)
}
