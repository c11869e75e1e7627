//! MEMORY: what takes how much.

use super::args::{is, parse_int};
use super::spec::{Handler, KeyFlags, KeySpec};
use super::{CommandError, Ctx, Done, Outcome, Spec};
use crate::resp::Args;

const KEY: &[KeySpec] = &[KeySpec::one(2, KeyFlags::RO)];

const fn sub(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler).since("4.0.0")
}

const REPORT: &[&str] =
    &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

pub(super) const COMMANDS: &[Spec] = &[Spec::container(
    "MEMORY",
    &[
        sub("USAGE", -3, usage)
            .read()
            .key_specs(KEY)
            .doc("key [SAMPLES count]", "Estimates the memory usage of a key."),
        sub("STATS", 2, stats).tips(REPORT).doc("", "Returns details about memory usage."),
        sub("DOCTOR", 2, doctor).tips(REPORT).doc("", "Outputs a memory problems report."),
        sub("MALLOC-STATS", 2, malloc_stats)
            .tips(REPORT)
            .doc("", "Returns the allocator statistics."),
        sub("PURGE", 2, purge)
            .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
            .doc("", "Asks the allocator to release memory."),
        sub("HELP", 2, help).always().doc("", "Returns helpful text about the subcommands."),
    ],
)
.since("4.0.0")
.doc("subcommand", "A container for memory diagnostics commands.")];

/// What a server takes before its first key: tables, threads, code's own data. Measured.
pub(super) const BASE: usize = 800 * 1024;

/// Bytes in use, as `maxmemory` counts them.
pub(super) fn used(ctx: &Ctx<'_>) -> usize {
    BASE + dataset(ctx) + clients(ctx)
}

/// Bytes of all data, what is being loaded included.
pub(super) fn dataset(ctx: &Ctx<'_>) -> usize {
    let loading = ctx.server.persistence.loading;
    ctx.data.keyspace.bytes() + loading.map_or(0, |loading| loading.used_memory)
}

/// Bytes that connections hold.
pub(super) fn clients(ctx: &Ctx<'_>) -> usize {
    ctx.server.clients.memory()
}

/// Bytes of the stream's past that is kept for replicas.
pub(super) fn backlog(ctx: &Ctx<'_>) -> usize {
    ctx.server.effects.stream.backlog().map_or(0, |backlog| backlog.heap_bytes())
}

/// The process's resident bytes, where the system tells.
pub(super) fn resident() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

/// The system and its version, as far as it tells.
pub(super) fn os() -> String {
    use std::env::consts::{ARCH, OS};
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/kernel/{name}"));
    match (read("ostype"), read("osrelease")) {
        (Ok(name), Ok(release)) => format!("{} {} {ARCH}", name.trim(), release.trim()),
        _ => format!("{OS} {ARCH}"),
    }
}

/// The machine's memory, where the system tells.
pub(super) fn system() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib: usize = text.lines().next()?.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Seconds of user and system time so far, where the system tells.
pub(super) fn cpu_seconds() -> Option<(f64, f64)> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || Some(fields.next()?.parse::<f64>().ok()? / 100.0);
    Some((next()?, next()?))
}

fn usage(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    for at in (3..args.len()).step_by(2) {
        let samples = args.get(at + 1).filter(|_| is(&args[at], "SAMPLES"));
        let samples = samples.ok_or(CommandError::SYNTAX)?;
        if parse_int(samples).ok_or(CommandError::NOT_AN_INTEGER)? < 0 {
            return Err(CommandError::SYNTAX);
        }
    }
    // All is counted, so that nothing has to be sampled.
    match ctx.data.peek(&args[2]).map(|object| object.bytes()) {
        Some(bytes) => ctx.reply.len(bytes),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Unchanged)
}

