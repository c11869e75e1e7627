//! What others may know of a running script while it holds the gate.

use std::sync::atomic::{AtomicBool, Ordering};

/// Shared between the script that runs and those who wait for it.
#[derive(Debug, Default)]
pub struct ScriptWatch {
    slow: AtomicBool,
    wrote: AtomicBool,
    kill: AtomicBool,
    shutdown: AtomicBool,
}

impl ScriptWatch {
    /// A script begins.
    pub fn begin(&self) {
        for flag in [&self.slow, &self.wrote, &self.kill, &self.shutdown] {
            flag.store(false, Ordering::Release);
        }
    }

    /// The script has ended, or lets others in again.
    pub fn end(&self) {
        self.slow.store(false, Ordering::Release);
    }

    /// The script runs for longer than `busy-reply-threshold`.
    pub fn set_slow(&self) {
        self.slow.store(true, Ordering::Release);
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
