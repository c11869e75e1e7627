//! How late `expired` events come.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;

use crate::Bench;
use crate::goals::{Figure, Goal};
use crate::load;
use crate::plot::{Curves, PERCENTILES};
use crate::report::{Plot, Report};
use crate::table::{Table, progress};
use crate::target::Kind;
use cloakroom_benches::mix::{self, Key};

/// Deadlines are spread over so many milliseconds.
const SPREAD: u64 = 5000;

/// An event that has not come so long after its deadline never comes.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let counts: &[u32] = if bench.quick { &[5_000] } else { &[200_000, 1_000_000] };
    let mut table = Table::new([
        "sessions",
        "server",
        "p50 ms",
        "p99 ms",
        "max ms",
        "early",
        "missing",
        "µs CPU each",
    ]);
    let (mut plots, mut figures) = (Vec::new(), Vec::new());
    for &count in counts {
        let mut curves = Vec::new();
        for kind in &bench.kinds {
            let lateness = measure(bench, kind, count)?;
            if *kind == Kind::Cloakroom {
                figures = lateness.figures(count);
            }
            let at = |quantile| lateness.late.value_at_quantile(quantile).to_string();
            table.row([
                count.to_string(),
                kind.name(),
                at(0.5),
                at(0.99),
                lateness.late.max().to_string(),
                lateness.early.to_string(),
                (u64::from(count) - lateness.late.len() - lateness.early).to_string(),
                lateness.cpu.map_or("?".to_owned(), |cpu| {
                    format!("{:.2}", cpu.as_secs_f64() * 1e6 / f64::from(count))
                }),
            ]);
            let at = |percentile| lateness.late.value_at_percentile(percentile) as f64;
            curves.push((kind.name(), PERCENTILES.map(at).to_vec()));
        }
        let title = format!("How late the `expired` events of {count} sessions come");
        plots = vec![Plot::Curves("expiry", Curves { title, unit: "ms", servers: curves })];
    }
    report.add("expiry", "Lateness of `expired` events, deadlines spread over 5 s", table, plots);
    report.reach(Goal::Lateness, figures);
    Ok(())
}

/// The longest lateness that is told apart, in milliseconds.
const HIGHEST: u64 = 60_000;

struct Lateness {
    /// Milliseconds.
    late: Histogram<u64>,
    early: u64,
    /// The server's, from the first deadline to the last event.
    cpu: Option<Duration>,
}

impl Lateness {
    fn figures(&self, count: u32) -> Vec<Figure> {
        let (p99, max) = (self.late.value_at_quantile(0.99), self.late.max());
        let missing = u64::from(count) - self.late.len() - self.early;
        vec![
            (format!("p99 {p99} ms"), p99 <= 10),
            (format!("max {max} ms"), max <= 50 && missing == 0),
            (format!("{} early", self.early), self.early == 0),
        ]
    }
}

fn measure(bench: &Bench, kind: &Kind, count: u32) -> io::Result<Lateness> {
    let target = bench.start(kind, &["--notify-keyspace-events", "Ex"])?;
    let mut stream = TcpStream::connect(target.address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut subscribe = Vec::new();
    mix::request(&[b"SUBSCRIBE", b"__keyevent@0__:expired"], &mut subscribe);
    stream.write_all(&subscribe)?;

    // Far enough away that all are in before the first ends.
    let first = now() + 3000 + u64::from(count) / 50;
    let deadline = |number: u32| first + u64::from(number.wrapping_mul(2_654_435_761)) % SPREAD;
    let bar = progress(&format!("expiry: {}", kind.name()), u64::from(count));
    let write = |number: u32, out: &mut Vec<u8>| {
        let key = Key::new(number);
        mix::request(&[b"HSET", key.name(), b"user", b"42"], out);
        mix::request(&[b"PEXPIREAT", key.name(), deadline(number).to_string().as_bytes()], out);
        2
    };
    load::fill(&target, count, write, &bar)?;
    bar.finish_and_clear();
    if now() >= first {
        return Err(io::Error::other("filling took until the first deadline"));
    }
    let before = target.cpu();
    let mut lateness = receive(stream, count, deadline)?;
    lateness.cpu = target.cpu().zip(before).map(|(after, before)| after - before);
    Ok(lateness)
}

fn receive(stream: TcpStream, count: u32, deadline: impl Fn(u32) -> u64) -> io::Result<Lateness> {
    let late = Histogram::new_with_bounds(1, HIGHEST, 3).map_err(io::Error::other)?;
    let mut lateness = Lateness { late, early: 0, cpu: None };
    let mut lines = BufReader::with_capacity(1 << 20, stream);
    let mut line = String::new();
    let mut seen = 0;
    while seen < count {
        line.clear();
        match lines.read_line(&mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
        let Some(number) = line.strip_prefix("session:") else { continue };
        let Ok(number) = number.trim_end().parse() else { continue };
        seen += 1;
        match now().checked_sub(deadline(number)) {
            Some(late) => lateness.late.saturating_record(late),
            None => lateness.early += 1,
        }
    }
    Ok(lateness)
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
