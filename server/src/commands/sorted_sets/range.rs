//! ZRANGE and its older sisters, ZCOUNT, ZLEXCOUNT: members between two bounds.

use std::ops::Range;

use super::super::args::{int, is, parse_bound};
use super::super::{CommandError, Ctx, Done, Outcome};
use super::reply_members;
use crate::config::NotifyFlags;
use crate::resp::{Args, format_double};
use crate::store::{LexBound, ScoreBound, SortedSet};

/// By what a range is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// A range as the options say it.
#[derive(Debug, Clone, Copy)]
struct Query<'a> {
    by: By,
    reverse: bool,
    with_scores: bool,
    limit: Option<(i64, i64)>,
    first: &'a [u8],
    second: &'a [u8],
}

/// The ends of a range of scores: `(` leaves the score itself out.
pub(super) fn score_range(
    min: &[u8],
    max: &[u8],
) -> Result<(ScoreBound, ScoreBound), CommandError> {
    let bound = |text: &[u8]| {
        let (exclusive, digits) = match text {
            [b'(', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        let score = parse_bound(digits);
        let score = score.ok_or(CommandError::new("ERR min or max is not a float"))?;
        Ok::<_, CommandError>(ScoreBound { score, exclusive })
    };
    Ok((bound(min)?, bound(max)?))
}

/// The ends of a range of members: `-`, `+`, `[member` or `(member`.
pub(super) fn lex_range<'a>(
    min: &'a [u8],
    max: &'a [u8],
) -> Result<(LexBound<'a>, LexBound<'a>), CommandError> {
    let bound = |text: &'a [u8]| match text {
        b"-" => Ok(LexBound::First),
        b"+" => Ok(LexBound::Last),
        [b'[', member @ ..] => Ok(LexBound::Inclusive(member)),
        [b'(', member @ ..] => Ok(LexBound::Exclusive(member)),
        _ => Err(CommandError::new("ERR min or max not valid string range item")),
    };
    Ok((bound(min)?, bound(max)?))
}

/// Ranks from `start` to `stop`, both included; negative ones count from the end.
pub(super) fn rank_range(start: i64, stop: i64, len: usize) -> Range<usize> {
    let len = len as i64;
    let from_end = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
    let (start, stop) = (from_end(start).max(0), from_end(stop).min(len - 1));
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}

impl<'a> Query<'a> {
    /// Options from `from` on, for a range whose ends stand at `at` and `at + 1`. `fixed` is what
    /// the older commands have in their names; ZRANGE and ZRANGESTORE say it all themselves.
    fn parse(
        args: Args<'a>,
        at: usize,
        fixed: Option<(By, bool)>,
        scores: bool,
    ) -> Result<Self, CommandError> {
        let (by, reverse) = fixed.unwrap_or((By::Rank, false));
        let mut query = Query {
            by,
            reverse,
            with_scores: false,
            limit: None,
            first: args.at(at),
            second: args.at(at + 1),
        };
        let mut at = at + 2;
        while at < args.len() {
            let word = args.at(at);
            let left = args.len() - at - 1;
            if scores && is(word, "WITHSCORES") {
                query.with_scores = true;
            } else if is(word, "LIMIT") && left >= 2 {
                query.limit = Some((int(args, at + 1)?, int(args, at + 2)?));
                at += 2;
            } else if fixed.is_none() && !query.reverse && is(word, "REV") {
                query.reverse = true;
            } else if fixed.is_none() && query.by == By::Rank && is(word, "BYSCORE") {
                query.by = By::Score;
            } else if fixed.is_none() && query.by == By::Rank && is(word, "BYLEX") {
                query.by = By::Lex;
            } else {
                return Err(CommandError::SYNTAX);
            }
            at += 1;
        }
        // A count of -1 is what no LIMIT at all would be.
        if query.by == By::Rank && query.limit.is_some_and(|(_, count)| count != -1) {
            return Err(CommandError::new(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if query.with_scores && query.by == By::Lex {
            return Err(CommandError::new(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        Ok(query)
    }

    /// What to look for, its bounds read; the ranks of a set follow when it is there.
    fn ranks(&self) -> Result<impl Fn(&SortedSet) -> Range<usize> + 'a, CommandError> {
        let Query { by, reverse, limit, .. } = *self;
        let (low, high) = if reverse && by != By::Rank {
            (self.second, self.first)
        } else {
            (self.first, self.second)
        };
        let integer =
            |text| super::super::args::parse_int(text).ok_or(CommandError::NOT_AN_INTEGER);
        let zero = ScoreBound { score: 0.0, exclusive: false };
        let (mut ranks, mut scores, mut lex) =
            ((0, 0), (zero, zero), (LexBound::First, LexBound::Last));
        match by {
            By::Rank => ranks = (integer(low)?, integer(high)?),
            By::Score => scores = score_range(low, high)?,
            By::Lex => lex = lex_range(low, high)?,
        }
        Ok(move |set: &SortedSet| {
            let found = match by {
                By::Rank if reverse => {
                    let range = rank_range(ranks.0, ranks.1, set.len());
                    set.len() - range.end..set.len() - range.start
                }
                By::Rank => rank_range(ranks.0, ranks.1, set.len()),
                By::Score => set.ranks_by_score(scores.0, scores.1),
                By::Lex => set.ranks_by_lex(lex.0, lex.1, reverse),
            };
            match limit {
                None => found,
                Some(_) if by == By::Rank => found,
                Some((offset, count)) => clip(found, offset, count, reverse),
            }
        })
    }
}

/// `LIMIT offset count` applied to ranks that are walked from their start or, in reverse, end.
fn clip(found: Range<usize>, offset: i64, count: i64, reverse: bool) -> Range<usize> {
    let len = found.len();
    if offset < 0 || offset as u64 >= len as u64 {
        return 0..0;
    }
    let offset = offset as usize;
    let count = if count < 0 { len - offset } else { (count as usize).min(len - offset) };
    if reverse {
        found.end - offset - count..found.end - offset
    } else {
        found.start + offset..found.start + offset + count
    }
}

fn show(ctx: &mut Ctx<'_>, args: Args<'_>, query: Query<'_>) -> Done {
    let ranks = query.ranks()?;
    let Some(set) = ctx.data.read::<SortedSet>(&args[1])? else {
        ctx.reply.array(0);
        return Ok(Outcome::Unchanged);
    };
    let found = set.range(ranks(set));
    let members: Vec<_> = if query.reverse { found.rev().collect() } else { found.collect() };
    reply_members(&mut ctx.reply, members.into_iter(), query.with_scores);
    Ok(Outcome::Unchanged)
}

pub(super) fn zrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let query = Query::parse(args, 2, None, true)?;
    show(ctx, args, query)
}

pub(super) fn zrevrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let query = Query::parse(args, 2, Some((By::Rank, true)), true)?;
    show(ctx, args, query)
}

pub(super) fn zrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let query = Query::parse(args, 2, Some((By::Score, false)), true)?;
    show(ctx, args, query)
}

pub(super) fn zrevrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let query = Query::parse(args, 2, Some((By::Score, true)), true)?;
    show(ctx, args, query)
}

pub(super) fn zrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let query = Query::parse(args, 2, Some((By::Lex, false)), true)?;
    show(ctx, args, query)
}

