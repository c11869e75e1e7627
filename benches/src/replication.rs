//! What a replica costs: the server's CPU an operation with one attached and with none, and how long
//! it takes until a stock replica has all sessions.

use std::io;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::load::{self, Load};
use crate::report::Report;
use crate::table::{Table, progress};
use crate::target::{Kind, Target};
use crate::throughput::closed;
use cloakroom_benches::mix::{Mix, Shape};

/// The load's CPU, which replicas share: what they cost is not the server's.
const REPLICAS_CPU: Option<usize> = Some(1);

/// How long a replica may take to have everything.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn run(bench: &Bench, report: &mut Report) -> io::Result<()> {
    cost(bench, report)?;
    full_sync(bench, report)
}

/// Server CPU an operation, without a replica and with one.
fn cost(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let head = ["server", "operations a write", "alone µs", "with a replica µs", "more"];
    let mut table = Table::new(head);
    for kind in started(bench) {
        let target = bench.start(kind, &[])?;
        let sessions = bench.sessions.min(100_000);
        fill(&target, kind, sessions)?;
        let pipelines = [1, 32];
        let mut alone = Vec::new();
        for pipeline in pipelines {
            alone.push(cpu(bench, &target, sessions, pipeline)?);
        }
        let replica = replica(bench, kind)?;
        attach(&replica, &target, sessions)?;
        for (pipeline, alone) in pipelines.into_iter().zip(alone) {
            let with = cpu(bench, &target, sessions, pipeline)?;
            table.row([
                kind.name(),
                pipeline.to_string(),
                format!("{alone:.2}"),
                format!("{with:.2}"),
                format!("{:+.0} %", (with / alone - 1.0) * 100.0),
            ]);
        }
    }
    let title = "Server CPU an operation (visit), alone and with a stock replica";
    report.add("replica", title, table, Vec::new());
    Ok(())
}

/// The least of some readings, since others can only add to it.
fn cpu(bench: &Bench, target: &Target, sessions: u32, pipeline: u32) -> io::Result<f64> {
    let load = Load { sessions, ..closed(bench, Mix::Visit, pipeline) };
    let mut least = f64::INFINITY;
    for _ in 0..if bench.quick { 1 } else { 5 } {
        let outcome = load::run(target, &load)?;
        let unknown = || io::Error::other("the server's CPU time cannot be known");
        least = least.min(outcome.cpu.ok_or_else(unknown)?);
    }
    Ok(least)
}

/// The time from REPLICAOF until a stock replica has everything.
fn full_sync(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let sessions = if bench.quick { 50_000 } else { 1_000_000 };
    let mut table = Table::new(["server", "seconds", "sessions a second", "server CPU s"]);
    for kind in started(bench) {
        let target = bench.start(kind, no_delay(kind))?;
        fill(&target, kind, sessions)?;
        let replica = replica(bench, kind)?;
        let before = target.cpu().unwrap_or_default();
        let took = attach(&replica, &target, sessions)?.as_secs_f64();
        let cpu = target.cpu().unwrap_or_default() - before;
        table.row([
            kind.name(),
            format!("{took:.2}"),
            format!("{:.0}", f64::from(sessions) / took),
            format!("{:.2}", cpu.as_secs_f64()),
        ]);
    }
    let title = format!("A full synchronization of {sessions} sessions to a stock replica");
    report.add("synchronization", &title, table, Vec::new());
    Ok(())
}

/// The servers that this program starts.
fn started(bench: &Bench) -> impl Iterator<Item = &Kind> {
    bench.kinds.iter().filter(|kind| !matches!(kind, Kind::Address(_)))
}

/// A primary of the Redis family otherwise waits for further replicas first.
fn no_delay(kind: &Kind) -> &'static [&'static str] {
    match kind {
        Kind::Redis(_) => &["--repl-diskless-sync-delay", "0"],
        _ => &[],
    }
}

fn fill(target: &Target, kind: &Kind, sessions: u32) -> io::Result<()> {
    let bar = progress(&format!("replication: {}", kind.name()), u64::from(sessions));
    load::fill(target, sessions, |number, out| Shape::Common.write(number, out), &bar)?;
    bar.finish_and_clear();
    Ok(())
}

/// A replica of the Redis family, or where none is installed one of the primary's own kind.
fn replica(bench: &Bench, primary: &Kind) -> io::Result<Target> {
    let stock = bench.kinds.iter().find(|kind| matches!(kind, Kind::Redis(_)));
    stock.unwrap_or(primary).start(REPLICAS_CPU, &[])
}

/// Attaches a replica; returns how long it takes until it has all sessions and the stream.
fn attach(replica: &Target, primary: &Target, sessions: u32) -> io::Result<Duration> {
    let (ip, port) = (primary.address.ip().to_string(), primary.address.port().to_string());
    let began = Instant::now();
    replica.ask(&[b"REPLICAOF", ip.as_bytes(), port.as_bytes()])?;
    while began.elapsed() < PATIENCE {
        let is_up = replica.info::<String>("master_link_status")?.is_some_and(|it| it == "up");
        if is_up && replica.dbsize()? >= u64::from(sessions) {
            return Ok(began.elapsed());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the replica does not come up"))
}
