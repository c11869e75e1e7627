//! LATENCY: events that took long, and histograms by command.

use super::args::is;
use super::spec::{Flags, Handler};
use super::{Command, Ctx, Done, Outcome, Spec};
use crate::clock::Micros;
use crate::resp::Args;
use crate::state::Spikes;

const fn sub(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler).admin().no_script().always().since("2.8.13")
}

const REPORT: &[&str] =
    &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];

pub(super) const COMMANDS: &[Spec] = &[Spec::container(
    "LATENCY",
    &[
        sub("LATEST", 2, latest)
            .tips(REPORT)
            .doc("", "Returns the latest latency samples for all events."),
        sub("HISTORY", 3, history)
            .tips(REPORT)
            .doc("event", "Returns timestamp-latency samples for an event."),
        sub("RESET", -2, reset)
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .doc("[event [event ...]]", "Resets the latency data."),
        sub("DOCTOR", 2, doctor)
            .tips(REPORT)
            .doc("", "Returns a human-readable latency analysis report."),
        sub("GRAPH", 3, graph).tips(REPORT).doc("event", "Returns a latency graph for an event."),
        sub("HISTOGRAM", -2, histogram)
            .tips(REPORT)
            .since("7.0.0")
            .doc("[command [command ...]]", "Returns the distribution of latencies of commands."),
        Spec::new("HELP", 2, help)
            .always()
            .since("2.8.13")
            .doc("", "Returns helpful text about the subcommands."),
    ],
)
.since("2.8.13")
.doc("subcommand", "A container for latency diagnostics commands.")];

/// Notes a command that took at least `latency-monitor-threshold`.
#[inline]
pub fn note(ctx: &mut Ctx<'_>, command: Command, took: Micros) {
    let is_fast = command.spec.flags.has(Flags::FAST);
    note_event(ctx, if is_fast { "fast-command" } else { "command" }, took);
}

/// Notes whatever took at least `latency-monitor-threshold`.
#[inline]
pub(super) fn note_event(ctx: &mut Ctx<'_>, event: &'static str, took: Micros) {
    let threshold = ctx.server.config.latency_monitor_threshold;
    if threshold > 0 && took / 1000 >= threshold as u64 {
        ctx.server.latency.add(event, ctx.clock.now() / 1000, took / 1000);
    }
}

fn latest(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    let (reply, latency) = (&mut ctx.reply, &ctx.server.latency);
    reply.array(latency.events().len());
    for (event, spikes) in latency.events() {
        let last = spikes.samples().next_back();
        reply.array(4);
        reply.text(event);
        reply.int(last.map_or(0, |spike| spike.at as i64));
        reply.int(last.map_or(0, |spike| spike.took as i64));
        reply.int(spikes.longest as i64);
    }
    Ok(Outcome::Unchanged)
}

fn history(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (reply, spikes) = (&mut ctx.reply, ctx.server.latency.event(&args[2]));
    reply.array(spikes.map_or(0, |spikes| spikes.samples().len()));
    for spike in spikes.into_iter().flat_map(Spikes::samples) {
        reply.array(2);
        reply.int(spike.at as i64);
        reply.int(spike.took as i64);
    }
    Ok(Outcome::Unchanged)
}

fn reset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let wanted = args.from(2);
    let chosen = |event: &str| wanted.is_empty() || wanted.iter().any(|name| is(name, event));
    let gone = ctx.server.latency.reset(chosen);
    ctx.reply.len(gone);
    Ok(Outcome::Unchanged)
}

fn doctor(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    let (config, latency) = (&ctx.server.config, &ctx.server.latency);
    let mut text = String::new();
    if config.latency_monitor_threshold == 0 {
        text.push_str(
            "Latency monitoring is disabled. CONFIG SET latency-monitor-threshold <milliseconds> \
             enables it.\n",
        );
    } else if latency.events().len() == 0 {
        text.push_str("No latency spike was observed while this server has been running.\n");
    }
    for (event, spikes) in latency.events() {
        let samples = spikes.samples().len() as u64;
        let average = spikes.samples().map(|spike| spike.took).sum::<u64>() / samples.max(1);
        text.push_str(&format!(
            "{event}: {samples} latency spikes (average {average}ms). Worst all time event \
             {}ms. SLOWLOG GET shows which requests they were.\n",
            spikes.longest,
        ));
    }
    ctx.reply.verbatim(&text);
    Ok(Outcome::Unchanged)
}

/// Rows of a graph's columns.
const GRAPH_ROWS: u64 = 4;

/// A column for each sample, the oldest first, and below it how long ago it was.
fn graph(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let Some(spikes) = ctx.server.latency.event(&args[2]) else {
        let before = "ERR No samples available for event '";
        return Err(super::CommandError::quoting(before, &args[2], "'"));
    };
    let event = String::from_utf8_lossy(&args[2]).to_lowercase();
    let took = || spikes.samples().map(|spike| spike.took);
    let (high, low) = (took().max().unwrap_or(0), took().min().unwrap_or(0));
    let title = format!("{event} - high {high} ms, low {low} ms");
    let mut text = format!("{title} (all time high {} ms)\n{}\n", spikes.longest, "-".repeat(80));
    for row in (0..GRAPH_ROWS).rev() {
        let reaches = |took: u64| (took - low) * GRAPH_ROWS / (high - low + 1) >= row;
        text.extend(took().map(|took| if reaches(took) { '#' } else { ' ' }));
        text.push('\n');
    }
    let ages: Vec<String> = spikes.samples().map(|spike| age(ctx.now / 1000, spike.at)).collect();
    for line in 0..ages.iter().map(String::len).max().unwrap_or(0) {
        text.push('\n');
        text.extend(ages.iter().map(|age| age.chars().nth(line).unwrap_or(' ')));
    }
    text.push('\n');
    ctx.reply.verbatim(&text);
    Ok(Outcome::Unchanged)
}

/// How long ago, in the largest unit that it fills.
fn age(now: u64, at: u64) -> String {
    match now.saturating_sub(at) {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
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
        if !counters.is_tracked() || !asked {
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
