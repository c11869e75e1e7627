//! REPLICAOF and ROLE: what a server is to others.

use super::super::args::{is, parse_int};
use super::super::{CommandError, Ctx, Done, Outcome};
use super::sync;
use crate::replication::Role;
use crate::resp::Args;

pub(super) fn replicaof(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if ctx.server.replication.failover.is_some() {
        return Err(CommandError::new("ERR REPLICAOF not allowed while failing over."));
    }
    if is(&args[1], "NO") && is(&args[2], "ONE") {
        if ctx.server.replication.is_replica() {
            promote(ctx);
        }
        ctx.reply.ok();
        return Ok(Outcome::Unchanged);
    }
    if ctx.session.is_replica() {
        return Err(CommandError::new("ERR Command is not valid when client is a replica."));
    }
    let port = parse_int(&args[2]).and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or(CommandError::new("ERR Invalid master port"))?;
    let host = String::from_utf8_lossy(&args[1]).into_owned();
    if let Role::Replica(upstream) = &ctx.server.replication.role
        && upstream.host.eq_ignore_ascii_case(&host)
        && upstream.port == port
    {
        ctx.reply.simple("OK Already connected to specified master");
        return Ok(Outcome::Unchanged);
    }
    follow(ctx, host, port);
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

/// Makes this server a replica of that one. Its own replicas stay: they may be able to go on with
/// what it passes on.
pub(super) fn follow(ctx: &mut Ctx<'_>, host: String, port: u16) {
    tracing::info!(host, port, "becomes a replica");
    if !ctx.server.replication.is_replica() {
        ctx.server.waits.demote();
    }
    ctx.server.persistence.loading = None;
    set_primary(ctx, Some((host.clone(), port)));
    ctx.server.replication.follow(host, port, &mut ctx.server.effects.stream, ctx.now);
}

/// Makes this server a primary again. Its replicas have to ask for the history's new ID.
pub(super) fn promote(ctx: &mut Ctx<'_>) {
    tracing::info!("becomes a primary");
    ctx.server.persistence.loading = None;
    set_primary(ctx, None);
    ctx.server.replication.promote(&mut ctx.server.effects.stream, ctx.now);
    sync::disconnect_all(ctx.server);
}

/// Notes among the settings whose replica this server is.
fn set_primary(ctx: &mut Ctx<'_>, primary: Option<(String, u16)>) {
    ctx.server.config.replicaof = primary;
    ctx.server.config_changed = true;
    ctx.data.lookups.configure(&ctx.server.config);
}

pub(super) fn role(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    let (replication, reply) = (&ctx.server.replication, &mut ctx.reply);
    let offset = ctx.server.effects.stream.offset();
    match &replication.role {
        Role::Primary => {
            reply.array(3);
            reply.text("master");
            reply.int(offset as i64);
            let online = || replication.replicas.iter().filter(|(_, replica)| replica.is_online());
            reply.array(online().count());
            for (_, replica) in online() {
                reply.array(3);
                reply.text(&replica.ip);
                reply.bulk_int(i64::from(replica.port));
                reply.bulk_int(replica.acked as i64);
            }
        }
        Role::Replica(upstream) => {
            reply.array(5);
            reply.text("slave");
            reply.text(&upstream.host);
            reply.int(i64::from(upstream.port));
            reply.text(upstream.stage.name());
            reply.int(if upstream.is_connected() { offset as i64 } else { -1 });
        }
    }
    Ok(Outcome::Unchanged)
}
