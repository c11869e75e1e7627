//! Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use std::sync::atomic::Ordering;

use super::spec::{Categories, Flags, Handler};
use super::{Command, CommandError, Ctx, Done, Outcome, Spec};
use crate::resp::Args;
use crate::session::{Queued, Transaction, Watched};
use crate::store::Watcher;

const fn row(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler)
        .no_script()
        .always()
        .flags(Flags::ALLOW_BUSY)
        .of(Categories::TRANSACTION)
}

pub(super) const COMMANDS: &[Spec] = &[
    row("MULTI", 1, multi).fast().since("1.2.0").doc("", "Starts a transaction."),
    Spec::new("EXEC", 1, exec)
        .no_script()
        .always()
        .flags(Flags::SKIP_SLOWLOG)
        .of(Categories::TRANSACTION)
        .since("1.2.0")
        .doc("", "Executes all commands in a transaction."),
    row("DISCARD", 1, discard).fast().since("2.0.0").doc("", "Discards a transaction."),
    row("WATCH", -2, watch).fast().key_specs(WATCHED).since("2.2.0").doc(
        "key [key ...]",
        "Monitors changes to keys to determine the execution of a transaction.",
    ),
    row("UNWATCH", 1, unwatch).fast().since("2.2.0").doc("", "Forgets about watched keys."),
];

const WATCHED: &[super::KeySpec] = &[super::KeySpec::range(1, -1, 1, super::KeyFlags::RO)];

fn multi(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    if ctx.session.transaction.is_some() {
        return Err(CommandError::new("ERR MULTI calls can not be nested"));
    }
    ctx.session.transaction = Some(Transaction::default());
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

fn discard(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    if ctx.session.transaction.take().is_none() {
        return Err(CommandError::new("ERR DISCARD without MULTI"));
    }
    forget_watched(ctx);
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

fn exec(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    let Some(transaction) = ctx.session.transaction.take() else {
        return Err(CommandError::new("ERR EXEC without MULTI"));
    };
    let spoiled = ctx.session.is_dirty() || has_ended(ctx);
    forget_watched(ctx);
    if transaction.aborted {
        return Err(CommandError::EXEC_ABORT);
    }
    if spoiled {
        ctx.reply.null_array();
        return Ok(Outcome::Unchanged);
    }
    ctx.server.effects.begin_group();
    let outer = std::mem::replace(&mut ctx.session.in_exec, true);
    ctx.reply.array(transaction.queue.len());
    for queued in &transaction.queue {
        let too_long = ctx.reply.is_too_long().then(|| ctx.reply.mark());
        execute_queued(ctx, queued);
        if let Some(mark) = too_long {
            // It is executed all the same, but nobody will read the reply.
            ctx.reply.rollback(mark);
        }
    }
    ctx.session.in_exec = outer;
    ctx.server.effects.end_group();
    Ok(Outcome::Unchanged)
}

/// Executes a queued request, unless its user may no longer do so.
fn execute_queued(ctx: &mut Ctx<'_>, queued: &Queued<Command>) {
    let args = queued.request.args();
    match super::acl::check_queued(ctx, queued.command, args) {
        Ok(()) => {
            ctx.door.call(ctx, queued.command, args);
        }
        Err(error) => {
            ctx.server.stats.error(error.text());
            ctx.reply.error(error.text());
        }
    }
}

/// Whether a watched key has come to its end since, without having been taken out yet.
fn has_ended(ctx: &Ctx<'_>) -> bool {
    let now = ctx.data.now;
    ctx.session.watched.iter().any(|(watched, watcher)| {
        !watcher.was_due() && ctx.data.keyspace.db(watched.db).holds_due(&watched.key, now)
    })
}

fn watch(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if ctx.session.transaction.is_some() {
        return Err(CommandError::new("ERR WATCH inside MULTI is not allowed"));
    }
    for key in args.from(1).iter() {
        let db = ctx.data.db;
        let watched = Watched { db, key: key.into() };
        if ctx.session.watched.contains_key(&watched) {
            continue;
        }
        let is_due = ctx.data.db().holds_due(key, ctx.data.now);
        let watcher = Watcher::new(&ctx.session.dirty, is_due);
        ctx.data.db_mut().watch(key, &watcher);
        ctx.session.name_bytes += key.len();
        ctx.session.watched.insert(watched, watcher);
    }
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

fn unwatch(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    forget_watched(ctx);
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

/// Ends all watching; the session is clean again.
pub(super) fn forget_watched(ctx: &mut Ctx<'_>) {
    for (Watched { db, key }, watcher) in std::mem::take(&mut ctx.session.watched) {
        ctx.session.name_bytes -= key.len();
        ctx.data.keyspace.db_mut(db).unwatch(&key, &watcher);
    }
    ctx.session.dirty.store(false, Ordering::Relaxed);
}
