//! WAIT: a client waits until replicas have what it has written.

use super::super::args::{int, parse_int};
use super::super::{Action, CommandError, Ctx, Done, Outcome, Session};
use crate::replication::Offset;
use crate::resp::Args;
use crate::session::Waiting;
use crate::state::Server;

pub(super) fn wait(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if ctx.server.replication.is_replica() {
        return Err(CommandError::new(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.",
        ));
    }
    let wanted = int(args, 1)?;
    let timeout = parse_int(&args[2]).ok_or(CommandError::TIMEOUT_NOT_AN_INTEGER)?;
    if timeout < 0 {
        return Err(CommandError::TIMEOUT_NEGATIVE);
    }
    let acked = acked_writes(ctx.server, ctx.session);
    if acked as i64 >= wanted || ctx.session.in_exec || ctx.session.in_script {
        ctx.reply.len(acked);
        return Ok(Outcome::Unchanged);
    }
    let (client, offset) = (&ctx.session.client, written(ctx.server, ctx.session));
    ctx.server.waits.add_for_replicas(client, wanted as usize, offset);
    if timeout > 0 {
        ctx.server.waits.add(client, ctx.now.saturating_add(timeout as u64));
    }
    ctx.session.waiting = Some(Waiting::Replicas { offset });
    ask_for_acks(ctx);
    Ok(Outcome::Then(Action::Wait))
}

/// How many replicas have all that this session has written.
pub fn acked_writes(server: &Server, session: &Session) -> usize {
    server.replication.replicas.acked(written(server, session))
}

/// Up to where a replica must have the stream to have what this session has written. What it wrote
/// before another history began is in nobody's stream.
fn written(server: &Server, session: &Session) -> Offset {
    session.written.min(server.effects.stream.offset())
}

/// Asks all replicas how far they are, unless they have still to answer that. Nothing is added to
/// the stream while a failover waits for them to have all of it.
fn ask_for_acks(ctx: &mut Ctx<'_>) {
    let (stream, replication) = (&mut ctx.server.effects.stream, &mut ctx.server.replication);
    let is_asked = replication.asked_for_acks_at == Some(stream.offset());
    if !is_asked && ctx.server.waits.paused(ctx.now).is_none() {
        stream.write_anywhere(&[b"REPLCONF", b"GETACK", b"*"]);
        replication.asked_for_acks_at = Some(stream.offset());
    }
}
