//! String commands: SET, GET, INCR and friends.

use super::args::{self, Unit, int, is, parse_int};
use super::spec::{Categories, KeyFlags, KeySpec, key};
use super::{CommandError, Ctx, Done, Outcome, Spec, decimal};
use crate::config::NotifyFlags;
use crate::resp::Args;
use crate::store::{Str, StrRef};

const fn row(name: &'static str, arity: i32, handler: super::spec::Handler) -> Spec {
    Spec::new(name, arity, handler).of(Categories::STRING)
}

const SET_KEY: &[KeySpec] = &[KeySpec::one(
    1,
    KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE).with(KeyFlags::VARIABLE_FLAGS),
)];
const SET_EACH: &[KeySpec] = &[KeySpec::range(1, -1, 2, KeyFlags::OW.with(KeyFlags::UPDATE))];
const INSERT_EACH: &[KeySpec] = &[KeySpec::range(1, -1, 2, KeyFlags::OW.with(KeyFlags::INSERT))];
const OVERWRITE_NEW: &[KeySpec] = &[KeySpec::one(1, KeyFlags::OW.with(KeyFlags::INSERT))];

pub(super) const COMMANDS: &[Spec] = &[
    row("SET", -3, set).write().deny_oom().key_specs(SET_KEY).doc(
        "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        "Sets the string value of a key, ignoring its type.",
    ),
    row("GET", 2, get)
        .read()
        .fast()
        .key_specs(key::READ)
        .doc("key", "Returns the string value of a key."),
    row("GETSET", 3, getset)
        .deprecated("6.2.0", "`SET` with the `!GET` argument")
        .write()
        .deny_oom()
        .fast()
        .key_specs(key::ACCESS_UPDATE)
        .doc("key value", "Returns the previous string value of a key after setting it to a new value."),
    row("GETDEL", 2, getdel)
        .write()
        .fast()
        .key_specs(key::ACCESS_DELETE)
        .since("6.2.0")
        .doc("key", "Returns the string value of a key after deleting the key."),
    row("GETEX", -2, getex).write().fast().key_specs(key::ACCESS_UPDATE).since("6.2.0").doc(
        "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        "Returns the string value of a key after setting its expiration time.",
    ),
    row("SETEX", 4, setex)
        .write()
        .deny_oom()
        .key_specs(key::OVERWRITE)
        .since("2.0.0")
        .doc("key seconds value", "Sets the string value and expiration time of a key."),
    row("PSETEX", 4, psetex)
        .write()
        .deny_oom()
        .key_specs(key::OVERWRITE)
        .since("2.6.0")
        .doc("key milliseconds value", "Sets both string value and expiration time in milliseconds."),
    row("SETNX", 3, setnx)
        .write()
        .deny_oom()
        .fast()
        .key_specs(OVERWRITE_NEW)
        .doc("key value", "Sets the string value of a key only when the key doesn't exist."),
    row("MSET", -3, mset)
        .write()
        .deny_oom()
        .key_specs(SET_EACH)
        .since("1.0.1")
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .doc("key value [key value ...]", "Atomically creates or modifies string values."),
    row("MSETNX", -3, msetnx)
        .write()
        .deny_oom()
        .key_specs(INSERT_EACH)
        .since("1.0.1")
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"])
        .doc("key value [key value ...]", "Sets string values only when none of the keys exists."),
    row("MGET", -2, mget)
        .read()
        .fast()
        .key_specs(key::READ_ALL)
        .tips(&["request_policy:multi_shard"])
        .doc("key [key ...]", "Atomically returns the string values of one or more keys."),
    row("APPEND", 3, append)
        .write()
        .deny_oom()
        .fast()
        .key_specs(key::INSERT)
        .since("2.0.0")
        .doc("key value", "Appends a string to the value of a key."),
    row("STRLEN", 2, strlen)
        .read()
        .fast()
        .key_specs(key::LOOK)
        .since("2.2.0")
        .doc("key", "Returns the length of a string value."),
    row("GETRANGE", 4, getrange)
        .read()
        .key_specs(key::READ)
        .since("2.4.0")
        .doc("key start end", "Returns a substring of the string stored at a key."),
    row("SUBSTR", 4, getrange)
        .deprecated("2.0.0", "`GETRANGE`")
        .read()
        .key_specs(key::READ)
        .doc("key start end", "Returns a substring from a string value."),
    row("SETRANGE", 4, setrange)
        .write()
        .deny_oom()
        .key_specs(key::UPDATE)
        .since("2.2.0")
        .doc("key offset value", "Overwrites a part of a string value by an offset."),
    row("INCR", 2, incr)
        .write()
        .deny_oom()
        .fast()
        .key_specs(key::ACCESS_UPDATE)
        .doc("key", "Increments the integer value of a key by one."),
    row("DECR", 2, decr)
        .write()
        .deny_oom()
        .fast()
        .key_specs(key::ACCESS_UPDATE)
        .doc("key", "Decrements the integer value of a key by one."),
    row("INCRBY", 3, incrby)
        .write()
        .deny_oom()
        .fast()
        .key_specs(key::ACCESS_UPDATE)
        .doc("key increment", "Increments the integer value of a key by a number."),
    row("DECRBY", 3, decrby)
        .write()
        .deny_oom()
        .fast()
        .key_specs(key::ACCESS_UPDATE)
        .doc("key decrement", "Decrements a number from the integer value of a key."),
    row("INCRBYFLOAT", 3, incrbyfloat)
        .write()
        .deny_oom()
        .fast()
        .key_specs(key::ACCESS_UPDATE)
        .since("2.6.0")
        .doc("key increment", "Increments the floating point value of a key by a number."),
];

