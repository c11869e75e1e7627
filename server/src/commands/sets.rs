//! Set commands: SADD, SMEMBERS, SINTER and friends.

use std::collections::HashSet;

use super::args::{int, is, parse_int};
use super::scan::ScanOptions;
use super::spec::{Categories, KeyFlags, KeySpec, key};
use super::{CommandError, Ctx, Done, Outcome, Spec};
use crate::config::NotifyFlags;
use crate::resp::Args;
use crate::store::Set;

const fn row(name: &'static str, arity: i32, handler: super::spec::Handler) -> Spec {
    Spec::new(name, arity, handler).of(Categories::SET)
}

const STORE: &[KeySpec] = &[
    KeySpec::one(1, KeyFlags::OW.with(KeyFlags::UPDATE)),
    KeySpec::range(2, -1, 1, KeyFlags::RO.with(KeyFlags::ACCESS)),
];
/// Redis says of this one alone that it reads what it replaces.
const INTERSECT_AND_STORE: &[KeySpec] = &[
    KeySpec::one(1, KeyFlags::RW.with(KeyFlags::UPDATE)),
    KeySpec::range(2, -1, 1, KeyFlags::RO.with(KeyFlags::ACCESS)),
];
const MOVE: &[KeySpec] = &[
    KeySpec::one(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE)),
    KeySpec::one(2, KeyFlags::RW.with(KeyFlags::INSERT)),
];
const COUNTED: &[KeySpec] = &[KeySpec::counted(1, KeyFlags::RO.with(KeyFlags::ACCESS))];

pub(super) const COMMANDS: &[Spec] = &[
    row("SADD", -3, sadd)
        .write()
        .deny_oom()
        .fast()
        .key_specs(key::INSERT)
        .doc("key member [member ...]", "Adds one or more members to a set."),
    row("SREM", -3, srem)
        .write()
        .fast()
        .key_specs(key::DELETE)
        .doc("key member [member ...]", "Removes one or more members from a set."),
    row("SMEMBERS", 2, smembers)
        .read()
        .key_specs(key::READ)
        .tips(&["nondeterministic_output_order"])
        .doc("key", "Returns all members of a set."),
    row("SISMEMBER", 3, sismember)
        .read()
        .fast()
        .key_specs(key::LOOK)
        .doc("key member", "Determines whether a member belongs to a set."),
    row("SMISMEMBER", -3, smismember)
        .read()
        .fast()
        .key_specs(key::READ)
        .since("6.2.0")
        .doc("key member [member ...]", "Determines whether multiple members belong to a set."),
    row("SCARD", 2, scard)
        .read()
        .fast()
        .key_specs(key::LOOK)
        .doc("key", "Returns the number of members in a set."),
    row("SPOP", -2, spop)
        .write()
        .fast()
        .key_specs(key::ACCESS_DELETE)
        .tips(&["nondeterministic_output"])
        .doc("key [count]", "Returns one or more random members from a set after removing them."),
    row("SRANDMEMBER", -2, srandmember)
        .read()
        .key_specs(key::READ)
        .tips(&["nondeterministic_output"])
        .doc("key [count]", "Returns one or more random members from a set."),
    row("SMOVE", 4, smove)
        .write()
        .fast()
        .key_specs(MOVE)
        .doc("source destination member", "Moves a member from one set to another."),
    row("SINTER", -2, sinter)
        .read()
        .key_specs(key::READ_ALL)
        .tips(&["nondeterministic_output_order"])
        .doc("key [key ...]", "Returns the intersect of multiple sets."),
    row("SUNION", -2, sunion)
        .read()
        .key_specs(key::READ_ALL)
        .tips(&["nondeterministic_output_order"])
        .doc("key [key ...]", "Returns the union of multiple sets."),
    row("SDIFF", -2, sdiff)
        .read()
        .key_specs(key::READ_ALL)
        .tips(&["nondeterministic_output_order"])
        .doc("key [key ...]", "Returns the difference of multiple sets."),
    row("SINTERSTORE", -3, sinterstore)
        .write()
        .deny_oom()
        .key_specs(INTERSECT_AND_STORE)
        .doc("destination key [key ...]", "Stores the intersect of multiple sets in a key."),
    row("SUNIONSTORE", -3, sunionstore)
        .write()
        .deny_oom()
        .key_specs(STORE)
        .doc("destination key [key ...]", "Stores the union of multiple sets in a key."),
    row("SDIFFSTORE", -3, sdiffstore)
        .write()
        .deny_oom()
        .key_specs(STORE)
        .doc("destination key [key ...]", "Stores the difference of multiple sets in a key."),
    row("SINTERCARD", -3, sintercard)
        .read()
        .flags(super::Flags::MOVABLE_KEYS)
        .key_specs(COUNTED)
        .since("7.0.0")
        .doc(
            "numkeys key [key ...] [LIMIT limit]",
            "Returns the number of members of the intersect of multiple sets.",
        ),
    row("SSCAN", -3, sscan)
        .read()
        .key_specs(key::READ)
        .since("2.8.0")
        .tips(&["nondeterministic_output"])
        .doc("key cursor [MATCH pattern] [COUNT count]", "Iterates over members of a set."),
];

