//! The keyspace: numbered databases of objects.
//!
//! Reads hide what is past its deadline and delete nothing. What has fallen due is taken out by
//! [`Keyspace::pop_due`], in the order of the deadlines if that can be told, and [`Keyspace::end_if_due`] for a key
//! that a write is about to meet.

use std::any::Any;
use std::sync::Arc;

use super::snapshot::{SharedSink, Snapshot};
use super::{Db, Due, Order};
use crate::clock::Millis;

/// All databases of one server.
#[derive(Debug)]
pub struct Keyspace {
    dbs: Vec<Db>,
    /// No database from this on has ever been changed: most servers use the first one alone.
    used: usize,
}

/// How far a snapshot has come.
#[derive(Debug)]
pub enum Walked {
    /// More is to be taken.
    Part,
    /// All has been taken. What was cleared meanwhile is handed out, so that it can be dropped where
    /// nobody waits.
    All(Vec<Box<dyn Any + Send>>),
}

impl Keyspace {
    /// `count` empty databases.
    pub fn new(count: usize) -> Self {
        Keyspace { dbs: (0..count.max(1)).map(|_| Db::default()).collect(), used: 0 }
    }

    /// How many databases there are.
    pub fn databases(&self) -> usize {
        self.dbs.len()
    }

    /// Database `index`, which the caller knows to exist.
    pub fn db(&self, index: usize) -> &Db {
        &self.dbs[index]
    }

    /// Database `index`, to change it.
    #[inline]
    pub fn db_mut(&mut self, index: usize) -> &mut Db {
        self.used = self.used.max(index + 1);
        &mut self.dbs[index]
    }

    /// Exchanges the contents of two databases. Who watches a key that this changes is told.
    pub fn swap(&mut self, a: usize, b: usize, now: Millis) {
        if a == b {
            return;
        }
        self.used = self.used.max(a.max(b) + 1);
        let (left, right) = self.dbs.split_at_mut(a.max(b));
        let (low, high) = (&mut left[a.min(b)], &mut right[0]);
        low.tell_watchers_of_swap(high, now);
        high.tell_watchers_of_swap(low, now);
        low.swap(high);
    }

    /// Puts other data, of as many databases, in the place of all; returns the old ones, but for
    /// those that a snapshot under way has still to take. Who watches a key that this changes is told.
    pub fn replace(&mut self, mut with: Keyspace, now: Millis) -> Keyspace {
        self.used = self.used.max(with.used);
        for (here, there) in self.dbs[..self.used].iter_mut().zip(&mut with.dbs) {
            here.tell_watchers_of_swap(there, now);
            here.swap(there);
            here.set_aside(there);
        }
        with
    }

    /// Bytes of all objects and of the structures that hold them.
    pub fn bytes(&self) -> usize {
        self.dbs[..self.used].iter().map(Db::bytes).sum()
    }

    /// Keys in all databases.
    pub fn len(&self) -> usize {
        self.dbs.iter().map(Db::len).sum()
    }

    /// Whether there is no key in any database.
    pub fn is_empty(&self) -> bool {
        self.dbs.iter().all(Db::is_empty)
    }

    /// A bound on when something falls due next: nothing does before it.
    #[inline]
    pub fn next_due(&self) -> Option<Millis> {
        self.dbs[..self.used].iter().filter_map(Db::next_due).min()
    }

    /// Begins a snapshot: `sink` is given each object as it is at this moment, now or later, in
    /// portions by [`Keyspace::take_some`]. One that is under way is given up.
    pub fn begin_snapshot(&mut self, sink: &SharedSink) {
        for (index, db) in self.dbs.iter_mut().enumerate() {
            let snapshot = || Box::new(Snapshot::new(index, Arc::clone(sink)));
            (db.snapshot, db.cleared) = ((!db.is_empty()).then(snapshot), None);
        }
    }

    /// Gives the snapshot under way about `count` objects more, of what was cleared last.
    pub fn take_some(&mut self, count: usize) -> Walked {
        let unfinished = self.dbs.iter_mut().filter(|db| db.snapshot.is_some());
        // In the order of the databases' numbers, so that each is named once.
        let first = unfinished.min_by_key(|db| db.snapshot.as_ref().map(|snapshot| snapshot.db()));
        if let Some(db) = first {
            db.take_some(count);
            return Walked::Part;
        }
        for cleared in self.dbs.iter_mut().filter_map(|db| db.cleared.as_mut()) {
            if !cleared.take_some(count) {
                return Walked::Part;
            }
        }
        let cleared = self.dbs.iter_mut().filter_map(|db| db.cleared.take());
        Walked::All(cleared.map(|cleared| cleared as _).collect())
    }

    /// Gives up the snapshot under way, if there is one.
    pub fn give_up_snapshot(&mut self) {
        for db in &mut self.dbs {
            (db.snapshot, db.cleared) = (None, None);
        }
    }

    /// Takes out the first of what has come to its end by `now`.
    pub fn pop_due(&mut self, now: Millis, order: Order) -> Option<Due> {
        loop {
            let next = self.dbs[..self.used]
                .iter()
                .enumerate()
                .filter_map(|(i, db)| Some((db.next_due()?, i)));
            let (_, index) = next.min().filter(|(at, _)| *at <= now)?;
            if let Some(due) = self.dbs[index].pop_due(index, now, order) {
                return Some(due);
            }
        }
    }

    /// No key that [`Db::own`] named ends before this.
    pub fn next_own_due(&self) -> Option<Millis> {
        self.dbs[..self.used].iter().filter_map(Db::next_own_due).min()
    }

    /// Takes out a key that [`Db::own`] named and that has ended by `now`.
    pub fn pop_own_due(&mut self, now: Millis) -> Option<Due> {
        let mut dbs = self.dbs[..self.used].iter_mut().enumerate();
        dbs.find_map(|(index, db)| db.pop_own_due(index, now))
    }

    /// How many keys [`Db::own`] named that are still looked after.
    pub fn own_keys(&self) -> usize {
        self.dbs[..self.used].iter().map(Db::own_keys).sum()
    }

    /// Takes out what of this one key has come to its end by `now`.
    pub fn end_if_due(&mut self, index: usize, key: &[u8], now: Millis) -> Option<Due> {
        self.dbs[index].end_if_due(index, key, now)
    }

    /// Takes out `key` of this database if it has come to its end by `now`; what of it alone has,
    /// stays.
    pub fn end_key_if_due(&mut self, index: usize, key: &[u8], now: Millis) -> Option<Due> {
        self.dbs[index].end_key_if_due(index, key, now)
    }

    /// Moves with every change of the data; changes inside a set or sorted set are noticed in debug
    /// builds only (see the engine's assertion that each change states its effect).
    pub fn revision(&self) -> u64 {
        self.dbs[..self.used].iter().fold(0, |sum, db| sum.wrapping_add(db.revision()))
    }
}
