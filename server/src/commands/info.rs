//! INFO: what the server says of itself.

use std::fmt::Write;

use super::args::is;
use super::spec::Categories;
use super::{Ctx, Done, Outcome, Spec};
use crate::replication::Upstream;
use crate::resp::Args;
use crate::session::Traffic;
use crate::state::{Sample, Subject};

/// The version whose behaviour clients can count on.
pub(super) const REDIS_VERSION: &str = "7.0.15";

pub(super) const COMMANDS: &[Spec] = &[Spec::new("INFO", -1, info)
    .always()
    .of(Categories::DANGEROUS)
    .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
    .doc("[section [section ...]]", "Returns information and statistics about the server.")];

type Section = (&'static str, fn(&mut Ctx<'_>, &mut String), bool);

/// Sections in Redis's order; the last says whether it is shown by default.
const SECTIONS: &[Section] = &[
    ("Server", server, true),
    ("Clients", clients, true),
    ("Memory", memory, true),
    ("Persistence", persistence, true),
    ("Stats", stats, true),
    ("Replication", super::replication::info, true),
    ("CPU", cpu, true),
    ("Modules", |_, _| {}, true),
    ("Commandstats", commandstats, false),
    ("Errorstats", errorstats, true),
    ("Latencystats", latencystats, false),
    ("Cluster", |_, out| out.push_str("cluster_enabled:0\r\n"), true),
    ("Keyspace", keyspace, true),
];

fn info(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let wanted = args.from(1);
    let asks = |word: &str| wanted.iter().any(|arg| is(arg, word));
    let everything = asks("all") || asks("everything");
    let default = wanted.is_empty() || asks("default");
    let mut text = String::new();
    for (name, write, by_default) in SECTIONS {
        if everything || (default && *by_default) || asks(name) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            let _ = write!(text, "# {name}\r\n");
            write(ctx, &mut text);
        }
    }
    ctx.reply.verbatim(&text);
    Ok(Outcome::Unchanged)
}

/// Writes lines of a section: `"name": value`.
macro_rules! fields {
    ($out:expr, $($name:literal: $value:expr),* $(,)?) => {{
        $(let _ = write!($out, concat!($name, ":{}\r\n"), $value);)*
    }};
}
pub(super) use fields;

fn server(ctx: &mut Ctx<'_>, out: &mut String) {
    let uptime = ctx.now.saturating_sub(ctx.server.started) / 1000;
    let config_file = ctx.server.config_file.as_ref().map(|path| path.display().to_string());
    let executable = std::env::current_exe().map(|path| path.display().to_string());
    fields!(out,
        "redis_version": REDIS_VERSION,
        "redis_git_sha1": "00000000",
        "redis_git_dirty": 0,
        "redis_build_id": env!("CARGO_PKG_VERSION"),
        "redis_mode": "standalone",
        "os": super::memory::os(),
        "arch_bits": usize::BITS,
        "monotonic_clock": "POSIX clock_gettime",
        "multiplexing_api": "tokio",
        "atomicvar_api": "c11-builtin",
        "gcc_version": "0.0.0",
        "process_id": std::process::id(),
        "process_supervised": "no",
        "run_id": ctx.server.run_id,
        "tcp_port": ctx.server.port,
        "server_time_usec": ctx.clock.now_micros(),
        "uptime_in_seconds": uptime,
        "uptime_in_days": uptime / 86_400,
        "hz": 10,
        "configured_hz": 10,
        "lru_clock": (ctx.now / 1000) & 0xff_ffff,
        "executable": executable.unwrap_or_default(),
        "config_file": config_file.unwrap_or_default(),
        "io_threads_active": 0,
        "cloakroom_version": env!("CARGO_PKG_VERSION"),
    );
    if let Some(shutdown) = &ctx.server.shutdown {
        fields!(out, "shutdown_in_milliseconds": shutdown.until.saturating_sub(ctx.now));
    }
}

fn clients(ctx: &mut Ctx<'_>, out: &mut String) {
    let all = ctx.server.clients.all();
    let (mut input, mut output, mut blocked) = (0, 0, 0);
    for client in &all {
        let view = client.view.lock();
        input = input.max(view.query.0);
        output = output.max(view.output);
        blocked += usize::from(view.flags.blocked);
    }
    fields!(out,
        "connected_clients": all.len(),
        "cluster_connections": 0,
        "maxclients": ctx.server.config.maxclients,
        "client_recent_max_input_buffer": input,
        "client_recent_max_output_buffer": output,
        "blocked_clients": blocked,
        "tracking_clients": 0,
        "clients_in_timeout_table": ctx.server.waits.len(),
    );
}