fn sadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let limits = ctx.data.encodings().set;
    let mut set = ctx.data.create::<Set>(&args[1])?;
    let added = args.from(2).iter().filter(|member| set.add(member, &limits)).count();
    drop(set);
    ctx.reply.len(added);
    if added == 0 {
        return Ok(Outcome::Unchanged);
    }
    ctx.changed(NotifyFlags::SET, "sadd", &args[1]);
    Ok(ctx.wrote(added))
}

fn srem(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let Some(mut set) = ctx.data.write::<Set>(&args[1])? else {
        ctx.reply.int(0);
        return Ok(Outcome::Unchanged);
    };
    let removed = args.from(2).iter().filter(|member| set.remove(member)).count();
    let emptied = set.is_empty();
    drop(set);
    ctx.reply.len(removed);
    if removed == 0 {
        return Ok(Outcome::Unchanged);
    }
    members_gone(ctx, "srem", &args[1], emptied);
    Ok(ctx.wrote(removed))
}

fn members_gone(ctx: &mut Ctx<'_>, event: &str, key: &[u8], emptied: bool) {
    ctx.changed(NotifyFlags::SET, event, key);
    if emptied {
        ctx.notify(NotifyFlags::GENERIC, "del", key);
    }
}

fn smembers(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let Some(set) = ctx.data.read::<Set>(&args[1])? else {
        ctx.reply.set(0);
        return Ok(Outcome::Unchanged);
    };
    ctx.reply.set(set.len());
    set.iter().for_each(|member| ctx.reply.bulk(&member));
    Ok(Outcome::Unchanged)
}

fn sismember(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let found = ctx.data.read::<Set>(&args[1])?.is_some_and(|set| set.contains(&args[2]));
    ctx.reply.one_or_zero(found);
    Ok(Outcome::Unchanged)
}

fn smismember(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let set = ctx.data.read::<Set>(&args[1])?;
    ctx.reply.array(args.len() - 2);
    for member in args.from(2).iter() {
        ctx.reply.one_or_zero(set.is_some_and(|set| set.contains(member)));
    }
    Ok(Outcome::Unchanged)
}

fn scard(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let len = ctx.data.read::<Set>(&args[1])?.map_or(0, Set::len);
    ctx.reply.len(len);
    Ok(Outcome::Unchanged)
}

fn spop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let count = match args.len() {
        2 => None,
        3 => match parse_int(&args[2]) {
            Some(count @ 0..) => Some(count as usize),
            _ => return Err(CommandError::MUST_BE_POSITIVE),
        },
        _ => return Err(CommandError::SYNTAX),
    };
    let (key, mut rng) = (args.at(1), ctx.data.lookups.rng.fork());
    let Some(mut set) = ctx.data.write::<Set>(key)? else {
        match count {
            None => ctx.reply.null(),
            Some(_) => ctx.reply.set(0),
        }
        return Ok(Outcome::Unchanged);
    };
    let mut popped: Vec<Vec<u8>> = Vec::new();
    for _ in 0..count.unwrap_or(1).min(set.len()) {
        if let Some(member) = set.random(&mut rng).map(std::borrow::Cow::into_owned) {
            set.remove(&member);
            popped.push(member);
        }
    }
    let emptied = set.is_empty();
    drop(set);
    match count {
        None => ctx.reply.bulk_or_null(popped.first().map(Vec::as_slice)),
        Some(_) => {
            ctx.reply.set(popped.len());
            popped.iter().for_each(|member| ctx.reply.bulk(member));
        }
    }
    if popped.is_empty() {
        return Ok(Outcome::Unchanged);
    }
    members_gone(ctx, "spop", key, emptied);
    Ok(ctx.wrote_as(|effect| {
        // As Redis states it: a count that takes all deletes the key.
        if emptied && count.is_some() {
            effect.request([b"DEL", key]);
        } else {
            let head = [b"SREM".as_slice(), key].into_iter();
            effect.request(head.chain(popped.iter().map(Vec::as_slice)));
        }
    }))
}

