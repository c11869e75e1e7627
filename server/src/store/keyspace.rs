//! The keyspace: numbered databases of objects, with deadlines, accounting and watchers.
//!
//! Reads hide what is past its deadline and delete nothing. What has fallen due is taken out by
//! [`Keyspace::pop_due`], in the order of the deadlines, and [`Keyspace::end_if_due`] for a key
//! that a write is about to meet. The accounting, the deadline wheel and the count of keys with a
//! deadline cannot be forgotten: they are kept where objects are inserted, removed and, by
//! [`Write`], changed.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::object::{Kind, Object, Value, WrongType};
use super::table::{Entry, Occupied, Table};
use super::{Access, Popped, Wheel};
use crate::clock::Millis;

/// All databases of one server.
#[derive(Debug)]
pub struct Keyspace {
    dbs: Vec<Db>,
}

/// One numbered database.
#[derive(Debug)]
pub struct Db {
    objects: Table<Box<Object>>,
    wheel: Wheel,
    tally: Tally,
    watched: HashMap<Box<[u8]>, Vec<Watcher>>,
}

/// What is counted of a database as its objects change.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    /// Bytes of all objects, without the table's own.
    bytes: usize,
    /// Keys with a deadline, and the sum of those deadlines.
    volatile: usize,
    deadlines: u128,
    /// Keys that have fields with a deadline.
    volatile_fields: usize,
    /// Moves with every change of the data.
    revision: u64,
}

/// Set when a key that somebody watches is touched.
pub type Watcher = Arc<AtomicBool>;

/// What has come to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// A key.
    Key {
        /// Its database.
        db: usize,
        /// Its name.
        key: Box<[u8]>,
    },
    /// Fields of a hash.
    Fields {
        /// The hash's database.
        db: usize,
        /// The hash's key.
        key: Box<[u8]>,
        /// The fields, in the order of their deadlines.
        fields: Vec<Box<[u8]>>,
        /// They were its last: the key is gone with them.
        emptied: bool,
    },
}

/// Figures of one database, for INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Keys.
    pub keys: usize,
    /// Keys with a deadline.
    pub volatile: usize,
    /// Their average remaining time in milliseconds.
    pub average_ttl: u64,
    /// Keys with fields that have a deadline.
    pub volatile_fields: usize,
}

impl Keyspace {
    /// `count` empty databases.
    pub fn new(count: usize) -> Self {
        Keyspace { dbs: (0..count.max(1)).map(|_| Db::default()).collect() }
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
    pub fn db_mut(&mut self, index: usize) -> &mut Db {
        &mut self.dbs[index]
    }

    /// Exchanges the contents of two databases. Who watches a key that exists in either is told.
    pub fn swap(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        for (here, there) in [(a, b), (b, a)] {
            for (key, watchers) in &self.dbs[here].watched {
                if [here, there].iter().any(|db| self.dbs[*db].objects.contains(key)) {
                    mark(watchers);
                }
            }
        }
        let (left, right) = self.dbs.split_at_mut(a.max(b));
        let (low, high) = (&mut left[a.min(b)], &mut right[0]);
        std::mem::swap(low, high);
        // Watching is by a database's number, not by its contents.
        std::mem::swap(&mut low.watched, &mut high.watched);
        low.tally.revision += 1;
    }

    /// Bytes of all objects and of the structures that hold them.
    pub fn bytes(&self) -> usize {
        self.dbs.iter().map(Db::bytes).sum()
    }

    /// Keys in all databases.
    pub fn len(&self) -> usize {
        self.dbs.iter().map(Db::len).sum()
    }

    /// Whether there is no key in any database.
    pub fn is_empty(&self) -> bool {
        self.dbs.iter().all(|db| db.len() == 0)
    }

    /// A bound on when something falls due next: nothing does before it.
    pub fn next_due(&mut self) -> Option<Millis> {
        self.dbs.iter_mut().filter_map(|db| db.wheel.next_due()).min()
    }

    /// Takes out the earliest of what has come to its end by `now`.
    pub fn pop_due(&mut self, now: Millis) -> Option<Due> {
        loop {
            let (_, index) = self
                .dbs
                .iter_mut()
                .enumerate()
                .filter_map(|(index, db)| Some((db.wheel.next_due()?, index)))
                .min()
                .filter(|(at, _)| *at <= now)?;
            let db = &mut self.dbs[index];
            if let Popped::Due(armed, hash) = db.wheel.pop_due(now)
                && let Some(due) = db.fire(index, armed, hash, now)
            {
                return Some(due);
            }
        }
    }

    /// Takes out what of this one key has come to its end by `now`.
    pub fn end_if_due(&mut self, index: usize, key: &[u8], now: Millis) -> Option<Due> {
        let db = &mut self.dbs[index];
        let found = db.objects.find(key)?;
        end(&mut db.tally, &mut db.wheel, found, index, now)
    }

    /// Moves with every change of the data; changes inside a value are noticed in debug builds
    /// only (see the engine's assertion that each change states its effect).
    pub fn revision(&self) -> u64 {
        self.dbs.iter().fold(0, |sum, db| sum.wrapping_add(db.tally.revision))
    }
}

impl Default for Db {
    fn default() -> Self {
        Db {
            objects: Table::new(),
            wheel: Wheel::new(),
            tally: Tally::default(),
            watched: HashMap::new(),
        }
    }
}

impl Db {
    /// Keys, those included whose time is over but who have not been taken out yet.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.objects.len() == 0
    }

