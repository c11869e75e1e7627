//! Sorted set commands: ZADD, ZRANGE and friends.

mod add;
mod range;
mod remove;

use super::args::{is, parse_float};
use super::scan::ScanOptions;
use super::spec::{Categories, Handler, KeyFlags, KeySpec, key};
use super::{CommandError, Ctx, Done, Outcome, Spec};
use crate::config::NotifyFlags;
use crate::resp::{Args, Reply, format_double};
use crate::store::SortedSet;

const fn row(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler).of(Categories::SORTED_SET)
}

const STORE: &[KeySpec] = &[
    KeySpec::one(1, KeyFlags::OW.with(KeyFlags::UPDATE)),
    KeySpec::one(2, KeyFlags::RO.with(KeyFlags::ACCESS)),
];

pub(super) const COMMANDS: &[Spec] = &[
    row("ZADD", -4, add::zadd).write().deny_oom().fast().key_specs(key::UPDATE).since("1.2.0").doc(
        "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
        "Adds one or more members to a sorted set, or updates their scores.",
    ),
    row("ZINCRBY", 4, add::zincrby)
        .write()
        .deny_oom()
        .fast()
        .key_specs(key::ACCESS_UPDATE)
        .since("1.2.0")
        .doc("key increment member", "Increments the score of a member in a sorted set."),
    row("ZREM", -3, remove::zrem)
        .write()
        .fast()
        .key_specs(key::DELETE)
        .since("1.2.0")
        .doc("key member [member ...]", "Removes one or more members from a sorted set."),
    row("ZREMRANGEBYSCORE", 4, remove::by_score)
        .write()
        .key_specs(key::DELETE)
        .since("1.2.0")
        .doc("key min max", "Removes members within a range of scores."),
    row("ZREMRANGEBYRANK", 4, remove::by_rank)
        .write()
        .key_specs(key::DELETE)
        .since("2.0.0")
        .doc("key start stop", "Removes members within a range of indexes."),
    row("ZREMRANGEBYLEX", 4, remove::by_lex)
        .write()
        .key_specs(key::DELETE)
        .since("2.8.9")
        .doc("key min max", "Removes members within a lexicographical range."),
    row("ZPOPMIN", -2, remove::zpopmin)
        .write()
        .fast()
        .key_specs(key::ACCESS_DELETE)
        .since("5.0.0")
        .doc("key [count]", "Returns the lowest-scoring members after removing them."),
    row("ZPOPMAX", -2, remove::zpopmax)
        .write()
        .fast()
        .key_specs(key::ACCESS_DELETE)
        .since("5.0.0")
        .doc("key [count]", "Returns the highest-scoring members after removing them."),
    row("ZSCORE", 3, zscore)
        .read()
        .fast()
        .key_specs(key::READ)
        .since("1.2.0")
        .doc("key member", "Returns the score of a member in a sorted set."),
    row("ZMSCORE", -3, zmscore)
        .read()
        .fast()
        .key_specs(key::READ)
        .since("6.2.0")
        .doc("key member [member ...]", "Returns the scores of members in a sorted set."),
    row("ZCARD", 2, zcard)
        .read()
        .fast()
        .key_specs(key::LOOK)
        .since("1.2.0")
        .doc("key", "Returns the number of members in a sorted set."),
    row("ZCOUNT", 4, range::zcount)
        .read()
        .fast()
        .key_specs(key::READ)
        .since("2.0.0")
        .doc("key min max", "Returns the count of members within a range of scores."),
    row("ZLEXCOUNT", 4, range::zlexcount)
        .read()
        .fast()
        .key_specs(key::READ)
        .since("2.8.9")
        .doc("key min max", "Returns the count of members within a lexicographical range."),
    row("ZRANK", 3, zrank)
        .read()
        .fast()
        .key_specs(key::READ)
        .since("2.0.0")
        .doc("key member", "Returns the index of a member ordered by ascending scores."),
    row("ZREVRANK", 3, zrevrank)
        .read()
        .fast()
        .key_specs(key::READ)
        .since("2.0.0")
        .doc("key member", "Returns the index of a member ordered by descending scores."),
    row("ZRANGE", -4, range::zrange).read().key_specs(key::READ).since("1.2.0").doc(
        "key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
        "Returns members in a sorted set within a range.",
    ),
    row("ZRANGESTORE", -5, range::zrangestore)
        .write()
        .deny_oom()
        .key_specs(STORE)
        .since("6.2.0")
        .doc(
            "dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
            "Stores a range of members from a sorted set in a key.",
        ),
    row("ZREVRANGE", -4, range::zrevrange)
        .deprecated("6.2.0", "`ZRANGE` with the `REV` argument")
        .read()
        .key_specs(key::READ)
        .since("1.2.0")
        .doc("key start stop [WITHSCORES]", "Returns members within a range in reverse order."),
    row("ZRANGEBYSCORE", -4, range::zrangebyscore)
        .deprecated("6.2.0", "`ZRANGE` with the `BYSCORE` argument")
        .read()
        .key_specs(key::READ)
        .since("1.0.5")
        .doc(
            "key min max [WITHSCORES] [LIMIT offset count]",
            "Returns members within a range of scores.",
        ),
    row("ZREVRANGEBYSCORE", -4, range::zrevrangebyscore)
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments")
        .read()
        .key_specs(key::READ)
        .since("2.2.0")
        .doc(
            "key max min [WITHSCORES] [LIMIT offset count]",
            "Returns members within a range of scores in reverse order.",
        ),
    row("ZRANGEBYLEX", -4, range::zrangebylex)
        .deprecated("6.2.0", "`ZRANGE` with the `BYLEX` argument")
        .read()
        .key_specs(key::READ)
        .since("2.8.9")
        .doc("key min max [LIMIT offset count]", "Returns members within a lexicographical range."),
    row("ZREVRANGEBYLEX", -4, range::zrevrangebylex)
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments")
        .read()
        .key_specs(key::READ)
        .since("2.8.9")
        .doc(
            "key max min [LIMIT offset count]",
            "Returns members within a lexicographical range in reverse order.",
        ),
    row("ZRANDMEMBER", -2, zrandmember)
        .read()
        .key_specs(key::READ)
        .since("6.2.0")
        .tips(&["nondeterministic_output"])
        .doc("key [count [WITHSCORES]]", "Returns one or more random members."),
    row("ZSCAN", -3, zscan)
        .read()
        .key_specs(key::READ)
        .since("2.8.0")
        .tips(&["nondeterministic_output"])
        .doc(
            "key cursor [MATCH pattern] [COUNT count]",
            "Iterates over members and scores of a sorted set.",
        ),
];

