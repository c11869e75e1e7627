//! Deadlines of hash fields: HEXPIRE, HTTL, HGETEX, HSETEX and friends, as Valkey 9 has them.

use super::args::{self, Unit, is, parse_int};
use super::key_deadlines::Conditions;
use super::lapsed::Lapsed;
use super::spec::{Categories, key};
use super::{CommandError, Ctx, Done, Outcome, Spec, Statement};
use crate::config::NotifyFlags;
use crate::resp::Args;
use crate::store::Hash;

const fn row(name: &'static str, arity: i32, handler: super::spec::Handler) -> Spec {
    Spec::new(name, arity, handler)
        .fast()
        .of(Categories::HASH)
        .since("9.0.0")
        .cost("O(N) where N is the number of specified fields.")
}

pub(super) const COMMANDS: &[Spec] = &[
    row("HEXPIRE", -6, hexpire).write().key_specs(key::UPDATE).doc(
        "key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        "Sets the expiration time of hash fields in seconds.",
    ),
    row("HPEXPIRE", -6, hpexpire).write().key_specs(key::UPDATE).doc(
        "key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        "Sets the expiration time of hash fields in milliseconds.",
    ),
    row("HEXPIREAT", -6, hexpireat).write().key_specs(key::UPDATE).doc(
        "key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        "Sets the expiration time of hash fields to a Unix timestamp.",
    ),
    row("HPEXPIREAT", -6, hpexpireat).write().key_specs(key::UPDATE).doc(
        "key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        "Sets the expiration time of hash fields to a Unix milliseconds timestamp.",
    ),
    row("HTTL", -5, httl).read().key_specs(key::READ).doc(
        "key FIELDS numfields field [field ...]",
        "Returns the remaining time of hash fields in seconds.",
    ),
    row("HPTTL", -5, hpttl).read().key_specs(key::READ).doc(
        "key FIELDS numfields field [field ...]",
        "Returns the remaining time of hash fields in milliseconds.",
    ),
    row("HEXPIRETIME", -5, hexpiretime).read().key_specs(key::READ).doc(
        "key FIELDS numfields field [field ...]",
        "Returns the expiration time of hash fields as a Unix timestamp.",
    ),
    row("HPEXPIRETIME", -5, hpexpiretime).read().key_specs(key::READ).doc(
        "key FIELDS numfields field [field ...]",
        "Returns the expiration time of hash fields as a Unix milliseconds timestamp.",
    ),
    row("HPERSIST", -5, hpersist).write().key_specs(key::UPDATE).doc(
        "key FIELDS numfields field [field ...]",
        "Removes the expiration time of hash fields.",
    ),
    row("HGETEX", -5, hgetex).write().key_specs(key::ACCESS_UPDATE).doc(
        "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST] FIELDS numfields field [field ...]",
        "Returns the values of fields and sets or removes their expiration time.",
    ),
    row("HSETEX", -6, hsetex).write().deny_oom().key_specs(key::INSERT).doc(
        "key [NX | XX] [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL] FIELDS numfields field value [field value ...]",
        "Sets the values of fields and their expiration time.",
    ),
    row("HGETDEL", -5, hgetdel).write().key_specs(key::ACCESS_DELETE).since("9.1.0").doc(
        "key FIELDS numfields field [field ...]",
        "Returns the values of fields and deletes them.",
    ),
];

const NUMFIELDS: CommandError = CommandError::NUMFIELDS;

/// Where the first field stands, if `FIELDS numfields` stands at `at` and the number is that of
/// the arguments behind it, `width` for each field. `mismatch` says when it is not.
fn fields_at(
    args: Args<'_>,
    at: usize,
    width: usize,
    mismatch: CommandError,
) -> Result<usize, CommandError> {
    let Some(count) = args.get(at + 1) else { return Err(mismatch) };
    let count = parse_int(count).ok_or(CommandError::NOT_AN_INTEGER)?;
    let found = args.len() - (at + 2);
    if count <= 0 || count.checked_mul(width as i64) != Some(found as i64) {
        return Err(mismatch);
    }
    Ok(at + 2)
}

