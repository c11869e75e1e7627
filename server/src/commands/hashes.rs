//! Hash commands: HSET, HGET and friends.

use super::args::{self, int, parse_int};
use super::lapsed::Lapsed;
use super::scan::ScanOptions;
use super::spec::{Categories, key};
use super::{CommandError, Ctx, Done, Outcome, Spec, decimal};
use crate::config::NotifyFlags;
use crate::resp::Args;
use crate::state::Expires;
use crate::store::Hash;

const fn row(name: &'static str, arity: i32, handler: super::spec::Handler) -> Spec {
    Spec::new(name, arity, handler).of(Categories::HASH).since("2.0.0")
}

pub(super) const COMMANDS: &[Spec] = &[
    row("HSET", -4, hset)
        .write()
        .deny_oom()
        .fast()
        .key_specs(key::UPDATE)
        .cost("O(1) for each field/value pair added.")
        .doc(
            "key field value [field value ...]",
            "Creates or modifies the value of a field in a hash.",
        ),
    row("HMSET", -4, hmset)
        .deprecated("4.0.0", "`HSET` with multiple field-value pairs")
        .write()
        .deny_oom()
        .fast()
        .key_specs(key::UPDATE)
        .cost("O(N) where N is the number of fields being set.")
        .doc("key field value [field value ...]", "Sets the values of multiple fields."),
    row("HSETNX", 4, hsetnx).write().deny_oom().fast().key_specs(key::INSERT).doc(
        "key field value",
        "Sets the value of a field in a hash only when the field doesn't exist.",
    ),
    row("HGET", 3, hget)
        .read()
        .fast()
        .key_specs(key::READ)
        .doc("key field", "Returns the value of a field in a hash."),
    row("HMGET", -3, hmget)
        .read()
        .fast()
        .key_specs(key::READ)
        .cost("O(N) where N is the number of fields being requested.")
        .doc("key field [field ...]", "Returns the values of multiple fields in a hash."),
    row("HGETALL", 2, hgetall)
        .read()
        .key_specs(key::READ)
        .cost("O(N) where N is the size of the hash.")
        .tips(&["nondeterministic_output_order"])
        .doc("key", "Returns all fields and values in a hash."),
    row("HKEYS", 2, hkeys)
        .read()
        .key_specs(key::READ)
        .cost("O(N) where N is the size of the hash.")
        .tips(&["nondeterministic_output_order"])
        .doc("key", "Returns all fields in a hash."),
    row("HVALS", 2, hvals)
        .read()
        .key_specs(key::READ)
        .cost("O(N) where N is the size of the hash.")
        .tips(&["nondeterministic_output_order"])
        .doc("key", "Returns all values in a hash."),
    row("HDEL", -3, hdel)
        .write()
        .fast()
        .key_specs(key::DELETE)
        .cost("O(N) where N is the number of fields to be removed.")
        .doc("key field [field ...]", "Deletes one or more fields and their values from a hash."),
    row("HEXISTS", 3, hexists)
        .read()
        .fast()
        .key_specs(key::LOOK)
        .doc("key field", "Determines whether a field exists in a hash."),
    row("HLEN", 2, hlen)
        .read()
        .fast()
        .key_specs(key::LOOK)
        .doc("key", "Returns the number of fields in a hash."),
    row("HSTRLEN", 3, hstrlen)
        .read()
        .fast()
        .key_specs(key::LOOK)
        .since("3.2.0")
        .doc("key field", "Returns the length of the value of a field."),
    row("HINCRBY", 4, hincrby).write().deny_oom().fast().key_specs(key::ACCESS_UPDATE).doc(
        "key field increment",
        "Increments the integer value of a field in a hash by a number.",
    ),
    row("HINCRBYFLOAT", 4, hincrbyfloat)
        .write()
        .deny_oom()
        .fast()
        .key_specs(key::ACCESS_UPDATE)
        .since("2.6.0")
        .doc("key field increment", "Increments the floating point value of a field by a number."),
    row("HRANDFIELD", -2, hrandfield)
        .read()
        .key_specs(key::READ)
        .since("6.2.0")
        .cost("O(N) where N is the number of fields returned")
        .tips(&["nondeterministic_output"])
        .doc("key [count [WITHVALUES]]", "Returns one or more random fields from a hash."),
    row("HSCAN", -3, hscan)
        .read()
        .key_specs(key::READ)
        .since("2.8.0")
        .cost("O(1) for every call. O(N) for a complete iteration.")
        .tips(&["nondeterministic_output"])
        .doc(
            "key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
            "Iterates over fields and values of a hash.",
        ),
];