/// What SET and GETEX may be told beside key and value.
#[derive(Debug, Clone, Copy, Default)]
struct Options<'a> {
    nx: bool,
    xx: bool,
    get: bool,
    keep_ttl: bool,
    persist: bool,
    /// A time, its unit, and whether it counts from now.
    expire: Option<(&'a [u8], Unit, bool)>,
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>, from: usize, of_set: bool) -> Result<Self, CommandError> {
        let mut options = Options::default();
        let mut at = from;
        while at < args.len() {
            let option = args.at(at);
            // The same option may be said again, and the last one counts; another may not.
            let same =
                |unit, relative| options.expire.is_none_or(|(_, u, r)| (u, r) == (unit, relative));
            let is_timed = options.keep_ttl || options.persist;
            let time = match option.to_ascii_uppercase().as_slice() {
                b"EX" => Some((Unit::Seconds, true)),
                b"PX" => Some((Unit::Millis, true)),
                b"EXAT" => Some((Unit::Seconds, false)),
                b"PXAT" => Some((Unit::Millis, false)),
                _ => None,
            };
            match (time, args.get(at + 1)) {
                (Some((unit, relative)), Some(value)) if !is_timed && same(unit, relative) => {
                    options.expire = Some((value, unit, relative));
                    at += 1;
                }
                _ if of_set && is(option, "NX") && !options.xx => options.nx = true,
                _ if of_set && is(option, "XX") && !options.nx => options.xx = true,
                _ if of_set && is(option, "GET") => options.get = true,
                _ if of_set && is(option, "KEEPTTL") && options.expire.is_none() => {
                    options.keep_ttl = true;
                }
                _ if !of_set && is(option, "PERSIST") && options.expire.is_none() => {
                    options.persist = true;
                }
                _ => return Err(CommandError::SYNTAX),
            }
            at += 1;
        }
        Ok(options)
    }

    /// The absolute deadline that is asked for, above 0.
    fn deadline(&self, ctx: &Ctx<'_>) -> Result<Option<i64>, CommandError> {
        match self.expire {
            None => Ok(None),
            Some((text, unit, relative)) => deadline(ctx, text, unit, relative).map(Some),
        }
    }
}

fn deadline(ctx: &Ctx<'_>, text: &[u8], unit: Unit, relative: bool) -> Result<i64, CommandError> {
    let value = parse_int(text).ok_or(CommandError::NOT_AN_INTEGER)?;
    let invalid = || CommandError::invalid_expire(ctx.name());
    if value <= 0 {
        return Err(invalid());
    }
    args::deadline(value, unit, relative, ctx.now).ok_or_else(invalid)
}

