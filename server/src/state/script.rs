//! What others may know of a running script while it holds the gate.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::clock::{Clock, Micros};

/// What runs, or ran last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Running {
    /// A script of EVAL.
    #[default]
    Script,
    /// A function.
    Function {
        /// Its name.
        name: String,
        /// The request that calls it.
        command: Vec<Vec<u8>>,
    },
}

/// What is done when a script has run for longer than its time.
#[derive(Default)]
struct OnSlow(OnceLock<Box<dyn Fn() + Send + Sync>>);

impl fmt::Debug for OnSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnSlow").finish_non_exhaustive()
    }
}

/// Shared between the script that runs and those who wait for it.
#[derive(Debug)]
pub struct ScriptWatch {
    clock: Arc<Clock>,
    /// The stopwatch when the script began, and the microseconds that it may take.
    began: AtomicU64,
    may_take: AtomicU64,
    /// After so many microseconds it is ended.
    must_end: AtomicU64,
    /// What runs.
    running: Mutex<Running>,
    /// How many libraries of functions there are, and functions in them.
    functions: (AtomicUsize, AtomicUsize),
    /// The bytes that it may take.
    memory: AtomicUsize,
    on_slow: OnSlow,
    /// Steps of work outside the interpreter.
    steps: AtomicU64,
    slow: AtomicBool,
    wrote: AtomicBool,
    kill: AtomicBool,
    shutdown: AtomicBool,
}

impl ScriptWatch {
    /// Watches by this clock's stopwatch.
    pub fn new(clock: Arc<Clock>) -> Self {
        ScriptWatch {
            clock,
            began: AtomicU64::new(0),
            may_take: AtomicU64::new(0),
            must_end: AtomicU64::new(Micros::MAX),
            running: Mutex::default(),
            functions: (AtomicUsize::new(0), AtomicUsize::new(0)),
            memory: AtomicUsize::new(0),
            on_slow: OnSlow::default(),
            steps: AtomicU64::new(0),
            slow: AtomicBool::new(false),
            wrote: AtomicBool::new(false),
            kill: AtomicBool::new(false),
            shutdown: AtomicBool::new(false),
        }
    }

    /// Has `act` called, on the script's own thread, when one has run for longer than its time; the
    /// first call of this counts.
    pub fn set_on_slow(&self, act: impl Fn() + Send + Sync + 'static) {
        let _ = self.on_slow.0.set(Box::new(act));
    }

    /// The script looks at the time; past it, others are told and let go on.
    pub fn look(&self) {
        let took = self.took();
        if took > self.must_end.load(Ordering::Relaxed) {
            self.kill.store(true, Ordering::Release);
        }
        if took > self.may_take.load(Ordering::Relaxed) && !self.slow.swap(true, Ordering::AcqRel) {
            tracing::warn!("a script runs for longer than busy-reply-threshold");
            if let Some(act) = self.on_slow.0.get() {
                act();
            }
        }
    }

    /// Microseconds since the script began.
    pub fn took(&self) -> Micros {
        self.clock.stopwatch().saturating_sub(self.began.load(Ordering::Relaxed))
    }

    /// What runs.
    pub fn running(&self) -> Running {
        self.running.lock().clone()
    }

    /// How many libraries of functions there are, and functions in them.
    pub fn functions(&self) -> (usize, usize) {
        (self.functions.0.load(Ordering::Relaxed), self.functions.1.load(Ordering::Relaxed))
    }

    /// Says how many libraries of functions there are, and functions in them.
    pub fn set_functions(&self, libraries: usize, functions: usize) {
        self.functions.0.store(libraries, Ordering::Relaxed);
        self.functions.1.store(functions, Ordering::Relaxed);
    }

    /// One of many steps of work that is done for the script outside the interpreter, where nothing
    /// else looks at the time. False: the script is to end, the work may stop here.
    pub fn step(&self) -> bool {
        const LOOK_EVERY: u64 = 4096;
        if self.steps.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOK_EVERY) {
            self.look();
        }
        !self.is_killed()
    }

    /// The bytes that the script may take.
    pub fn memory(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// A library is loaded: it is ended after so long, and others wait for that.
    pub fn begin_loading(&self, must_end: Micros, memory: usize) {
        self.begin(Running::Script, 0, memory);
        self.must_end.store(must_end, Ordering::Relaxed);
    }

    /// A script begins that may take so long before others are told (0 = as long as it wants), and
    /// so many bytes.
    pub fn begin(&self, running: Running, may_take: Micros, memory: usize) {
        self.must_end.store(Micros::MAX, Ordering::Relaxed);
        *self.running.lock() = running;
        self.memory.store(memory, Ordering::Relaxed);
        self.began.store(self.clock.stopwatch(), Ordering::Relaxed);
        let may_take = if may_take == 0 { Micros::MAX } else { may_take };
        self.may_take.store(may_take, Ordering::Relaxed);
        for flag in [&self.slow, &self.wrote, &self.kill, &self.shutdown] {
            flag.store(false, Ordering::Release);
        }
    }

    /// The script has ended, or lets others in again.
    pub fn end(&self) {
        self.slow.store(false, Ordering::Release);
    }

    /// Whether a script runs for longer than its time.
    pub fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Acquire)
    }

    /// The script has changed data: it can no longer be ended without leaving a half.
    pub fn set_wrote(&self) {
        self.wrote.store(true, Ordering::Release);
    }

    /// Asks the script to end. False: it has changed data already.
    pub fn kill(&self) -> bool {
        let killable = !self.wrote.load(Ordering::Acquire);
        self.kill.fetch_or(killable, Ordering::AcqRel);
        killable
    }

    /// Ends the script whatever it has done: the server stops.
    pub fn kill_for_shutdown(&self) {
        self.shutdown.store(true, Ordering::Release);
    }

    /// Whether the script is to end.
    pub fn is_killed(&self) -> bool {
        self.kill.load(Ordering::Acquire) || self.shutdown.load(Ordering::Acquire)
    }
}
