//! Keys to which a writable replica's own clients gave a deadline. Its primary knows nothing of them
//! and will never say that they have ended, so they are looked after apart.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{Db, Due};
use crate::clock::Millis;

/// Such keys of one database, each with the moment at which somebody has to look at it.
#[derive(Debug, Default)]
pub(super) struct OwnKeys {
    looked_at: HashMap<Arc<[u8]>, Millis>,
    queue: BTreeSet<(Millis, Arc<[u8]>)>,
}

impl OwnKeys {
    /// Has `key` looked at when `at` has come, or earlier: what slides is moved when its time is
    /// reached, not each time that it is put off.
    fn add(&mut self, key: &[u8], at: Millis) {
        if self.looked_at.get(key).is_some_and(|earlier| *earlier <= at) {
            return;
        }
        let key: Arc<[u8]> = key.into();
        if let Some(later) = self.looked_at.insert(Arc::clone(&key), at) {
            self.queue.remove(&(later, Arc::clone(&key)));
        }
        self.queue.insert((at, key));
    }

    fn next(&self) -> Option<Millis> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Forgets the first key that is to be looked at by `now`.
    fn pop(&mut self, now: Millis) -> Option<Arc<[u8]>> {
        let (_, key) = self.queue.first().filter(|(at, _)| *at <= now)?;
        let key = Arc::clone(key);
        self.queue.pop_first();
        self.looked_at.remove(&key);
        Some(key)
    }
}

impl Db {
    /// Has `key`, which ends at `deadline`, taken out by [`Db::pop_own_due`] then, if it still does.
    pub fn own(&mut self, key: &[u8], deadline: Millis) {
        self.own.add(key, deadline);
    }

    /// How many keys [`Db::own`] named; those that lost their deadlines are forgotten when they would
    /// have ended.
    pub fn own_keys(&self) -> usize {
        self.own.looked_at.len()
    }

    /// No key that [`Db::own`] named ends before this.
    pub(super) fn next_own_due(&self) -> Option<Millis> {
        self.own.next()
    }

    /// Takes out the first key that [`Db::own`] named and that has ended by `now`.
    pub(super) fn pop_own_due(&mut self, number: usize, now: Millis) -> Option<Due> {
        while let Some(key) = self.own.pop(now) {
            match self.get(&key, 0).and_then(|object| object.deadline()) {
                Some(later) if later > now => self.own.add(&key, later),
                Some(_) => {
                    self.remove(&key, 0);
                    return Some(Due::Key { db: number, key: (*key).into() });
                }
                None => {}
            }
        }
        None
    }
}
