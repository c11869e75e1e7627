//! Requests that took long.

use std::collections::VecDeque;

use crate::session::Label;

/// The latest slow requests.
#[derive(Debug, Default)]
pub struct Slowlog {
    entries: VecDeque<SlowRequest>,
    next: u64,
}

/// A request that took long.
#[derive(Debug, Clone)]
pub struct SlowRequest {
    /// Its number, given by [`Slowlog::add`].
    pub id: u64,
    /// When, in seconds since the epoch.
    pub at: u64,
    /// How long, in microseconds.
    pub took: u64,
    /// Its arguments, shortened.
    pub args: Vec<Vec<u8>>,
    /// Whose it was.
    pub addr: String,
    /// By CLIENT SETNAME.
    pub name: Label,
}

impl Slowlog {
    /// Adds a request; the oldest ones beyond `most` go.
    pub fn add(&mut self, mut request: SlowRequest, most: usize) {
        request.id = self.next;
        self.next += 1;
        self.entries.push_front(request);
        self.trim(most);
    }

    /// Keeps the newest `most`.
    pub fn trim(&mut self, most: usize) {
        self.entries.truncate(most);
    }

    /// All, the newest first.
    pub fn newest(&self) -> impl Iterator<Item = &SlowRequest> {
        self.entries.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