/// The outcome of a request that gave a field this value. Where one was there that had ended, the
/// request itself would do something else on a replica.
fn wrote_field(
    ctx: &mut Ctx<'_>,
    had_lapsed: bool,
    key: &[u8],
    field: &[u8],
    value: &[u8],
) -> Outcome {
    match had_lapsed {
        true => ctx.wrote_as(|effect| effect.request([b"HSET", key, field, value])),
        false => Outcome::Wrote,
    }
}

/// Sets the pairs from argument 2 on; returns how many fields are new.
fn set_pairs(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<i64, CommandError> {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::wrong_arity(ctx.name()));
    }
    let limits = ctx.data.encodings().hash;
    let mut lapsed = Lapsed::new(ctx);
    let mut hash = ctx.data.create::<Hash>(&args[1])?;
    let mut added = 0;
    for at in (2..args.len()).step_by(2) {
        lapsed.make_way(&mut hash, &args[at]);
        let is_new = hash.insert(&args[at], &args[at + 1], &limits);
        added += i64::from(is_new);
    }
    drop(hash);
    lapsed.tell(ctx, &args[1]);
    ctx.changed(NotifyFlags::HASH, "hset", &args[1]);
    Ok(added)
}

fn hset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let added = set_pairs(ctx, args)?;
    ctx.reply.int(added);
    Ok(ctx.wrote(args.len() / 2 - 1))
}

fn hmset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    set_pairs(ctx, args)?;
    ctx.reply.ok();
    Ok(ctx.wrote(args.len() / 2 - 1))
}

fn hsetnx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (limits, now) = (ctx.data.encodings().hash, ctx.data.now);
    let mut lapsed = Lapsed::new(ctx);
    let mut hash = ctx.data.create::<Hash>(&args[1])?;
    if hash.contains(&args[2], now) {
        ctx.reply.int(0);
        return Ok(Outcome::Unchanged);
    }
    lapsed.make_way(&mut hash, &args[2]);
    hash.insert(&args[2], &args[3], &limits);
    drop(hash);
    let had_lapsed = lapsed.tell(ctx, &args[1]);
    ctx.changed(NotifyFlags::HASH, "hset", &args[1]);
    ctx.reply.int(1);
    Ok(wrote_field(ctx, had_lapsed, &args[1], &args[2], &args[3]))
}

fn hget(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let now = ctx.data.now;
    match ctx.data.read::<Hash>(&args[1])?.and_then(|hash| hash.get(&args[2], now)) {
        Some(value) => ctx.reply.bulk(value),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Unchanged)
}

fn hmget(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let now = ctx.data.now;
    let hash = ctx.data.read::<Hash>(&args[1])?;
    ctx.reply.array(args.len() - 2);
    for field in args.from(2).iter() {
        if ctx.reply.is_too_long() {
            break;
        }
        ctx.reply.bulk_or_null(hash.and_then(|hash| hash.get(field, now)));
    }
    Ok(Outcome::Unchanged)
}

fn hgetall(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let now = ctx.data.now;
    let Some(hash) = ctx.data.read::<Hash>(&args[1])? else {
        ctx.reply.map(0);
        return Ok(Outcome::Unchanged);
    };
    ctx.reply.map(hash.live_len(now));
    hash.each(now, |field, value| {
        ctx.reply.bulk(field);
        ctx.reply.bulk(value);
    });
    Ok(Outcome::Unchanged)
}

fn hkeys(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    each_live(ctx, args, |reply, field, _| reply.bulk(field))
}

fn hvals(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    each_live(ctx, args, |reply, _, value| reply.bulk(value))
}