/// Writes members, with scores if wanted: pairs of their own in RESP3, a flat list in RESP2.
fn reply_members<'m>(
    reply: &mut Reply<'_>,
    members: impl ExactSizeIterator<Item = (&'m [u8], f64)>,
    with_scores: bool,
) {
    let pairs = with_scores && reply.is_resp3();
    reply.array(if with_scores && !pairs { members.len() * 2 } else { members.len() });
    for (member, score) in members {
        if pairs {
            reply.array(2);
        }
        reply.bulk(member);
        if with_scores {
            reply.double(score);
        }
    }
}

/// Says that members are gone, and perhaps the key with them.
fn members_gone(ctx: &mut Ctx<'_>, event: &str, key: &[u8], emptied: bool) {
    ctx.changed(NotifyFlags::ZSET, event, key);
    if emptied {
        ctx.notify(NotifyFlags::GENERIC, "del", key);
    }
}

fn score(text: &[u8]) -> Result<f64, CommandError> {
    parse_float(text).ok_or(CommandError::NOT_A_FLOAT)
}

fn zscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    match ctx.data.read::<SortedSet>(&args[1])?.and_then(|set| set.score(&args[2])) {
        Some(score) => ctx.reply.double(score),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Unchanged)
}

fn zmscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let set = ctx.data.read::<SortedSet>(&args[1])?;
    ctx.reply.array(args.len() - 2);
    for member in args.from(2).iter() {
        match set.and_then(|set| set.score(member)) {
            Some(score) => ctx.reply.double(score),
            None => ctx.reply.null(),
        }
    }
    Ok(Outcome::Unchanged)
}

fn zcard(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let len = ctx.data.read::<SortedSet>(&args[1])?.map_or(0, SortedSet::len);
    ctx.reply.len(len);
    Ok(Outcome::Unchanged)
}

fn zrank(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    rank(ctx, args, |rank, _| rank)
}

fn zrevrank(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    rank(ctx, args, |rank, len| len - 1 - rank)
}

fn rank(ctx: &mut Ctx<'_>, args: Args<'_>, from: impl Fn(usize, usize) -> usize) -> Done {
    let set = ctx.data.read::<SortedSet>(&args[1])?;
    match set.and_then(|set| Some(from(set.rank(&args[2])?, set.len()))) {
        Some(rank) => ctx.reply.len(rank),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Unchanged)
}

fn zrandmember(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let count = match args.len() {
        2 => None,
        _ => Some(super::args::int(args, 2)?),
    };
    let with_scores = match args.get(3) {
        None => false,
        Some(word) if args.len() == 4 && is(word, "WITHSCORES") => true,
        Some(_) => return Err(CommandError::SYNTAX),
    };
    super::hashes::check_random_count(count.unwrap_or(0), with_scores)?;
    let mut rng = ctx.data.lookups.rng.fork();
    let set = ctx.data.read::<SortedSet>(&args[1])?;
    let Some(count) = count else {
        match set.and_then(|set| set.random(&mut rng)) {
            Some((member, _)) => ctx.reply.bulk(member),
            None => ctx.reply.null(),
        }
        return Ok(Outcome::Unchanged);
    };
    let mut all: Vec<_> = set.map(|set| set.iter().collect()).unwrap_or_default();
    let chosen: Vec<_> = if count < 0 && !all.is_empty() {
        (0..count.unsigned_abs()).map(|_| all[rng.usize(..all.len())]).collect()
    } else {
        rng.shuffle(&mut all);
        all.into_iter().take(count.max(0) as usize).collect()
    };
    reply_members(&mut ctx.reply, chosen.into_iter(), with_scores);
    Ok(Outcome::Unchanged)
}

fn zscan(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if super::scan::is_absent::<SortedSet>(ctx, args)? {
        return Ok(Outcome::Unchanged);
    }
    let mut options = ScanOptions::of_members(args)?;
    let mut found = Vec::new();
    options.cursor = match ctx.data.read::<SortedSet>(&args[1])? {
        None => 0,
        Some(set) => set.scan(options.cursor, options.count, &mut |member, score| {
            if options.matches(member) {
                found.push(member.to_vec());
                found.push(format_double(score).into_bytes());
            }
        }),
    };
    options.reply(&mut ctx.reply, found);
    Ok(Outcome::Unchanged)
}
