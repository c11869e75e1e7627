//! Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::spec::{Categories, Flags, Handler};
use super::{CommandError, Ctx, Done, Outcome, Spec};
use crate::resp::Args;
use crate::session::{Transaction, Watched};

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
        ctx.door.call(ctx, queued.command, queued.request.args());
    }
    ctx.session.in_exec = outer;
    ctx.server.effects.end_group();
    Ok(Outcome::Unchanged)
}

/// Whether a watched key has come to its end since, without having been taken out yet.
fn has_ended(ctx: &Ctx<'_>) -> bool {
    let now = ctx.data.now;
    ctx.session.watched.iter().any(|watched| {
        let db = ctx.data.keyspace.db(watched.db);
        !watched.was_due && db.holds_due(&watched.key, now)
    })
}

fn watch(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if ctx.session.transaction.is_some() {
        return Err(CommandError::new("ERR WATCH inside MULTI is not allowed"));
    }
    for key in args.from(1).iter() {
        let db = ctx.data.db;
        if ctx.session.watched.iter().any(|watched| watched.db == db && *watched.key == *key) {
            continue;
        }
        let dirty = Arc::clone(&ctx.session.dirty);
        let was_due = ctx.data.db().holds_due(key, ctx.data.now);
        ctx.data.db_mut().watch(key, &dirty);
        ctx.session.watched.push(Watched { db, key: key.into(), was_due });
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
    let dirty = Arc::clone(&ctx.session.dirty);
    for Watched { db, key, .. } in std::mem::take(&mut ctx.session.watched) {
        ctx.data.keyspace.db_mut(db).unwatch(&key, &dirty);
    }
    dirty.store(false, Ordering::Relaxed);
}
