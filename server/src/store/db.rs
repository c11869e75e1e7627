//! One numbered database: entries by key, in the order of their hashes, with deadlines,
//! accounting and watchers. How its entries are kept: `entries.rs`.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::common::Common;
use super::directory::{CURSOR_BITS, Directory, wrap};
use super::entries::{At, Tally, position_of};
#[cfg(test)]
use super::entry::Form;
use super::entry::set_access;
use super::inline::Draft;
use super::object::{Object, ObjectRef, Value};
use super::own::OwnKeys;
use super::segment::Segment;
use super::slots::SlotId;
use super::snapshot::Snapshot;
use super::string::{Origin, Str, StrLimits};
use super::watchers::{State, Watcher, Watchers};
use super::{Access, Wheel};
use crate::clock::Millis;

/// One numbered database.
#[derive(Debug, Default)]
pub struct Db {
    pub(super) segments: Vec<Segment>,
    pub(super) directory: Directory,
    pub(super) common: Common,
    /// Looks at a segment, by the first hash of its span, when something in it may have ended.
    pub(super) wheel: Wheel,
    /// The segment out of which what is due is being taken, as the wheel named it.
    pub(super) in_hand: Option<(Millis, u64)>,
    pub(super) own: OwnKeys,
    pub(super) tally: Tally,
    watched: Watchers,
    pub(super) state: RandomState,
    pub(super) scratch: Scratch,
    /// How many entries a segment is to have when all keys have come that were announced.
    pub(super) announced: usize,
    /// While one is taken and not all of it has been.
    pub(super) snapshot: Option<Box<Snapshot>>,
    /// What was cleared while a snapshot of it was taken: it waits here to be taken to its end.
    pub(super) cleared: Option<Box<Db>>,
}

/// Buffers that keep their room from one change to the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) draft: Draft,
    pub(super) payload: Vec<u8>,
    pub(super) entry: Vec<u8>,
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

impl Db {
    /// Keys, those included whose time is over but who have not been taken out yet.
    pub fn len(&self) -> usize {
        self.tally.keys
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.tally.keys == 0
    }

    /// Bytes of its entries and of the structures that hold them.
    pub fn bytes(&self) -> usize {
        self.tally.segments + self.tally.outlines + self.fixed()
    }

    /// [`Db::bytes`], counted anew from end to end.
    #[cfg(test)]
    pub(super) fn recounted(&self) -> usize {
        let outlines = |segment: &Segment| -> usize {
            let ids = segment.ids().filter(|id| segment.entry(*id).form() == Form::Outline);
            ids.map(|id| segment.outline(id).bytes()).sum()
        };
        self.segments.iter().map(|s| s.bytes() + outlines(s)).sum::<usize>() + self.fixed()
    }

    /// Bytes of the structures that hold its entries.
    pub fn overhead(&self) -> usize {
        self.segments.iter().map(Segment::overhead).sum::<usize>() + self.fixed()
    }

    fn fixed(&self) -> usize {
        self.segments.capacity() * size_of::<Segment>()
            + self.directory.heap_bytes()
            + self.common.heap_bytes()
            + self.wheel.heap_bytes()
    }

    /// Moves with every change of the data.
    pub(super) fn revision(&self) -> u64 {
        self.tally.revision
    }

    /// Figures for INFO.
    pub fn figures(&self, now: Millis) -> Figures {
        let Tally { keys, volatile, deadlines, volatile_fields, .. } = self.tally;
        let average = deadlines.checked_div(volatile as u128).unwrap_or(0) as u64;
        Figures { keys, volatile, average_ttl: average.saturating_sub(now), volatile_fields }
    }

