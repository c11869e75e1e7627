//! The load: one thread, many connections; closed loop (as fast as it goes) or open loop (at a set
//! rate, latencies counted from when a request was due, so that no stall is left out).

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::replies::Counter;
use crate::target::Target;
use cloakroom_benches::mix::Mix;

/// The longest latency that is told apart, in nanoseconds.
const HIGHEST: u64 = 60_000_000_000;

/// What is to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) mix: Mix,
    /// Operations a write holds.
    pub(crate) pipeline: u32,
    pub(crate) connections: usize,
    pub(crate) sessions: u32,
    /// Not counted.
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
    /// Operations a second, evenly spaced; None: as fast as replies come.
    pub(crate) rate: Option<f64>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) operations: u64,
    pub(crate) seconds: f64,
    /// The server's CPU time an operation, in microseconds; None where it cannot be known.
    pub(crate) cpu: Option<f64>,
    /// Nanoseconds from a batch's sending (open loop: from when it was due) to its last reply.
    pub(crate) latency: Histogram<u64>,
    pub(crate) errors: u64,
}

impl Outcome {
    pub(crate) fn throughput(&self) -> f64 {
        self.operations as f64 / self.seconds
    }
}

struct Connection {
    stream: TcpStream,
    counter: Counter,
    /// To be sent, from `sent` on.
    output: Vec<u8>,
    sent: usize,
    /// Batches under way: when each was due, the replies that are still to come, its operations.
    under_way: VecDeque<(Instant, u64, u32)>,
}

/// Runs a load against a server.
pub(crate) fn run(target: &Target, load: &Load) -> io::Result<Outcome> {
    let mut generator = Generator::connect(target, load)?;
    generator.run_for(load.warm_up)?;
    generator.outcome.operations = 0;
    generator.outcome.latency.reset();
    let cpu = target.cpu();
    let began = Instant::now();
    generator.run_for(load.duration)?;
    let mut outcome = generator.outcome;
    outcome.seconds = began.elapsed().as_secs_f64();
    if let (Some(before), Some(after)) = (cpu, target.cpu()) {
        let micros = (after - before).as_secs_f64() * 1e6;
        outcome.cpu = Some(micros / outcome.operations.max(1) as f64);
    }
    outcome.errors = generator.connections.iter().map(|each| each.counter.errors).sum();
    Ok(outcome)
}

struct Generator {
    load: Load,
    poll: Poll,
    connections: Vec<Connection>,
    rng: fastrand::Rng,
    outcome: Outcome,
    input: Box<[u8]>,
}

impl Generator {
    fn connect(target: &Target, load: &Load) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut connections = Vec::new();
        for token in 0..load.connections {
            let stream = std::net::TcpStream::connect(target.address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(token), interest)?;
            connections.push(Connection {
                stream,
                counter: Counter::default(),
                output: Vec::new(),
                sent: 0,
                under_way: VecDeque::new(),
            });
        }
        let latency = Histogram::new_with_bounds(1, HIGHEST, 3).map_err(io::Error::other)?;
        let outcome = Outcome { operations: 0, seconds: 0.0, cpu: None, latency, errors: 0 };
        Ok(Generator {
            load: *load,
            poll,
            connections,
            rng: fastrand::Rng::with_seed(0x00c1_0a4b),
            outcome,
            input: vec![0; 256 * 1024].into(),
        })
    }

    fn run_for(&mut self, duration: Duration) -> io::Result<()> {
        let began = Instant::now();
        let mut events = Events::with_capacity(1024);
        let gap = self.load.rate.map(|rate| f64::from(self.load.pipeline) / rate);
        let mut batches = 0_u64;
        if gap.is_none() {
            for index in 0..self.connections.len() {
                if self.connections[index].under_way.is_empty() {
                    self.send(index, Instant::now())?;
                }
            }
        }
        while began.elapsed() < duration {
            if let Some(gap) = gap {
                while began.elapsed().as_secs_f64() >= batches as f64 * gap {
                    let due = began + Duration::from_secs_f64(batches as f64 * gap);
                    self.send(batches as usize % self.connections.len(), due)?;
                    batches += 1;
                }
            }
            // An open loop spins, so that it is never late by the sleep's granularity.
            let patience = if gap.is_some() { Duration::ZERO } else { Duration::from_millis(100) };
            self.poll.poll(&mut events, Some(patience))?;
            for event in &events {
                let index = event.token().0;
                if event.is_writable() {
                    self.connections[index].flush()?;
                }
                if event.is_readable() && self.receive(index)? && gap.is_none() {
                    self.send(index, Instant::now())?;
                }
            }
        }
        Ok(())
    }

    /// Sends a batch that was due at `due`.
    fn send(&mut self, index: usize, due: Instant) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let mut replies = 0;
        for _ in 0..self.load.pipeline {
            replies +=
                self.load.mix.write(&mut self.rng, self.load.sessions, &mut connection.output);
        }
        connection.under_way.push_back((due, u64::from(replies), self.load.pipeline));
        connection.flush()
    }

    /// Takes in what has come; returns whether nothing more is under way.
    fn receive(&mut self, index: usize) -> io::Result<bool> {
        let connection = &mut self.connections[index];
        loop {
            let read = match connection.stream.read(&mut self.input) {
                Ok(0) => return Err(io::Error::other("the server closed the connection")),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            };
            let mut whole = connection.counter.take_in(&self.input[..read]);
            while let Some((due, missing, operations)) = connection.under_way.front_mut() {
                let taken = whole.min(*missing);
                whole -= taken;
                *missing -= taken;
                if *missing > 0 {
                    break;
                }
                self.outcome.operations += u64::from(*operations);
                self.outcome.latency.saturating_record(due.elapsed().as_nanos() as u64);
                connection.under_way.pop_front();
            }
            // A closed loop has nothing more to come once its batch is whole: no second read.
            if connection.under_way.is_empty() {
                return Ok(true);
            }
        }
    }
}

impl Connection {
    fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(())
    }
}

/// Sends `count` numbered requests over one connection, some thousands of bytes at a time, and
/// waits for all replies.
pub(crate) fn fill(
    target: &Target,
    count: u32,
    mut write: impl FnMut(u32, &mut Vec<u8>) -> u32,
    progress: &indicatif::ProgressBar,
) -> io::Result<()> {
    const AT_ONCE: u32 = 500;
    let mut stream = std::net::TcpStream::connect(target.address)?;
    stream.set_nodelay(true)?;
    let mut counter = Counter::default();
    let mut output = Vec::new();
    let mut input = vec![0; 256 * 1024];
    for first in (0..count).step_by(AT_ONCE as usize) {
        output.clear();
        let mut missing = 0;
        for number in first..count.min(first + AT_ONCE) {
            missing += u64::from(write(number, &mut output));
        }
        stream.write_all(&output)?;
        while missing > 0 {
            let read = stream.read(&mut input)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            missing -= counter.take_in(&input[..read]);
        }
        progress.inc(u64::from(AT_ONCE));
    }
    if counter.errors > 0 {
        return Err(io::Error::other(format!("{} requests were refused", counter.errors)));
    }
    Ok(())
}
