//! Operations a second and server CPU an operation, as fast as each server goes.

use std::io;
use std::time::Duration;

use crate::Bench;
use crate::goals::{Figure, Goal};
use crate::load::{self, Load, Outcome};
use crate::plot::Bars;
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
    let (mut plots, mut ratios) = (Vec::new(), Vec::new());
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
            let ratio = Ratio::of(&best);
            row.push(ratio.as_ref().map_or_else(String::new, Ratio::cell));
            ratios.extend(ratio.map(|ratio| (mix, pipeline, ratio)));
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
    reach(&ratios, report);
    Ok(())
}

/// What each mix may take of the other server's CPU.
const LIMITS: [(Goal, f64, u32, &[Mix]); 4] = [
    (Goal::CpuOneAWrite, 0.75, 1, &[Mix::Visit, Mix::Mixed]),
    (Goal::CpuVisit, 0.45, 32, &[Mix::Visit]),
    (Goal::CpuSessions, 0.50, 32, &[Mix::Mixed, Mix::Read, Mix::Login]),
    (Goal::CpuHget, 0.70, 32, &[Mix::Hget]),
];

fn reach(ratios: &[(Mix, u32, Ratio)], report: &mut Report) {
    let mut rates: Vec<Figure> = Vec::new();
    for (goal, limit, pipeline, mixes) in LIMITS {
        let of = |wanted: &Mix| {
            let found = ratios.iter().find(|(mix, p, _)| (mix, *p) == (wanted, pipeline));
            found.map(|(mix, _, ratio)| (mix.name(), ratio))
        };
        let found: Vec<_> = mixes.iter().filter_map(of).collect();
        let cpu = |(name, ratio): &(&str, &Ratio)| {
            ratio.cpu.map(|cpu| (format!("{name} {cpu:.2}"), round(cpu) <= limit))
        };
        let figures: Vec<Figure> = found.iter().filter_map(cpu).collect();
        if !figures.is_empty() {
            report.reach(goal, figures);
        }
        rates.extend(found.iter().map(|(name, ratio)| {
            let text = format!("{name} P{pipeline} {:.2} ×", ratio.throughput);
            (text, ratio.throughput >= 1.0 / limit)
        }));
    }
    if !rates.is_empty() {
        report.reach(Goal::Throughput, rates);
    }
}

/// A ratio as it is shown: what is shown as the limit has reached it.
pub(crate) fn round(ratio: f64) -> f64 {
    (ratio * 100.0).round() / 100.0
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
struct Ratio {
    cpu: Option<f64>,
    throughput: f64,
}

impl Ratio {
    fn of(outcomes: &[Outcome]) -> Option<Self> {
        let [ours, other, ..] = outcomes else { return None };
        let cpu = ours.cpu.zip(other.cpu).map(|(ours, other)| ours / other);
        Some(Ratio { cpu, throughput: ours.throughput() / other.throughput() })
    }

    fn cell(&self) -> String {
        let cpu = self.cpu.map_or("?".to_owned(), |cpu| format!("{cpu:.2}"));
        format!("{cpu} · {:.2}", self.throughput)
    }
}

pub(crate) fn micros(nanos: u64) -> String {
    format!("{:.0}", nanos as f64 / 1e3)
}
