//! Operations a second, server CPU an operation, and latency under a steady load.

use std::io;
use std::time::Duration;

use crate::Bench;
use crate::load::{self, Load, Outcome};
use crate::plot::{Bars, Curves, PERCENTILES};
use crate::report::{Plot, Report};
use crate::table::{Table, progress};
use crate::target::{Kind, Target};
use cloakroom_benches::mix::{Mix, Shape};

const CONNECTIONS: usize = 50;

/// Readings of each mix and server; the best by CPU counts, since noise only ever adds.
const TURNS: usize = 3;

pub(crate) fn run(
    bench: &Bench,
    mixes: &[Mix],
    pipelines: &[u32],
    report: &mut Report,
) -> io::Result<()> {
    let mixes = if mixes.is_empty() { &Mix::ALL[..] } else { mixes };
    let targets = start_filled(bench)?;
    let mut head = vec!["mix".to_owned()];
    head.extend(bench.kinds.iter().map(|kind| format!("{} µs CPU · ops/s · p99 µs", kind.name())));
    head.push("CPU ratio · throughput ratio".to_owned());
    let mut table = Table::new(head);
    let turns = if bench.quick { 1 } else { TURNS };
    let servers: Vec<String> = bench.kinds.iter().map(Kind::name).collect();
    let mut plots = Vec::new();
    let bar = progress("throughput", (pipelines.len() * mixes.len() * turns) as u64);
    for &pipeline in pipelines {
        let (mut cpu, mut rate) = (Vec::new(), Vec::new());
        for &mix in mixes {
            let mut best: Vec<Option<Outcome>> = vec![None; targets.len()];
            for _ in 0..turns {
                for (target, best) in targets.iter().zip(&mut best) {
                    let outcome = load::run(target, &closed(bench, mix, pipeline))?;
                    if best.as_ref().is_none_or(|best| is_better(&outcome, best)) {
                        *best = Some(outcome);
                    }
                }
                bar.inc(1);
            }
            let best: Vec<Outcome> = best.into_iter().flatten().collect();
            let mut row = vec![format!("{} P{pipeline}", mix.name())];
            row.extend(best.iter().map(cell));
            row.push(ratios(&best));
            table.row(row);
            let each = |of: fn(&Outcome) -> f64| best.iter().map(of).collect::<Vec<_>>();
            cpu.push((mix.name().to_owned(), each(|outcome| outcome.cpu.unwrap_or(0.0))));
            rate.push((mix.name().to_owned(), each(|outcome| outcome.throughput() / 1e3)));
        }
        let files = if pipeline == 1 { ["cpu-p1", "rate-p1"] } else { ["cpu-p32", "rate-p32"] };
        let measures = [
            ("Server CPU an operation", "µs", cpu),
            ("Throughput of one core", "thousand operations a second", rate),
        ];
        for (file, (what, unit, groups)) in files.into_iter().zip(measures) {
            let title = format!("{what}, {pipeline} a write");
            let servers = servers.clone();
            plots.push(Plot::Bars(file, Bars { title, unit, servers, groups }));
        }
    }
    bar.finish_and_clear();
    let title = format!(
        "Throughput: {} sessions, {CONNECTIONS} connections, one core each for server and load",
        bench.sessions
    );
    report.add("throughput", &title, table, plots);
    Ok(())
}

/// Latency at half of the peak load of the last server of the list (Redis, where it is installed).
pub(crate) fn latency(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let targets = start_filled(bench)?;
    let mut table = Table::new(["mix · rate", "server", "p50 µs", "p99 µs", "p99.9 µs", "max µs"]);
    let mut plots = Vec::new();
    for (mix, file) in [(Mix::Visit, "latency-visit"), (Mix::Mixed, "latency-mixed")] {
        let mut curves = Vec::new();
        let measure = targets.get(1).unwrap_or(&targets[0]);
        let peak = load::run(measure, &closed(bench, mix, 1))?.throughput();
        for (target, kind) in targets.iter().zip(&bench.kinds) {
            let load = Load { rate: Some(peak / 2.0), ..closed(bench, mix, 1) };
            let outcome = load::run(target, &load)?;
            let at = |quantile| micros(outcome.latency.value_at_quantile(quantile));
            table.row([
                format!("{} P1 · {:.0}k/s", mix.name(), peak / 2e3),
                kind.name(),
                at(0.5),
                at(0.99),
                at(0.999),
                micros(outcome.latency.max()),
            ]);
            let at = |percentile| outcome.latency.value_at_percentile(percentile) as f64 / 1e3;
            curves.push((kind.name(), PERCENTILES.map(at).to_vec()));
        }
        let title = format!("Latency of {} at {:.0}k a second", mix.name(), peak / 2e3);
        plots.push(Plot::Curves(file, Curves { title, unit: "µs", servers: curves }));
    }
    report.add("latency", "Latency, open loop, at half of the other server's peak", table, plots);
    Ok(())
}

pub(crate) fn start_filled(bench: &Bench) -> io::Result<Vec<Target>> {
    bench.kinds.iter().map(|kind| start_filled_with(bench, kind, Some(0), &[])).collect()
}

pub(crate) fn start_filled_with(
    bench: &Bench,
    kind: &Kind,
    cpu: Option<usize>,
    flags: &[&str],
) -> io::Result<Target> {
    let bar = progress(&format!("filling {}", kind.name()), u64::from(bench.sessions));
    let target = bench.start_on(cpu, kind, flags)?;
    let write = |number, out: &mut Vec<u8>| Shape::Common.write(number, out);
    load::fill(&target, bench.sessions, write, &bar)?;
    bar.finish_and_clear();
    Ok(target)
}

pub(crate) fn closed(bench: &Bench, mix: Mix, pipeline: u32) -> Load {
    Load {
        mix,
        pipeline,
        connections: CONNECTIONS,
        sessions: bench.sessions,
        warm_up: Duration::from_millis(300),
        duration: bench.reading(),
        rate: None,
    }
}

pub(crate) fn is_better(new: &Outcome, old: &Outcome) -> bool {
    match (new.cpu, old.cpu) {
        (Some(new), Some(old)) => new < old,
        _ => new.throughput() > old.throughput(),
    }
}

fn cell(outcome: &Outcome) -> String {
    let cpu = outcome.cpu.map_or("?".to_owned(), |cpu| format!("{cpu:.2}"));
    let errors =
        if outcome.errors > 0 { format!(" · {} ERRORS", outcome.errors) } else { String::new() };
    let p99 = micros(outcome.latency.value_at_quantile(0.99));
    format!("{cpu} · {:.0}k · {p99}{errors}", outcome.throughput() / 1e3)
}

/// The first server's figures as shares of the second's.
fn ratios(outcomes: &[Outcome]) -> String {
    let [ours, other, ..] = outcomes else { return String::new() };
    let throughput = ours.throughput() / other.throughput();
    match (ours.cpu, other.cpu) {
        (Some(a), Some(b)) => format!("{:.2} · {throughput:.2}", a / b),
        _ => format!("? · {throughput:.2}"),
    }
}

pub(crate) fn micros(nanos: u64) -> String {
    format!("{:.0}", nanos as f64 / 1e3)
}