fn each_live(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    write: impl Fn(&mut crate::resp::Reply<'_>, &[u8], &[u8]),
) -> Done {
    let now = ctx.data.now;
    let Some(hash) = ctx.data.read::<Hash>(&args[1])? else {
        ctx.reply.array(0);
        return Ok(Outcome::Unchanged);
    };
    ctx.reply.array(hash.live_len(now));
    hash.each(now, |field, value| write(&mut ctx.reply, field, value));
    Ok(Outcome::Unchanged)
}

fn hdel(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let now = ctx.data.now;
    let Some(mut hash) = ctx.data.write::<Hash>(&args[1])? else {
        ctx.reply.int(0);
        return Ok(Outcome::Unchanged);
    };
    let removed =
        args.from(2).iter().filter(|field| hash.contains(field, now) && hash.remove(field)).count();
    let emptied = hash.is_empty();
    drop(hash);
    ctx.reply.len(removed);
    if removed == 0 {
        return Ok(Outcome::Unchanged);
    }
    ctx.changed(NotifyFlags::HASH, "hdel", &args[1]);
    if emptied {
        ctx.notify(NotifyFlags::GENERIC, "del", &args[1]);
    }
    Ok(ctx.wrote(removed))
}

fn hexists(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let now = ctx.data.now;
    let found = ctx.data.read::<Hash>(&args[1])?.is_some_and(|hash| hash.contains(&args[2], now));
    ctx.reply.one_or_zero(found);
    Ok(Outcome::Unchanged)
}

fn hlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    // Where fields are not ended on time, because a primary says when or DEBUG that they are not, those
    // that are still there count, as in Valkey.
    let on_time = ctx.server.expires(ctx.now) == Expires::Everything;
    let now = if on_time { ctx.data.now } else { 0 };
    let len = ctx.data.read::<Hash>(&args[1])?.map_or(0, |hash| hash.live_len(now));
    ctx.reply.len(len);
    Ok(Outcome::Unchanged)
}

fn hstrlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let now = ctx.data.now;
    let hash = ctx.data.read::<Hash>(&args[1])?;
    let len = hash.and_then(|hash| hash.get(&args[2], now)).map_or(0, <[u8]>::len);
    ctx.reply.len(len);
    Ok(Outcome::Unchanged)
}

fn hincrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let by = int(args, 3)?;
    let (limits, now) = (ctx.data.encodings().hash, ctx.data.now);
    let mut lapsed = Lapsed::new(ctx);
    let mut hash = ctx.data.create::<Hash>(&args[1])?;
    // A counter mostly keeps its length: it is looked for once, and overwritten where it lies.
    let spot = hash.spot(&args[2], now);
    let text = spot.map(|spot| hash.at(spot)).or_else(|| hash.get(&args[2], now));
    let old = match text {
        None => 0,
        Some(text) => {
            parse_int(text).ok_or(CommandError::new("ERR hash value is not an integer"))?
        }
    };
    let new = old.checked_add(by).ok_or(CommandError::OVERFLOW)?;
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(new).as_bytes();
    if !spot.is_some_and(|spot| hash.set_at(spot, digits)) {
        lapsed.make_way(&mut hash, &args[2]);
        hash.insert_keep_deadline(&args[2], digits, &limits);
    }
    drop(hash);
    let had_lapsed = lapsed.tell(ctx, &args[1]);
    ctx.changed(NotifyFlags::HASH, "hincrby", &args[1]);
    ctx.reply.int(new);
    Ok(wrote_field(ctx, had_lapsed, &args[1], &args[2], digits))
}

fn hincrbyfloat(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let by = decimal::parse(&args[3]).ok_or(CommandError::NOT_A_FLOAT)?;
    if by.is_infinite() {
        return Err(CommandError::new("ERR value is NaN or Infinity"));
    }
    let (limits, now) = (ctx.data.encodings().hash, ctx.data.now);
    let mut lapsed = Lapsed::new(ctx);
    let mut hash = ctx.data.create::<Hash>(&args[1])?;
    let old = match hash.get(&args[2], now) {
        None => decimal::ZERO,
        Some(text) => {
            decimal::parse(text).ok_or(CommandError::new("ERR hash value is not a float"))?
        }
    };
    let new = decimal::add(old, by).ok_or(CommandError::NAN_OR_INFINITY)?.to_string();
    lapsed.make_way(&mut hash, &args[2]);
    hash.insert_keep_deadline(&args[2], new.as_bytes(), &limits);
    let deadline = hash.deadline(&args[2]);
    drop(hash);
    lapsed.tell(ctx, &args[1]);
    ctx.changed(NotifyFlags::HASH, "hincrbyfloat", &args[1]);
    ctx.reply.text(&new);
    Ok(ctx.wrote_as(|effect| {
        effect.request([b"HSET", &args[1], &args[2], new.as_bytes()]);
        if let Some(at) = deadline {
            let at = at.to_string();
            effect.request([b"HPEXPIREAT", &args[1], at.as_bytes(), b"FIELDS", b"1", &args[2]]);
        }
    }))
}

