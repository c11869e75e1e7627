//! From process start to first PONG, and the memory of an empty server.

use std::io;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::table::Table;
use crate::target::Kind;

/// Starts of each server; the median counts.
const STARTS: usize = 21;

pub(crate) fn run(bench: &Bench) -> io::Result<()> {
    let mut table = Table::new(["server", "start to first PONG, ms", "resident, MiB"]);
    for kind in bench.kinds.iter().filter(|kind| !matches!(kind, Kind::Address(_))) {
        let mut took: Vec<Duration> = Vec::new();
        let mut resident = None;
        for _ in 0..STARTS {
            let began = Instant::now();
            let target = bench.start(kind, &[])?;
            target.await_first_pong()?;
            took.push(began.elapsed());
            resident = target.resident();
        }
        took.sort();
        let resident =
            resident.map_or("?".to_owned(), |bytes| format!("{:.1}", bytes as f64 / 1048576.0));
        table.row([kind.name(), format!("{:.1}", took[STARTS / 2].as_secs_f64() * 1e3), resident]);
    }
    table.print("Start, by fork and exec, with taskset's share (about 1 ms)");
    Ok(())
}
