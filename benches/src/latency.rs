//! Latency at half of the peak load of the last server of the list (Redis, where it is installed).
//!
//! The servers take turns, and each percentile is the median of its turns: what else the machine does
//! falls on some of them, and would decide alone which server's hundredth slowest reply is the later.

use std::io;

use crate::Bench;
use crate::goals::{Figure, Goal};
use crate::load::{self, Load, Outcome};
use crate::plot::{Curves, PERCENTILES};
use crate::report::{Plot, Report};
use crate::table::{Table, middle, progress};
use crate::throughput::{closed, micros, start_filled};
use cloakroom_benches::mix::Mix;

/// Readings of each server, odd for the sake of their median.
const TURNS: usize = 9;

pub(crate) fn run(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let targets = start_filled(bench)?;
    let turns = if bench.quick { 1 } else { TURNS };
    let mixes = [(Mix::Visit, "latency-visit"), (Mix::Mixed, "latency-mixed")];
    let bar = progress("latency", (mixes.len() * turns) as u64);
    let mut table =
        Table::new(["mix · rate", "server", "p50 µs", "p99 µs", "p99.9 µs", "worst µs"]);
    let mut plots = Vec::new();
    let mut figures: Vec<Figure> = Vec::new();
    for (mix, file) in mixes {
        let closed = closed(bench, mix, 1);
        let peak = load::run(targets.get(1).unwrap_or(&targets[0]), &closed)?.throughput();
        let load = Load { rate: Some(peak / 2.0), duration: closed.duration / 2, ..closed };
        let mut outcomes: Vec<Vec<Outcome>> = vec![Vec::new(); targets.len()];
        for _ in 0..turns {
            for (target, outcomes) in targets.iter().zip(&mut outcomes) {
                outcomes.push(load::run(target, &load)?);
            }
            bar.inc(1);
        }
        let mut curves = Vec::new();
        for (outcomes, kind) in outcomes.iter().zip(&bench.kinds) {
            let at = |percentile| micros(of_turns(outcomes, percentile) as u64);
            table.row([
                format!("{} P1 · {:.0}k/s", mix.name(), peak / 2e3),
                kind.name(),
                at(50.0),
                at(99.0),
                at(99.9),
                micros(outcomes.iter().map(|outcome| outcome.latency.max()).max().unwrap_or(0)),
            ]);
            let at = |percentile| of_turns(outcomes, percentile) / 1e3;
            curves.push((kind.name(), PERCENTILES.map(at).to_vec()));
        }
        if let [ours, other, ..] = outcomes.as_slice() {
            for percentile in [99.0, 99.9] {
                let [ours, other] = [ours, other].map(|turns| of_turns(turns, percentile) as u64);
                let name = mix.name();
                let text = format!("{name} p{percentile} {} of {} µs", micros(ours), micros(other));
                figures.push((text, ours <= other));
            }
        }
        let title = format!("Latency of {} at {:.0}k a second", mix.name(), peak / 2e3);
        plots.push(Plot::Curves(file, Curves { title, unit: "µs", servers: curves }));
    }
    bar.finish_and_clear();
    let title = match turns {
        1 => "Latency, open loop, at half of the other server's peak".to_owned(),
        _ => format!(
            "Latency, open loop, at half of the other server's peak: medians of {turns} turns"
        ),
    };
    report.add("latency", &title, table, plots);
    if !figures.is_empty() {
        report.reach(Goal::Latency, figures);
    }
    Ok(())
}

/// The median of what the turns have at a percentile, in nanoseconds.
fn of_turns(outcomes: &[Outcome], percentile: f64) -> f64 {
    middle(outcomes.iter().map(|outcome| outcome.latency.value_at_percentile(percentile) as f64))
}