fn srandmember(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let count = match args.len() {
        2 => None,
        3 => Some(int(args, 2)?),
        _ => return Err(CommandError::SYNTAX),
    };
    if let Some(count) = count {
        super::hashes::check_random_count(count, false)?;
    }
    let mut rng = ctx.data.lookups.rng.fork();
    let set = ctx.data.read::<Set>(&args[1])?;
    let Some(count) = count else {
        match set.and_then(|set| set.random(&mut rng)) {
            Some(member) => ctx.reply.bulk(&member),
            None => ctx.reply.null(),
        }
        return Ok(Outcome::Unchanged);
    };
    let Some(set) = set else {
        ctx.reply.array(0);
        return Ok(Outcome::Unchanged);
    };
    let all: Vec<_> = set.iter().collect();
    let Ok(wanted) = usize::try_from(count) else {
        ctx.reply.array(count.unsigned_abs() as usize);
        for _ in 0..count.unsigned_abs() {
            if ctx.reply.is_too_long() {
                break;
            }
            ctx.reply.bulk(&all[rng.usize(..all.len())]);
        }
        return Ok(Outcome::Unchanged);
    };
    let chosen = super::hashes::choose(all, wanted, &mut rng);
    ctx.reply.array(chosen.len());
    chosen.iter().for_each(|member| ctx.reply.bulk(member));
    Ok(Outcome::Unchanged)
}

fn smove(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (from, to, member) = (args.at(1), args.at(2), args.at(3));
    let limits = ctx.data.encodings().set;
    let Some(has) = ctx.data.write::<Set>(from)?.map(|set| set.contains(member)) else {
        ctx.reply.int(0);
        return Ok(Outcome::Unchanged);
    };
    if let Some(object) = ctx.data.peek(to)
        && object.value().type_name() != "set"
    {
        return Err(CommandError::WRONG_TYPE);
    }
    ctx.reply.one_or_zero(has);
    if !has || from == to {
        return Ok(Outcome::Unchanged);
    }
    let mut emptied = false;
    if let Some(mut set) = ctx.data.write::<Set>(from)? {
        set.remove(member);
        emptied = set.is_empty();
    }
    members_gone(ctx, "srem", from, emptied);
    let is_new = ctx.data.create::<Set>(to)?.add(member, &limits);
    if is_new {
        ctx.changed(NotifyFlags::SET, "sadd", to);
    }
    Ok(Outcome::Wrote)
}

/// How sets are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Combine {
    Inter,
    Union,
    Diff,
}

type Members = Vec<Vec<u8>>;

/// The combined members of sets; a key that does not exist is an empty set.
fn combine(ctx: &mut Ctx<'_>, keys: Args<'_>, how: Combine) -> Result<Members, CommandError> {
    for key in keys.iter() {
        ctx.data.read::<Set>(key)?;
    }
    let data = &ctx.data;
    let set =
        |key| data.peek(key).and_then(|object| <Set as crate::store::Kind>::of(object.value()));
    let sets: Vec<Option<&Set>> = keys.iter().map(set).collect();
    let owned = |set: &Set| set.iter().map(std::borrow::Cow::into_owned).collect::<Members>();
    Ok(match how {
        Combine::Union => {
            let mut seen = HashSet::new();
            let members = sets.iter().flatten().flat_map(|set| owned(set));
            members.filter(|member| seen.insert(member.clone())).collect()
        }
        Combine::Diff => {
            let (first, others) = sets.split_first().map_or((None, &[][..]), |(f, o)| (*f, o));
            let kept = |member: &Vec<u8>| !others.iter().flatten().any(|set| set.contains(member));
            first.map(owned).unwrap_or_default().into_iter().filter(kept).collect()
        }
        Combine::Inter => {
            if sets.iter().any(Option::is_none) {
                return Ok(Vec::new());
            }
            let mut sets: Vec<&Set> = sets.into_iter().flatten().collect();
            sets.sort_by_key(|set| set.len());
            let Some((first, others)) = sets.split_first() else { return Ok(Vec::new()) };
            let kept = |member: &Vec<u8>| others.iter().all(|set| set.contains(member));
            owned(first).into_iter().filter(kept).collect()
        }
    })
}

