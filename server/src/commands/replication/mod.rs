//! Replication commands: REPLICAOF, ROLE, PSYNC, REPLCONF, WAIT, FAILOVER; and what a server's role
//! means for all other commands.

mod care;
mod copies;
mod failover;
mod info;
mod place;
mod role;
mod sync;
mod wait;

pub use care::tend;
pub use copies::join as join_copy;
pub use failover::{abort as abort_failover, end as end_failover};
pub use sync::disconnect_all as disconnect_replicas;
pub use wait::acked_writes;

pub(super) use info::replication as info;
pub(super) use place::place;
pub(super) use sync::forget;

use super::spec::{Categories, Flags, Handler};
use super::{Command, CommandError, Ctx, Spec};
use crate::state::ScriptFlags;

const fn row(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler).admin().no_script()
}

/// What a server that loads data beside the old cannot do.
const fn changes_role(name: &'static str, handler: Handler) -> Spec {
    row(name, 3, handler).flags(Flags::STALE.with(Flags::NO_ASYNC_LOADING))
}

const SYNC_FLAGS: Flags = Flags::NO_ASYNC_LOADING.with(Flags::NO_MULTI);

pub(super) const COMMANDS: &[Spec] = &[
    changes_role("REPLICAOF", role::replicaof)
        .since("5.0.0")
        .doc("host port | NO ONE", "Makes the server a replica of another, or a primary again."),
    changes_role("SLAVEOF", role::replicaof)
        .deprecated("5.0.0", "`REPLICAOF`")
        .doc("host port | NO ONE", "The older name of REPLICAOF."),
    Spec::new("ROLE", 1, role::role)
        .fast()
        .no_script()
        .always()
        .of(Categories::ADMIN.with(Categories::DANGEROUS))
        .since("2.8.12")
        .doc("", "Returns the replication role."),
    Spec::new("WAIT", 3, wait::wait)
        .no_script()
        .of(Categories::CONNECTION)
        .group("generic")
        .since("3.0.0")
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .doc("numreplicas timeout", "Blocks until writes have reached a number of replicas."),
    row("FAILOVER", -1, failover::failover).flags(Flags::STALE).since("6.2.0").doc(
        "[TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]",
        "Gives up the role of the primary in favour of a replica.",
    ),
    row("REPLCONF", -1, sync::replconf)
        .internal()
        .always()
        .flags(Flags::ALLOW_BUSY)
        .since("3.0.0")
        .doc(
            "[option value ...]",
            "Tells a primary of a replica, and either of the other's state.",
        ),
    row("PSYNC", -3, sync::psync).flags(SYNC_FLAGS).since("2.8.0").doc(
        "replicationid offset",
        "Asks for the stream of changes, and for the data if need be.",
    ),
    row("SYNC", 1, sync::sync)
        .flags(SYNC_FLAGS)
        .doc("", "Asks for the data and the stream of changes, as replicas before 2.8 do."),
];

/// Whether this server's role lets a request of these flags be executed for this session.
#[inline]
pub fn check(ctx: &Ctx<'_>, flags: Flags) -> Result<(), CommandError> {
    let is_plain = !ctx.server.replication.is_replica()
        && ctx.server.config.min_replicas_to_write == 0
        && ctx.session.peer.is_none()
        && !ctx.session.monitor;
    if is_plain { Ok(()) } else { check_closely(ctx, flags) }
}

fn check_closely(ctx: &Ctx<'_>, flags: Flags) -> Result<(), CommandError> {
    if ctx.session.is_primary_link {
        // A primary's data are its own to change; this server's role and settings are not.
        let is_admins = flags.has(Flags::ADMIN);
        let text = "ERR this command is not for a replication stream";
        return if is_admins { Err(CommandError::new(text)) } else { Ok(()) };
    }
    let (config, replication) = (&ctx.server.config, &ctx.server.replication);
    let writes = flags.has(Flags::WRITE);
    match replication.role.upstream() {
        None if writes && !has_good_replicas(ctx) => return Err(CommandError::NO_REPLICAS),
        None => {}
        Some(_) if ctx.session.in_script && is_stale(ctx) && !flags.has(Flags::STALE) => {
            return Err(CommandError::STALE_FOR_SCRIPT);
        }
        Some(_) if writes && config.replica_read_only => {
            return Err(CommandError::READ_ONLY_REPLICA);
        }
        Some(_) if is_stale(ctx) && !flags.has(Flags::STALE) => {
            return Err(CommandError::PRIMARY_DOWN);
        }
        Some(_) => {}
    }
    let touches_data = [Flags::WRITE, Flags::READONLY, Flags::MAY_REPLICATE];
    // To Redis who monitors is a replica too.
    if (ctx.session.is_replica() || ctx.session.monitor)
        && touches_data.iter().any(|flag| flags.has(*flag))
    {
        return Err(CommandError::new("ERR Replica can't interact with the keyspace"));
    }
    Ok(())
}

/// Whether a command may be executed although data is loaded: a replica that waits for a copy of
/// them need not wait any longer.
pub fn ends_loading(ctx: &Ctx<'_>, command: Command) -> bool {
    let upstream = ctx.server.replication.role.upstream();
    let at_start = ctx.server.persistence.loading.is_some_and(|loading| loading.at_start);
    upstream.is_some() && !at_start && matches!(command.spec.name, "REPLICAOF" | "SLAVEOF")
}

/// Whether this is a replica that has lost its primary and is not to serve what it has.
fn is_stale(ctx: &Ctx<'_>) -> bool {
    let upstream = ctx.server.replication.role.upstream();
    upstream.is_some_and(|upstream| !upstream.is_connected())
        && !ctx.server.config.replica_serve_stale_data
}

/// Whether this server's role lets a script be run that declares what it does, or does not.
pub(super) fn check_script(
    ctx: &Ctx<'_>,
    declared: Option<ScriptFlags>,
) -> Result<(), CommandError> {
    if is_stale(ctx) && !declared.is_some_and(|flags| flags.has(ScriptFlags::ALLOW_STALE)) {
        return Err(CommandError::PRIMARY_DOWN);
    }
    let may_write = declared.is_some_and(|flags| !flags.has(ScriptFlags::NO_WRITES));
    if !may_write || ctx.session.is_primary_link {
        return Ok(());
    }
    match ctx.server.replication.is_replica() {
        true if ctx.server.config.replica_read_only => Err(CommandError::READ_ONLY_REPLICA),
        false if !has_good_replicas(ctx) => Err(CommandError::NO_REPLICAS),
        _ => Ok(()),
    }
}

/// Whether `min-replicas-to-write` is satisfied.
fn has_good_replicas(ctx: &Ctx<'_>) -> bool {
    let config = &ctx.server.config;
    let max_lag = config.min_replicas_max_lag as u64;
    let good = || ctx.server.replication.replicas.good(max_lag * 1000, ctx.now);
    max_lag == 0 || good() as i64 >= config.min_replicas_to_write
}