/// Puts a string under a key, which loses its old value and, unless it is kept, its deadline.
fn put(ctx: &mut Ctx<'_>, key: &[u8], value: &[u8], deadline: Option<i64>, keep: bool) {
    let kept = if keep { ctx.data.peek(key).and_then(|object| object.deadline()) } else { None };
    ctx.data.insert_text(key, value);
    match deadline {
        Some(at) => {
            ctx.data.set_deadline(key, Some(at as u64));
        }
        None if kept.is_some() => {
            // It was noted when it was set.
            ctx.data.db_mut().set_deadline(key, kept, 0);
        }
        None => {}
    }
    ctx.changed(NotifyFlags::STRING, "set", key);
    if deadline.is_some() {
        ctx.notify(NotifyFlags::GENERIC, "expire", key);
    }
    end_if_past(ctx, key, deadline);
}

/// A deadline that is past already ends the key at once.
fn end_if_past(ctx: &mut Ctx<'_>, key: &[u8], deadline: Option<i64>) {
    if deadline.is_some_and(|at| ctx.is_past(at)) {
        ctx.end_due(key);
    }
}

fn set_effect(ctx: &mut Ctx<'_>, key: &[u8], value: &[u8], deadline: Option<i64>) -> Outcome {
    let is_past = deadline.is_some_and(|at| ctx.is_past(at));
    ctx.wrote_as(|effect| match deadline {
        Some(_) if is_past => effect.request([b"DEL", key]),
        Some(at) => {
            let at = at.to_string();
            effect.request([b"SET", key, value, b"PXAT", at.as_bytes()]);
        }
        None => effect.request([b"SET", key, value]),
    })
}

fn set(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let options = Options::parse(args, 3, true)?;
    let deadline = options.deadline(ctx)?;
    let (key, value) = (args.at(1), args.at(2));
    let exists = if options.get {
        let old = ctx.data.read::<Str>(key)?;
        match old {
            Some(old) => ctx.reply.bulk(&old.bytes()),
            None => ctx.reply.null(),
        }
        old.is_some()
    } else {
        ctx.data.peek(key).is_some()
    };
    if (options.nx && exists) || (options.xx && !exists) {
        if !options.get {
            ctx.reply.null();
        }
        return Ok(Outcome::Unchanged);
    }
    put(ctx, key, value, deadline, options.keep_ttl);
    if !options.get {
        ctx.reply.ok();
    }
    if options.keep_ttl {
        return Ok(ctx.wrote_as(|effect| effect.request([b"SET", key, value, b"KEEPTTL"])));
    }
    Ok(set_effect(ctx, key, value, deadline))
}

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    match ctx.data.read::<Str>(&args[1])? {
        Some(value) => ctx.reply.bulk(&value.bytes()),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Unchanged)
}

fn getset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    match ctx.data.read::<Str>(&args[1])? {
        Some(value) => ctx.reply.bulk(&value.bytes()),
        None => ctx.reply.null(),
    }
    put(ctx, &args[1], &args[2], None, false);
    Ok(set_effect(ctx, &args[1], &args[2], None))
}

fn getdel(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    match ctx.data.read::<Str>(&args[1])? {
        Some(value) => ctx.reply.bulk(&value.bytes()),
        None => {
            ctx.reply.null();
            return Ok(Outcome::Unchanged);
        }
    }
    ctx.data.remove(&args[1]);
    ctx.changed(NotifyFlags::GENERIC, "del", &args[1]);
    Ok(ctx.wrote_as(|effect| effect.request([b"DEL", &args[1]])))
}