fn show(ctx: &mut Ctx<'_>, args: Args<'_>, how: Combine) -> Done {
    let members = combine(ctx, args.from(1), how)?;
    ctx.reply.set(members.len());
    members.iter().for_each(|member| ctx.reply.bulk(member));
    Ok(Outcome::Unchanged)
}

fn sinter(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    show(ctx, args, Combine::Inter)
}

fn sunion(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    show(ctx, args, Combine::Union)
}

fn sdiff(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    show(ctx, args, Combine::Diff)
}

fn store(ctx: &mut Ctx<'_>, args: Args<'_>, how: Combine, event: &str) -> Done {
    let members = combine(ctx, args.from(2), how)?;
    let (to, limits) = (args.at(1), ctx.data.encodings().set);
    ctx.reply.len(members.len());
    if members.is_empty() {
        if !ctx.data.remove(to) {
            return Ok(Outcome::Unchanged);
        }
        ctx.changed(NotifyFlags::GENERIC, "del", to);
        return Ok(Outcome::Wrote);
    }
    let mut set = Set::new();
    for member in &members {
        set.add(member, &limits);
    }
    ctx.data.insert(to, set);
    ctx.changed(NotifyFlags::SET, event, to);
    Ok(Outcome::Wrote)
}

fn sinterstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    store(ctx, args, Combine::Inter, "sinterstore")
}

fn sunionstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    store(ctx, args, Combine::Union, "sunionstore")
}

fn sdiffstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    store(ctx, args, Combine::Diff, "sdiffstore")
}

/// `numkeys key [key ...]` from argument 1 on, and where they end.
pub(super) fn counted_keys<'a>(
    args: Args<'a>,
    at: usize,
) -> Result<(Args<'a>, usize), CommandError> {
    let count = parse_int(args.at(at))
        .filter(|count| *count > 0)
        .ok_or(CommandError::new("ERR numkeys should be greater than 0"))?;
    let room = args.len() - at - 1;
    if count as u64 > room as u64 {
        return Err(CommandError::new("ERR Number of keys can't be greater than number of args"));
    }
    let end = at + 1 + count as usize;
    Ok((args.first(end).from(at + 1), end))
}

/// What follows the keys of SINTERCARD: `[LIMIT limit]`, the last one counts; 0 = none.
fn limit_option(args: Args<'_>, from: usize) -> Result<usize, CommandError> {
    let mut limit = 0;
    for at in (from..args.len()).step_by(2) {
        let Some(value) = args.get(at + 1).filter(|_| is(&args[at], "LIMIT")) else {
            return Err(CommandError::SYNTAX);
        };
        limit = parse_int(value)
            .and_then(|limit| usize::try_from(limit).ok())
            .ok_or(CommandError::new("ERR LIMIT can't be negative"))?;
    }
    Ok(limit)
}

fn sintercard(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (keys, end) = counted_keys(args, 1)?;
    let limit = limit_option(args, end)?;
    let found = combine(ctx, keys, Combine::Inter)?.len();
    ctx.reply.len(if limit > 0 { found.min(limit) } else { found });
    Ok(Outcome::Unchanged)
}

fn sscan(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if super::scan::is_absent::<Set>(ctx, args)? {
        return Ok(Outcome::Unchanged);
    }
    let mut options = ScanOptions::of_members(args)?;
    let mut found = Vec::new();
    options.cursor = match ctx.data.read::<Set>(&args[1])? {
        None => 0,
        Some(set) => set.scan(options.cursor, options.count, &mut |member| {
            if options.matches(member) {
                found.push(member.to_vec());
            }
        }),
    };
    options.reply(&mut ctx.reply, found);
    Ok(Outcome::Unchanged)
}