/// Bytes for people: `1.50M`.
fn human(bytes: usize) -> String {
    let value = bytes as f64;
    match bytes {
        0..1024 => format!("{bytes}B"),
        1024..1_048_576 => format!("{:.2}K", value / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.2}M", value / 1_048_576.0),
        _ => format!("{:.2}G", value / 1_073_741_824.0),
    }
}

fn memory(ctx: &mut Ctx<'_>, out: &mut String) {
    let used = super::memory::used(ctx);
    let dataset = super::memory::dataset(ctx);
    let resident = super::memory::resident().unwrap_or(used);
    let peak = ctx.server.stats.peak_memory.max(used);
    ctx.server.stats.peak_memory = peak;
    let limit = ctx.server.config.maxmemory as usize;
    let fragmentation = resident as f64 / used.max(1) as f64;
    let backlog = super::memory::backlog(ctx);
    fields!(out,
        "used_memory": used,
        "used_memory_human": human(used),
        "used_memory_rss": resident,
        "used_memory_rss_human": human(resident),
        "used_memory_peak": peak,
        "used_memory_peak_human": human(peak),
        "used_memory_peak_perc": format_args!("{:.2}%", used as f64 * 100.0 / peak as f64),
        "used_memory_overhead": used - dataset,
        "used_memory_startup": super::memory::BASE,
        "used_memory_dataset": dataset,
        "used_memory_dataset_perc": format_args!("{:.2}%", dataset as f64 * 100.0 / used as f64),
        "allocator_allocated": used,
        "allocator_active": resident,
        "allocator_resident": resident,
        "total_system_memory": super::memory::system().unwrap_or(0),
        "total_system_memory_human": human(super::memory::system().unwrap_or(0)),
    );
    script_memory(ctx, out);
    fields!(out,
        "maxmemory": limit,
        "maxmemory_human": human(limit),
        "maxmemory_policy": ctx.server.config.maxmemory_policy.name(),
        "allocator_frag_ratio": format_args!("{fragmentation:.2}"),
        "allocator_frag_bytes": resident as i64 - used as i64,
        "allocator_rss_ratio": "1.00",
        "allocator_rss_bytes": 0,
        "rss_overhead_ratio": "1.00",
        "rss_overhead_bytes": 0,
        "mem_fragmentation_ratio": format_args!("{fragmentation:.2}"),
        "mem_fragmentation_bytes": resident as i64 - used as i64,
        "mem_not_counted_for_evict": 0,
        "mem_replication_backlog": backlog,
        "mem_total_replication_buffers": backlog,
        "mem_clients_slaves": 0,
        "mem_clients_normal": super::memory::clients(ctx),
        "mem_cluster_links": 0,
        "mem_aof_buffer": 0,
        "mem_allocator": "libc",
        "active_defrag_running": 0,
        "lazyfree_pending_objects": 0,
        "lazyfreed_objects": 0,
    );
}

fn script_memory(ctx: &mut Ctx<'_>, out: &mut String) {
    let (scripts, functions) = (&ctx.server.scripts, &ctx.server.functions);
    let (eval, vm_functions) = (scripts.interpreter.bytes(), functions.interpreter.bytes());
    let texts = scripts.bytes() + functions.bytes();
    fields!(out,
        "used_memory_lua": eval,
        "used_memory_vm_eval": eval,
        "used_memory_lua_human": human(eval),
        "used_memory_scripts_eval": scripts.bytes(),
        "number_of_cached_scripts": scripts.len(),
        "number_of_functions": functions.count(),
        "number_of_libraries": functions.libraries().len(),
        "used_memory_vm_functions": vm_functions,
        "used_memory_vm_total": eval + vm_functions,
        "used_memory_vm_total_human": human(eval + vm_functions),
        "used_memory_functions": functions.bytes(),
        "used_memory_scripts": texts,
        "used_memory_scripts_human": human(texts),
    );
}

