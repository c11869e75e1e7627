//! From process start to first PONG, and the memory of an empty server; the same within a process.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use cloakroom::{Handle, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Bench;
use crate::goals::Goal;
use crate::report::Report;
use crate::table::Table;
use crate::target::{Kind, on_cpus};

/// Starts of each server.
const STARTS: usize = 41;

/// Starts within this process.
const EMBEDDED_STARTS: usize = 201;

pub(crate) fn run(bench: &Bench, report: &mut Report) -> io::Result<()> {
    processes(bench, report)?;
    // Threads that start within may run wherever there is room, as in any program.
    on_cpus(None, || embedded(report))
}

fn processes(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let mut table = Table::new(["server", "median, ms", "fastest, ms", "resident, MiB"]);
    for kind in bench.kinds.iter().filter(|kind| !matches!(kind, Kind::Address(_))) {
        let mut took = Vec::new();
        let mut resident = None;
        for _ in 0..STARTS {
            let began = Instant::now();
            let target = bench.start(kind, &[])?;
            target.await_first_pong()?;
            took.push(began.elapsed());
            resident = target.resident();
        }
        let [median, fastest] = middle_and_least(took).map(|time| time.as_secs_f64() * 1e3);
        let resident = resident.map(|bytes| bytes as f64 / 1048576.0);
        if *kind == Kind::Cloakroom {
            report.reach(Goal::Start, [(format!("{median:.1} ms"), median <= 3.0)]);
            let figure = |mib| (format!("{mib:.1} MiB"), mib <= 5.0);
            report.reach(Goal::Resident, resident.map(figure));
        }
        let resident = resident.map_or("?".to_owned(), |mib| format!("{mib:.1}"));
        table.row([kind.name(), format!("{median:.1}"), format!("{fastest:.1}"), resident]);
    }
    report.add("start", "From process start to first PONG; resident when empty", table, Vec::new());
    Ok(())
}

/// How long an embedded server takes from nothing to its first reply, in this process.
fn embedded(report: &mut Report) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut table = Table::new(["embedded server, reached", "median, µs", "fastest, µs"]);
    let mut measure = |name: &str, first_reply: &dyn Fn() -> io::Result<Handle>| {
        let mut took = Vec::new();
        for _ in 0..EMBEDDED_STARTS {
            let began = Instant::now();
            let server = first_reply()?;
            took.push(began.elapsed());
            server.shutdown_blocking();
        }
        let [median, fastest] = middle_and_least(took).map(|time| time.as_micros());
        table.row([name.to_owned(), median.to_string(), fastest.to_string()]);
        io::Result::Ok(median)
    };
    measure("by a socket", &by_socket)?;
    let median = measure("within the process", &|| runtime.block_on(within()))?;
    report.add(
        "embedded",
        "From nothing to the first reply of an embedded server",
        table,
        Vec::new(),
    );
    report.reach(Goal::Embedded, [(format!("{median} µs"), median <= 500)]);
    Ok(())
}

fn by_socket() -> io::Result<Handle> {
    let server = Server::builder().start_blocking().map_err(io::Error::other)?;
    let addr = server.addr().ok_or_else(|| io::Error::other("it listens nowhere"))?;
    let mut stream = TcpStream::connect(addr)?;
    stream.write_all(PING)?;
    let mut reply = [0; PONG.len()];
    stream.read_exact(&mut reply)?;
    is_pong(&reply).map(|()| server)
}

async fn within() -> io::Result<Handle> {
    let server = Server::builder().without_sockets().start().await.map_err(io::Error::other)?;
    let mut stream = server.connect();
    stream.write_all(PING).await?;
    let mut reply = [0; PONG.len()];
    stream.read_exact(&mut reply).await?;
    is_pong(&reply).map(|()| server)
}

const PING: &[u8] = b"PING\r\n";
const PONG: &[u8] = b"+PONG\r\n";

fn is_pong(reply: &[u8]) -> io::Result<()> {
    if reply == PONG { Ok(()) } else { Err(io::Error::other("the reply is no PONG")) }
}

/// The median says what a start takes, the fastest what it takes when nobody else wants the CPU.
fn middle_and_least(mut took: Vec<Duration>) -> [Duration; 2] {
    took.sort();
    [took[took.len() / 2], took[0]]
}
