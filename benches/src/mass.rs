//! Many sessions that end in the same second, while others are served.

use std::io;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::expiry::now;
use crate::goals::Goal;
use crate::load::{self, Load};
use crate::report::Report;
use crate::table::{Table, progress};
use crate::target::{Kind, Target};
use crate::throughput::{closed, micros};
use cloakroom_benches::mix::{self, Key, Mix, Shape};

/// How long the load runs on from the second before the deadlines.
const WATCHED: Duration = Duration::from_secs(4);

/// Requests a second of the load: far from what any of the servers can do.
const RATE: f64 = 20_000.0;

pub(crate) fn run(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let ending = if bench.quick { 20_000 } else { 1_000_000 };
    let mut table = Table::new([
        "server",
        "quiet p99 µs",
        "meanwhile p99 µs",
        "ratio",
        "worst µs",
        "all gone after the second, ms",
    ]);
    for kind in &bench.kinds {
        let target = bench.start(kind, &[])?;
        // Few beside those that end: Redis leaves a minority of ended keys for long.
        let staying = bench.sessions.min(ending / 10);
        let bar = progress(&format!("mass: {}", kind.name()), u64::from(ending + staying));
        let write = |number, out: &mut Vec<u8>| Shape::Common.write(number, out);
        load::fill(&target, staying, write, &bar)?;
        let load = Load {
            rate: Some(RATE),
            sessions: staying,
            duration: WATCHED,
            ..closed(bench, Mix::Mixed, 1)
        };
        let quiet = load::run(&target, &Load { duration: bench.reading(), ..load })?;
        // Far enough away that all are in before the first ends.
        let second = now() / 1000 * 1000 + 3000 + u64::from(ending) / 40;
        load::fill(&target, ending, |number, out| ending_session(number, second, out), &bar)?;
        bar.finish_and_clear();
        std::thread::sleep(Duration::from_millis((second - 1000).saturating_sub(now())));
        let began = Instant::now();
        let (outcome, gone) = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| all_gone(&target, staying, second));
            (load::run(&target, &load), watcher.join())
        });
        let outcome = outcome?;
        let gone = gone.map_err(|_| io::Error::other("the watcher failed"))??;
        let at = |outcome: &load::Outcome| outcome.latency.value_at_quantile(0.99);
        let ratio = at(&outcome) as f64 / at(&quiet).max(1) as f64;
        if *kind == Kind::Cloakroom {
            let late = gone.map_or("never gone".to_owned(), |late| format!("gone after {late} ms"));
            report.reach(
                Goal::Mass,
                [
                    (format!("{ratio:.1} ×"), ratio <= 3.0),
                    (late, gone.is_some_and(|late| late <= 1000)),
                ],
            );
        }
        table.row([
            kind.name(),
            micros(at(&quiet)),
            micros(at(&outcome)),
            format!("{ratio:.1}"),
            micros(outcome.latency.max()),
            gone.map_or(format!("not within {:?}", began.elapsed()), |late| late.to_string()),
        ]);
    }
    let title = format!("{ending} sessions that end in the same second, under mixed load");
    report.add("mass", &title, table, Vec::new());
    Ok(())
}

/// A session besides those of the load that ends within the second from `second` on.
fn ending_session(number: u32, second: u64, out: &mut Vec<u8>) -> u32 {
    let key = Key::new(u32::MAX - number);
    let at = (second + u64::from(number) % 1000).to_string();
    mix::request(&[b"HSET", key.name(), b"user", b"42"], out);
    mix::request(&[b"PEXPIREAT", key.name(), at.as_bytes()], out);
    2
}

/// How many milliseconds after the second's end only `staying` keys are left; None: never.
pub(crate) fn all_gone(target: &Target, staying: u32, second: u64) -> io::Result<Option<u64>> {
    let end = second + 1000;
    while now() < end + 60_000 {
        let left: u64 = target.dbsize()?;
        if left <= u64::from(staying) {
            return Ok(Some(now().saturating_sub(end)));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(None)
}