    /// The object under `key`, unless its time is over at `now`. Changes nothing.
    #[inline]
    pub fn get(&self, key: &[u8], now: Millis) -> Option<ObjectRef<'_>> {
        self.find(key).map(|at| self.object(at)).filter(|object| !object.is_due(now))
    }

    /// Whether `key` is past its deadline at `now` and has not been taken out yet.
    pub fn holds_due(&self, key: &[u8], now: Millis) -> bool {
        self.find(key).is_some_and(|at| self.is_due(at, now))
    }

    /// The object under `key` with its use recorded as `record` says, unless its time is over.
    #[inline]
    pub fn get_used(
        &mut self,
        key: &[u8],
        now: Millis,
        record: impl FnOnce(Access) -> Option<Access>,
    ) -> Option<ObjectRef<'_>> {
        let at = self.find(key)?;
        if self.is_due(at, now) {
            return None;
        }
        let segment = &mut self.segments[at.segment];
        if let Some(access) = record(segment.entry(at.id).access()) {
            set_access(segment.entry_mut(at.id), access);
        }
        Some(self.object(at))
    }

    /// Puts `value` under `key` in place of whatever is there; without a deadline.
    pub fn insert(&mut self, key: &[u8], value: Value, access: Access, limits: StrLimits) {
        match value {
            Value::Str(Str { bytes, origin: Origin::Given }) => {
                self.insert_text(key, &bytes, access, limits);
            }
            Value::Str(Str { bytes, origin }) => {
                let at = self.cleared(key);
                self.put_text(at, key, &bytes, origin, access);
            }
            Value::Hash(hash) if self.draft_of(&hash) => {
                let grown = hash.is_grown();
                let at = self.cleared(key);
                let mut draft = std::mem::take(&mut self.scratch.draft);
                self.put_draft(at, key, &draft, grown, access);
                draft.clear();
                self.scratch.draft = draft;
            }
            value => {
                let at = self.cleared(key);
                self.put_outline(at, key, value, access);
            }
        }
    }

    /// Puts a string under `key` in place of whatever is there; without a deadline.
    pub fn insert_text(&mut self, key: &[u8], text: &[u8], access: Access, limits: StrLimits) {
        let at = self.cleared(key);
        if limits.allow_compression(text) && self.put_compressed(at, key, text, access).is_some() {
            return;
        }
        self.put_text(at, key, text, Origin::Given, access);
    }

    /// Puts an object of another place here, under `key`, with its deadline.
    pub fn adopt(&mut self, key: &[u8], object: Object, limits: StrLimits) {
        let Object { value, deadline, access } = object;
        self.insert(key, value, access, limits);
        self.set_deadline(key, deadline, 0);
    }

    /// Takes the object under `key` out, unless its time is over at `now`.
    pub fn take(&mut self, key: &[u8], now: Millis) -> Option<Object> {
        let object = self.get(key, now)?.to_object();
        self.remove(key, now);
        Some(object)
    }

    /// Removes `key`. False: there is no such key at `now`.
    pub fn remove(&mut self, key: &[u8], now: Millis) -> bool {
        let Some(at) = self.find(key).filter(|at| !self.is_due(*at, now)) else { return false };
        self.remove_at(at);
        true
    }

    /// Sets or clears the deadline of `key`. False: there is no such key at `now`.
    pub fn set_deadline(&mut self, key: &[u8], deadline: Option<Millis>, now: Millis) -> bool {
        self.set_deadline_if(key, deadline, now, |_| true)
    }

    /// Sets or clears the deadline of `key` if `allowed` says so of the old one. False: it does not,
    /// or there is no such key at `now`.
    #[inline]
    pub fn set_deadline_if(
        &mut self,
        key: &[u8],
        deadline: Option<Millis>,
        now: Millis,
        allowed: impl FnOnce(Option<Millis>) -> bool,
    ) -> bool {
        let Some(at) = self.find(key) else { return false };
        let (old, new) = (self.segments[at.segment].deadline(at.id), deadline.unwrap_or(0));
        let known = Some(old).filter(|old| *old != 0);
        if known.is_some_and(|old| old <= now) || !allowed(known) {
            return false;
        }
        if old == new {
            return true;
        }
        self.before_change(at);
        self.tally.revision += 1;
        self.tally.exchange_deadlines(old, new);
        self.set_deadline_at(at, new);
        true
    }

    /// Removes everything. Who watches a key that existed is told.
    pub fn clear(&mut self) {
        self.watched.replaced(|key| self.state_of(key, 0), |_| State::Absent);
        let watched = std::mem::take(&mut self.watched);
        let tally = Tally { revision: self.tally.revision + 1, ..Tally::default() };
        let mut old = std::mem::replace(self, Db { watched, tally, ..Db::default() });
        self.set_aside(&mut old);
    }

    /// Keeps of `old`, whose place this database has taken, what a snapshot under way has still to
    /// take.
    pub(super) fn set_aside(&mut self, old: &mut Db) {
        self.cleared = match old.snapshot {
            Some(_) => Some(Box::new(std::mem::take(old))),
            None => old.cleared.take(),
        };
    }

    /// Goes on with a snapshot of this database by about `count` objects; true: it is over.
    pub(super) fn take_some(&mut self, count: usize) -> bool {
        let Some(mut snapshot) = self.snapshot.take() else { return true };
        let next = self.scan(snapshot.reached(), count, &mut |object| {
            let hash = self.state.hash_one(object.key());
            snapshot.visit(position_of(hash), object);
        });
        if next != 0 {
            snapshot.reach(next);
            self.snapshot = Some(snapshot);
        }
        next == 0
    }

    /// Lets a snapshot under way take an object before it changes.
    #[inline]
    pub(super) fn before_change(&mut self, at: At) {
        if self.snapshot.is_some() {
            self.take_early(at);
        }
    }

    #[cold]
    fn take_early(&mut self, at: At) {
        if let Some(mut snapshot) = self.snapshot.take() {
            let object = self.object(at);
            snapshot.before_change(position_of(at.hash), object.key(), Some(object));
            self.snapshot = Some(snapshot);
        }
    }

    /// All objects, due ones included, in no order.
    pub fn iter(&self) -> impl Iterator<Item = ObjectRef<'_>> {
        let common = &self.common;
        let of = move |segment| move |id| ObjectRef::new(segment, common, id);
        self.segments.iter().flat_map(move |segment| segment.ids().map(of(segment)))
    }

    /// Visits about `count` objects from `cursor` on; returns where to go on, 0 at the end.
    /// An object that is there from the first to the last call is visited at least once.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(ObjectRef<'_>)) -> u64 {
        let (mut position, mut wanted) = (cursor, count.max(1));
        while position < 1 << CURSOR_BITS {
            let index = self.directory.segment_of(position << (64 - CURSOR_BITS));
            let Some(segment) = self.segments.get(index) else { return 0 };
            let step = segment.position_step();
            // A slot knows its position down to a step: what may be at `position` counts.
            let from = position / step * step;
            let mut found: Vec<(u64, SlotId)> = segment
                .ids()
                .map(|id| (segment.position(id), id))
                .filter(|(at, _)| *at >= from)
                .collect();
            let mut show = |id| visit(ObjectRef::new(segment, &self.common, id));
            if found.len() > wanted {
                let (_, &mut (last, _), _) = found.select_nth_unstable(wanted - 1);
                found.iter().filter(|(at, _)| *at <= last).for_each(|(_, id)| show(*id));
                return wrap(last + step);
            }
            found.iter().for_each(|(_, id)| show(*id));
            position = segment.span().end();
            wanted -= found.len();
            if wanted == 0 {
                break;
            }
        }
        wrap(position)
    }

    /// Any object, each as likely as the others.
    pub fn random(&self, rng: &mut fastrand::Rng) -> Option<ObjectRef<'_>> {
        if self.is_empty() {
            return None;
        }
        // Every pair of segment and slot is as likely; one without an entry is drawn again.
        let slots = self.segments.iter().map(|segment| segment.slots.len()).max()?;
        loop {
            let segment = &self.segments[rng.usize(..self.segments.len())];
            let slot = rng.usize(..slots);
            if segment.slots.holds(slot) {
                return Some(ObjectRef::new(segment, &self.common, slot as SlotId));
            }
        }
    }

    /// About `count` objects from a random place: cheap, for eviction.
    pub fn sample(
        &self,
        rng: &mut fastrand::Rng,
        count: usize,
        visit: &mut dyn FnMut(ObjectRef<'_>),
    ) {
        if self.is_empty() {
            return;
        }
        let mut missing = count.min(self.len());
        let first = rng.usize(..self.segments.len());
        for offset in 0..self.segments.len() {
            let segment = &self.segments[(first + offset) % self.segments.len()];
            let slots = segment.slots.len();
            let start = rng.usize(..slots.max(1));
            for slot in (start..slots).chain(0..start).filter(|slot| segment.slots.holds(*slot)) {
                if missing == 0 {
                    return;
                }
                visit(ObjectRef::new(segment, &self.common, slot as SlotId));
                missing -= 1;
            }
        }
    }

    /// Has `watcher` set when `key` is touched.
    pub fn watch(&mut self, key: &[u8], watcher: &Arc<Watcher>) {
        self.watched.add(key, watcher);
    }

    /// Ends what [`Db::watch`] began.
    pub fn unwatch(&mut self, key: &[u8], watcher: &Arc<Watcher>) {
        self.watched.remove(key, watcher);
    }

    /// Tells who watches `key` that it has changed.
    #[inline]
    pub fn touch(&self, key: &[u8]) {
        self.watched.touch(key, || self.state_of(key, 0));
    }

    /// Keys that somebody watches.
    pub fn watched_keys(&self) -> usize {
        self.watched.len()
    }

    /// Exchanges all but the watchers: watching is by a database's number, not by its contents.
    pub(super) fn swap(&mut self, other: &mut Db) {
        std::mem::swap(self, other);
        std::mem::swap(&mut self.watched, &mut other.watched);
        self.tally.revision += 1;
    }

    /// Tells who watches a key here that `other` takes this database's place at `now`.
    pub(super) fn tell_watchers_of_swap(&self, other: &Db, now: Millis) {
        self.watched.replaced(|key| self.state_of(key, 0), |key| other.state_of(key, now));
    }

    /// How `key` stands at `now`; at 0 nothing is past its deadline.
    fn state_of(&self, key: &[u8], now: Millis) -> State {
        match self.find(key) {
            None => State::Absent,
            Some(at) if self.is_due(at, now) => State::Due,
            Some(_) => State::Live,
        }
    }
}
