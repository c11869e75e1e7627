//! What falls due: carried out in the order of the deadlines, through the same door as commands.

use super::Ctx;
use crate::clock::Millis;

/// Carries out up to `most` of what has fallen due by now: keys and fields gone, events sent,
/// effects stated, waits ended. Returns whether more is due.
pub fn settle(ctx: &mut Ctx<'_>, most: usize) -> bool {
    ctx.server.waits.wake_due(ctx.now);
    if !ctx.server.active_expire {
        return false;
    }
    for _ in 0..most {
        match ctx.data.keyspace.pop_due(ctx.now) {
            Some(due) => ctx.ended(due),
            None => return false,
        }
    }
    is_due(ctx)
}

/// Whether something has fallen due and is still there.
pub fn is_due(ctx: &mut Ctx<'_>) -> bool {
    let now = ctx.now;
    ctx.data.keyspace.next_due().is_some_and(|at| at <= now)
}

/// When something falls due next: a key, a field, a wait.
pub fn next_due(ctx: &mut Ctx<'_>) -> Option<Millis> {
    let data = ctx.server.active_expire.then(|| ctx.data.keyspace.next_due()).flatten();
    data.into_iter().chain(ctx.server.waits.next()).min()
}
