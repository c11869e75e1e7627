//! Connections that have requests at the same time: all are read, then all are executed, so that what
//! they will touch is fetched from memory together, then all are answered, so that a client of many
//! connections is woken once.

use crate::engine::{Engine, Turn};

/// So many keys are worth fetching together.
const CROWD: usize = 4;

/// No more keys than this wait to be fetched.
const MOST_KEYS: usize = 64;

/// After so many times that fewer had come, requests are executed as they come.
const TIMES_ALONE: usize = 8;

/// So many requests are then executed before it is tried again.
const UNTIL_NEXT_TRY: usize = 64;

/// Bytes of requests with which a connection waits for others; with more it is a crowd by itself.
const LONGEST: usize = 1024;

/// Of longer replies each is sent at once.
const LONGEST_REPLY: usize = 4096;

/// The connections of one thread whose requests have been read and not yet executed.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// The keys that their requests are about, one behind the other, all of one database.
    keys: Vec<u8>,
    ends: Vec<usize>,
    db: usize,
    /// How many times in a row it was too small.
    times_alone: usize,
    /// So many requests are executed as they come.
    until_next_try: usize,
    /// Those who execute now are many.
    is_large: bool,
    /// Empty buffers for what is read and not yet executed, and executed and not yet sent.
    spare: Vec<Vec<u8>>,
}

impl Crowd {
    /// Whether a connection is to wait with these requests until others have been read too.
    pub(super) fn takes_in(&mut self, engine: &Engine, db: usize, requests: &[u8]) -> bool {
        if self.until_next_try > 0 {
            self.until_next_try -= 1;
            return false;
        }
        if requests.len() > LONGEST
            || self.ends.len() >= MOST_KEYS
            || (self.db != db && !self.ends.is_empty())
        {
            return false;
        }
        let glance = engine.glance(requests);
        if glance.keys().is_empty() {
            self.note_alone();
            return false;
        }
        self.db = db;
        for key in glance.keys() {
            self.keys.extend_from_slice(key);
            self.ends.push(self.keys.len());
        }
        true
    }

    /// A buffer for one connection's requests, then for their replies.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a buffer back that is of no use any more.
    pub(super) fn give_back(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < MOST_KEYS && (1..=LONGEST_REPLY).contains(&buffer.capacity()) {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Whether one of those who execute now is to wait with this reply until all have executed.
    pub(super) fn holds_back(&self, reply: &[u8]) -> bool {
        self.is_large && (1..=LONGEST_REPLY).contains(&reply.len())
    }

    /// Fetches what all will touch, when the first of them is about to be executed.
    pub(super) fn fetch(&mut self, turn: &Turn<'_>) {
        if self.ends.is_empty() {
            return;
        }
        self.is_large = self.ends.len() >= CROWD;
        if self.is_large {
            self.times_alone = 0;
            let mut keys: [&[u8]; MOST_KEYS] = [&[]; MOST_KEYS];
            let mut start = 0;
            for (key, end) in keys.iter_mut().zip(&self.ends) {
                *key = &self.keys[start..*end];
                start = *end;
            }
            turn.fetch(self.db, &keys[..self.ends.len().min(MOST_KEYS)]);
        } else {
            self.note_alone();
        }
        self.keys.clear();
        self.ends.clear();
    }

    fn note_alone(&mut self) {
        self.times_alone += 1;
        if self.times_alone >= TIMES_ALONE {
            self.until_next_try = UNTIL_NEXT_TRY;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;

    fn engine() -> Engine {
        Engine::new(Config::default(), Arc::new(Clock::frozen())).expect("the defaults will do")
    }

    #[test]
    fn who_is_alone_waits_for_others_only_now_and_then() {
        let (engine, mut crowd) = (engine(), Crowd::default());
        let mut waits = 0;
        for _ in 0..1_000 {
            if crowd.takes_in(&engine, 0, b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n") {
                waits += 1;
                crowd.fetch(&engine.turn());
            }
        }
        assert_eq!(waits, TIMES_ALONE + (1_000 - TIMES_ALONE) / (UNTIL_NEXT_TRY + 1));
    }

    #[test]
    fn buffers_come_back_empty_and_no_more_of_them_than_a_crowd_has() {
        let mut crowd = Crowd::default();
        crowd.give_back(b"left".to_vec());
        assert!(crowd.buffer().is_empty() && crowd.spare.is_empty());
        crowd.give_back(Vec::with_capacity(LONGEST_REPLY + 1));
        assert!(crowd.spare.is_empty(), "a large one is freed");
        (0..2 * MOST_KEYS).for_each(|_| crowd.give_back(vec![0; 8]));
        assert_eq!(crowd.spare.len(), MOST_KEYS);
    }

    #[test]
    fn a_crowd_waits_each_time_and_is_no_larger_than_its_limit() {
        let (engine, mut crowd) = (engine(), Crowd::default());
        for _ in 0..100 {
            let taken = (0..200)
                .filter(|n| {
                    let request = format!("*2\r\n$3\r\nGET\r\n$3\r\n{n:03}\r\n");
                    crowd.takes_in(&engine, 0, request.as_bytes())
                })
                .count();
            assert_eq!((taken, crowd.ends.len()), (MOST_KEYS, MOST_KEYS));
            assert!(!crowd.takes_in(&engine, 1, b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"));
            crowd.fetch(&engine.turn());
            assert!(crowd.ends.is_empty() && crowd.keys.is_empty());
        }
        assert!(crowd.holds_back(b"+OK\r\n") && !crowd.holds_back(b""));
        assert!(!crowd.holds_back(&[b' '; LONGEST_REPLY + 1]));
        assert!(!crowd.takes_in(&engine, 0, &[b' '; LONGEST + 1]));
        assert!(!crowd.takes_in(&engine, 0, b"*1\r\n$4\r\nPING\r\n"), "it has no keys");
    }
}