fn stats(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    let (used, keys) = (used(ctx), ctx.data.keyspace.len());
    let dataset = dataset(ctx);
    let peak = ctx.server.stats.peak_memory.max(used);
    let resident = resident().unwrap_or(used);
    let figures: &[(&str, usize)] = &[
        ("peak.allocated", peak),
        ("total.allocated", used),
        ("startup.allocated", BASE),
        ("replication.backlog", backlog(ctx)),
        ("clients.slaves", 0),
        ("clients.normal", clients(ctx)),
        ("cluster.links", 0),
        ("aof.buffer", 0),
        ("lua.caches", ctx.server.scripts.bytes()),
        ("functions.caches", ctx.server.functions.bytes()),
        ("overhead.total", used - dataset),
        ("keys.count", keys),
        ("keys.bytes-per-key", dataset / keys.max(1)),
        ("dataset.bytes", dataset),
        ("allocator.allocated", used),
        ("allocator.active", resident),
        ("allocator.resident", resident),
        ("allocator-fragmentation.bytes", resident.saturating_sub(used)),
        ("allocator-rss.bytes", 0),
        ("rss-overhead.bytes", 0),
        ("fragmentation.bytes", resident.saturating_sub(used)),
    ];
    let ratios: &[(&str, f64)] = &[
        ("dataset.percentage", dataset as f64 * 100.0 / used as f64),
        ("peak.percentage", used as f64 * 100.0 / peak as f64),
        ("allocator-fragmentation.ratio", resident as f64 / used as f64),
        ("allocator-rss.ratio", 1.0),
        ("rss-overhead.ratio", 1.0),
        ("fragmentation", resident as f64 / used as f64),
    ];
    ctx.reply.map(figures.len() + ratios.len());
    for (name, value) in figures {
        ctx.reply.text(name);
        ctx.reply.len(*value);
    }
    for (name, value) in ratios {
        ctx.reply.text(name);
        ctx.reply.double(*value);
    }
    Ok(Outcome::Unchanged)
}

/// With less in use than this nothing can be said, in bytes.
const LEAST_TO_JUDGE: usize = 5 << 20;

/// A connection takes much if all do so on average, in bytes.
const MUCH_FOR_A_CLIENT: usize = 200 << 10;

fn doctor(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    let text = if used(ctx) < LEAST_TO_JUDGE {
        "There is too little data here for a diagnosis; fill the server and ask again.\n".to_owned()
    } else {
        diagnosis(ctx)
    };
    ctx.reply.verbatim(&text);
    Ok(Outcome::Unchanged)
}

/// What may be wrong, each in a line.
fn diagnosis(ctx: &Ctx<'_>) -> String {
    let used = used(ctx);
    let (peak, resident) = (ctx.server.stats.peak_memory.max(used), resident().unwrap_or(used));
    let each = clients(ctx) / ctx.server.clients.len().max(1);
    let findings = [
        (peak as f64 > used as f64 * 1.5).then(|| {
            format!(
                "Peak: {peak} bytes were in use once, {used} are now. The process may keep more \
                 than it needs until it is restarted."
            )
        }),
        (resident as f64 > used as f64 * 1.4 && resident - used > 10 << 20).then(|| {
            format!(
                "Fragmentation: the process holds {resident} bytes for {used} in use; much was \
                 deleted, or other parts of the program take the rest."
            )
        }),
        (each > MUCH_FOR_A_CLIENT).then(|| {
            format!(
                "Clients: each takes {each} bytes on average. One may not read what it asks for; \
                 CLIENT LIST shows which (omem, qbuf), maxmemory-clients limits them."
            )
        }),
    ];
    let findings: Vec<String> = findings.into_iter().flatten().collect();
    match findings.is_empty() {
        true => "No memory issues were found.\n".to_owned(),
        false => findings.join("\n") + "\n",
    }
}

fn malloc_stats(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.reply.text("Stats not supported for the current allocator");
    Ok(Outcome::Unchanged)
}

fn purge(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    super::help(
        ctx,
        &[
            "DOCTOR",
            "    Return memory problems reports.",
            "MALLOC-STATS",
            "    Return internal statistics report from the memory allocator.",
            "PURGE",
            "    Attempt to purge dirty pages for reclamation by the allocator.",
            "STATS",
            "    Return information about the memory usage of the server.",
            "USAGE <key> [SAMPLES <count>]",
            "    Return memory in bytes used by <key> and its value. Nested values are",
            "    sampled up to <count> times (default: 5, 0 means sample all).",
        ],
    )
}
