//! A snapshot under full load: what it costs others, how much memory, and how long it takes; and how
//! long the file takes to load.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::Bench;
use crate::load::{self, Load, Outcome};
use crate::report::Report;
use crate::table::{Table, progress};
use crate::target::{Kind, Target};
use crate::throughput::{closed, micros};
use cloakroom_benches::mix::{Mix, Shape};
use cloakroom_tests::process::Folder;

/// How often it is looked whether the snapshot is over.
const LOOK: Duration = Duration::from_millis(50);

/// What a snapshot took.
struct Taken {
    time: Duration,
    /// The most memory beyond what was resident before, in the server and its children.
    extra: u64,
}

pub(crate) fn run(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let sessions = if bench.quick { 50_000 } else { 1_000_000 };
    let mut table = Table::new([
        "server",
        "ops/s before",
        "meanwhile",
        "p99 µs before",
        "meanwhile",
        "worst µs before",
        "meanwhile",
        "took s",
        "more memory",
        "file MB",
        "load s",
    ]);
    for kind in bench.kinds.iter().filter(|kind| !matches!(kind, Kind::Address(_))) {
        let folder = Folder::new();
        let dir = folder.path().display().to_string();
        let target = bench.start(kind, &["--dir", &dir])?;
        let bar = progress(&format!("snapshot: {}", kind.name()), u64::from(sessions));
        load::fill(&target, sessions, |number, out| Shape::Common.write(number, out), &bar)?;
        bar.finish_and_clear();
        let load = Load { sessions, ..closed(bench, Mix::Mixed, 1) };
        let quiet = load::run(&target, &load)?;
        let before = target.resident().unwrap_or(0);
        let (outcome, taken) = during(&target, &load, before)?;
        drop(target);
        let bytes = fs::metadata(folder.path().join("dump.rdb"))?.len();
        let began = Instant::now();
        let again = bench.start(kind, &["--dir", &dir])?;
        while again.dbsize().unwrap_or(0) < u64::from(sessions) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let p99 = |outcome: &Outcome| micros(outcome.latency.value_at_quantile(0.99));
        table.row([
            kind.name(),
            format!("{:.0}", quiet.throughput()),
            format!("{:.0}", outcome.throughput()),
            p99(&quiet),
            p99(&outcome),
            micros(quiet.latency.max()),
            micros(outcome.latency.max()),
            format!("{:.1}", taken.time.as_secs_f64()),
            format!("{:.1} %", taken.extra as f64 * 100.0 / before.max(1) as f64),
            format!("{:.0}", bytes as f64 / 1e6),
            format!("{:.1}", began.elapsed().as_secs_f64()),
        ]);
    }
    let title =
        format!("A snapshot (BGSAVE) of {sessions} sessions under mixed load as fast as it goes");
    report.add("snapshot", &title, table, Vec::new());
    Ok(())
}

/// Runs the load for as long as a snapshot takes.
fn during(target: &Target, load: &Load, before: u64) -> io::Result<(Outcome, Taken)> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            // The load is at its full rate by then.
            std::thread::sleep(load.warm_up * 2);
            let taken = snapshot(target, before);
            is_over.store(true, Ordering::Relaxed);
            taken
        });
        let slice = Load { duration: Duration::from_millis(500), ..*load };
        let mut whole: Option<Outcome> = None;
        while !is_over.load(Ordering::Relaxed) {
            let part = load::run(target, &slice)?;
            match &mut whole {
                None => whole = Some(part),
                Some(whole) => {
                    whole.operations += part.operations;
                    whole.seconds += part.seconds;
                    merge(&mut whole.latency, &part.latency)?;
                }
            }
        }
        let taken = watcher.join().map_err(|_| io::Error::other("the watcher failed"))??;
        Ok((whole.ok_or_else(|| io::Error::other("it was over at once"))?, taken))
    })
}

fn merge(into: &mut Histogram<u64>, part: &Histogram<u64>) -> io::Result<()> {
    into.add(part).map_err(io::Error::other)
}

/// Has a snapshot taken and waits for its end.
fn snapshot(target: &Target, before: u64) -> io::Result<Taken> {
    let began = Instant::now();
    target.ask(&[b"BGSAVE"])?;
    let mut extra = 0;
    loop {
        std::thread::sleep(LOOK);
        let now = target.resident().unwrap_or(0) + target.children_private();
        extra = extra.max(now.saturating_sub(before));
        if target.info::<u8>("rdb_bgsave_in_progress")? == Some(0) {
            return Ok(Taken { time: began.elapsed(), extra });
        }
    }
}
