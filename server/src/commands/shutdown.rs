//! SHUTDOWN: at once, or when the replicas have everything.

use std::sync::atomic::Ordering;

use super::args::is;
use super::{Action, CommandError, Ctx, Done, Outcome};
use crate::config::ShutdownFlags;
use crate::resp::Args;
use crate::session::Waiting;
use crate::state::{Hold, Shutdown};

pub(super) fn shutdown(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (mut flags, mut abort) = (ShutdownFlags::default(), false);
    for option in args.from(1).iter() {
        if is(option, "ABORT") {
            abort = true;
        } else if !flags.take(&option.to_ascii_lowercase()) {
            return Err(CommandError::SYNTAX);
        }
    }
    if flags.contradict() || (abort && flags != ShutdownFlags::default()) {
        return Err(CommandError::SYNTAX);
    }
    if abort {
        return abort_by_hand(ctx);
    }
    if !waits(ctx, flags) {
        return Ok(Outcome::Then(Action::Shutdown(flags)));
    }
    ctx.server.waits.add_for_shutdown(&ctx.session.client);
    ctx.session.waiting = Some(Waiting::Shutdown);
    Ok(Outcome::Then(Action::Wait))
}

fn abort_by_hand(ctx: &mut Ctx<'_>) -> Done {
    if ctx.server.shutdown.is_none() {
        return Err(CommandError::new("ERR No shutdown in progress."));
    }
    tracing::warn!("the shutdown is aborted by hand");
    give_up(ctx);
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

/// Whether a shutdown has to wait for replicas; from then on nothing is written that they would miss.
pub fn waits(ctx: &mut Ctx<'_>, flags: ShutdownFlags) -> bool {
    let patience = ctx.server.config.shutdown_timeout as u64 * 1000;
    let may_wait = patience > 0 && !flags.now;
    if ctx.server.shutdown.is_none() && may_wait && ctx.server.replicas_lag() {
        tracing::info!("waits for replicas to have everything before it shuts down");
        let until = ctx.now.saturating_add(patience);
        ctx.server.shutdown = Some(Shutdown { until, flags });
        ctx.server.waits.hold_writes(Hold::Shutdown, true);
    }
    ctx.server.shutdown.is_some()
}

/// Gives up a shutdown: who was held back meanwhile goes on.
pub fn give_up(ctx: &mut Ctx<'_>) {
    ctx.server.shutdown = None;
    ctx.server.asked_to_stop.store(false, Ordering::Release);
    ctx.server.waits.end_shutdown();
    ctx.server.waits.hold_writes(Hold::Shutdown, false);
}