fn getex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let options = Options::parse(args, 2, false)?;
    let key = args.at(1);
    let value = ctx.data.read::<Str>(key)?.map(|value| value.bytes().into_owned());
    let Some(value) = value else {
        ctx.reply.null();
        return Ok(Outcome::Unchanged);
    };
    let deadline = options.deadline(ctx)?;
    ctx.reply.bulk(&value);
    if let Some(at) = deadline {
        if ctx.is_past(at) {
            ctx.data.remove(key);
            ctx.changed(NotifyFlags::GENERIC, "del", key);
            return Ok(ctx.wrote_as(|effect| effect.request([b"DEL", key])));
        }
        ctx.data.set_deadline(key, Some(at as u64));
        ctx.changed(NotifyFlags::GENERIC, "expire", key);
        return Ok(ctx.wrote_as(|effect| {
            effect.request([b"PEXPIREAT", key, at.to_string().as_bytes()]);
        }));
    }
    let has_deadline = ctx.data.peek(key).is_some_and(|object| object.deadline().is_some());
    if options.persist && has_deadline {
        ctx.data.set_deadline(key, None);
        ctx.changed(NotifyFlags::GENERIC, "persist", key);
        return Ok(ctx.wrote_as(|effect| effect.request([b"PERSIST", key])));
    }
    Ok(Outcome::Unchanged)
}

fn setex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    setex_generic(ctx, args, Unit::Seconds)
}

fn psetex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    setex_generic(ctx, args, Unit::Millis)
}

fn setex_generic(ctx: &mut Ctx<'_>, args: Args<'_>, unit: Unit) -> Done {
    let at = Some(deadline(ctx, &args[2], unit, true)?);
    put(ctx, &args[1], &args[3], at, false);
    ctx.reply.ok();
    Ok(set_effect(ctx, &args[1], &args[3], at))
}

fn setnx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if ctx.data.peek(&args[1]).is_some() {
        ctx.reply.int(0);
        return Ok(Outcome::Unchanged);
    }
    put(ctx, &args[1], &args[2], None, false);
    ctx.reply.int(1);
    Ok(set_effect(ctx, &args[1], &args[2], None))
}

fn set_each(ctx: &mut Ctx<'_>, args: Args<'_>) {
    for at in (1..args.len()).step_by(2) {
        put(ctx, &args[at], &args[at + 1], None, false);
    }
}

fn mset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::wrong_arity(ctx.name()));
    }
    set_each(ctx, args);
    ctx.reply.ok();
    Ok(ctx.wrote(args.len() / 2))
}

fn msetnx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::wrong_arity(ctx.name()));
    }
    if args.from(1).iter().step_by(2).any(|key| ctx.data.peek(key).is_some()) {
        ctx.reply.int(0);
        return Ok(Outcome::Unchanged);
    }
    set_each(ctx, args);
    ctx.reply.int(1);
    ctx.server.effects.count_more((args.len() / 2 - 1) as u64);
    Ok(ctx.wrote_as(|effect| {
        effect.request(std::iter::once(b"MSET".as_slice()).chain(args.from(1).iter()));
    }))
}

fn mget(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    ctx.reply.array(args.len() - 1);
    for key in args.from(1).iter() {
        if ctx.reply.is_too_long() {
            break;
        }
        // A value of another type is no error here.
        match ctx.data.read::<Str>(key) {
            Ok(Some(value)) => ctx.reply.bulk(&value.bytes()),
            _ => ctx.reply.null(),
        }
    }
    Ok(Outcome::Unchanged)
}

fn check_length(ctx: &Ctx<'_>, length: usize) -> Result<(), CommandError> {
    let most = ctx.server.config.proto_max_bulk_len as usize;
    if length > most { Err(CommandError::STRING_TOO_LONG) } else { Ok(()) }
}

fn append(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (key, bytes) = (args.at(1), args.at(2));
    let old = ctx.data.write::<Str>(key)?.map(|value| value.len());
    let length = match old {
        None => {
            ctx.data.insert_text(key, bytes);
            bytes.len()
        }
        Some(length) => {
            check_length(ctx, length + bytes.len())?;
            if let Some(mut value) = ctx.data.write::<Str>(key)? {
                value.append(bytes);
            }
            length + bytes.len()
        }
    };
    ctx.changed(NotifyFlags::STRING, "append", key);
    ctx.reply.len(length);
    Ok(Outcome::Wrote)
}