fn persistence(ctx: &mut Ctx<'_>, out: &mut String) {
    let now = ctx.now;
    let persistence = &ctx.server.persistence;
    let seconds = |millis: Option<u64>| millis.map_or(-1, |millis| (millis / 1000) as i64);
    let (processed, held, peak) = match &persistence.background {
        None => (0, 0, 0),
        Some(background) => {
            let recording = background.recording.lock();
            (recording.keys(), recording.waiting(), recording.peak())
        }
    };
    let background = persistence.background.as_ref();
    let total = background.map_or(0, |background| background.keys);
    let running = background.map(|background| now.saturating_sub(background.started));
    let loading = persistence.loading;
    let copies = ctx.server.replication.role.upstream().is_some_and(Upstream::is_copying);
    fields!(out,
        "loading": u8::from(loading.is_some_and(|loading| !loading.serves_old)),
        "async_loading": u8::from(loading.map_or(copies, |loading| loading.serves_old)),
        "current_cow_peak": peak,
        "current_cow_size": held,
        "current_cow_size_age": 0,
        "current_fork_perc": format_args!("{:.2}", share(processed, total)),
        "current_save_keys_processed": processed,
        "current_save_keys_total": total,
        "rdb_changes_since_last_save": ctx.server.effects.stated() - persistence.saved,
        "rdb_bgsave_in_progress": u8::from(background.is_some()),
        "rdb_last_save_time": persistence.last_save / 1000,
        "rdb_last_bgsave_status": if persistence.last_was_ok { "ok" } else { "err" },
        "rdb_last_bgsave_time_sec": seconds(persistence.last_took),
        "rdb_current_bgsave_time_sec": seconds(running),
        "rdb_saves": persistence.saves,
        "rdb_last_cow_size": persistence.last_held,
        "rdb_last_load_keys_expired": persistence.last_load.expired,
        "rdb_last_load_keys_loaded": persistence.last_load.keys,
        "aof_enabled": 0,
        "aof_rewrites": 0,
        "aof_rewrites_consecutive_failures": 0,
        "aof_rewrite_in_progress": 0,
        "aof_rewrite_scheduled": 0,
        "aof_last_rewrite_time_sec": -1,
        "aof_current_rewrite_time_sec": -1,
        "aof_last_bgrewrite_status": "ok",
        "aof_last_write_status": "ok",
        "aof_last_cow_size": 0,
        "module_fork_in_progress": 0,
        "module_fork_last_cow_size": 0,
    );
    if let Some(loading) = loading {
        let (total, took) = (loading.total.unwrap_or(0), now.saturating_sub(loading.started));
        let left = total.saturating_sub(loading.loaded);
        let eta = (took * left).checked_div(loading.loaded).map_or(1, |left| left / 1000);
        fields!(out,
            "loading_start_time": loading.started / 1000,
            "loading_total_bytes": total,
            "loading_rdb_used_mem": loading.noted_memory,
            "loading_loaded_bytes": loading.loaded,
            "loading_loaded_perc": format_args!("{:.2}", share(loading.loaded, total)),
            "loading_eta_seconds": eta,
        );
    }
}

/// How much of a whole a part is, in percent.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// What has gone through all connections up to now.
fn traffic(ctx: &Ctx<'_>) -> Traffic {
    let mut all = ctx.server.clients.traffic();
    all += ctx.server.stats.past_traffic;
    all
}

/// How much there has been up to now.
fn sample(ctx: &Ctx<'_>, traffic: Traffic) -> Sample {
    let Traffic { received, sent, .. } = traffic;
    let commands = ctx.server.stats.total_commands;
    Sample { at: ctx.clock.stopwatch(), commands, received, sent }
}

/// Notes now and then how much there has been, and how much memory is in use.
pub fn note_rates(ctx: &mut Ctx<'_>) {
    let sample = sample(ctx, traffic(ctx));
    ctx.server.rates.note(sample);
    let used = super::memory::used(ctx);
    ctx.server.stats.peak_memory = ctx.server.stats.peak_memory.max(used);
}

