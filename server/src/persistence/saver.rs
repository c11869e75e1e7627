//! A save in the background: a walk over the data in small turns, and a thread that writes.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::disk::{Disk, Saving, Target};
use crate::clock::Micros;
use crate::engine::{Engine, Turn};
use crate::rdb::{Recording, warn_of_dropped};
use crate::state::Background;
use crate::store::Walked;

/// How long a turn of the walk takes, about.
const TURN: Micros = 500;
/// Objects after which it is looked whether the turn is over.
const AT_ONCE: usize = 32;
/// Bytes with which the writer is not bothered yet.
const WORTH_WRITING: usize = 256 * 1024;
/// Pieces that wait for the writer; with more, the walk waits.
const MOST_PIECES: usize = 4;
/// Bytes of what changed meanwhile that may wait for the writer: with more, the disk cannot keep up
/// and the save is given up, before memory is.
const MOST_WAITING: usize = 256 << 20;

/// When a save in the background is to be driven on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// There is none under way.
    Idle,
    /// At once, after whoever else wants a turn.
    Again,
    /// When the engine's driver is woken.
    Later,
}

/// Drives saves in the background on.
#[derive(Debug)]
pub struct Saver {
    engine: Arc<Engine>,
    disk: Arc<dyn Disk>,
    running: Option<Running>,
    /// Threads that may still be at work, be it on a save that was given up.
    writers: Vec<JoinHandle<()>>,
}

/// A save that is under way.
#[derive(Debug)]
struct Running {
    recording: Arc<Mutex<Recording>>,
    /// To the writer; None: everything has been handed over.
    pieces: Option<SyncSender<Piece>>,
    /// What the writer has had no place for yet.
    queue: VecDeque<Piece>,
    is_walked: bool,
    /// What became of the file, once the writer knows.
    outcome: Arc<Mutex<Option<io::Result<u64>>>>,
    given_up: Arc<Mutex<bool>>,
    target: Target,
}

/// What the writer is handed.
#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    /// What is of no use any more is dropped where nobody waits.
    Garbage(Vec<Box<dyn Any + Send>>),
    /// It was all: the file takes its place.
    Commit,
}

impl Saver {
    /// A saver of this engine's data.
    pub fn new(engine: Arc<Engine>, disk: Arc<dyn Disk>) -> Self {
        Saver { engine, disk, running: None, writers: Vec::new() }
    }

    /// Goes on a little with the save under way; begins one that waits for somebody to attend to it.
    pub fn step(&mut self) -> Next {
        let engine = Arc::clone(&self.engine);
        let Some(mut turn) = engine.turn_unless_busy() else { return Next::Later };
        let Some(background) = turn.server().persistence.background.clone() else {
            // One that was given up meanwhile leaves nothing behind.
            self.running = None;
            return Next::Idle;
        };
        let is_this = |save: &Running| Arc::ptr_eq(&save.recording, &background.recording);
        if !self.running.as_ref().is_some_and(is_this) {
            self.running = self.begin(&mut turn, background);
        }
        let next = self.running.as_mut().map_or(Next::Idle, |save| save.go_on(&mut turn));
        if next == Next::Idle {
            self.running = None;
        }
        next
    }

    fn begin(&mut self, turn: &mut Turn<'_>, background: Background) -> Option<Running> {
        self.writers.retain(|writer| !writer.is_finished());
        let persistence = &mut turn.server().persistence;
        persistence.attempts += 1;
        if let Some(background) = &mut persistence.background {
            background.attended = true;
        }
        let target = super::target(turn);
        let (pieces, handed) = sync_channel(MOST_PIECES);
        let outcome = Arc::new(Mutex::new(None));
        let writer = Writer {
            disk: Arc::clone(&self.disk),
            target: target.clone(),
            handed,
            given_up: Arc::clone(&background.given_up),
            outcome: Arc::clone(&outcome),
            engine: Arc::clone(&self.engine),
        };
        let thread = std::thread::Builder::new().name("cloakroom-save".to_owned());
        match thread.spawn(move || writer.run()) {
            Ok(writer) => self.writers.push(writer),
            Err(cause) => {
                end(turn, &target, Err(cause));
                return None;
            }
        }
        Some(Running {
            recording: background.recording,
            pieces: Some(pieces),
            queue: VecDeque::new(),
            is_walked: false,
            outcome,
            given_up: background.given_up,
            target,
        })
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        // Without a word that it was all, a writer leaves nothing behind.
        self.running = None;
        for writer in self.writers.drain(..) {
            // One that panicked has ended too.
            let _ = writer.join();
        }
    }
}

