//! OBJECT: encodings, idle times and counters of keys.

use super::spec::{Categories, Handler, KeyFlags, KeySpec};
use super::{CommandError, Ctx, Done, Outcome, Spec};
use crate::resp::Args;
use crate::store::{ObjectRef, ValueRef};

const KEY: &[KeySpec] = &[KeySpec::one(2, KeyFlags::RO)];

const fn sub(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler)
        .read()
        .of(Categories::KEYSPACE)
        .key_specs(KEY)
        .since("2.2.3")
        .tips(&["nondeterministic_output"])
}

pub(super) const COMMANDS: &[Spec] = &[Spec::container(
    "OBJECT",
    &[
        sub("ENCODING", 3, encoding).doc("key", "Returns the internal encoding of an object."),
        sub("FREQ", 3, freq).since("4.0.0").doc("key", "Returns how often a key is used."),
        sub("IDLETIME", 3, idletime).doc("key", "Returns the time since the last use of a key."),
        sub("REFCOUNT", 3, refcount).doc("key", "Returns the reference count of a value."),
        Spec::new("HELP", 2, help)
            .always()
            .of(Categories::KEYSPACE)
            .since("6.2.0")
            .doc("", "Returns helpful text about the subcommands."),
    ],
)
.since("2.2.3")
.doc("subcommand", "A container for object introspection commands.")];

/// Looks at a key without using it.
fn look<R>(ctx: &Ctx<'_>, args: Args<'_>, at: impl Fn(ObjectRef<'_>) -> R) -> Option<R> {
    ctx.data.peek(&args[2]).map(at)
}

fn encoding(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    match look(ctx, args, |object| object.value().encoding()) {
        Some(name) => ctx.reply.text(name),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Unchanged)
}

/// How many integers from 0 on Redis shares.
const SHARED_INTEGERS: i64 = 10_000;

/// Whether Redis would keep this value once for all keys that have it: a small integer, unless
/// eviction goes by how each key is used.
fn is_shared(ctx: &Ctx<'_>, object: &ObjectRef<'_>) -> bool {
    let config = &ctx.server.config;
    let policy = config.maxmemory_policy;
    let evicts_by_use = config.maxmemory > 0 && (policy.is_lru() || policy.is_lfu());
    match object.value() {
        ValueRef::Str(text) if text.encoding() == "int" => {
            let number = super::args::parse_int(&text.bytes());
            !evicts_by_use && number.is_some_and(|number| (0..SHARED_INTEGERS).contains(&number))
        }
        _ => false,
    }
}

fn refcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    match look(ctx, args, |object| is_shared(ctx, &object)) {
        // Redis keeps small integers once for all keys, and calls their count the largest.
        Some(true) => ctx.reply.int(i32::MAX.into()),
        Some(false) => ctx.reply.int(1),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Unchanged)
}

fn idletime(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let is_lfu = ctx.server.config.maxmemory_policy.is_lfu();
    match look(ctx, args, |object| object.access().idle_seconds(ctx.now)) {
        None => ctx.reply.null(),
        Some(_) if is_lfu => {
            return Err(CommandError::new(
                "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        Some(seconds) => ctx.reply.int(seconds.into()),
    }
    Ok(Outcome::Unchanged)
}

fn freq(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let config = &ctx.server.config;
    let (is_lfu, decay) = (config.maxmemory_policy.is_lfu(), config.lfu_decay_time as u32);
    match look(ctx, args, |object| object.access().decayed(ctx.now, decay)) {
        None => ctx.reply.null(),
        Some(_) if !is_lfu => {
            return Err(CommandError::new(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        Some(count) => ctx.reply.int(count.into()),
    }
    Ok(Outcome::Unchanged)
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    super::help(
        ctx,
        &[
            "ENCODING <key>",
            "    Return the kind of internal representation used in order to store the value",
            "    associated with a <key>.",
            "FREQ <key>",
            "    Return the access frequency index of the <key>. The returned integer is",
            "    proportional to the logarithm of the recent access frequency of the key.",
            "IDLETIME <key>",
            "    Return the idle time of the <key>, that is the approximated number of",
            "    seconds elapsed since the last access to the key.",
            "REFCOUNT <key>",
            "    Return the number of references of the value associated with the specified",
            "    <key>.",
        ],
    )
}