    /// Bytes of its objects and of the structures that hold them.
    pub fn bytes(&self) -> usize {
        self.tally.bytes + self.overhead()
    }

    /// Bytes of the structures that hold its objects.
    pub fn overhead(&self) -> usize {
        self.objects.heap_bytes() + self.wheel.heap_bytes()
    }

    /// Figures for INFO.
    pub fn figures(&self, now: Millis) -> Figures {
        let Tally { volatile, deadlines, volatile_fields, .. } = self.tally;
        let average = deadlines.checked_div(volatile as u128).unwrap_or(0) as u64;
        Figures {
            keys: self.len(),
            volatile,
            average_ttl: average.saturating_sub(now),
            volatile_fields,
        }
    }

    /// The object under `key`, unless its time is over at `now`. Changes nothing.
    pub fn get(&self, key: &[u8], now: Millis) -> Option<&Object> {
        self.objects.get(key).map(|object| &**object).filter(|object| !object.is_due(now))
    }

    /// Whether `key` is past its deadline at `now` and has not been taken out yet.
    pub fn holds_due(&self, key: &[u8], now: Millis) -> bool {
        self.objects.get(key).is_some_and(|object| object.is_due(now))
    }

    /// The object under `key` with its use still to be recorded, unless its time is over.
    pub fn get_used(
        &mut self,
        key: &[u8],
        now: Millis,
        record: impl FnOnce(&mut Access),
    ) -> Option<&Object> {
        let object = self.objects.get_mut(key).filter(|object| !object.is_due(now))?;
        record(&mut object.access);
        Some(object)
    }

    /// The value under `key` to be changed, if it is there and of type `K`.
    pub fn write<K: Kind>(
        &mut self,
        key: &[u8],
        now: Millis,
    ) -> Result<Option<Write<'_, K>>, WrongType> {
        let Db { objects, wheel, tally, .. } = self;
        match objects.find(key) {
            Some(found) if !found.get().is_due(now) => {
                Write::new(found, wheel, tally, now).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The value under `key` to be changed: an empty one of type `K` if there is none. It does not
    /// stay if it is still empty in the end.
    pub fn create<K: Kind>(&mut self, key: &[u8], now: Millis) -> Result<Write<'_, K>, WrongType> {
        let Db { objects, wheel, tally, .. } = self;
        let found = match objects.entry(key) {
            Entry::Occupied(found) => found,
            Entry::Vacant(vacant) => {
                let object = Box::new(Object::new(key, K::empty(), now));
                tally.bytes += object.bytes();
                vacant.insert_entry(object)
            }
        };
        Write::new(found, wheel, tally, now)
    }

    /// Puts `value` under `key` in place of whatever is there; without a deadline.
    pub fn insert(&mut self, key: &[u8], value: Value, now: Millis) {
        let mut object = Box::new(Object::new(key, value, now));
        self.tally.revision += 1;
        match self.objects.entry(key) {
            Entry::Occupied(mut found) => {
                let old = found.get_mut();
                self.tally.forget(old);
                // The wheel's entry stays behind; the new object takes it over.
                object.armed = old.armed;
                object.access.count = old.access.count;
                self.tally.count(&object);
                *old = object;
                arm(&mut self.wheel, &mut found);
            }
            Entry::Vacant(vacant) => {
                self.tally.count(&object);
                arm(&mut self.wheel, &mut vacant.insert_entry(object));
            }
        }
    }

    /// Puts an object of another place here, under `key`, with its deadline.
    pub fn adopt(&mut self, key: &[u8], object: Object, now: Millis) {
        let (deadline, access) = (object.deadline(), object.access);
        self.insert(key, object.value, now);
        if let Some(placed) = self.objects.get_mut(key) {
            placed.access = access;
        }
        self.set_deadline(key, deadline, 0);
    }

    /// Takes the object under `key` out, unless its time is over at `now`.
    pub fn remove(&mut self, key: &[u8], now: Millis) -> Option<Box<Object>> {
        let found = self.objects.find(key).filter(|found| !found.get().is_due(now))?;
        Some(take(&mut self.tally, found))
    }

    /// Sets or clears the deadline of `key`. False: there is no such key at `now`.
    pub fn set_deadline(&mut self, key: &[u8], deadline: Option<Millis>, now: Millis) -> bool {
        let Some(mut found) = self.objects.find(key).filter(|found| !found.get().is_due(now))
        else {
            return false;
        };
        let object = found.get_mut();
        self.tally.forget_deadline(object);
        self.tally.revision += u64::from(object.deadline() != deadline);
        object.deadline = deadline.unwrap_or(0);
        self.tally.count_deadline(object);
        arm(&mut self.wheel, &mut found);
        true
    }

    /// Removes everything. Who watches a key that existed is told.
    pub fn clear(&mut self) {
        for (key, watchers) in &self.watched {
            if self.objects.contains(key) {
                mark(watchers);
            }
        }
        self.objects = Table::new();
        self.wheel = Wheel::new();
        self.tally = Tally { revision: self.tally.revision + 1, ..Tally::default() };
    }

    /// All objects, due ones included, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter().map(|object| &**object)
    }

