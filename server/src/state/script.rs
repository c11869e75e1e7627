//! What others may know of a running script while it holds the gate.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::clock::{Clock, Micros};

/// Shared between the script that runs and those who wait for it.
#[derive(Debug)]
pub struct ScriptWatch {
    clock: Arc<Clock>,
    /// The stopwatch when the script began, and the microseconds that it may take.
    began: AtomicU64,
    may_take: AtomicU64,
    /// Lets the thread's other connections go on elsewhere while a slow script runs.
    hand_over: OnceLock<fn()>,
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
            hand_over: OnceLock::new(),
            slow: AtomicBool::new(false),
            wrote: AtomicBool::new(false),
            kill: AtomicBool::new(false),
            shutdown: AtomicBool::new(false),
        }
    }

    /// Says how a thread's other connections are let go on elsewhere.
    pub fn set_hand_over(&self, hand_over: fn()) {
        let _ = self.hand_over.set(hand_over);
    }

    /// The script looks at the time; past it, others are told and let go on.
    pub fn look(&self) {
        let took = self.clock.stopwatch() - self.began.load(Ordering::Relaxed);
        if took > self.may_take.load(Ordering::Relaxed) && !self.slow.swap(true, Ordering::AcqRel) {
            tracing::warn!("a script runs for longer than busy-reply-threshold");
            if let Some(hand_over) = self.hand_over.get() {
                hand_over();
            }
        }
    }

    /// A script begins that may take so long before others are told.
    pub fn begin(&self, may_take: Micros) {
        self.began.store(self.clock.stopwatch(), Ordering::Relaxed);
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
