//! Clients that write sessions one after the other and note what was acknowledged, whatever happens
//! to the servers meanwhile.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::groups::until;
use crate::wire::Wire;

/// How long a writer that was refused waits before it tries again.
const PAUSE: Duration = Duration::from_millis(10);

/// How many keys are asked for at once.
const AT_ONCE: usize = 500;

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A server promised to keep it.
    Acknowledged,
    /// What the client was told instead.
    Failed(String),
}

/// What became of a writer's writes; write `n` sets the field `n` of the key `NAME:n` to `n`.
#[derive(Debug, Default)]
struct Record {
    acknowledged: Vec<u64>,
    failures: Vec<String>,
    last: Option<Instant>,
    /// The longest time between two that were acknowledged.
    gap: Duration,
}

impl Record {
    fn note(&mut self, number: u64, outcome: Outcome) {
        match outcome {
            Outcome::Failed(why) => self.failures.push(why),
            Outcome::Acknowledged => {
                let now = Instant::now();
                let since = self.last.replace(now).map_or(Duration::ZERO, |last| now - last);
                self.gap = self.gap.max(since);
                self.acknowledged.push(number);
            }
        }
    }
}

/// A client that writes until it is ended.
pub struct Writer {
    name: String,
    record: Arc<Mutex<Record>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Its process, if it has one of its own.
    child: Option<Child>,
}

impl Writer {
    /// A thread that calls `write` with one number after the other.
    pub fn thread(name: &str, mut write: impl FnMut(u64) -> Outcome + Send + 'static) -> Writer {
        let mut writer = Writer::new(name);
        let (record, stop) = (Arc::clone(&writer.record), Arc::clone(&writer.stop));
        writer.thread = Some(std::thread::spawn(move || {
            for number in 1.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let outcome = write(number);
                let failed = outcome != Outcome::Acknowledged;
                record.lock().unwrap_or_else(PoisonError::into_inner).note(number, outcome);
                if failed {
                    std::thread::sleep(PAUSE);
                }
            }
        }));
        writer
    }

    /// A program that writes a line for each write: `acked N` or `failed WHY`.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn program(name: &str, command: &mut Command) -> io::Result<Writer> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
        let mut writer = Writer::new(name);
        writer.child = Some(child);
        let record = Arc::clone(&writer.record);
        writer.thread = Some(std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let number = line.strip_prefix("acked ").and_then(|n| n.parse().ok());
                let outcome = match number {
                    Some(_) => Outcome::Acknowledged,
                    None => Outcome::Failed(line),
                };
                let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
                record.note(number.unwrap_or(0), outcome);
            }
        }));
        Ok(writer)
    }

    fn new(name: &str) -> Writer {
        let (record, stop) = (Arc::default(), Arc::default());
        Writer { name: name.to_owned(), record, stop, thread: None, child: None }
    }

    fn record<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until so many more writes are acknowledged.
    ///
    /// # Errors
    ///
    /// They are not, in time.
    pub fn goes_on(&self, writes: usize) -> io::Result<()> {
        let due = self.record(|record| record.acknowledged.len()) + writes;
        let thread = self.thread.as_ref();
        until(&format!("{} writes {writes} times", self.name), || {
            if thread.is_none_or(JoinHandle::is_finished) {
                return Err(io::Error::other(format!("{} has ended", self.name)));
            }
            Ok(self.record(|record| record.acknowledged.len()) >= due)
        })
        .map_err(|error| {
            let told = self.record(|record| record.failures.last().cloned());
            io::Error::other(format!("{error}; it was last told {told:?}"))
        })
    }

    /// What its keys begin with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The longest time between two writes that were acknowledged.
    pub fn gap(&self) -> Duration {
        self.record(|record| record.gap)
    }

    /// What it was told instead of an acknowledgement.
    pub fn failures(&self) -> Vec<String> {
        self.record(|record| record.failures.clone())
    }

    /// Lets it end after the write at hand.
    pub fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(child) = &mut self.child {
            // Nothing can be done about a child that is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok(), "{} panicked", self.name);
        }
    }

    /// The writes that were acknowledged and that this server does not have.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub fn lost(&self, at: SocketAddr) -> io::Result<Vec<u64>> {
        let acknowledged = self.record(|record| record.acknowledged.clone());
        let (mut wire, mut lost) = (Wire::connect(at)?, Vec::new());
        for numbers in acknowledged.chunks(AT_ONCE) {
            for number in numbers {
                wire.send(&["HGET", &format!("{}:{number}", self.name), "n"])?;
            }
            for number in numbers {
                if wire.read()?.bytes() != Some(number.to_string().into_bytes()) {
                    lost.push(*number);
                }
            }
        }
        Ok(lost)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(child) = &mut self.child {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