fn stats(ctx: &mut Ctx<'_>, out: &mut String) {
    let traffic = traffic(ctx);
    let rates = ctx.server.rates.up_to(sample(ctx, traffic));
    let (accepted, rejected) = ctx.server.clients.arrivals();
    let pubsub = &ctx.server.pubsub;
    let stats = &ctx.server.stats;
    fields!(out,
        "total_connections_received": accepted,
        "total_commands_processed": stats.total_commands,
        "instantaneous_ops_per_sec": rates.commands as u64,
        "total_net_input_bytes": traffic.received,
        "total_net_output_bytes": traffic.sent,
        "total_net_repl_input_bytes": 0,
        "total_net_repl_output_bytes": 0,
        "instantaneous_input_kbps": format_args!("{:.2}", rates.received / 1024.0),
        "instantaneous_output_kbps": format_args!("{:.2}", rates.sent / 1024.0),
        "instantaneous_input_repl_kbps": "0.00",
        "instantaneous_output_repl_kbps": "0.00",
        "rejected_connections": rejected,
        "sync_full": ctx.server.replication.counts.full,
        "sync_partial_ok": ctx.server.replication.counts.partial_ok,
        "sync_partial_err": ctx.server.replication.counts.partial_err,
        "expired_keys": stats.expired_keys,
        "expired_fields": stats.expired_fields,
        "expired_subkeys": stats.expired_fields,
        "expired_stale_perc": "0.00",
        "expired_time_cap_reached_count": 0,
        "expire_cycle_cpu_milliseconds": stats.expire_micros / 1000,
        "evicted_keys": stats.evicted_keys,
        "evicted_clients": stats.evicted_clients,
        "client_query_buffer_limit_disconnections": stats.over_query_limit,
        "client_output_buffer_limit_disconnections": stats.over_output_limit,
        "total_eviction_exceeded_time": 0,
        "current_eviction_exceeded_time": 0,
        "keyspace_hits": ctx.data.lookups.hits,
        "keyspace_misses": ctx.data.lookups.misses,
        "pubsub_channels": pubsub.count(Subject::Channel),
        "pubsub_patterns": pubsub.count(Subject::Pattern),
        "pubsubshard_channels": pubsub.count(Subject::ShardChannel),
        "latest_fork_usec": 0,
        "total_forks": 0,
        "migrate_cached_sockets": 0,
        "slave_expires_tracked_keys": ctx.data.keyspace.own_keys(),
        "active_defrag_hits": 0,
        "active_defrag_misses": 0,
        "active_defrag_key_hits": 0,
        "active_defrag_key_misses": 0,
        "total_active_defrag_time": 0,
        "current_active_defrag_time": 0,
        "tracking_total_keys": 0,
        "tracking_total_items": 0,
        "tracking_total_prefixes": 0,
        "unexpected_error_replies": stats.unexpected_errors,
        "total_error_replies": stats.error_replies,
        "dump_payload_sanitizations": 0,
        "total_reads_processed": traffic.reads,
        "total_writes_processed": traffic.writes,
        "io_threaded_reads_processed": 0,
        "io_threaded_writes_processed": 0,
        "reply_buffer_shrinks": 0,
        "reply_buffer_expands": 0,
    );
}

fn cpu(_: &mut Ctx<'_>, out: &mut String) {
    let (user, system) = super::memory::cpu_seconds().unwrap_or((0.0, 0.0));
    fields!(out,
        "used_cpu_sys": format_args!("{system:.6}"),
        "used_cpu_user": format_args!("{user:.6}"),
        "used_cpu_sys_children": "0.000000",
        "used_cpu_user_children": "0.000000",
        "used_cpu_sys_main_thread": format_args!("{system:.6}"),
        "used_cpu_user_main_thread": format_args!("{user:.6}"),
    );
}

fn commandstats(ctx: &mut Ctx<'_>, out: &mut String) {
    for command in ctx.table.all() {
        let counters = &ctx.server.stats.commands[command.id];
        if counters.calls + counters.rejected == 0 {
            continue;
        }
        let each = counters.micros as f64 / counters.calls.max(1) as f64;
        let _ = write!(
            out,
            "cmdstat_{}:calls={},usec={},usec_per_call={each:.2},rejected_calls={},failed_calls={}\r\n",
            ctx.table.name(*command),
            counters.calls,
            counters.micros,
            counters.rejected,
            counters.failed,
        );
    }
}

fn errorstats(ctx: &mut Ctx<'_>, out: &mut String) {
    for (code, count) in &ctx.server.stats.errors {
        let _ = write!(out, "errorstat_{code}:count={count}\r\n");
    }
}

fn latencystats(ctx: &mut Ctx<'_>, out: &mut String) {
    for command in ctx.table.all() {
        let counters = &ctx.server.stats.commands[command.id];
        if counters.is_tracked() {
            let wanted = &ctx.server.config.latency_tracking_info_percentiles;
            let one =
                |percent: &f64| format!("p{percent}={:.3}", counters.percentile(percent / 100.0));
            let all: Vec<String> = wanted.iter().map(one).collect();
            let name = ctx.table.name(*command);
            let _ = write!(out, "latency_percentiles_usec_{name}:{}\r\n", all.join(","));
        }
    }
}

fn keyspace(ctx: &mut Ctx<'_>, out: &mut String) {
    for index in 0..ctx.data.keyspace.databases() {
        let figures = ctx.data.keyspace.db(index).figures(ctx.now);
        if figures.keys > 0 {
            let _ = write!(
                out,
                "db{index}:keys={},expires={},avg_ttl={},keys_with_volatile_items={}\r\n",
                figures.keys, figures.volatile, figures.average_ttl, figures.volatile_fields,
            );
        }
    }
}