/// Ends the save in the background.
fn end(turn: &mut Turn<'_>, target: &Target, outcome: io::Result<u64>) {
    turn.keyspace().give_up_snapshot();
    let (now, path) = (turn.now(), target.path());
    match &outcome {
        Ok(bytes) => tracing::info!("saved {} in the background: {bytes} bytes", path.display()),
        Err(cause) => tracing::error!("cannot save {}: {cause}", path.display()),
    }
    turn.server().persistence.end_background(outcome.is_ok(), now);
}

impl Running {
    /// Goes on within this turn; idle: it is over.
    fn go_on(&mut self, turn: &mut Turn<'_>) -> Next {
        if let Some(outcome) = self.outcome.lock().take() {
            end(turn, &self.target, outcome);
            return Next::Idle;
        }
        if !self.hand_over() {
            if self.recording.lock().waiting() <= MOST_WAITING {
                return Next::Later;
            }
            *self.given_up.lock() = true;
            let slow = io::Error::other("the disk cannot keep up with the changes");
            end(turn, &self.target, Err(slow));
            return Next::Idle;
        }
        if self.is_walked {
            return Next::Later;
        }
        self.walk(turn);
        self.hand_over();
        Next::Again
    }

    /// Takes objects for as long as a turn lasts, or until their bytes are worth writing.
    fn walk(&mut self, turn: &mut Turn<'_>) {
        let start = turn.clock().stopwatch();
        while turn.clock().stopwatch() - start < TURN {
            let walked = turn.keyspace().take_some(AT_ONCE);
            let mut recording = self.recording.lock();
            if let Walked::All(garbage) = walked {
                self.is_walked = true;
                if let Err(cause) = super::check(&recording) {
                    *self.given_up.lock() = true;
                    self.outcome = Arc::new(Mutex::new(Some(Err(cause))));
                    return;
                }
                recording.end();
                warn_of_dropped("the file", recording.dropped_deadlines());
                self.queue.push_back(Piece::Bytes(recording.take_bytes()));
                self.queue.push_back(Piece::Garbage(garbage));
                self.queue.push_back(Piece::Commit);
                return;
            }
            if recording.waiting() >= WORTH_WRITING {
                self.queue.push_back(Piece::Bytes(recording.take_bytes()));
                return;
            }
        }
    }

    /// Hands over what waits, as far as the writer has places; true: nothing waits any more.
    fn hand_over(&mut self) -> bool {
        while let (Some(pieces), Some(next)) = (&self.pieces, self.queue.pop_front()) {
            match pieces.try_send(next) {
                Ok(()) => {}
                Err(TrySendError::Full(next)) => {
                    self.queue.push_front(next);
                    return false;
                }
                // The writer has ended before its time; why, its outcome says.
                Err(TrySendError::Disconnected(_)) => self.pieces = None,
            }
        }
        true
    }
}

/// The thread that writes.
struct Writer {
    disk: Arc<dyn Disk>,
    target: Target,
    handed: Receiver<Piece>,
    given_up: Arc<Mutex<bool>>,
    outcome: Arc<Mutex<Option<io::Result<u64>>>>,
    engine: Arc<Engine>,
}

impl Writer {
    fn run(self) {
        let written = self.write();
        *self.outcome.lock() = written.transpose();
        self.engine.wake_driver();
    }

    /// Writes what is handed over, until it is told that it was all. None: it never was, or the save
    /// was given up.
    fn write(&self) -> io::Result<Option<u64>> {
        let mut file = Saving::begin(&*self.disk, self.target.clone())?;
        for piece in &self.handed {
            match piece {
                Piece::Bytes(bytes) => file.write(&bytes)?,
                Piece::Garbage(garbage) => drop(garbage),
                Piece::Commit => {
                    file.settle()?;
                    let (bytes, given_up) = (file.bytes(), self.given_up.lock());
                    return if *given_up { Ok(None) } else { file.publish().map(|()| Some(bytes)) };
                }
            }
            self.engine.wake_driver();
        }
        Ok(None)
    }
}