fn hexpire(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    expire(ctx, args, Unit::Seconds, true)
}

fn hpexpire(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    expire(ctx, args, Unit::Millis, true)
}

fn hexpireat(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    expire(ctx, args, Unit::Seconds, false)
}

fn hpexpireat(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    expire(ctx, args, Unit::Millis, false)
}

/// An absolute deadline from what a user wrote: not negative, not beyond what fits.
fn deadline(ctx: &Ctx<'_>, text: &[u8], unit: Unit, relative: bool) -> Result<i64, CommandError> {
    let value = parse_int(text).ok_or(CommandError::NOT_AN_INTEGER)?;
    let invalid = || CommandError::invalid_expire(ctx.name());
    if value < 0 {
        return Err(invalid());
    }
    args::deadline(value, unit, relative, ctx.now).ok_or_else(invalid)
}

/// What became of a field, as HEXPIRE answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Missing = -2,
    Refused = 0,
    Set = 1,
    Deleted = 2,
}

fn expire(ctx: &mut Ctx<'_>, args: Args<'_>, unit: Unit, relative: bool) -> Done {
    let fields = (3..args.len()).find(|at| is(&args[*at], "FIELDS")).ok_or(NUMFIELDS)?;
    let conditions = Conditions::parse(args.first(fields).from(3))?;
    let first = fields_at(args, fields, 1, NUMFIELDS)?;
    let at = deadline(ctx, &args[2], unit, relative)?;
    let (key, now, is_past) = (args.at(1), ctx.data.now, ctx.is_past(at));
    let Some(mut hash) = ctx.data.write::<Hash>(key)? else {
        return none_found(ctx, args.from(first));
    };
    let mut fates = Vec::with_capacity(args.len() - first);
    for field in args.from(first).iter() {
        let fate = if !hash.contains(field, now) {
            Fate::Missing
        } else if !conditions.allow(hash.deadline(field), at) {
            Fate::Refused
        } else if is_past {
            hash.remove(field);
            Fate::Deleted
        } else {
            hash.set_deadline(field, Some(at as u64));
            Fate::Set
        };
        fates.push(fate);
    }
    let emptied = hash.is_empty();
    drop(hash);
    ctx.reply.array(fates.len());
    fates.iter().for_each(|fate| ctx.reply.int(*fate as i64));
    if fates.contains(&Fate::Set) {
        ctx.changed(NotifyFlags::HASH, "hexpire", key);
    }
    let ended = fates.iter().filter(|fate| **fate == Fate::Deleted).count();
    if ended > 0 {
        fields_ended(ctx, key, ended, emptied);
    }
    let of = |wanted: Fate| -> Vec<&[u8]> {
        let pairs = args.from(first).iter().zip(&fates);
        pairs.filter(|(_, fate)| **fate == wanted).map(|(field, _)| field).collect()
    };
    if !fates.iter().any(|fate| matches!(fate, Fate::Set | Fate::Deleted)) {
        return Ok(Outcome::Unchanged);
    }
    Ok(ctx.wrote_as(|effect| {
        deadline_set(effect, key, at, &of(Fate::Set));
        deleted(effect, key, &of(Fate::Deleted));
    }))
}

/// The effect of a deadline given to fields.
fn deadline_set(effect: &mut Statement<'_>, key: &[u8], at: i64, fields: &[&[u8]]) {
    if !fields.is_empty() {
        let (at, count) = (at.to_string(), fields.len().to_string());
        let head = [b"HPEXPIREAT", key, at.as_bytes(), b"FIELDS", count.as_bytes()];
        effect.request(head.into_iter().chain(fields.iter().copied()));
    }
}

