//! Commands on the server as a whole: TIME and friends.

use super::spec::{Flags, Handler};
use super::{CommandError, Ctx, Done, Outcome, Spec};
use crate::resp::Args;

const fn cluster(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler).flags(Flags::STALE).since("3.0.0").group("cluster")
}

pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("TIME", 1, time)
        .fast()
        .always()
        .since("2.6.0")
        .tips(&["nondeterministic_output"])
        .doc("", "Returns the server time."),
    Spec::new("SHUTDOWN", -1, super::shutdown::shutdown)
        .admin()
        .no_script()
        .always()
        .flags(Flags::NO_MULTI.with(Flags::ALLOW_BUSY))
        .doc("[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]", "Shuts down the server."),
    Spec::container(
        "MODULE",
        &[
            Spec::new("LIST", 2, module_list)
                .tips(&["nondeterministic_output_order"])
                .admin()
                .no_script()
                .since("4.0.0")
                .doc("", "Returns all loaded modules."),
            Spec::new("HELP", 2, module_help)
                .always()
                .since("5.0.0")
                .doc("", "Returns helpful text about the subcommands."),
        ],
    )
    .since("4.0.0")
    .doc("subcommand", "A container for module commands."),
    Spec::container(
        "CLUSTER",
        &[
            cluster("INFO", 2, cluster_off)
                .tips(&["nondeterministic_output"])
                .doc("", "Returns information about the cluster."),
            cluster("KEYSLOT", 3, cluster_off).doc("key", "Returns the hash slot for a key."),
            cluster("MYID", 2, cluster_off).doc("", "Returns the ID of a node."),
            cluster("NODES", 2, cluster_off)
                .tips(&["nondeterministic_output"])
                .doc("", "Returns the cluster configuration."),
            cluster("SLOTS", 2, cluster_off)
                .tips(&["nondeterministic_output"])
                .deprecated("7.0.0", "`CLUSTER SHARDS`")
                .doc("", "Returns the mapping of slots to nodes."),
            cluster("SHARDS", 2, cluster_off)
                .since("7.0.0")
                .tips(&["nondeterministic_output"])
                .doc("", "Returns the mapping of slots to shards."),
            cluster("HELP", 2, cluster_off)
                .always()
                .since("5.0.0")
                .doc("", "Returns helpful text."),
        ],
    )
    .since("3.0.0")
    .group("cluster")
    .doc("subcommand", "A container for Redis Cluster commands."),
];

fn time(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    let now = ctx.clock.now_micros();
    ctx.reply.array(2);
    ctx.reply.bulk_int((now / 1_000_000) as i64);
    ctx.reply.bulk_int((now % 1_000_000) as i64);
    Ok(Outcome::Unchanged)
}

fn module_list(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.reply.array(0);
    Ok(Outcome::Unchanged)
}

fn module_help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    super::help(ctx, &["LIST", "    Return a list of loaded modules."])
}

fn cluster_off(_: &mut Ctx<'_>, _: Args<'_>) -> Done {
    Err(CommandError::new("ERR This instance has cluster support disabled"))
}
