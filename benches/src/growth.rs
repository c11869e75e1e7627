//! A keyspace that grows to millions, serves them and loses them; and deadlines that are refreshed
//! again and again.

use std::io;
use std::time::{Duration, Instant};

use cloakroom::store::Db;
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

use crate::Bench;
use crate::expiry::now;
use crate::goals::Goal;
use crate::load::{self, Load};
use crate::mass::all_gone;
use crate::report::Report;
use crate::table::{Table, progress};
use crate::target::{Kind, Target};
use crate::throughput::closed;
use cloakroom_benches::mix::{self, Key, Mix, Shape};

/// How often each session's deadline is refreshed.
const REFRESHES: u32 = 100;

/// Logins that are sent at once and timed together.
const PORTION: u32 = 100;

/// The longest time that is told apart, in microseconds.
const HIGHEST: u64 = 60_000_000;

/// Requests a second while they end.
const RATE: f64 = 5_000.0;

pub(crate) fn run(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let served = grow(bench, report)?;
    let alone = grow_alone(bench, report)?;
    let figure = |of: &str, millis: f64| (format!("{of} {millis:.1} ms"), millis <= 5.0);
    report.reach(
        Goal::Growth,
        [
            figure(&format!("{PORTION} logins with their round trip"), served),
            figure("in the table", alone),
        ],
    );
    refresh(bench, report)
}

fn sessions(bench: &Bench) -> u32 {
    if bench.quick { 50_000 } else { 10_000_000 }
}

/// The sessions of the end come to theirs within so many milliseconds.
fn ending(bench: &Bench) -> u64 {
    if bench.quick { 2_000 } else { 10_000 }
}

/// Returns the first server's worst portion, in milliseconds.
fn grow(bench: &Bench, report: &mut Report) -> io::Result<f64> {
    let count = sessions(bench);
    let mut worst = 0.0;
    let mut table = Table::new([
        "server",
        "logins a second",
        "p99.9 · worst ms",
        "resident, MiB",
        "mixed load: ops/s · p99.9 ms",
        "while all end: p99.9 · worst ms",
        "gone after the last, ms",
    ]);
    for kind in &bench.kinds {
        let target = bench.start(kind, &[])?;
        let (rate, portions) = fill(&target, &kind.name(), count)?;
        if *kind == Kind::Cloakroom {
            worst = portions.max() as f64 / 1e3;
        }
        let resident = target.resident();
        let steady = load::run(&target, &Load { sessions: count, ..closed(bench, Mix::Mixed, 1) })?;
        let (ending, gone) = end_all(bench, &target, count, rate)?;
        let millis = |nanos: u64| format!("{:.2}", nanos as f64 / 1e6);
        let two = |times: &Histogram<u64>, unit: u64| {
            let p999 = times.value_at_quantile(0.999) * unit;
            format!("{} · {}", millis(p999), millis(times.max() * unit))
        };
        let p999 = millis(steady.latency.value_at_quantile(0.999));
        table.row([
            kind.name(),
            format!("{:.0}k", rate / 1e3),
            two(&portions, 1000),
            resident.map_or("?".to_owned(), |bytes| (bytes >> 20).to_string()),
            format!("{:.0}k · {p999}", steady.throughput() / 1e3),
            two(&ending.latency, 1),
            gone.map_or("never".to_owned(), |late| late.to_string()),
        ]);
    }
    let title = format!("Growth to {count} sessions, in portions of {PORTION} logins, each timed");
    report.add("growth", &title, table, Vec::new());
    Ok(worst)
}

/// What a login and a portion of them cost while the same keyspace grows without sockets, other
/// processes or waiting: in CPU time of its thread, page faults included, so that nothing is in it that
/// the table does not do itself. Returns the worst portion, in milliseconds.
fn grow_alone(bench: &Bench, report: &mut Report) -> io::Result<f64> {
    let count = sessions(bench);
    let bar = progress("growth: the keyspace alone", u64::from(count));
    let bounded = Histogram::<u64>::new_with_bounds(1, HIGHEST * 1000, 3);
    let mut single = bounded.map_err(io::Error::other)?;
    let mut portions = single.clone();
    let mut db = Db::default();
    let mut before = thread_nanos();
    let mut begun = before;
    for number in 0..count {
        mix::log_in(&mut db, number);
        db.set_deadline(Key::new(number).name(), Some(u64::from(count) + u64::from(number)), 0);
        let after = thread_nanos();
        single.saturating_record(after - before);
        before = after;
        if number % PORTION == PORTION - 1 {
            portions.saturating_record(after - begun);
            begun = after;
            bar.inc(PORTION.into());
        }
    }
    bar.finish_and_clear();
    let mut table = Table::new(["of", "mean µs", "p99.9 µs", "p99.99 µs", "worst µs"]);
    let micros = |nanos: f64| format!("{:.1}", nanos / 1e3);
    for (of, took) in [("a login", &single), (&format!("{PORTION} logins"), &portions)] {
        let at = |quantile| micros(took.value_at_quantile(quantile) as f64);
        table.row([of.to_owned(), micros(took.mean()), at(0.999), at(0.9999), at(1.0)]);
    }
    let title = &format!("The keyspace alone while it grows to {count} sessions: CPU time");
    report.add("growth-alone", title, table, Vec::new());
    Ok(portions.max() as f64 / 1e6)
}