/// The effect of fields deleted.
fn deleted(effect: &mut Statement<'_>, key: &[u8], fields: &[&[u8]]) {
    if !fields.is_empty() {
        let head = [b"HDEL".as_slice(), key];
        effect.request(head.into_iter().chain(fields.iter().copied()));
    }
}

/// Says that fields of a hash were given a time that is past, and are gone.
fn fields_ended(ctx: &mut Ctx<'_>, key: &[u8], count: usize, emptied: bool) {
    ctx.server.stats.expired_fields += count as u64;
    fields_gone(ctx, key, "hexpired", emptied);
}

/// Says that fields of a hash are gone, and perhaps the hash with them.
fn fields_gone(ctx: &mut Ctx<'_>, key: &[u8], event: &str, emptied: bool) {
    ctx.changed(NotifyFlags::HASH, event, key);
    if emptied {
        ctx.notify(NotifyFlags::GENERIC, "del", key);
    }
}

/// -2 for every field of a key that does not exist.
fn none_found(ctx: &mut Ctx<'_>, fields: Args<'_>) -> Done {
    ctx.reply.array(fields.len());
    fields.iter().for_each(|_| ctx.reply.int(-2));
    Ok(Outcome::Unchanged)
}

fn httl(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let now = ctx.now;
    remaining(ctx, args, |at| (at.saturating_sub(now) + 500) / 1000)
}

fn hpttl(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let now = ctx.now;
    remaining(ctx, args, |at| at.saturating_sub(now))
}

fn hexpiretime(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    remaining(ctx, args, |at| at.saturating_add(500) / 1000)
}

fn hpexpiretime(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    remaining(ctx, args, |at| at)
}

fn remaining(ctx: &mut Ctx<'_>, args: Args<'_>, show: impl Fn(u64) -> u64) -> Done {
    if !is(&args[2], "FIELDS") {
        return Err(CommandError::SYNTAX);
    }
    let first = fields_at(args, 2, 1, CommandError::SYNTAX)?;
    let now = ctx.data.now;
    let Some(hash) = ctx.data.read::<Hash>(&args[1])? else {
        return none_found(ctx, args.from(first));
    };
    ctx.reply.array(args.len() - first);
    for field in args.from(first).iter() {
        ctx.reply.int(match hash.deadline(field) {
            _ if !hash.contains(field, now) => -2,
            None => -1,
            Some(at) => show(at) as i64,
        });
    }
    Ok(Outcome::Unchanged)
}

fn hpersist(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if !is(&args[2], "FIELDS") {
        return Err(CommandError::SYNTAX);
    }
    let first = fields_at(args, 2, 1, NUMFIELDS)?;
    let (key, now) = (args.at(1), ctx.data.now);
    let Some(mut hash) = ctx.data.write::<Hash>(key)? else {
        return none_found(ctx, args.from(first));
    };
    let mut persisted = 0;
    ctx.reply.array(args.len() - first);
    for field in args.from(first).iter() {
        ctx.reply.int(if !hash.contains(field, now) {
            -2
        } else if hash.deadline(field).is_none() {
            -1
        } else {
            hash.set_deadline(field, None);
            persisted += 1;
            1
        });
    }
    drop(hash);
    if persisted == 0 {
        return Ok(Outcome::Unchanged);
    }
    ctx.changed(NotifyFlags::HASH, "hpersist", key);
    Ok(Outcome::Wrote)
}

