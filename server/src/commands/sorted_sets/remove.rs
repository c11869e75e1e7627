//! ZREM, ZREMRANGEBY... and ZPOP...: members go.

use std::ops::Range;

use super::super::args::parse_int;
use super::super::{CommandError, Ctx, Done, Outcome, Statement};
use super::range::{lex_range, rank_range, score_range};
use super::{members_gone, reply_members};
use crate::resp::Args;
use crate::store::SortedSet;

pub(super) fn zrem(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let Some(mut set) = ctx.data.write::<SortedSet>(&args[1])? else {
        ctx.reply.int(0);
        return Ok(Outcome::Unchanged);
    };
    let removed = args.from(2).iter().filter(|member| set.remove(member).is_some()).count();
    let emptied = set.is_empty();
    drop(set);
    ctx.reply.len(removed);
    if removed == 0 {
        return Ok(Outcome::Unchanged);
    }
    members_gone(ctx, "zrem", &args[1], emptied);
    Ok(ctx.wrote(removed))
}

pub(super) fn by_score(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (min, max) = score_range(&args[2], &args[3])?;
    remove(ctx, args, "zremrangebyscore", |set| set.ranks_by_score(min, max))
}

pub(super) fn by_rank(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (start, stop) = (super::super::args::int(args, 2)?, super::super::args::int(args, 3)?);
    remove(ctx, args, "zremrangebyrank", |set| rank_range(start, stop, set.len()))
}

pub(super) fn by_lex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (min, max) = lex_range(args.at(2), args.at(3))?;
    remove(ctx, args, "zremrangebylex", |set| set.ranks_by_lex(min, max, false))
}

fn remove(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    event: &str,
    ranks: impl Fn(&SortedSet) -> Range<usize>,
) -> Done {
    let Some(mut set) = ctx.data.write::<SortedSet>(&args[1])? else {
        ctx.reply.int(0);
        return Ok(Outcome::Unchanged);
    };
    // Where scores differ, members have no order by their bytes that every server agrees about.
    let is_clear = event != "zremrangebylex" || set.has_one_score();
    let gone: Vec<Vec<u8>> = set.range(ranks(&set)).map(|(member, _)| member.to_vec()).collect();
    gone.iter().for_each(|member| {
        set.remove(member);
    });
    let emptied = set.is_empty();
    drop(set);
    ctx.reply.len(gone.len());
    if gone.is_empty() {
        return Ok(Outcome::Unchanged);
    }
    members_gone(ctx, event, &args[1], emptied);
    if is_clear {
        return Ok(Outcome::Wrote);
    }
    Ok(ctx.wrote_as(|effect| state_zrem(effect, args.at(1), gone.iter().map(Vec::as_slice))))
}

/// Members are gone, whatever took them.
fn state_zrem<'a>(
    effect: &mut Statement<'_>,
    key: &'a [u8],
    members: impl Iterator<Item = &'a [u8]> + Clone,
) {
    effect.request([b"ZREM".as_slice(), key].into_iter().chain(members));
}

pub(super) fn zpopmin(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    pop(ctx, args, false)
}

pub(super) fn zpopmax(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    pop(ctx, args, true)
}

fn pop(ctx: &mut Ctx<'_>, args: Args<'_>, from_end: bool) -> Done {
    let count = match args.len() {
        2 => None,
        3 => match parse_int(&args[2]) {
            Some(count @ 0..) => Some(count as usize),
            Some(_) | None => return Err(CommandError::MUST_BE_POSITIVE),
        },
        _ => return Err(CommandError::SYNTAX),
    };
    let key = args.at(1);
    let Some(mut set) = ctx.data.write::<SortedSet>(key)? else {
        ctx.reply.array(0);
        return Ok(Outcome::Unchanged);
    };
    let (len, wanted) = (set.len(), count.unwrap_or(1).min(set.len()));
    let ranks = if from_end { len - wanted..len } else { 0..wanted };
    let mut popped: Vec<(Vec<u8>, f64)> =
        set.range(ranks).map(|(member, score)| (member.to_vec(), score)).collect();
    if from_end {
        popped.reverse();
    }
    popped.iter().for_each(|(member, _)| {
        set.remove(member);
    });
    let emptied = set.is_empty();
    drop(set);
    match (count, popped.first()) {
        (None, Some((member, score))) => {
            ctx.reply.array(2);
            ctx.reply.bulk(member);
            ctx.reply.double(*score);
        }
        _ => {
            let members = popped.iter().map(|(member, score)| (member.as_slice(), *score));
            reply_members(&mut ctx.reply, members, true);
        }
    }
    if popped.is_empty() {
        return Ok(Outcome::Unchanged);
    }
    members_gone(ctx, if from_end { "zpopmax" } else { "zpopmin" }, key, emptied);
    Ok(ctx.wrote_as(|effect| {
        state_zrem(effect, key, popped.iter().map(|(member, _)| member.as_slice()));
    }))
}
