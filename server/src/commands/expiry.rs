//! What falls due: carried out in the order of the deadlines, through the same door as commands.

use super::{Ctx, saving};
use crate::config::NotifyFlags;
use crate::state::Expires;
use crate::store::Order;

/// Carries out up to `most` of what has fallen due by now: keys and fields gone, events sent,
/// effects stated, waits ended. Returns whether more may be due.
pub fn settle(ctx: &mut Ctx<'_>, most: usize) -> bool {
    ctx.server.waits.wake_due(ctx.now);
    saving::begin_if_due(ctx);
    let expires = ctx.server.expires(ctx.now);
    if expires == Expires::Nothing {
        return false;
    }
    let started = ctx.clock.stopwatch();
    let is_more = end_due(ctx, expires, most);
    let took = ctx.clock.stopwatch().saturating_sub(started);
    ctx.server.stats.expire_micros += took;
    super::latency::note_event(ctx, "expire-cycle", took);
    is_more
}

fn end_due(ctx: &mut Ctx<'_>, expires: Expires, most: usize) -> bool {
    let (order, now) = (order(ctx), ctx.now);
    for _ in 0..most {
        let due = match expires {
            Expires::Everything => ctx.data.keyspace.pop_due(now, order),
            Expires::OwnKeys => ctx.data.keyspace.pop_own_due(now),
            Expires::Nothing => None,
        };
        match due {
            Some(due) => ctx.ended(due),
            None => return false,
        }
    }
    true
}

/// Only events tell who ended first; a replica is told of each key once, whenever.
fn order(ctx: &Ctx<'_>) -> Order {
    let flags = ctx.server.config.notify_keyspace_events;
    match flags.wants(NotifyFlags::EXPIRED) || flags.wants(NotifyFlags::HASH) {
        true => Order::Deadlines,
        false => Order::Place,
    }
}

/// Carries out all that has fallen due, and closes the connections whose time is up.
pub fn settle_all(ctx: &mut Ctx<'_>) {
    while settle(ctx, usize::MAX) {}
    super::clients::close_overdue(ctx);
}

/// Whether something has fallen due and is still there.
#[inline]
pub fn is_due(ctx: &mut Ctx<'_>) -> bool {
    let now = ctx.now;
    ctx.data.keyspace.next_due().is_some_and(|at| at <= now)
}