/// What HGETEX and HSETEX may be told before FIELDS.
#[derive(Debug, Default)]
struct Options<'a> {
    key_new: bool,
    key_old: bool,
    fields_new: bool,
    fields_old: bool,
    keep_ttl: bool,
    persist: bool,
    time: Option<(&'a [u8], Unit, bool)>,
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>, sets: bool) -> Result<Self, CommandError> {
        let mut found = Options::default();
        let mut at = 2;
        while at < args.len() {
            let (option, value) = (args.at(at), args.get(at + 1));
            // The same may be said twice, and then the last counts.
            let same = |unit, relative| found.time.is_none_or(|t| (t.1, t.2) == (unit, relative));
            let keeps = found.keep_ttl || found.persist;
            let time = match option.to_ascii_uppercase().as_slice() {
                b"EX" => Some((Unit::Seconds, true)),
                b"PX" => Some((Unit::Millis, true)),
                b"EXAT" => Some((Unit::Seconds, false)),
                b"PXAT" => Some((Unit::Millis, false)),
                _ => None,
            };
            match (time, value) {
                (Some((unit, relative)), Some(value)) if !keeps && same(unit, relative) => {
                    found.time = Some((value, unit, relative));
                    at += 1;
                }
                _ if sets && is(option, "NX") && !found.key_old => found.key_new = true,
                _ if sets && is(option, "XX") && !found.key_new => found.key_old = true,
                _ if sets && is(option, "FNX") && !found.fields_old => found.fields_new = true,
                _ if sets && is(option, "FXX") && !found.fields_new => found.fields_old = true,
                _ if sets && is(option, "KEEPTTL") && found.time.is_none() => found.keep_ttl = true,
                _ if !sets && is(option, "PERSIST") && found.time.is_none() => found.persist = true,
                _ => return Err(CommandError::SYNTAX),
            }
            at += 1;
        }
        Ok(found)
    }

    /// The absolute deadline that is asked for.
    fn deadline(&self, ctx: &Ctx<'_>) -> Result<Option<i64>, CommandError> {
        self.time.map(|(text, unit, relative)| deadline(ctx, text, unit, relative)).transpose()
    }
}

/// Where FIELDS is said, which is never the last word: that one could only be its number.
fn fields_word(args: Args<'_>) -> Result<usize, CommandError> {
    (2..args.len() - 1).find(|at| is(&args[*at], "FIELDS")).ok_or(NUMFIELDS)
}

fn hgetex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let fields = fields_word(args)?;
    let options = Options::parse(args.first(fields), false)?;
    let first = fields_at(args, fields, 1, NUMFIELDS)?;
    let (key, now) = (args.at(1), ctx.data.now);
    // A wrong type is told before a wrong time.
    ctx.data.read::<Hash>(key)?;
    let at = options.deadline(ctx)?;
    let is_past = at.is_some_and(|at| ctx.is_past(at));
    ctx.reply.array(args.len() - first);
    let Some(mut hash) = ctx.data.write::<Hash>(key)? else {
        args.from(first).iter().for_each(|_| ctx.reply.null());
        return Ok(Outcome::Unchanged);
    };
    let mut touched = Vec::new();
    for field in args.from(first).iter() {
        let value = hash.get(field, now);
        if !ctx.reply.is_too_long() {
            ctx.reply.bulk_or_null(value);
        }
        if value.is_none() {
            continue;
        }
        let changes = match at {
            Some(_) if is_past => hash.remove(field),
            Some(at) => hash.set_deadline(field, Some(at as u64)),
            None => {
                options.persist && hash.deadline(field).is_some() && hash.set_deadline(field, None)
            }
        };
        if changes {
            touched.push(field);
        }
    }
    let emptied = hash.is_empty();
    drop(hash);
    if touched.is_empty() {
        return Ok(Outcome::Unchanged);
    }
    match at {
        Some(_) if is_past => fields_ended(ctx, key, touched.len(), emptied),
        Some(_) => ctx.changed(NotifyFlags::HASH, "hexpire", key),
        None => ctx.changed(NotifyFlags::HASH, "hpersist", key),
    }
    Ok(ctx.wrote_as(|effect| match at {
        Some(_) if is_past => deleted(effect, key, &touched),
        Some(at) => deadline_set(effect, key, at, &touched),
        None => {
            let count = touched.len().to_string();
            let head = [b"HPERSIST", key, b"FIELDS", count.as_bytes()];
            effect.request(head.into_iter().chain(touched.iter().copied()));
        }
    }))
}

