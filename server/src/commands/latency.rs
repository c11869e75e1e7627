//! LATENCY: events that took long, and histograms by command.

use super::args::is;
use super::spec::Handler;
use super::{Ctx, Done, Outcome, Spec};
use crate::resp::Args;

const fn sub(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler).admin().no_script().always().since("2.8.13")
}

pub(super) const COMMANDS: &[Spec] = &[Spec::container(
    "LATENCY",
    &[
        sub("LATEST", 2, latest).doc("", "Returns the latest latency samples for all events."),
        sub("HISTORY", 3, history).doc("event", "Returns timestamp-latency samples for an event."),
        sub("RESET", -2, reset).doc("[event [event ...]]", "Resets the latency data."),
        sub("DOCTOR", 2, doctor).doc("", "Returns a human-readable latency analysis report."),
        sub("GRAPH", 3, graph).doc("event", "Returns a latency graph for an event."),
        sub("HISTOGRAM", -2, histogram)
            .since("7.0.0")
            .doc("[command [command ...]]", "Returns the distribution of latencies of commands."),
        sub("HELP", 2, help).doc("", "Returns helpful text about the subcommands."),
    ],
)
.admin()
.since("2.8.13")
.doc("subcommand", "A container for latency diagnostics commands.")];

/// The engine has no step of its own that blocks (no fork, no disk on the way of a request), so
/// there are no events beside commands, which SLOWLOG and the histogram show.
fn latest(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.reply.array(0);
    Ok(Outcome::Unchanged)
}

fn history(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.reply.array(0);
    Ok(Outcome::Unchanged)
}

fn reset(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.reply.int(0);
    Ok(Outcome::Unchanged)
}

fn doctor(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.reply.verbatim("No latency spike was observed while this server has been running.\n");
    Ok(Outcome::Unchanged)
}

fn graph(_: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let event = String::from_utf8_lossy(&args[2]);
    Err(super::CommandError::new(format!("ERR No samples available for event '{event}'")))
}

fn histogram(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let wanted = args.from(2);
    let later = ctx.reply.array_later();
    let mut shown = 0;
    for command in ctx.table.all() {
        let name = ctx.table.name(*command);
        let counters = &ctx.server.stats.commands[command.id];
        let container = name.split('|').next().unwrap_or(name);
        let asked =
            wanted.is_empty() || wanted.iter().any(|arg| is(arg, name) || is(arg, container));
        if counters.calls == 0 || !asked {
            continue;
        }
        shown += 1;
        ctx.reply.text(name);
        ctx.reply.map(2);
        ctx.reply.text("calls");
        ctx.reply.int(counters.calls as i64);
        ctx.reply.text("histogram_usec");
        let buckets: Vec<_> =
            counters.histogram.iter().enumerate().filter(|(_, count)| **count > 0).collect();
        ctx.reply.map(buckets.len());
        let mut total = 0;
        for (power, count) in buckets {
            total += i64::from(*count);
            ctx.reply.int(1 << power);
            ctx.reply.int(total);
        }
    }
    ctx.reply.end_map(later, shown);
    Ok(Outcome::Unchanged)
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    super::help(
        ctx,
        &[
            "DOCTOR",
            "    Return a human readable latency analysis report.",
            "GRAPH <event>",
            "    Return an ASCII latency graph for the <event> class.",
            "HISTORY <event>",
            "    Return time-latency samples for the <event> class.",
            "LATEST",
            "    Return the latest latency samples for all events.",
            "RESET [<event> ...]",
            "    Reset latency data of one or more <event> classes.",
            "    (default: reset all data for all event classes)",
            "HISTOGRAM [COMMAND ...]",
            "    Return a cumulative distribution of commands in histogram format.",
        ],
    )
}
