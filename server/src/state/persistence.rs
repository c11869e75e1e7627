//! What is known of saving and loading: what save points go by and INFO persistence shows.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::Millis;
use crate::config::{Config, SavePoint};
use crate::rdb::{Loaded, Recording};

/// How long after a failure the next attempt by itself comes at the earliest.
const RETRY_AFTER: Millis = 5_000;

/// What is known of saving and loading.
#[derive(Debug)]
pub struct Persistence {
    /// When the data was saved last, or the server started.
    pub last_save: Millis,
    /// Effects stated before that save.
    pub saved: u64,
    /// Whether the last attempt in the background went well.
    pub last_was_ok: bool,
    /// When it began.
    pub last_attempt: Millis,
    /// Milliseconds that it took, if there was one.
    pub last_took: Option<Millis>,
    /// Bytes that it held at most of what changed meanwhile.
    pub last_held: usize,
    /// Saves of SAVE and those in the background that went well, and all that were begun.
    pub saves: u64,
    /// See `saves`.
    pub attempts: u64,
    /// The save in the background that is under way.
    pub background: Option<Background>,
    /// One is to begin as soon as it can.
    pub scheduled: bool,
    /// Data that is being loaded.
    pub loading: Option<Loading>,
    /// What was loaded last.
    pub last_load: Loaded,
}

/// A save in the background.
#[derive(Debug, Clone)]
pub struct Background {
    /// The file's bytes as they come.
    pub recording: Arc<Mutex<Recording>>,
    /// When it began.
    pub started: Millis,
    /// Effects stated before it began.
    pub stated: u64,
    /// Keys that were there when it began.
    pub keys: u64,
    /// Somebody sees to it.
    pub attended: bool,
    /// It was given up. Whoever puts its file in place holds this meanwhile.
    pub given_up: Arc<Mutex<bool>>,
}

/// Data that is being loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loading {
    /// When it began.
    pub started: Millis,
    /// Bytes in all, where that is known.
    pub total: Option<u64>,
    /// Bytes loaded so far.
    pub loaded: u64,
    /// The old data is served meanwhile.
    pub serves_old: bool,
    /// It comes from the file with which the server starts: nothing but its end ends that.
    pub at_start: bool,
    /// Bytes that the data takes so far, where it does not count as the server's yet.
    pub used_memory: usize,
    /// Bytes that the data took where it was saved, if that was noted.
    pub noted_memory: u64,
}

impl Loading {
    /// The data with which the server starts.
    pub fn at_start(started: Millis) -> Self {
        Loading { at_start: true, ..Loading::copy(started) }
    }

    /// A copy of a primary's data, in place of the old, which is gone.
    pub fn copy(started: Millis) -> Self {
        Loading {
            started,
            total: None,
            loaded: 0,
            serves_old: false,
            at_start: false,
            used_memory: 0,
            noted_memory: 0,
        }
    }
}

impl Persistence {
    /// Nothing saved and nothing loaded at the start.
    pub fn new(started: Millis) -> Self {
        Persistence {
            last_save: started,
            saved: 0,
            last_was_ok: true,
            last_attempt: 0,
            last_took: None,
            last_held: 0,
            saves: 0,
            attempts: 0,
            background: None,
            scheduled: false,
            loading: None,
            last_load: Loaded::default(),
        }
    }

    /// Whether writes are refused because the data cannot be saved.
    pub fn refuses_writes(&self, config: &Config) -> bool {
        !self.last_was_ok && config.stop_writes_on_bgsave_error && !config.save.is_empty()
    }

    /// When a save in the background is to begin, or to be seen to; `stated`: effects stated by now.
    pub fn next_due(&self, config: &Config, stated: u64) -> Option<Millis> {
        if let Some(background) = &self.background {
            return (!background.attended).then_some(0);
        }
        if self.scheduled {
            return Some(0);
        }
        let changes = stated - self.saved;
        let wanted = |point: &&SavePoint| changes >= point.changes;
        let seconds = config.save.iter().filter(wanted).map(|point| point.seconds).min()?;
        // More than so many seconds after the last save, as in Redis.
        let due = self.last_save.saturating_add(seconds.saturating_mul(1000)).saturating_add(1);
        let retry = if self.last_was_ok { 0 } else { self.last_attempt + RETRY_AFTER };
        Some(due.max(retry))
    }

    /// The data as of when `stated` effects had been stated has been saved.
    pub fn succeeded(&mut self, stated: u64, now: Millis) {
        (self.saved, self.last_save, self.last_was_ok) = (stated, now, true);
    }

    /// Gives up the save in the background; false: there is none. Its file will not take its place.
    pub fn give_up(&mut self) -> bool {
        let given_up = self.background.take().map(|background| *background.given_up.lock() = true);
        given_up.is_some()
    }

    /// The save in the background is over; false: it failed.
    pub fn end_background(&mut self, ok: bool, now: Millis) {
        let Some(background) = self.background.take() else { return };
        if ok {
            self.succeeded(background.stated, now);
            self.saves += 1;
        }
        self.last_was_ok = ok;
        self.last_took = Some(now.saturating_sub(background.started));
        self.last_held = background.recording.lock().peak();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn save_points_count_changes_and_time_since_the_last_save() {
        let config = Config::default();
        let mut persistence = Persistence::new(1_000);
        assert_eq!(persistence.next_due(&config, 0), None);
        assert_eq!(persistence.next_due(&config, 1), Some(1_000 + 3_600_000 + 1));
        assert_eq!(persistence.next_due(&config, 100), Some(1_000 + 300_000 + 1));
        persistence.succeeded(100, 5_000);
        assert_eq!(persistence.next_due(&config, 199), Some(5_000 + 3_600_000 + 1));
        (persistence.last_was_ok, persistence.last_attempt) = (false, 9_000_000);
        assert_eq!(persistence.next_due(&config, 199), Some(9_005_000));
        assert!(persistence.refuses_writes(&config));
        assert!(!persistence.refuses_writes(&Config { save: Vec::new(), ..config }));
        persistence.scheduled = true;
        assert_eq!(persistence.next_due(&Config::default(), 100), Some(0));
    }
}
