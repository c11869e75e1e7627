//! Deadlines of keys: EXPIRE, TTL, PERSIST and friends.

use super::args::{Unit, int, is};
use super::spec::{Categories, key};
use super::{CommandError, Ctx, Done, Outcome, Spec};
use crate::config::NotifyFlags;
use crate::resp::Args;

const fn row(name: &'static str, arity: i32, handler: super::spec::Handler) -> Spec {
    Spec::new(name, arity, handler).fast().of(Categories::KEYSPACE)
}

pub(super) const COMMANDS: &[Spec] = &[
    row("EXPIRE", -3, expire)
        .write()
        .key_specs(key::UPDATE)
        .doc("key seconds [NX | XX | GT | LT]", "Sets the expiration time of a key in seconds."),
    row("PEXPIRE", -3, pexpire).write().key_specs(key::UPDATE).since("2.6.0").doc(
        "key milliseconds [NX | XX | GT | LT]",
        "Sets the expiration time of a key in milliseconds.",
    ),
    row("EXPIREAT", -3, expireat).write().key_specs(key::UPDATE).since("1.2.0").doc(
        "key unix-time-seconds [NX | XX | GT | LT]",
        "Sets the expiration time of a key to a Unix timestamp.",
    ),
    row("PEXPIREAT", -3, pexpireat).write().key_specs(key::UPDATE).since("2.6.0").doc(
        "key unix-time-milliseconds [NX | XX | GT | LT]",
        "Sets the expiration time of a key to a Unix milliseconds timestamp.",
    ),
    row("TTL", 2, ttl)
        .read()
        .key_specs(key::READ)
        .tips(&["nondeterministic_output"])
        .doc("key", "Returns the expiration time in seconds of a key."),
    row("PTTL", 2, pttl)
        .read()
        .key_specs(key::READ)
        .since("2.6.0")
        .tips(&["nondeterministic_output"])
        .doc("key", "Returns the expiration time in milliseconds of a key."),
    row("EXPIRETIME", 2, expiretime)
        .read()
        .key_specs(key::READ)
        .since("7.0.0")
        .doc("key", "Returns the expiration time of a key as a Unix timestamp."),
    row("PEXPIRETIME", 2, pexpiretime)
        .read()
        .key_specs(key::READ)
        .since("7.0.0")
        .doc("key", "Returns the expiration time of a key as a Unix milliseconds timestamp."),
    row("PERSIST", 2, persist)
        .write()
        .key_specs(key::UPDATE)
        .since("2.2.0")
        .doc("key", "Removes the expiration time of a key."),
];

/// When an EXPIRE applies.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    pub(super) fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut found = Conditions::default();
        for option in args.iter() {
            match option {
                option if is(option, "NX") => found.nx = true,
                option if is(option, "XX") => found.xx = true,
                option if is(option, "GT") => found.gt = true,
                option if is(option, "LT") => found.lt = true,
                other => {
                    return Err(CommandError::quoting("ERR Unsupported option ", other, ""));
                }
            }
        }
        if found.nx && (found.xx || found.gt || found.lt) {
            return Err(CommandError::new(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if found.gt && found.lt {
            return Err(CommandError::new(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(found)
    }

    /// Whether a key with deadline `old` (None = it never ends) is given deadline `new`.
    pub(super) fn allow(&self, old: Option<u64>, new: i64) -> bool {
        match old.map(|old| old as i64) {
            _ if self.nx => old.is_none(),
            None => !(self.xx || self.gt),
            Some(old) => !(self.gt && new <= old || self.lt && new >= old),
        }
    }
}

fn expire(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    expire_generic(ctx, args, Unit::Seconds, true)
}

fn pexpire(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    expire_generic(ctx, args, Unit::Millis, true)
}

fn expireat(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    expire_generic(ctx, args, Unit::Seconds, false)
}

fn pexpireat(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    expire_generic(ctx, args, Unit::Millis, false)
}

fn expire_generic(ctx: &mut Ctx<'_>, args: Args<'_>, unit: Unit, relative: bool) -> Done {
    let conditions =
        if args.len() > 3 { Conditions::parse(args.from(3))? } else { Conditions::default() };
    let time = int(args, 2)?;
    let at = super::args::deadline(time, unit, relative, ctx.now)
        .ok_or_else(|| CommandError::invalid_expire(ctx.name()))?;
    let key = args.at(1);
    let is_past = ctx.is_past(at);
    let is_allowed = |old| conditions.allow(old, at);
    let allowed = if is_past {
        ctx.data.peek(key).is_some_and(|object| is_allowed(object.deadline()))
    } else {
        ctx.data.set_deadline_if(key, Some(at as u64), is_allowed)
    };
    ctx.reply.one_or_zero(allowed);
    if !allowed {
        return Ok(Outcome::Unchanged);
    }
    if is_past {
        ctx.data.remove(key);
        ctx.changed(NotifyFlags::GENERIC, "del", key);
        return Ok(ctx.wrote_as(|effect| effect.request([b"DEL", key])));
    }
    ctx.changed(NotifyFlags::GENERIC, "expire", key);
    Ok(ctx.wrote_as(|effect| {
        effect.request([b"PEXPIREAT", key, itoa::Buffer::new().format(at).as_bytes()]);
    }))
}

fn ttl(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let now = ctx.now;
    remaining(ctx, args, |at| at.saturating_sub(now).saturating_add(500) / 1000)
}

fn pttl(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let now = ctx.now;
    remaining(ctx, args, |at| at.saturating_sub(now))
}

fn expiretime(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    remaining(ctx, args, |at| at.saturating_add(500) / 1000)
}

fn pexpiretime(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    remaining(ctx, args, |at| at)
}

/// -2: no such key; -1: it never ends. Looking at a deadline is no use of the key.
fn remaining(ctx: &mut Ctx<'_>, args: Args<'_>, show: impl Fn(u64) -> u64) -> Done {
    ctx.data.usage.counts = false;
    let answer = match ctx.data.read_object(&args[1]).map(|object| object.deadline()) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => show(at) as i64,
    };
    ctx.reply.int(answer);
    Ok(Outcome::Unchanged)
}

fn persist(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let has_deadline = ctx.data.peek(&args[1]).is_some_and(|object| object.deadline().is_some());
    ctx.reply.one_or_zero(has_deadline);
    if !has_deadline {
        return Ok(Outcome::Unchanged);
    }
    ctx.data.set_deadline(&args[1], None);
    ctx.changed(NotifyFlags::GENERIC, "persist", &args[1]);
    Ok(Outcome::Wrote)
}
