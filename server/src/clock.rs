//! The only reader of time: the system's clock, or one that a test turns by hand.
//!
//! Everything that ends, waits or is measured asks a [`Clock`]. A clock runs with the system's
//! (plus an offset that [`Clock::advance`] adds to) until somebody freezes it; a frozen clock moves
//! only by `advance`. That one type serves production, embedded tests and the wire family
//! `CLOAKROOM`, so there is no second code path that only tests see.

#![expect(clippy::disallowed_methods, reason = "the one place that reads time")]

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point in time or a deadline: absolute milliseconds since the Unix epoch.
pub type Millis = u64;

/// A point in time with more detail: absolute microseconds since the Unix epoch.
pub type Micros = u64;

/// Reads the time for one server. Shared by its threads; all reads are lock-free.
#[derive(Debug)]
pub struct Clock {
    /// Microseconds at which the clock stands still; 0 while it runs.
    frozen_at: AtomicU64,
    /// Microseconds that the running clock is ahead of the system's.
    offset: AtomicI64,
    /// Where the stopwatch counts from.
    origin: Instant,
}

impl Clock {
    /// A clock that runs with the system's.
    pub fn system() -> Self {
        Clock { frozen_at: AtomicU64::new(0), offset: AtomicI64::new(0), origin: Instant::now() }
    }

    /// A clock that stands at the system's present time until it is advanced.
    pub fn frozen() -> Self {
        let clock = Clock::system();
        clock.freeze();
        clock
    }

    /// A clock that stands at `now` (milliseconds since the epoch, above 0) until it is advanced.
    pub fn frozen_at(now: Millis) -> Self {
        let clock = Clock::system();
        clock.frozen_at.store(now.max(1) * 1000, Ordering::Release);
        clock
    }

    /// The present in microseconds since the Unix epoch.
    pub fn now_micros(&self) -> Micros {
        match self.frozen_at.load(Ordering::Acquire) {
            0 => system_micros().saturating_add_signed(self.offset.load(Ordering::Acquire)),
            at => at,
        }
    }

    /// The present in milliseconds since the Unix epoch.
    pub fn now(&self) -> Millis {
        self.now_micros() / 1000
    }

    /// Microseconds of real time since the clock was made, whatever the clock itself shows:
    /// for measuring how long work took.
    pub fn stopwatch(&self) -> Micros {
        micros(self.origin.elapsed())
    }

    /// Moves the time on by `by`, frozen or not.
    pub fn advance(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4);
        let moved = self.frozen_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, |at| {
            (at != 0).then(|| at.saturating_add(micros))
        });
        if moved.is_err() {
            self.offset.fetch_add(micros as i64, Ordering::AcqRel);
        }
    }

    /// Makes the time stand still where it is. Freezing twice changes nothing.
    pub fn freeze(&self) {
        let now = self.now_micros().max(1);
        let _ = self.frozen_at.compare_exchange(0, now, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Lets a frozen clock run on from the time that it shows.
    pub fn resume(&self) {
        let at = self.frozen_at.load(Ordering::Acquire);
        if at != 0 {
            self.offset.store(at as i64 - system_micros() as i64, Ordering::Release);
            self.frozen_at.store(0, Ordering::Release);
        }
    }

    /// Whether the clock stands still.
    pub fn is_frozen(&self) -> bool {
        self.frozen_at.load(Ordering::Acquire) != 0
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::system()
    }
}

fn system_micros() -> Micros {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, micros)
}

/// Without the 128 bits of `as_micros`: this is read for every batch and after every command.
fn micros(time: Duration) -> Micros {
    time.as_secs() * 1_000_000 + u64::from(time.subsec_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_clock_moves_only_by_hand() {
        let clock = Clock::frozen_at(5_000);
        assert_eq!(clock.now(), 5_000);
        clock.advance(Duration::from_millis(11));
        assert_eq!((clock.now(), clock.is_frozen()), (5_011, true));
    }

    #[test]
    fn a_resumed_clock_goes_on_from_where_it_stood() {
        let clock = Clock::frozen_at(5_000);
        clock.resume();
        assert!((5_000..65_000).contains(&clock.now()));
        clock.advance(Duration::from_secs(3600));
        assert!(clock.now() >= 3_605_000);
    }
}
