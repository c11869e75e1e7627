//! Several worker threads: what they cost, for how long the gate is shut an operation, and what
//! follows for machines with more cores.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use cloakroom::clock::Clock;
use cloakroom::engine::Engine;
use cloakroom::resp::{Limits, Parsed, RequestParser};
use cloakroom::session::{Client, Transport};

use crate::Bench;
use crate::goals::{Figure, Goal};
use crate::load::{self, Load, Outcome};
use crate::report::Report;
use crate::table::{Table, progress};
use crate::target::{Kind, Target, cloakroom_binary, installed};
use crate::throughput::{closed, is_better, round, start_filled_with};
use cloakroom_benches::mix::{Mix, Shape};

const MIXES: [(Mix, u32); 4] =
    [(Mix::Visit, 1), (Mix::Visit, 32), (Mix::Mixed, 1), (Mix::Mixed, 32)];

/// Readings of each; the best counts, since noise only ever adds.
const TURNS: usize = 3;

pub(crate) fn run(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let one = cost(bench, report)?;
    hold(bench, &one, report)?;
    // Under valgrind a server takes a minute to be counted.
    if !bench.quick && installed("valgrind").is_some() {
        instructions(report)?;
    }
    Ok(())
}

/// CPU an operation with one worker thread and with two, both on whatever the load leaves of two
/// cores; returns that of one thread.
fn cost(bench: &Bench, report: &mut Report) -> io::Result<Vec<f64>> {
    let threads = ["--io-threads=1", "--io-threads=2"];
    let start = |flag| start_filled_with(bench, &Kind::Cloakroom, None, &[flag]);
    let targets = threads.into_iter().map(start).collect::<io::Result<Vec<_>>>()?;
    let mut table = Table::new([
        "mix",
        "1 thread, µs CPU · ops/s",
        "2 threads, µs CPU · ops/s",
        "CPU ratio · throughput ratio",
    ]);
    let mut costs = Vec::new();
    let mut figures: Vec<Figure> = Vec::new();
    for (mix, pipeline) in MIXES {
        let mut best: [Option<Outcome>; 2] = [None, None];
        for _ in 0..if bench.quick { 1 } else { TURNS } {
            for (target, best) in targets.iter().zip(&mut best) {
                let outcome = load::run(target, &closed(bench, mix, pipeline))?;
                if best.as_ref().is_none_or(|best| is_better(&outcome, best)) {
                    *best = Some(outcome);
                }
            }
        }
        let [Some(one), Some(two)] = best else { continue };
        let cpu = |outcome: &Outcome| outcome.cpu.unwrap_or(f64::NAN);
        let cell = |it: &Outcome| format!("{:.2} · {:.0}k", cpu(it), it.throughput() / 1e3);
        let ratio = cpu(&two) / cpu(&one);
        let ratios = format!("{ratio:.2} · {:.2}", two.throughput() / one.throughput());
        figures.push((format!("{} {ratio:.2}", name(mix, pipeline)), round(ratio) <= 1.10));
        table.row([name(mix, pipeline), cell(&one), cell(&two), ratios]);
        costs.push(cpu(&one));
    }
    report.add("threads", "Two worker threads against one", table, Vec::new());
    report.reach(Goal::Threads, figures);
    Ok(costs)
}

fn name(mix: Mix, pipeline: u32) -> String {
    format!("{} P{pipeline}", mix.name())
}

/// For how long an operation holds the gate, and what follows.
fn hold(bench: &Bench, costs: &[f64], report: &mut Report) -> io::Result<()> {
    let mut table = Table::new([
        "mix",
        "µs CPU an operation",
        "of these with the gate shut",
        "in turns on two cores",
        "1 core, ops/s",
        "16 cores",
        "64 cores",
        "at most",
    ]);
    let sessions = bench.sessions.min(100_000);
    let engine = filled(sessions)?;
    for ((mix, pipeline), cost) in MIXES.into_iter().zip(costs) {
        let alone = gate_held(&engine, sessions, mix, pipeline, 1);
        let contended = gate_held(&engine, sessions, mix, pipeline, 2);
        // Handing the gate over costs what two threads in turns need more than one alone.
        let held = contended.max(alone);
        let outside = (cost - alone).max(0.0);
        let rate = |cores: u32| format!("{:.1}M", model(cores, held, outside));
        table.row([
            name(mix, pipeline),
            format!("{cost:.2}"),
            format!("{alone:.2}"),
            format!("{contended:.2}"),
            format!("{:.0}k", 1e3 / cost),
            rate(16),
            rate(64),
            format!("{:.1}M", 1.0 / held),
        ]);
    }
    report.add("gate", "The gate, and the model of more cores", table, Vec::new());
    Ok(())
}

/// Operations a microsecond of so many threads, each of which needs the gate for `held` and
/// nobody's leave for `outside` microseconds an operation: mean value analysis of one queue.
fn model(threads: u32, held: f64, outside: f64) -> f64 {
    let (mut waiting, mut rate) = (0.0, 0.0);
    for population in 1..=threads {
        let time_at_gate = held * (1.0 + waiting);
        rate = f64::from(population) / (time_at_gate + outside);
        waiting = rate * time_at_gate;
    }
    rate
}

fn filled(sessions: u32) -> io::Result<Engine> {
    let engine = Engine::new(cloakroom::Config::default(), Arc::new(Clock::system()));
    let engine = engine.map_err(io::Error::other)?;
    let mut worker = Worker::new(&engine);
    let mut batch = Vec::new();
    for number in 0..sessions {
        batch.clear();
        Shape::Common.write(number, &mut batch);
        worker.serve(&batch);
    }
    Ok(engine)
}

