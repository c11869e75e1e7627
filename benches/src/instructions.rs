//! Instructions an operation takes inside the server, from bytes read to bytes written, counted by
//! callgrind: the same whatever else the machine is doing.
//!
//! `instructions` prints the counts beside those of `instructions.txt` and fails where one has grown
//! by more than a twentieth; `instructions accept` writes that file anew.

use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use clap::{Parser, Subcommand, ValueEnum};
use cloakroom::clock::Clock;
use cloakroom::engine::Engine;
use cloakroom::net::Connection;
use cloakroom::session::{Client, Transport};
use cloakroom_benches::mix::{Key, Mix, Shape, request};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// By how much a count may grow before it has to be accepted.
const TOLERANCE: f64 = 1.05;

/// Sessions in the keyspace.
const SESSIONS: u32 = 1_000;

/// Operations that are counted; as many are run once more and once less, for the difference.
const OPERATIONS: u32 = 6_400;

/// How often each is counted, odd for the sake of the median.
const READINGS: usize = 3;

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Writes the counts to instructions.txt.
    Accept,
    /// Runs operations, to be counted from outside.
    Run { mix: Mix, pipeline: u32, operations: u32 },
}

fn main() -> ExitCode {
    match Cli::parse().what {
        Some(What::Run { mix, pipeline, operations }) => {
            run(mix, pipeline, operations);
            ExitCode::SUCCESS
        }
        Some(What::Accept) => judge(true),
        None => judge(false),
    }
}

fn accepted_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.txt")
}

fn judge(accept: bool) -> ExitCode {
    let accepted = std::fs::read_to_string(accepted_file()).unwrap_or_default();
    let mut table = String::new();
    let mut grown = false;
    for mix in Mix::ALL {
        for pipeline in [1, 32] {
            let name = format!("{} P{pipeline}", mix.name());
            let count = match count(mix, pipeline) {
                Ok(count) => count,
                Err(why) => {
                    eprintln!("cannot count instructions: {why}");
                    return ExitCode::FAILURE;
                }
            };
            let known = accepted
                .lines()
                .find_map(|line| line.strip_prefix(&name)?.trim().parse::<u64>().ok());
            // What nobody has accepted yet is to be accepted first.
            let ratio = known.map_or(f64::INFINITY, |known| count as f64 / known as f64);
            grown |= ratio > TOLERANCE;
            eprintln!(
                "{name:10} {count:7} instructions an operation ({ratio:.3} of what is accepted)"
            );
            let _ = writeln!(table, "{name:10} {count:7}");
        }
    }
    if accept {
        return match std::fs::write(accepted_file(), table) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    if grown {
        eprintln!(
            "an operation takes over 5 % more instructions than accepted; if that has its reason, run\n  \
             cargo run --release -p cloakroom-benches --bin instructions accept\nand commit \
             benches/instructions.txt with the reason"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Instructions an operation: the difference of a long and a short run. Each run hashes by a seed of its
/// own, which makes some per cent, so that the median of several counts.
fn count(mix: Mix, pipeline: u32) -> io::Result<u64> {
    let mut counts = [0; READINGS];
    for count in &mut counts {
        let short = callgrind(mix, pipeline, OPERATIONS)?;
        let long = callgrind(mix, pipeline, OPERATIONS * 2)?;
        *count = long.saturating_sub(short) / u64::from(OPERATIONS);
    }
    counts.sort_unstable();
    Ok(counts[READINGS / 2])
}

fn callgrind(mix: Mix, pipeline: u32, operations: u32) -> io::Result<u64> {
    let mix = mix.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned());
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["run", &mix, &pipeline.to_string(), &operations.to_string()])
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected =
        text.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    collected.ok_or_else(|| io::Error::other(format!("valgrind says: {text}")))
}

/// Serves `operations` of a mix on a connection whose stream has them ready.
fn run(mix: Mix, pipeline: u32, operations: u32) {
    let engine = Engine::new(cloakroom::Config::default(), Arc::new(Clock::system()));
    let engine = Arc::new(engine.expect("the defaults are right"));
    let mut rng = fastrand::Rng::with_seed(1);
    let mut fill = Vec::new();
    for number in 0..SESSIONS {
        Shape::Common.write(number, &mut fill);
        // Counters that are about to grow by no digit: what comes is the daily course of things.
        request(&[b"HSET", Key::new(number).name(), b"visits", b"1000"], &mut fill);
    }
    let chunks: Vec<_> = fill.chunks(60_000).map(<[u8]>::to_vec).collect();
    serve(&engine, &chunks, chunks.len());
    // As many batches are made for a short run as for a long one: only serving makes the difference.
    let mut batches = vec![Vec::new(); OPERATIONS as usize / 32];
    for batch in &mut batches {
        for _ in 0..pipeline {
            mix.write(&mut rng, SESSIONS, batch);
        }
    }
    serve(&engine, &batches, (operations / pipeline) as usize);
}

/// Serves so many batches, from the first again after the last.
fn serve(engine: &Arc<Engine>, batches: &[Vec<u8>], count: usize) {
    let client = Client::new(1, Transport::Embedded, String::new(), String::new(), -1, 0);
    let (actions, _asked) = tokio::sync::mpsc::unbounded_channel();
    let stream = Ready { batches, left: count, is_ready: true };
    let disk = Arc::new(cloakroom::persistence::SystemDisk);
    let connection = Connection::new(stream, Arc::clone(engine), disk, Arc::new(client), actions);
    let mut connection = std::pin::pin!(connection);
    let mut cx = Context::from_waker(Waker::noop());
    while connection.as_mut().poll(&mut cx).is_pending() {}
}

/// A stream that has a batch ready at every other call, and takes whatever is written.
struct Ready<'a> {
    batches: &'a [Vec<u8>],
    left: usize,
    is_ready: bool,
}

impl AsyncRead for Ready<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let was_ready = self.is_ready;
        self.is_ready = !was_ready;
        if !was_ready {
            return Poll::Pending;
        }
        if self.left > 0 {
            self.left -= 1;
            buf.put_slice(&self.batches[self.left % self.batches.len()]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Ready<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