pub(super) fn zrevrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let query = Query::parse(args, 2, Some((By::Lex, true)), true)?;
    show(ctx, args, query)
}

pub(super) fn zrangestore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let query = Query::parse(args, 3, None, false)?;
    let (by, to, limits) = (query.by, args.at(1), ctx.data.encodings().sorted_set);
    let ranks = query.ranks()?;
    let (mut stored, mut is_defined) = (SortedSet::new(), true);
    if let Some(set) = ctx.data.read::<SortedSet>(&args[2])? {
        is_defined = by != By::Lex || has_one_score(set);
        for (member, score) in set.range(ranks(set)) {
            stored.insert(member, score, &limits);
        }
    }
    ctx.reply.len(stored.len());
    // What a range of names is among several scores is for each server to say: a replica is told
    // what came out.
    let outcome = (!is_defined).then(|| add_request(to, &stored));
    if stored.is_empty() {
        if !ctx.data.remove(to) {
            return Ok(Outcome::Unchanged);
        }
        ctx.changed(NotifyFlags::GENERIC, "del", to);
    } else {
        ctx.data.insert(to, stored);
        ctx.changed(NotifyFlags::ZSET, "zrangestore", to);
    }
    let Some(add) = outcome else { return Ok(Outcome::Wrote) };
    Ok(ctx.wrote_as(|effect| {
        effect.request([b"DEL", to]);
        if add.len() > 2 {
            effect.request(add.iter().map(Vec::as_slice));
        }
    }))
}

fn has_one_score(set: &SortedSet) -> bool {
    let mut ends = set.iter().map(|(_, score)| score);
    let first = ends.next();
    ends.next_back().is_none_or(|last| Some(last) == first)
}

/// The request that makes a sorted set.
fn add_request(key: &[u8], set: &SortedSet) -> Vec<Vec<u8>> {
    let members =
        set.iter().flat_map(|(member, score)| [format_double(score).into_bytes(), member.to_vec()]);
    [b"ZADD".to_vec(), key.to_vec()].into_iter().chain(members).collect()
}

pub(super) fn zcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (min, max) = score_range(&args[2], &args[3])?;
    let set = ctx.data.read::<SortedSet>(&args[1])?;
    ctx.reply.len(set.map_or(0, |set| set.ranks_by_score(min, max).len()));
    Ok(Outcome::Unchanged)
}

pub(super) fn zlexcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (min, max) = lex_range(args.at(2), args.at(3))?;
    let set = ctx.data.read::<SortedSet>(&args[1])?;
    ctx.reply.len(set.map_or(0, |set| set.ranks_by_lex(min, max, false).len()));
    Ok(Outcome::Unchanged)
}
