//! What replication needs from time to time: pings, and an end to what has been silent for too long.

use super::super::Ctx;
use super::{copies, failover};
use crate::replication::Progress;
use crate::session::End;
use crate::state::Server;

/// Looks after the replicas and the backlog of a primary. Called at least every half second.
pub fn tend(ctx: &mut Ctx<'_>) {
    failover::advance(ctx);
    ping(ctx);
    end_silent_replicas(ctx);
    end_lonely_backlog(ctx);
}

/// Pings replicas, so that they know that the link is alive. Not while a failover waits for them to
/// have the whole stream.
fn ping(ctx: &mut Ctx<'_>) {
    let Server { replication, effects, config, waits, .. } = &mut *ctx.server;
    let period = config.repl_ping_replica_period as u64 * 1000;
    let is_due = ctx.now.saturating_sub(replication.pinged_at) >= period;
    if is_due && !replication.replicas.is_empty() {
        replication.pinged_at = ctx.now;
        if waits.paused(ctx.now).is_none() {
            effects.stream.write_anywhere(&[b"PING"]);
        }
    }
    nudge_waiting(ctx, is_due);
}

fn end_silent_replicas(ctx: &mut Ctx<'_>) {
    let (timeout, now) = (ctx.server.config.repl_timeout as u64 * 1000, ctx.now);
    // Who has not all data yet says nothing; it is alive as long as it takes them.
    ctx.server.replication.replicas.each(|replica| {
        let sent = replica.progress.sent();
        let moves = std::mem::replace(&mut replica.seen_sent, sent) != sent;
        match replica.progress.get() {
            Progress::Waiting => replica.acked_at = now,
            Progress::Copying if moves => replica.acked_at = now,
            _ => {}
        }
    });
    for (id, replica) in ctx.server.replication.replicas.iter() {
        let is_silent = replica.is_silent && replica.is_online();
        if !is_silent
            && !replica.is_fresh(timeout, ctx.now)
            && let Some(client) = ctx.server.clients.get(id)
        {
            tracing::warn!(replica = id, "closed: it has not been heard of for repl-timeout");
            client.kill(End::Killed);
        }
    }
}

/// Gives a sign of life to replicas that wait for a copy of the data or its size, and has the first come for it
/// when one can be made.
fn nudge_waiting(ctx: &mut Ctx<'_>, keep_alive: bool) {
    let Server { replication, clients, .. } = &*ctx.server;
    let mut can_begin = copies::can_begin(ctx.server);
    for (id, replica) in replication.replicas.iter() {
        let begins = match replica.progress.get() {
            Progress::Waiting => std::mem::take(&mut can_begin),
            Progress::Copying => false,
            _ => continue,
        };
        if keep_alive {
            replica.progress.keep_alive();
        }
        if let Some(client) = clients.get(id).filter(|_| keep_alive || begins) {
            client.nudge();
        }
    }
}

/// Without replicas for long enough a primary keeps no backlog. What it writes from then on is in
/// no stream, so whoever comes back has to get everything.
fn end_lonely_backlog(ctx: &mut Ctx<'_>) {
    let Server { replication, effects, config, .. } = &mut *ctx.server;
    let ttl = config.repl_backlog_ttl as u64 * 1000;
    let is_over = ttl > 0 && ctx.now.saturating_sub(replication.lonely_since) > ttl;
    let is_idle = !replication.is_replica() && replication.replicas.is_empty();
    if is_idle && is_over && effects.stream.backlog().is_some() {
        tracing::info!("the backlog goes: no replica for repl-backlog-ttl");
        effects.stream.close();
        replication.begin_history();
    }
}