fn hsetex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let fields = fields_word(args)?;
    let options = Options::parse(args.first(fields), true)?;
    let first = fields_at(args, fields, 2, NUMFIELDS)?;
    let (key, now, limits) = (args.at(1), ctx.data.now, ctx.data.encodings().hash);
    let pairs = args.from(first);
    let names = || pairs.iter().step_by(2);
    let hash = ctx.data.write::<Hash>(key)?;
    let exists = hash.is_some();
    let has = |field| hash.as_ref().is_some_and(|hash| hash.contains(field, now));
    if (options.key_new && exists) || (options.key_old && !exists) {
        ctx.reply.int(0);
        return Ok(Outcome::Unchanged);
    }
    let refused =
        (options.fields_new && names().any(has)) || (options.fields_old && !names().all(has));
    drop(hash);
    // The time is looked at between the key's conditions and the fields'.
    let until = options.deadline(ctx)?;
    if refused {
        ctx.reply.int(0);
        return Ok(Outcome::Unchanged);
    }
    let is_past = until.is_some_and(|at| ctx.is_past(at));
    let wanted = ctx.server.effects.own_are_wanted();
    let mut lapsed = Lapsed::new(ctx);
    let mut hash = ctx.data.create::<Hash>(key)?;
    for at in (0..pairs.len()).step_by(2) {
        let (field, value) = (pairs.at(at), pairs.at(at + 1));
        if is_past {
            hash.remove(field);
            continue;
        }
        lapsed.make_way(&mut hash, field);
        if options.keep_ttl {
            hash.insert_keep_deadline(field, value, &limits);
        } else {
            hash.insert(field, value, &limits);
            if let Some(at) = until {
                hash.set_deadline(field, Some(at as u64));
            }
        }
    }
    // What a replica is to be told in commands that older ones know too.
    let kept: Vec<(&[u8], Option<u64>)> = match options.keep_ttl && wanted {
        true => names().map(|field| (field, hash.deadline(field))).collect(),
        false => Vec::new(),
    };
    let emptied = hash.is_empty();
    drop(hash);
    lapsed.tell(ctx, key);
    ctx.changed(NotifyFlags::HASH, "hset", key);
    if until.is_some() {
        ctx.notify(NotifyFlags::HASH, "hexpire", key);
    }
    if is_past {
        // Those that were not there count too.
        fields_ended(ctx, key, pairs.len() / 2, emptied);
    }
    ctx.reply.int(1);
    Ok(ctx.wrote_as(|effect| {
        let names: Vec<&[u8]> = names().collect();
        if is_past {
            return deleted(effect, key, &names);
        }
        effect.request([b"HSET".as_slice(), key].into_iter().chain(pairs.iter()));
        if let Some(at) = until {
            deadline_set(effect, key, at, &names);
        }
        for (field, at) in kept {
            if let Some(at) = at {
                deadline_set(effect, key, at as i64, &[field]);
            }
        }
    }))
}

fn hgetdel(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if !is(&args[2], "FIELDS") {
        return Err(CommandError::SYNTAX);
    }
    let first = fields_at(args, 2, 1, NUMFIELDS)?;
    let (key, now) = (args.at(1), ctx.data.now);
    ctx.reply.array(args.len() - first);
    let Some(mut hash) = ctx.data.write::<Hash>(key)? else {
        args.from(first).iter().for_each(|_| ctx.reply.null());
        return Ok(Outcome::Unchanged);
    };
    let mut removed = Vec::new();
    for field in args.from(first).iter() {
        let value = hash.get(field, now);
        ctx.reply.bulk_or_null(value);
        if value.is_some() && hash.remove(field) {
            removed.push(field);
        }
    }
    let emptied = hash.is_empty();
    drop(hash);
    if removed.is_empty() {
        return Ok(Outcome::Unchanged);
    }
    fields_gone(ctx, key, "hdel", emptied);
    Ok(ctx.wrote_as(|effect| deleted(effect, key, &removed)))
}
