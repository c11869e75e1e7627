//! FAILOVER: a primary gives up its role in favour of a replica.

use super::super::args::{is, parse_int};
use super::super::{CommandError, Ctx, Done, Outcome};
use super::role;
use crate::replication::{Failover, Phase};
use crate::resp::Args;
use crate::state::Hold;

/// What FAILOVER was told.
#[derive(Debug, Default)]
struct Options {
    target: Option<(String, u16)>,
    force: bool,
    abort: bool,
    timeout: Option<u64>,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut found = Options::default();
        let mut at = 1;
        while let Some(word) = args.get(at) {
            let left = args.len() - at - 1;
            if is(word, "TIMEOUT") && left >= 1 && found.timeout.is_none() {
                let timeout = parse_int(args.at(at + 1)).ok_or(CommandError::NOT_AN_INTEGER)?;
                if timeout <= 0 {
                    let text = "ERR FAILOVER timeout must be greater than 0";
                    return Err(CommandError::new(text));
                }
                found.timeout = Some(timeout as u64);
                at += 2;
            } else if is(word, "ABORT") && args.len() == 2 {
                found.abort = true;
                at += 1;
            } else if is(word, "TO") && left >= 2 && found.target.is_none() {
                let host = String::from_utf8_lossy(args.at(at + 1)).into_owned();
                let port = parse_int(args.at(at + 2)).ok_or(CommandError::NOT_AN_INTEGER)?;
                // A port beyond all ports is no replica's.
                found.target = Some((host, u16::try_from(port).unwrap_or(0)));
                at += 3;
            } else if is(word, "FORCE") && !found.force {
                found.force = true;
                at += 1;
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok(found)
    }
}

pub(super) fn failover(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let options = Options::parse(args)?;
    if ctx.server.replication.failover.is_some() {
        if !options.abort {
            return Err(CommandError::new("ERR FAILOVER already in progress."));
        }
        abort(ctx, "it was aborted by hand");
        ctx.reply.ok();
        return Ok(Outcome::Unchanged);
    }
    check(ctx, &options)?;
    let Options { target, force, timeout, .. } = options;
    tracing::info!(?target, force, "FAILOVER requested");
    ctx.server.replication.failover = Some(Failover {
        target,
        until: timeout.map(|timeout| ctx.now.saturating_add(timeout)),
        force,
        phase: Phase::WaitForSync,
    });
    ctx.server.waits.hold_writes(Hold::Failover, true);
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

fn check(ctx: &Ctx<'_>, options: &Options) -> Result<(), CommandError> {
    let replication = &ctx.server.replication;
    let text = if options.abort {
        "ERR No failover in progress."
    } else if replication.is_replica() {
        "ERR FAILOVER is not valid when server is a replica."
    } else if replication.replicas.is_empty() {
        "ERR FAILOVER requires connected replicas."
    } else if options.force && (options.timeout.is_none() || options.target.is_none()) {
        "ERR FAILOVER with force option requires both a timeout and target HOST and IP."
    } else if let Some((ip, port)) = &options.target {
        match replication.replicas.at(ip, *port) {
            None => "ERR FAILOVER target HOST and PORT is not a replica.",
            Some(replica) if !replica.has_copy() => "ERR FAILOVER target replica is not online.",
            Some(_) => return Ok(()),
        }
    } else {
        return Ok(());
    };
    Err(CommandError::new(text))
}

/// Goes on with a failover that waits for a replica to have everything, if one has, or if the time
/// is up.
pub(super) fn advance(ctx: &mut Ctx<'_>) {
    let Some(failover) = &ctx.server.replication.failover else { return };
    if failover.phase != Phase::WaitForSync {
        return;
    }
    let is_late = failover.until.is_some_and(|until| until <= ctx.now);
    match (is_late, failover.force, failover.target.clone()) {
        (true, true, Some((host, port))) => {
            tracing::warn!(host, port, "fails over, although the replica has not everything");
            hand_over(ctx, host, port);
        }
        (true, ..) => abort(ctx, "no replica caught up in time"),
        (false, _, target) => {
            if let Some((host, port)) = caught_up(ctx, target) {
                hand_over(ctx, host, port);
            }
        }
    }
}

/// The replica that has everything: the one that is meant, or any.
fn caught_up(ctx: &Ctx<'_>, target: Option<(String, u16)>) -> Option<(String, u16)> {
    let offset = ctx.server.effects.stream.offset();
    let mut replicas = ctx.server.replication.replicas.iter().map(|(_, replica)| replica);
    let is_meant = |ip: &str, port: u16| {
        target.as_ref().is_none_or(|(host, wanted)| host == ip && *wanted == port)
    };
    let found = replicas.find(|replica| {
        replica.is_online() && replica.acked == offset && is_meant(&replica.ip, replica.port)
    })?;
    Some((found.ip.clone(), found.port))
}

/// This server becomes the replica's replica; the link to it asks it to take over.
fn hand_over(ctx: &mut Ctx<'_>, host: String, port: u16) {
    if let Some(failover) = &mut ctx.server.replication.failover {
        failover.phase = Phase::InProgress;
    }
    role::follow(ctx, host, port);
}

/// Ends a failover that cannot succeed: this server stays the primary, or is it again.
pub fn abort(ctx: &mut Ctx<'_>, why: &str) {
    let Some(failover) = &ctx.server.replication.failover else { return };
    tracing::warn!(why, "the failover is given up");
    if failover.phase == Phase::InProgress {
        role::promote(ctx);
    }
    end(ctx);
}

/// Ends a failover: who was held back goes on, with what this server is now.
pub fn end(ctx: &mut Ctx<'_>) {
    ctx.server.replication.failover = None;
    ctx.server.waits.hold_writes(Hold::Failover, false);
}