    /// Visits about `count` objects from `cursor` on; returns where to go on, 0 at the end.
    /// An object that is there from the first to the last call is visited at least once.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(&Object)) -> u64 {
        self.objects.scan(cursor, count, &mut |object| visit(object))
    }

    /// Any object, each as likely as the others.
    pub fn random(&self, rng: &mut fastrand::Rng) -> Option<&Object> {
        self.objects.random(rng).map(|object| &**object)
    }

    /// About `count` objects from a random place: cheap, for eviction.
    pub fn sample(&self, rng: &mut fastrand::Rng, count: usize, visit: &mut dyn FnMut(&Object)) {
        self.objects.sample(rng, count, &mut |object| visit(object));
    }

    /// Has `watcher` set when `key` is touched.
    pub fn watch(&mut self, key: &[u8], watcher: &Watcher) {
        self.watched.entry(key.into()).or_default().push(Arc::clone(watcher));
    }

    /// Ends what [`Db::watch`] began.
    pub fn unwatch(&mut self, key: &[u8], watcher: &Watcher) {
        if let Some(watchers) = self.watched.get_mut(key) {
            watchers.retain(|other| !Arc::ptr_eq(other, watcher));
            if watchers.is_empty() {
                self.watched.remove(key);
            }
        }
    }

    /// Tells who watches `key` that it has changed.
    pub fn touch(&self, key: &[u8]) {
        if !self.watched.is_empty()
            && let Some(watchers) = self.watched.get(key)
        {
            mark(watchers);
        }
    }

    /// Keys that somebody watches.
    pub fn watched_keys(&self) -> usize {
        self.watched.len()
    }

    /// The wheel says that at `armed` something of a key with this hash may have ended.
    fn fire(&mut self, index: usize, armed: Millis, hash: u64, now: Millis) -> Option<Due> {
        let Db { objects, wheel, tally, .. } = self;
        // Several keys may share the hash, and an object may have been armed again since:
        // only the one that waits for this very moment is meant.
        let mut found = objects.find_by_hash(hash, |object| object.armed == armed)?;
        found.get_mut().armed = 0;
        end(tally, wheel, found, index, now)
    }
}

/// Takes out what of this object has ended by `now`; arms the wheel for the rest.
fn end(
    tally: &mut Tally,
    wheel: &mut Wheel,
    mut found: Occupied<'_, Box<Object>>,
    db: usize,
    now: Millis,
) -> Option<Due> {
    let object = found.get_mut();
    let first_field = object.value.next_field_deadline().filter(|at| *at <= now);
    let key_first = object.is_due(now) && first_field.is_none_or(|at| object.deadline <= at);
    if key_first {
        return Some(Due::Key { db, key: take(tally, found).key });
    }
    let Some(first_field) = first_field else {
        arm(wheel, &mut found);
        return None;
    };
    tally.forget(object);
    let mut fields = Vec::new();
    if let Value::Hash(hash) = &mut object.value {
        // One deadline at a time, so that events of several keys come in order.
        fields.extend(std::iter::from_fn(|| hash.pop_due(first_field)));
    }
    tally.count(object);
    tally.revision += 1;
    let key = object.key.clone();
    let emptied = object.value.is_empty();
    if emptied {
        take(tally, found);
    } else {
        arm(wheel, &mut found);
    }
    Some(Due::Fields { db, key, fields, emptied })
}

