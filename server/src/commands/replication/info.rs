//! INFO's words on replication.

use std::fmt::Write;

use super::super::Ctx;
use super::super::info::fields;
use crate::clock::Millis;
use crate::replication::{Failover, Offset, Progress, ReplicationId, Role, Upstream};

/// The section Replication.
pub(in super::super) fn replication(ctx: &mut Ctx<'_>, out: &mut String) {
    let (replication, stream) = (&ctx.server.replication, &ctx.server.effects.stream);
    match &replication.role {
        Role::Primary => fields!(out, "role": "master"),
        Role::Replica(upstream) => {
            fields!(out, "role": "slave");
            primary(ctx, upstream, out);
        }
    }
    fields!(out, "connected_slaves": replication.replicas.len());
    good_replicas(ctx, out);
    replicas(ctx, out);
    let (former, second) = match replication.history.former() {
        Some((id, offset)) => (id, offset as i64 + 1),
        None => (ReplicationId::NONE, -1),
    };
    let past = stream.backlog().map(|backlog| backlog.range());
    let first = past.as_ref().map_or(0, |past| past.start + 1);
    fields!(out,
        "master_failover_state": Failover::name(replication.failover.as_ref()),
        "master_replid": replication.history.id(),
        "master_replid2": former,
        "master_repl_offset": stream.offset(),
        "second_repl_offset": second,
        "repl_backlog_active": u8::from(past.is_some()),
        "repl_backlog_size": ctx.server.config.repl_backlog_size,
        "repl_backlog_first_byte_offset": first,
        "repl_backlog_histlen": past.map_or(0, |past| past.end - past.start),
    );
}

fn good_replicas(ctx: &Ctx<'_>, out: &mut String) {
    let config = &ctx.server.config;
    if config.min_replicas_to_write > 0 && config.min_replicas_max_lag > 0 {
        let max_lag = config.min_replicas_max_lag as u64 * 1000;
        let good = ctx.server.replication.replicas.good(max_lag, ctx.now);
        fields!(out, "min_slaves_good_slaves": good);
    }
}

/// A replica's primary and the link to it.
fn primary(ctx: &Ctx<'_>, upstream: &Upstream, out: &mut String) {
    let (config, offset) = (&ctx.server.config, ctx.server.effects.stream.offset());
    let seconds_since =
        |at: Option<Millis>| at.map_or(-1, |at| (ctx.now.saturating_sub(at) / 1000) as i64);
    let last_io = seconds_since(upstream.last_io);
    let link = if upstream.is_connected() { "up" } else { "down" };
    fields!(out,
        "master_host": upstream.host,
        "master_port": upstream.port,
        "master_link_status": link,
        "master_last_io_seconds_ago": if upstream.is_connected() { last_io } else { -1 },
        "master_sync_in_progress": u8::from(upstream.is_copying()),
        "slave_read_repl_offset": offset,
        "slave_repl_offset": offset,
    );
    if upstream.is_copying() {
        let (total, read) = upstream.copied;
        let total_or_0 = total.unwrap_or(0);
        fields!(out,
            "master_sync_total_bytes": total_or_0,
            "master_sync_read_bytes": read,
            "master_sync_left_bytes": total.map_or(-1, |total| (total - read.min(total)) as i64),
            "master_sync_perc":
                format_args!("{:.2}", read as f64 * 100.0 / total_or_0.max(1) as f64),
            "master_sync_last_io_seconds_ago": last_io,
        );
    }
    if !upstream.is_connected() {
        fields!(out, "master_link_down_since_seconds": seconds_since(upstream.down_since));
    }
    fields!(out,
        "slave_priority": config.replica_priority,
        "slave_read_only": u8::from(config.replica_read_only),
        "replica_announced": u8::from(config.replica_announced),
    );
}

fn replicas(ctx: &Ctx<'_>, out: &mut String) {
    for (number, (_, replica)) in ctx.server.replication.replicas.iter().enumerate() {
        let state = match replica.progress.get() {
            Progress::Waiting => "wait_bgsave",
            Progress::Copying => "send_bulk",
            Progress::Copied | Progress::Online => "online",
        };
        let lag =
            if replica.is_online() { ctx.now.saturating_sub(replica.acked_at) / 1000 } else { 0 };
        let _ = write!(
            out,
            "slave{number}:ip={},port={},state={state},offset={},lag={lag}\r\n",
            replica.ip, replica.port, replica.acked as Offset,
        );
    }
}