fn thread_nanos() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Logins a second, and the microseconds that each portion took: one that takes long had to wait
/// for a table that was moved.
fn fill(target: &Target, name: &str, count: u32) -> io::Result<(f64, Histogram<u64>)> {
    let bar = progress(&format!("growth: {name}"), u64::from(count));
    let mut took = Histogram::new_with_bounds(1, HIGHEST, 3).map_err(io::Error::other)?;
    let began = Instant::now();
    for first in (0..count).step_by(PORTION as usize) {
        let sent = Instant::now();
        let write = |number, out: &mut Vec<u8>| Shape::Common.write(first + number, out);
        load::fill(target, PORTION.min(count - first), write, &bar)?;
        took.saturating_record(sent.elapsed().as_micros() as u64);
    }
    bar.finish_and_clear();
    Ok((f64::from(count) / began.elapsed().as_secs_f64(), took))
}

/// Has all sessions end within some seconds: the latency of reading meanwhile, and how many
/// milliseconds after the last deadline all were gone. `rate` is how many logins a second it takes.
fn end_all(
    bench: &Bench,
    target: &Target,
    count: u32,
    rate: f64,
) -> io::Result<(load::Outcome, Option<u64>)> {
    let bar = progress("deadlines", u64::from(count));
    let ending = ending(bench);
    // Far enough away that all are set before the first comes: that is less work than a login.
    let first = now() + 3_000 + (f64::from(count) / rate * 1000.0) as u64;
    let write = |number: u32, out: &mut Vec<u8>| {
        let at = (first + u64::from(number) * ending / u64::from(count)).to_string();
        mix::request(&[b"PEXPIREAT", Key::new(number).name(), at.as_bytes()], out);
        1
    };
    load::fill(target, count, write, &bar)?;
    bar.finish_and_clear();
    std::thread::sleep(Duration::from_millis(first.saturating_sub(now())));
    let load = Load {
        rate: Some(RATE),
        sessions: count,
        duration: Duration::from_millis(ending),
        ..closed(bench, Mix::Hget, 1)
    };
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| all_gone(target, 0, first + ending - 1000));
        let outcome = load::run(target, &load)?;
        let gone = watcher.join().map_err(|_| io::Error::other("the watcher failed"))??;
        Ok((outcome, gone))
    })
}

/// What an EXPIRE costs, and what memory grows, while every deadline is refreshed many times.
fn refresh(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let count = if bench.quick { 10_000 } else { bench.sessions.min(200_000) };
    let mut table = Table::new([
        "server",
        "first round: µs CPU",
        "last round: µs CPU",
        "growth, bytes a session",
    ]);
    for kind in &bench.kinds {
        let target = bench.start(kind, &[])?;
        let bar =
            progress(&format!("refresh: {}", kind.name()), u64::from(count * (REFRESHES + 1)));
        load::fill(&target, count, |number, out| Shape::Common.write(number, out), &bar)?;
        let before = target.resident().unwrap_or(0) as f64;
        let mut costs = Vec::new();
        for round in 0..REFRESHES {
            let cpu = target.cpu().unwrap_or(Duration::ZERO);
            let seconds = (1800 + round).to_string();
            load::fill(&target, count, |number, out| expire(number, &seconds, out), &bar)?;
            let spent = target.cpu().unwrap_or(Duration::ZERO) - cpu;
            costs.push(spent.as_secs_f64() * 1e6 / f64::from(count));
        }
        bar.finish_and_clear();
        let growth = target.resident().unwrap_or(0) as f64 - before;
        let growth = growth / f64::from(count);
        let [first, last] = [costs[0], costs[costs.len() - 1]];
        if *kind == Kind::Cloakroom {
            report.reach(
                Goal::Refresh,
                [
                    (format!("CPU {first:.2} → {last:.2} µs"), last <= 1.1 * first),
                    // A page here and there is no growth.
                    (format!("{growth:.1} bytes a session"), growth <= 4.0),
                ],
            );
        }
        table.row([
            kind.name(),
            format!("{first:.2}"),
            format!("{last:.2}"),
            format!("{growth:.1}"),
        ]);
    }
    let title =
        format!("A sliding deadline, refreshed {REFRESHES} times for each of {count} sessions");
    report.add("refresh", &title, table, Vec::new());
    Ok(())
}

fn expire(number: u32, seconds: &str, out: &mut Vec<u8>) -> u32 {
    mix::request(&[b"EXPIRE", Key::new(number).name(), seconds.as_bytes()], out);
    1
}