fn take(tally: &mut Tally, found: Occupied<'_, Box<Object>>) -> Box<Object> {
    let object = found.remove();
    tally.forget(&object);
    tally.revision += 1;
    object
}

/// Sees to it that the wheel looks at the object no later than its first deadline. A later
/// deadline than the wheel's is left for when the wheel comes round: a sliding deadline is moved
/// many times for each time that it is reached.
fn arm(wheel: &mut Wheel, found: &mut Occupied<'_, Box<Object>>) {
    let hash = found.hash();
    let object = found.get_mut();
    if let Some(at) = object.next_deadline()
        && (object.armed == 0 || at < object.armed)
    {
        object.armed = at;
        wheel.arm(at, hash);
    }
}

fn mark(watchers: &[Watcher]) {
    for watcher in watchers {
        watcher.store(true, Ordering::Relaxed);
    }
}

impl Tally {
    fn count(&mut self, object: &Object) {
        self.bytes += object.bytes();
        self.volatile_fields += usize::from(object.value.next_field_deadline().is_some());
        self.count_deadline(object);
    }

    fn forget(&mut self, object: &Object) {
        self.bytes -= object.bytes();
        self.volatile_fields -= usize::from(object.value.next_field_deadline().is_some());
        self.forget_deadline(object);
    }

    fn count_deadline(&mut self, object: &Object) {
        self.volatile += usize::from(object.deadline != 0);
        self.deadlines += u128::from(object.deadline);
    }

    fn forget_deadline(&mut self, object: &Object) {
        self.volatile -= usize::from(object.deadline != 0);
        self.deadlines -= u128::from(object.deadline);
    }
}

/// A value being changed. When it goes, the books are right: bytes are counted again, the wheel
/// knows of a new first deadline, and an aggregate without elements is taken out.
#[derive(Debug)]
pub struct Write<'a, K: Kind> {
    /// None only while it is dropped.
    found: Option<Occupied<'a, Box<Object>>>,
    wheel: &'a mut Wheel,
    tally: &'a mut Tally,
    bytes: usize,
    volatile_fields: bool,
    #[cfg(debug_assertions)]
    before: Option<Value>,
    kind: std::marker::PhantomData<K>,
}

impl<'a, K: Kind> Write<'a, K> {
    fn new(
        mut found: Occupied<'a, Box<Object>>,
        wheel: &'a mut Wheel,
        tally: &'a mut Tally,
        now: Millis,
    ) -> Result<Self, WrongType> {
        let object = found.get_mut();
        if K::of(&object.value).is_none() {
            return Err(WrongType);
        }
        if now != 0 {
            object.access.at = (now / 1000) as u32;
        }
        let bytes = object.bytes();
        let volatile_fields = object.value.next_field_deadline().is_some();
        #[cfg(debug_assertions)]
        let before = (bytes < DEBUG_COMPARES).then(|| object.value.clone());
        Ok(Write {
            found: Some(found),
            wheel,
            tally,
            bytes,
            volatile_fields,
            #[cfg(debug_assertions)]
            before,
            kind: std::marker::PhantomData,
        })
    }

    /// The object around the value.
    pub fn object(&self) -> &Object {
        self.found.as_ref().expect("set until dropped").get()
    }
}

/// Up to how many bytes a debug build compares a value before and after it was changed.
#[cfg(debug_assertions)]
const DEBUG_COMPARES: usize = 4096;

impl<K: Kind> Deref for Write<'_, K> {
    type Target = K;

    fn deref(&self) -> &K {
        K::of(&self.object().value).expect("the type was checked")
    }
}

impl<K: Kind> DerefMut for Write<'_, K> {
    fn deref_mut(&mut self) -> &mut K {
        let object = self.found.as_mut().expect("set until dropped").get_mut();
        K::of_mut(&mut object.value).expect("the type was checked")
    }
}

impl<K: Kind> Drop for Write<'_, K> {
    fn drop(&mut self) {
        let Some(mut found) = self.found.take() else { return };
        let object = found.get_mut();
        self.tally.bytes = self.tally.bytes + object.bytes() - self.bytes;
        let volatile_fields = object.value.next_field_deadline().is_some();
        self.tally.volatile_fields += usize::from(volatile_fields);
        self.tally.volatile_fields -= usize::from(self.volatile_fields);
        #[cfg(debug_assertions)]
        if let Some(before) = &self.before {
            self.tally.revision += u64::from(!(*before == object.value));
        }
        if object.value.is_empty() {
            self.tally.forget(found.get());
            found.remove();
        } else if volatile_fields {
            arm(self.wheel, &mut found);
        }
    }
}
