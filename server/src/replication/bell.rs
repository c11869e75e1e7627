//! A bell: rung when a server's role changes, so that the link to its primary follows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

/// Counts how often it was rung, and wakes whoever listens.
#[derive(Debug, Default)]
pub struct Bell {
    rung: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    /// Wakes the listener.
    pub fn ring(&self) {
        self.rung.fetch_add(1, Ordering::AcqRel);
        if let Some(waker) = self.waker.lock().take() {
            waker.wake();
        }
    }

    /// How often it was rung.
    pub fn count(&self) -> u64 {
        self.rung.load(Ordering::Acquire)
    }

    /// Has `waker` called at the next ring.
    pub fn listen(&self, waker: &Waker) {
        *self.waker.lock() = Some(waker.clone());
    }
}