fn strlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let length = ctx.data.read::<Str>(&args[1])?.map_or(0, StrRef::len);
    ctx.reply.len(length);
    Ok(Outcome::Unchanged)
}

fn getrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (start, end) = (int(args, 2)?, int(args, 3)?);
    let Some(value) = ctx.data.read::<Str>(&args[1])? else {
        ctx.reply.bulk(b"");
        return Ok(Outcome::Unchanged);
    };
    let bytes = value.bytes();
    let length = bytes.len() as i64;
    if start < 0 && end < 0 && start > end {
        ctx.reply.bulk(b"");
        return Ok(Outcome::Unchanged);
    }
    let from_end = |at: i64| if at < 0 { (length.saturating_add(at)).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end).min(length - 1));
    if start > end || length == 0 {
        ctx.reply.bulk(b"");
    } else {
        ctx.reply.bulk(&bytes[start as usize..=end as usize]);
    }
    Ok(Outcome::Unchanged)
}

fn setrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (key, offset, bytes) = (args.at(1), int(args, 2)?, args.at(3));
    if offset < 0 {
        return Err(CommandError::OFFSET_OUT_OF_RANGE);
    }
    let old = ctx.data.write::<Str>(key)?.map(|value| value.len());
    if bytes.is_empty() {
        ctx.reply.len(old.unwrap_or(0));
        return Ok(Outcome::Unchanged);
    }
    let offset = offset as usize;
    check_length(ctx, offset.saturating_add(bytes.len()))?;
    if old.is_none() {
        ctx.data.insert_text(key, b"");
    }
    let length = match ctx.data.write::<Str>(key)? {
        Some(mut value) => {
            value.set_range(offset, bytes);
            value.len()
        }
        None => 0,
    };
    ctx.changed(NotifyFlags::STRING, "setrange", key);
    ctx.reply.len(length);
    Ok(Outcome::Wrote)
}

fn incr(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    add(ctx, &args[1], 1)
}

fn decr(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    add(ctx, &args[1], -1)
}

fn incrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let by = int(args, 2)?;
    add(ctx, &args[1], by)
}

fn decrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let by =
        int(args, 2)?.checked_neg().ok_or(CommandError::new("ERR decrement would overflow"))?;
    add(ctx, &args[1], by)
}

fn add(ctx: &mut Ctx<'_>, key: &[u8], by: i64) -> Done {
    let mut digits = itoa::Buffer::new();
    let Some(mut value) = ctx.data.write::<Str>(key)? else {
        ctx.data.insert_text(key, digits.format(by).as_bytes());
        return incremented(ctx, key, by);
    };
    let old = parse_int(&value.bytes()).ok_or(CommandError::NOT_AN_INTEGER)?;
    let new = old.checked_add(by).ok_or(CommandError::OVERFLOW)?;
    value.set(digits.format(new).as_bytes());
    drop(value);
    incremented(ctx, key, new)
}

fn incremented(ctx: &mut Ctx<'_>, key: &[u8], new: i64) -> Done {
    ctx.changed(NotifyFlags::STRING, "incrby", key);
    ctx.reply.int(new);
    Ok(Outcome::Wrote)
}

fn incrbyfloat(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = args.at(1);
    let old = ctx.data.write::<Str>(key)?.map(|value| value.bytes().into_owned());
    let old = match old {
        None => decimal::ZERO,
        Some(text) => decimal::parse(&text).ok_or(CommandError::NOT_A_FLOAT)?,
    };
    let by = decimal::parse(&args[2]).ok_or(CommandError::NOT_A_FLOAT)?;
    let new = decimal::add(old, by).ok_or(CommandError::NAN_OR_INFINITY)?.to_string();
    if let Some(mut value) = ctx.data.write::<Str>(key)? {
        value.set_computed(new.as_bytes());
    } else {
        ctx.data.insert(key, Str::computed(new.as_bytes()));
    }
    ctx.changed(NotifyFlags::STRING, "incrbyfloat", key);
    ctx.reply.text(&new);
    Ok(ctx.wrote_as(|effect| effect.request([b"SET", key, new.as_bytes(), b"KEEPTTL"])))
}
