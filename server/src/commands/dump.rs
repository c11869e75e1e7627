//! DUMP and RESTORE: single values as bytes of the RDB format.

use super::args::{int, is};
use super::spec::{Categories, key};
use super::{CommandError, Ctx, Done, Outcome, Spec};
use crate::clock::Millis;
use crate::config::NotifyFlags;
use crate::rdb::{
    DumpError, Place, Timed, Writer, read_dump, to_store, version_for, warn_of_dropped, write_value,
};
use crate::resp::Args;
use crate::store::{Access, Value, ValueRef};

pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("DUMP", 2, dump)
        .read()
        .of(Categories::KEYSPACE)
        .key_specs(key::READ)
        .since("2.6.0")
        .cost("O(N)")
        .tips(&["nondeterministic_output"])
        .doc("key", "Returns a serialized form of a value, for RESTORE."),
    Spec::new("RESTORE", -4, restore)
        .write()
        .deny_oom()
        .of(Categories::KEYSPACE.with(Categories::DANGEROUS))
        .key_specs(key::OVERWRITE)
        .since("2.6.0")
        .cost("O(N)")
        .doc(
            "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
            "Creates a key from what DUMP returned.",
        ),
];

fn dump(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (config, now) = (&ctx.server.config, ctx.data.now);
    let Some(object) = ctx.data.read_object(&args[1]) else {
        ctx.reply.null();
        return Ok(Outcome::Unchanged);
    };
    let timed = match object.value() {
        ValueRef::Hash(hash) if hash.next_deadline().is_some() => {
            hash.entries().filter(|(.., deadline)| deadline.is_some()).count()
        }
        _ => 0,
    };
    let version = version_for(config, Timed::Fields(timed))
        .map_err(|why| CommandError::new(format!("ERR cannot dump this hash: {why}")))?;
    let mut writer = Writer::new(version, config.rdbcompression);
    let mut payload = Vec::new();
    if write_value(&mut writer, &mut payload, Place::Dump, object.value(), now) {
        writer.end_dump(&mut payload, 0);
        ctx.reply.bulk(&payload);
        warn_of_dropped("a dumped hash", writer.dropped_deadlines());
    } else {
        ctx.reply.null();
    }
    Ok(Outcome::Unchanged)
}

/// What RESTORE was asked for beside key, time and value.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle: Option<i64>,
    frequency: Option<i64>,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let (mut options, mut at) = (Options::default(), 4);
        while let Some(word) = args.get(at) {
            let has_value = at + 1 < args.len();
            if is(word, "REPLACE") {
                options.replace = true;
            } else if is(word, "ABSTTL") {
                options.absolute = true;
            } else if is(word, "IDLETIME") && has_value && options.frequency.is_none() {
                at += 1;
                let idle = int(args, at)?;
                if idle < 0 {
                    return Err(CommandError::new("ERR Invalid IDLETIME value, must be >= 0"));
                }
                options.idle = Some(idle);
            } else if is(word, "FREQ") && has_value && options.idle.is_none() {
                at += 1;
                let frequency = int(args, at)?;
                if !(0..=255).contains(&frequency) {
                    let text = "ERR Invalid FREQ value, must be >= 0 and <= 255";
                    return Err(CommandError::new(text));
                }
                options.frequency = Some(frequency);
            } else {
                return Err(CommandError::SYNTAX);
            }
            at += 1;
        }
        Ok(options)
    }

    /// The use of the key that they tell of, as far as the policy of eviction counts it.
    fn access(&self, is_lfu: bool, now: Millis) -> Option<Access> {
        match (self.frequency, self.idle) {
            (Some(frequency), _) if is_lfu => Some(Access::counted(now, frequency as u8)),
            (_, Some(idle)) if !is_lfu => {
                let idle = (idle as u64).saturating_mul(1000);
                Some(Access::used_at(now.saturating_sub(idle)))
            }
            _ => None,
        }
    }
}

fn restore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (options, key) = (Options::parse(args)?, args.at(1));
    if !options.replace && ctx.data.peek(key).is_some() {
        return Err(CommandError::BUSY_KEY);
    }
    let ttl = int(args, 2)?;
    if ttl < 0 {
        return Err(CommandError::new("ERR Invalid TTL value, must be >= 0"));
    }
    let value = read(ctx, args.at(3))?;
    let start = if options.absolute { 0 } else { ctx.now };
    let deadline = (ttl > 0).then(|| start.saturating_add(ttl as u64));
    let replaced = ctx.data.remove(key);
    let is_over = deadline.is_some_and(|at| ctx.is_past(at as i64));
    ctx.reply.ok();
    if is_over {
        return Ok(gone(ctx, key, replaced));
    }
    ctx.data.insert(key, value);
    ctx.data.set_deadline(key, deadline);
    let (now, is_lfu) = (ctx.now, ctx.server.config.maxmemory_policy.is_lfu());
    ctx.data.db_mut().get_used(key, 0, |_| options.access(is_lfu, now));
    ctx.changed(NotifyFlags::GENERIC, "restore", key);
    Ok(ctx.wrote_as(|effect| match deadline.filter(|_| !options.absolute) {
        None => effect.request(args.iter()),
        // The deadline stands in place of how long it is off.
        Some(at) => {
            let at = at.to_string();
            let head = [&args[0], &args[1], at.as_bytes()].into_iter();
            effect.request(head.chain(args.from(3).iter()).chain([b"ABSTTL".as_slice()]));
        }
    }))
}

/// The value of a payload.
fn read(ctx: &Ctx<'_>, payload: &[u8]) -> Result<Value, CommandError> {
    let value = read_dump(payload, ctx.server.dump_options()).map_err(|why| match why {
        DumpError::Footer => CommandError::BAD_PAYLOAD,
        DumpError::Kind | DumpError::Data => CommandError::BAD_DATA,
    })?;
    to_store(&value, &ctx.data.encodings()).ok_or(CommandError::BAD_DATA)
}

/// What was to be restored has ended already: nothing is, and what it was to replace is gone.
fn gone(ctx: &mut Ctx<'_>, key: &[u8], replaced: bool) -> Outcome {
    if !replaced {
        return Outcome::Unchanged;
    }
    ctx.changed(NotifyFlags::GENERIC, "del", key);
    ctx.wrote_as(|effect| effect.request([b"DEL", key]))
}
