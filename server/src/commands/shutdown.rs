//! SHUTDOWN: at once, or when the replicas have everything.

use super::args::is;
use super::{Action, CommandError, Ctx, Done, Outcome};
use crate::resp::Args;
use crate::session::Waiting;
use crate::state::{Hold, Shutdown};

pub(super) fn shutdown(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (mut save, mut now, mut force, mut abort) = (None, false, false, false);
    for option in args.from(1).iter() {
        match option {
            option if is(option, "NOSAVE") && save.is_none() => save = Some(false),
            option if is(option, "SAVE") && save.is_none() => save = Some(true),
            option if is(option, "NOW") => now = true,
            option if is(option, "FORCE") => force = true,
            option if is(option, "ABORT") => abort = true,
            _ => return Err(CommandError::SYNTAX),
        }
    }
    if abort {
        return if args.len() == 2 { abort_by_hand(ctx) } else { Err(CommandError::SYNTAX) };
    }
    if ctx.server.shutdown.is_none() && (now || !waits(ctx, save, force)) {
        return Ok(Outcome::Then(Action::Shutdown { save, now, force }));
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
pub fn waits(ctx: &mut Ctx<'_>, save: Option<bool>, force: bool) -> bool {
    let patience = ctx.server.config.shutdown_timeout as u64 * 1000;
    if ctx.server.shutdown.is_none() && patience > 0 && ctx.server.replicas_lag() {
        tracing::info!("waits for replicas to have everything before it shuts down");
        let until = ctx.now.saturating_add(patience);
        ctx.server.shutdown = Some(Shutdown { until, save, force });
        ctx.server.waits.hold_writes(Hold::Shutdown, true);
    }
    ctx.server.shutdown.is_some()
}

/// Gives up a shutdown that waited: who was held back goes on.
pub fn give_up(ctx: &mut Ctx<'_>) {
    ctx.server.shutdown = None;
    ctx.server.waits.end_shutdown();
    ctx.server.waits.hold_writes(Hold::Shutdown, false);
}