fn hrandfield(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if args.len() > 2 {
        return hrandfield_count(ctx, args);
    }
    let (now, mut rng) = (ctx.data.now, ctx.data.lookups.rng.fork());
    let hash = ctx.data.read::<Hash>(&args[1])?;
    match hash.and_then(|hash| hash.random(&mut rng, now)) {
        Some((field, _)) => ctx.reply.bulk(field),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Unchanged)
}

fn hrandfield_count(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let count = int(args, 2)?;
    let with_values = match args.len() {
        3 => false,
        4 if args::is(&args[3], "WITHVALUES") => true,
        _ => return Err(CommandError::SYNTAX),
    };
    check_random_count(count, with_values)?;
    let (now, mut rng) = (ctx.data.now, ctx.data.lookups.rng.fork());
    let Some(hash) = ctx.data.read::<Hash>(&args[1])? else {
        ctx.reply.array(0);
        return Ok(Outcome::Unchanged);
    };
    let all = hash.pairs(now);
    let (chosen, drawn) = match usize::try_from(count) {
        Ok(count) => (choose(all, count, &mut rng), 0),
        Err(_) if all.is_empty() => (all, 0),
        Err(_) => (all, count.unsigned_abs() as usize),
    };
    let pairs = ctx.reply.is_resp3();
    let length = if drawn > 0 { drawn } else { chosen.len() };
    ctx.reply.array(if with_values && !pairs { length * 2 } else { length });
    let mut write = |(field, value): (&[u8], &[u8])| {
        if with_values && pairs {
            ctx.reply.array(2);
        }
        ctx.reply.bulk(field);
        if with_values {
            ctx.reply.bulk(value);
        }
        !ctx.reply.is_too_long()
    };
    if drawn > 0 {
        (0..drawn).all(|_| write(chosen[rng.usize(..chosen.len())]));
    } else {
        chosen.into_iter().all(write);
    }
    Ok(Outcome::Unchanged)
}

/// A count of draws must be negatable, and with values must fit twice.
pub(super) fn check_random_count(count: i64, doubled: bool) -> Result<(), CommandError> {
    if count == i64::MIN {
        return Err(CommandError::COUNT_OUT_OF_RANGE);
    }
    let most = i64::MAX / 2;
    if doubled && !(-most..=most).contains(&count) {
        return Err(CommandError::OUT_OF_RANGE);
    }
    Ok(())
}

/// `count` different ones of all, or all if there are no more.
pub(super) fn choose<T>(mut all: Vec<T>, count: usize, rng: &mut fastrand::Rng) -> Vec<T> {
    if count < all.len() {
        for at in 0..count {
            let other = rng.usize(at..all.len());
            all.swap(at, other);
        }
        all.truncate(count);
    }
    all
}

fn hscan(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if super::scan::is_absent::<Hash>(ctx, args)? {
        return Ok(Outcome::Unchanged);
    }
    let mut options = ScanOptions::of_hash(args)?;
    let now = ctx.data.now;
    let mut found = Vec::new();
    let cursor = match ctx.data.read::<Hash>(&args[1])? {
        None => 0,
        Some(hash) => hash.scan(options.cursor, options.count, now, &mut |field, value| {
            if options.matches(field) {
                found.push(field.to_vec());
                if !options.no_values {
                    found.push(value.to_vec());
                }
            }
        }),
    };
    options.cursor = cursor;
    options.reply(&mut ctx.reply, found);
    Ok(Outcome::Unchanged)
}
