//! A snapshot of a database that goes on changing meanwhile: each object of the moment at which it
//! began is taken once, as it was then.
//!
//! A walker goes through the positions in hash order, a portion at a time. Whoever is about to change
//! a key says so before: if the walker has not come to its position yet, the key is settled out of
//! order, that is, taken as it still is (or noted as one that was not there), and the walker passes
//! over it later.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound::{Included, Unbounded};
use std::sync::Arc;

use parking_lot::Mutex;

use super::ObjectRef;

/// Where a snapshot's objects go, each once. It is called with the data locked: it must not wait.
pub trait Sink: Send + fmt::Debug {
    /// An object of database `db`, as it was when the snapshot began.
    fn take(&mut self, db: usize, object: ObjectRef<'_>);
}

/// A sink that whoever began the snapshot looks into meanwhile.
pub type SharedSink = Arc<Mutex<dyn Sink>>;

/// The state of one database's snapshot.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// The database's number when it began; its contents may be swapped elsewhere since.
    db: usize,
    /// Everything at positions below is settled.
    reached: u64,
    /// What is settled beyond that: position and key.
    early: BTreeSet<(u64, Box<[u8]>)>,
    sink: SharedSink,
}

impl Snapshot {
    pub(super) fn new(db: usize, sink: SharedSink) -> Self {
        Snapshot { db, reached: 0, early: BTreeSet::new(), sink }
    }

    /// The database's number when the snapshot began.
    pub(super) fn db(&self) -> usize {
        self.db
    }

    /// Says that the key at this position is about to change; `old`: what is there now.
    pub(super) fn before_change(&mut self, position: u64, key: &[u8], old: Option<ObjectRef<'_>>) {
        if self.is_settled(position, key) {
            return;
        }
        if let Some(old) = old {
            self.sink.lock().take(self.db, old);
        }
        self.early.insert((position, key.into()));
    }

    /// Where the walker goes on.
    pub(super) fn reached(&self) -> u64 {
        self.reached
    }

    /// The walker meets an object. It settles all of a position before it goes on.
    pub(super) fn visit(&mut self, position: u64, object: ObjectRef<'_>) {
        if !self.is_settled(position, object.key()) {
            self.sink.lock().take(self.db, object);
        }
    }

    /// The walker has settled everything at positions below this one.
    pub(super) fn reach(&mut self, position: u64) {
        self.reached = position;
        self.early = self.early.split_off(&(position, Box::default()));
    }