/// Microseconds an operation from the taking of the gate to its release, while so many threads do
/// nothing else; the best of some batches of readings.
fn gate_held(engine: &Engine, sessions: u32, mix: Mix, pipeline: u32, threads: usize) -> f64 {
    const BATCHES: usize = 400;
    const READINGS: usize = 60;
    let barrier = Barrier::new(threads);
    let work = |seed: usize| {
        let mut rng = fastrand::Rng::with_seed(seed as u64);
        let mut worker = Worker::new(engine);
        let batches: Vec<_> = (0..BATCHES)
            .map(|_| {
                let mut batch = Vec::new();
                for _ in 0..pipeline {
                    mix.write(&mut rng, sessions, &mut batch);
                }
                batch
            })
            .collect();
        let reading = || {
            barrier.wait();
            let began = Instant::now();
            batches.iter().for_each(|batch| worker.serve(batch));
            began.elapsed()
        };
        let readings: Vec<Duration> = std::iter::repeat_with(reading).take(READINGS).collect();
        readings.into_iter().min().unwrap_or_default()
    };
    let best = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|seed| scope.spawn(move || work(seed))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).max().unwrap_or_default()
    });
    // The gate was free for nobody meanwhile: each thread's time is all threads' turns.
    let operations = BATCHES * pipeline as usize * threads;
    best.as_secs_f64() * 1e6 / operations as f64
}

/// A connection as far as the gate is concerned: what is executed while it is shut.
struct Worker<'e> {
    engine: &'e Engine,
    session: cloakroom::commands::Session,
    parser: RequestParser,
    output: Vec<u8>,
}

impl<'e> Worker<'e> {
    fn new(engine: &'e Engine) -> Self {
        let id = engine.clients().next_id();
        let client = Client::new(id, Transport::Embedded, String::new(), String::new(), -1, 0);
        let (session, _) = engine.welcome(Arc::new(client));
        Worker { engine, session, parser: RequestParser::new(), output: Vec::new() }
    }

    fn serve(&mut self, batch: &[u8]) {
        self.output.clear();
        let (mut used, limits) = (0, Limits::default());
        let mut turn = self.engine.turn();
        while let Ok(Parsed::Complete(length)) = self.parser.parse(&batch[used..], &limits) {
            turn.execute(&mut self.session, self.parser.args(&batch[used..]), &mut self.output);
            used += length;
        }
        turn.publish(&mut self.session);
    }
}

/// Instructions an operation of the whole server, counted by callgrind, for numbers of threads.
/// Valgrind lets one thread run at a time: what shows is what threads do more, not how they wait.
fn instructions(report: &mut Report) -> io::Result<()> {
    let mixes = [(Mix::Mixed, 1), (Mix::Mixed, 32)];
    let mut head = vec!["worker threads".to_owned()];
    head.extend(mixes.map(|(mix, pipeline)| name(mix, pipeline)));
    let mut table = Table::new(head);
    let counts = [1, 2, 4, 8];
    let bar = progress("instructions", (counts.len() * mixes.len()) as u64);
    for threads in counts {
        let idle = Counted::start(threads)?.end(None)?.0;
        let mut row = vec![threads.to_string()];
        for (mix, pipeline) in mixes {
            let (collected, operations) = Counted::start(threads)?.end(Some((mix, pipeline)))?;
            row.push(((collected - idle) / operations).to_string());
            bar.inc(1);
        }
        table.row(row);
    }
    bar.finish_and_clear();
    let title = "Instructions an operation of the whole server, by worker threads";
    report.add("thread-instructions", title, table, Vec::new());
    Ok(())
}

/// A server whose instructions are counted.
struct Counted {
    child: Child,
    target: Target,
}

impl Counted {
    const SESSIONS: u32 = 1_000;

    fn start(threads: usize) -> io::Result<Self> {
        let mut child = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(cloakroom_binary()?)
            .args(["--port", "0", "--exit-with-parent", "--loglevel", "nothing"])
            .args(["--io-threads", &threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.trim().strip_prefix("ready redis://").and_then(|at| at.parse().ok());
        let address = address.ok_or_else(|| io::Error::other(format!("it said {line:?}")))?;
        let target = Kind::Address(address).start(None, &[])?;
        let write = |number, out: &mut Vec<u8>| Shape::Common.write(number, out);
        load::fill(&target, Self::SESSIONS, write, &indicatif::ProgressBar::hidden())?;
        Ok(Counted { child, target })
    }

    /// Serves a load, if any, and ends; returns all instructions, and the load's operations.
    fn end(mut self, load: Option<(Mix, u32)>) -> io::Result<(u64, u64)> {
        let mut operations = 0;
        if let Some((mix, pipeline)) = load {
            let load = Load {
                mix,
                pipeline,
                connections: 16,
                sessions: Self::SESSIONS,
                warm_up: Duration::ZERO,
                duration: Duration::from_secs(4),
                rate: None,
            };
            operations = load::run(&self.target, &load)?.operations;
        }
        drop(self.child.stdin.take());
        let mut collected = None;
        if let Some(stderr) = self.child.stderr.take() {
            for line in BufReader::new(stderr).lines() {
                let count = |line: &str| line.split_once("Collected :")?.1.trim().parse().ok();
                collected = count(&line?).or(collected);
            }
        }
        self.child.wait()?;
        let collected = collected.ok_or_else(|| io::Error::other("valgrind counted nothing"))?;
        Ok((collected, operations.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_bound_by_cores_and_by_the_gate() {
        // One thread waits for nobody.
        assert!((model(1, 1.0, 4.0) - 0.2).abs() < 1e-9);
        // Few threads hardly meet, many share what the gate lets through.
        assert!(model(2, 0.01, 0.99) > 1.97);
        assert!((model(64, 1.0, 4.0) - 1.0).abs() < 0.01);
    }
}
