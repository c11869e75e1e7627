//! ZADD and ZINCRBY: members come in and change their scores.

use super::super::args::is;
use super::super::{CommandError, Ctx, Done, Outcome};
use super::score;
use crate::config::NotifyFlags;
use crate::resp::{Args, format_double};
use crate::store::SortedSet;

/// When and how ZADD changes a member.
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    ch: bool,
    incr: bool,
}

impl Options {
    /// The options, and where the first score stands.
    fn parse(args: Args<'_>) -> (Self, usize) {
        let (mut options, mut at) = (Options::default(), 2);
        while let Some(word) = args.get(at) {
            match word {
                word if is(word, "NX") => options.nx = true,
                word if is(word, "XX") => options.xx = true,
                word if is(word, "GT") => options.gt = true,
                word if is(word, "LT") => options.lt = true,
                word if is(word, "CH") => options.ch = true,
                word if is(word, "INCR") => options.incr = true,
                _ => break,
            }
            at += 1;
        }
        (options, at)
    }

    fn check(&self, pairs: usize) -> Result<(), CommandError> {
        let text = if self.nx && self.xx {
            "ERR XX and NX options at the same time are not compatible"
        } else if [self.gt, self.lt, self.nx].iter().filter(|set| **set).count() > 1 {
            "ERR GT, LT, and/or NX options at the same time are not compatible"
        } else if self.incr && pairs > 1 {
            "ERR INCR option supports a single increment-element pair"
        } else {
            return Ok(());
        };
        Err(CommandError::new(text))
    }

    /// Whether a member's score may become `new`.
    fn allow(&self, old: Option<f64>, new: f64) -> bool {
        match old {
            None => !self.xx,
            Some(old) => !(self.nx || (self.gt && new <= old) || (self.lt && new >= old)),
        }
    }
}

pub(super) fn zadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    generic(ctx, args, false)
}

pub(super) fn zincrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    generic(ctx, args, true)
}

fn generic(ctx: &mut Ctx<'_>, args: Args<'_>, incr: bool) -> Done {
    let (mut options, first) = Options::parse(args);
    options.incr |= incr;
    let left = args.len() - first;
    if left == 0 || !left.is_multiple_of(2) {
        return Err(CommandError::SYNTAX);
    }
    options.check(left / 2)?;
    add(ctx, args, args.from(first), options)
}

fn add(ctx: &mut Ctx<'_>, args: Args<'_>, pairs: Args<'_>, options: Options) -> Done {
    let mut scores = Vec::with_capacity(pairs.len() / 2);
    for text in pairs.iter().step_by(2) {
        scores.push(score(text)?);
    }
    let (key, limits) = (args.at(1), ctx.data.encodings().sorted_set);
    let mut set = ctx.data.create::<SortedSet>(key)?;
    let (mut added, mut updated, mut last) = (0, 0, None);
    for (member, score) in pairs.from(1).iter().step_by(2).zip(scores) {
        let old = set.score(member);
        let new = match old {
            Some(old) if options.incr => old + score,
            _ => score,
        };
        if new.is_nan() {
            return Err(CommandError::new("ERR resulting score is not a number (NaN)"));
        }
        if !options.allow(old, new) {
            continue;
        }
        last = Some(new);
        if old != Some(new) {
            // Adding zero makes -0 the 0 that Redis keeps.
            set.insert(member, new + 0.0, &limits);
            added += usize::from(old.is_none());
            updated += usize::from(old.is_some());
        }
    }
    drop(set);
    match last {
        _ if !options.incr => ctx.reply.len(if options.ch { added + updated } else { added }),
        Some(score) => ctx.reply.double(score),
        None => ctx.reply.null(),
    }
    if added + updated == 0 {
        return Ok(Outcome::Unchanged);
    }
    ctx.changed(NotifyFlags::ZSET, if options.incr { "zincr" } else { "zadd" }, key);
    match last.filter(|_| options.incr) {
        Some(score) => Ok(ctx.wrote_as(|effect| {
            effect.request([b"ZADD", key, format_double(score).as_bytes(), pairs.at(1)]);
        })),
        None => Ok(Outcome::Wrote),
    }
}