    fn is_settled(&self, position: u64, key: &[u8]) -> bool {
        if position < self.reached {
            return true;
        }
        // An empty key is the first of its position and takes no memory.
        let from = Included((position, Box::default()));
        self.early
            .range((from, Unbounded))
            .take_while(|(at, _)| *at == position)
            .any(|(_, early)| **early == *key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Order;
    use super::*;
    use crate::store::{
        Access, Hash, HashLimits, Keyspace, Set, SetLimits, Str, StrLimits, Value, Walked,
    };

    type State = BTreeMap<(usize, Vec<u8>), (Value, Option<u64>)>;

    /// Keeps what it is given, and that nothing comes twice.
    #[derive(Debug, Default)]
    struct Kept(State);

    impl Sink for Kept {
        fn take(&mut self, db: usize, object: ObjectRef<'_>) {
            let taken = (object.value().to_value(), object.deadline());
            let before = self.0.insert((db, object.key().to_vec()), taken);
            assert!(before.is_none(), "{:?} came twice", object.key());
        }
    }

    fn state(keyspace: &Keyspace) -> State {
        let mut kept = Kept::default();
        for db in 0..keyspace.databases() {
            keyspace.db(db).iter().for_each(|object| kept.take(db, object));
        }
        kept.0
    }

    /// Changes something, in one of all the ways in which that can be done.
    fn change(keyspace: &mut Keyspace, rng: &mut fastrand::Rng, now: u64) {
        let (db, other) = (rng.usize(..3), rng.usize(..3));
        let key = format!("key:{}", rng.u32(..2_000)).into_bytes();
        let (limits, access) = (HashLimits::default(), Access::used_at(now));
        let texts = StrLimits { compress_from: rng.usize(..2) * 64 };
        let place = keyspace.db_mut(db);
        match rng.u32(..1_000) {
            0..200 => place.insert(&key, Str::new(&key).into(), access, texts),
            200..300 => place.insert_text(&key, &vec![b'x'; rng.usize(..2_000)], access, texts),
            300..450 => {
                if let Ok(mut hash) = place.create::<Hash>(&key, |_| None, access) {
                    let field = [rng.u8(..4)];
                    hash.insert(&field, &vec![b'x'; rng.usize(..600)], &limits);
                    hash.set_deadline(&field, rng.bool().then_some(now + 50));
                }
            }
            450..550 => {
                if let Ok(Some(mut hash)) = place.write::<Hash>(&key, now, |_| None) {
                    hash.remove(&[rng.u8(..4)]);
                }
            }
            550..600 => {
                if let Ok(mut set) = place.create::<Set>(&key, |_| None, access) {
                    set.add(&rng.u16(..).to_le_bytes(), &SetLimits::default());
                }
            }
            600..650 => {
                if let Ok(Some(mut text)) = place.write::<Str>(&key, now, |_| None) {
                    text.append(b"more");
                }
            }
            650..750 => drop(place.remove(&key, now)),
            750..900 => {
                let deadline = rng.bool().then(|| now + rng.u64(..100));
                place.set_deadline(&key, deadline, now);
            }
            900..960 => {
                let to = format!("key:{}", rng.u32(..2_000)).into_bytes();
                if let Some(object) = place.take(&key, now) {
                    keyspace.db_mut(other).adopt(&to, object, texts);
                }
            }
            960..990 => while keyspace.pop_due(now, Order::Place).is_some() {},
            990..996 => keyspace.swap(db, other, 0),
            996 => place.clear(),
            997 => drop(keyspace.replace(Keyspace::new(3), 0)),
            _ => drop(keyspace.end_if_due(db, &key, now)),
        }
    }

    #[test]
    fn what_was_there_at_the_start_is_taken_once_as_it_was() {
        for seed in 0..15 {
            let (mut rng, mut keyspace) = (fastrand::Rng::with_seed(seed), Keyspace::new(3));
            for now in 1..2_500 {
                change(&mut keyspace, &mut rng, now);
            }
            let due = state(&keyspace);
            let kept = Arc::new(Mutex::new(Kept::default()));
            let sink: SharedSink = kept.clone();
            keyspace.begin_snapshot(&sink);
            let mut now = 2_500;
            while !matches!(keyspace.take_some(rng.usize(1..60)), Walked::All(_)) {
                for _ in 0..rng.usize(..80) {
                    now += 1;
                    change(&mut keyspace, &mut rng, now);
                }
            }
            assert!(kept.lock().0 == due, "seed {seed}");
            for now in now..now + 500 {
                change(&mut keyspace, &mut rng, now);
            }
            assert_eq!(kept.lock().0.len(), due.len(), "it is over");
        }
    }

    #[test]
    fn a_snapshot_given_up_leaves_nothing_behind() {
        let mut keyspace = Keyspace::new(1);
        for number in 0..1_000u32 {
            keyspace.db_mut(0).insert_text(
                &number.to_le_bytes(),
                b"1",
                Access::used_at(1),
                StrLimits::default(),
            );
        }
        let kept = Arc::new(Mutex::new(Kept::default()));
        let sink: SharedSink = kept.clone();
        keyspace.begin_snapshot(&sink);
        keyspace.take_some(10);
        keyspace.db_mut(0).clear();
        keyspace.give_up_snapshot();
        drop(sink);
        assert_eq!(Arc::strong_count(&kept), 1);
        assert!(matches!(keyspace.take_some(10), Walked::All(cleared) if cleared.is_empty()));
    }
}
