//! What changes: the one place through which every effect on the data passes.
//!
//! Today a recorder (tests, a debug shadow) may listen; a replication stream takes the same seat.

use crate::resp::OwnedRequest;

/// Effects as they are stated.
#[derive(Debug, Default)]
pub struct Effects {
    /// How many were stated since the start.
    stated: u64,
    /// Groups that have begun: effects in them belong together.
    depth: u32,
    /// Kept until taken, if somebody records.
    log: Option<Vec<(usize, OwnedRequest)>>,
}

impl Effects {
    /// Starts to keep what is stated, until [`Effects::take`].
    pub fn record(&mut self) {
        self.log.get_or_insert_default();
    }

    /// What was stated since the last call, each with its database; empty unless recorded.
    pub fn take(&mut self) -> Vec<(usize, OwnedRequest)> {
        self.log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether somebody listens: only then must effects be made.
    pub fn is_wanted(&self) -> bool {
        self.log.is_some()
    }

    /// States an effect on database `db`.
    pub fn state(&mut self, db: usize, effect: impl FnOnce() -> OwnedRequest) {
        self.stated += 1;
        if let Some(log) = &mut self.log {
            log.push((db, effect()));
        }
    }

    /// What follows belongs together, until [`Effects::end_group`].
    pub fn begin_group(&mut self) {
        self.depth += 1;
    }

    /// Ends what [`Effects::begin_group`] began.
    pub fn end_group(&mut self) {
        self.depth -= 1;
    }

    /// How many effects were stated since the start (INFO's changes since the last save).
    pub fn stated(&self) -> u64 {
        self.stated
    }
}
