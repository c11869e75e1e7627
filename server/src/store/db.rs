//! One numbered database: entries by key, in the order of their hashes, with deadlines,
//! accounting and watchers.
//!
//! The accounting, the deadline wheel and the count of keys with a deadline cannot be forgotten:
//! they are kept where entries are put in, taken out and, by [`Write`](super::Write), changed.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::directory::{CURSOR_BITS, Directory, Span, wrap};
use super::entry::{Form, Head, LONGEST_KEY, set_access};
use super::inline::{Draft, InlineHash, encode};
use super::object::{Object, ObjectRef, Type, Value, is_due};
use super::own::OwnKeys;
use super::segment::{FAR, FULL, LONGEST_ENTRY, Outline, SPARSE, Segment, SlotId};
use super::shapes::{ShapeId, Shapes};
use super::snapshot::Snapshot;
use super::string::Origin;
use super::watchers::{State, Watcher, Watchers};
use super::{Access, Wheel};
use crate::clock::Millis;

/// One numbered database.
#[derive(Debug, Default)]
pub struct Db {
    pub(super) segments: Vec<Segment>,
    pub(super) directory: Directory,
    pub(super) shapes: Shapes,
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
    entry: Vec<u8>,
}

/// Where an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) segment: usize,
    pub(super) id: SlotId,
    pub(super) hash: u64,
}

/// What is counted of a database as its entries change.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    keys: usize,
    /// Bytes of all entries and of the structures of their segments, and of all outlines.
    segments: usize,
    outlines: usize,
    /// Keys with a deadline, and the sum of those deadlines.
    volatile: usize,
    deadlines: u128,
    /// Keys that have fields with a deadline.
    volatile_fields: usize,
    /// Moves with every change of the data.
    pub(super) revision: u64,
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
            + self.shapes.heap_bytes()
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
    pub fn insert(&mut self, key: &[u8], value: Value, access: Access) {
        match value {
            Value::Str(text) if text.bytes.len() <= LONGEST_ENTRY => {
                self.insert_text(key, &text.bytes, text.origin, access);
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
    pub fn insert_text(&mut self, key: &[u8], text: &[u8], origin: Origin, access: Access) {
        let at = self.cleared(key);
        self.put_text(at, key, text, origin, access);
    }

    /// Puts an object of another place here, under `key`, with its deadline.
    pub fn adopt(&mut self, key: &[u8], object: Object) {
        let Object { value, deadline, access } = object;
        self.insert(key, value, access);
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
        let shapes = &self.shapes;
        let of = move |segment| move |id| ObjectRef::new(segment, shapes, id);
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
            let mut show = |id| visit(ObjectRef::new(segment, &self.shapes, id));
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
        let slots = self.segments.iter().map(Segment::slot_count).max()?;
        loop {
            let segment = &self.segments[rng.usize(..self.segments.len())];
            let slot = rng.usize(..slots);
            if segment.holds(slot) {
                return Some(ObjectRef::new(segment, &self.shapes, slot as SlotId));
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
            let slots = segment.slot_count();
            let start = rng.usize(..slots.max(1));
            for slot in (start..slots).chain(0..start).filter(|slot| segment.holds(*slot)) {
                if missing == 0 {
                    return;
                }
                visit(ObjectRef::new(segment, &self.shapes, slot as SlotId));
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

    /// The entry of a key.
    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<At> {
        self.find_hashed(self.state.hash_one(key), key)
    }

    /// The hash of a key.
    pub(super) fn hash_of(&self, key: &[u8]) -> u64 {
        self.state.hash_one(key)
    }

    /// The entry of a key of this hash.
    #[inline]
    pub(super) fn find_hashed(&self, hash: u64, key: &[u8]) -> Option<At> {
        let segment = self.directory.segment_of(hash);
        let id = self.segments.get(segment)?.find(hash, key)?;
        Some(At { segment, id, hash })
    }

    /// The object of an entry.
    #[inline]
    pub(super) fn object(&self, at: At) -> ObjectRef<'_> {
        ObjectRef::new(&self.segments[at.segment], &self.shapes, at.id)
    }

    #[inline]
    pub(super) fn is_due(&self, at: At, now: Millis) -> bool {
        is_due(&self.segments[at.segment], at.id, now)
    }

    /// An inline hash where it lies.
    pub(super) fn inline(&self, at: At) -> Option<InlineHash<'_>> {
        let entry = self.segments[at.segment].entry(at.id);
        match entry.form() {
            Form::Hash(layout) => Some(InlineHash::new(entry.payload(), layout, &self.shapes)),
            _ => None,
        }
    }

    /// The value of an entry that keeps it outside.
    pub(super) fn outside(&self, at: At) -> Option<&Value> {
        let segment = &self.segments[at.segment];
        (segment.entry(at.id).form() == Form::Outline).then(|| &segment.outline(at.id).value)
    }

    /// The value of an entry that keeps it outside, to change it.
    pub(super) fn outside_mut(&mut self, at: At) -> Option<&mut Value> {
        let segment = &mut self.segments[at.segment];
        let is_outside = segment.entry(at.id).form() == Form::Outline;
        is_outside.then(|| &mut segment.outline_mut(at.id).value)
    }

    /// The first deadline of the fields of an entry; 0 = none has one.
    #[inline]
    pub(super) fn first_field(&self, at: At) -> Millis {
        match self.segments[at.segment].entry(at.id).form() {
            Form::Text(_) => 0,
            Form::Hash(layout) if !layout.timed => 0,
            Form::Hash(_) => self.inline(at).map_or(0, |hash| hash.first_deadline()),
            Form::Outline => self.outside(at).and_then(Value::next_field_deadline).unwrap_or(0),
        }
    }

    /// The type of an entry's value.
    #[inline]
    pub(super) fn type_of(&self, at: At) -> Type {
        let segment = &self.segments[at.segment];
        match segment.entry(at.id).form() {
            Form::Text(_) => Type::Str,
            Form::Hash(_) => Type::Hash,
            Form::Outline => segment.outline(at.id).value.type_of(),
        }
    }

    /// The bytes of an entry's outline; 0 if it has none.
    pub(super) fn outline_bytes(&self, at: At) -> usize {
        let segment = &self.segments[at.segment];
        match segment.entry(at.id).form() {
            Form::Outline => segment.outline(at.id).bytes(),
            _ => 0,
        }
    }

    /// After a value changed where it lies outside: the books and the deadlines are put right.
    pub(super) fn settle(&mut self, at: At, bytes_before: usize, first_before: Millis) {
        self.tally.outlines = self.tally.outlines + self.outline_bytes(at) - bytes_before;
        let first = self.first_field(at);
        self.tally.volatile_fields += usize::from(first != 0);
        self.tally.volatile_fields -= usize::from(first_before != 0);
        if first != first_before {
            self.set_deadline_at(at, self.segments[at.segment].deadline(at.id));
        }
    }

    /// Writes a string to the entry of `key`, made if `at` is None; outside the entry if it is too
    /// big. The entry's deadline stays.
    pub(super) fn put_text(
        &mut self,
        at: Option<At>,
        key: &[u8],
        text: &[u8],
        origin: Origin,
        access: Access,
    ) -> At {
        if text.len() + key.len() + ENTRY_HEAD > LONGEST_ENTRY || key.len() > LONGEST_KEY {
            let text = super::Str { bytes: text.into(), origin };
            return self.put_outline(at, key, text.into(), access);
        }
        let head = Head::new(Form::Text(origin), access);
        self.put(at, key, &head, text, None)
    }

    /// Writes a hash's draft to the entry of `key`, made if `at` is None; outside the entry if it is
    /// too big. The entry's deadline stays.
    pub(super) fn put_draft(
        &mut self,
        at: Option<At>,
        key: &[u8],
        draft: &Draft,
        grown: bool,
        access: Access,
    ) -> At {
        let room = LONGEST_ENTRY.saturating_sub(key.len() + ENTRY_HEAD);
        if key.len() > LONGEST_KEY || !draft.fits(room) {
            let hash = super::Hash::from_inline(draft.iter(), grown);
            return self.put_outline(at, key, hash.into(), access);
        }
        let mut payload = std::mem::take(&mut self.scratch.payload);
        payload.clear();
        let layout = encode(draft.iter(), &mut self.shapes, &mut payload);
        let head = Head { grown, ..Head::new(Form::Hash(layout), access) };
        let at = self.put(at, key, &head, &payload, None);
        self.scratch.payload = payload;
        at
    }

    /// Keeps a value outside the entry of `key`, made if `at` is None. The entry's deadline stays.
    pub(super) fn put_outline(
        &mut self,
        at: Option<At>,
        key: &[u8],
        value: Value,
        access: Access,
    ) -> At {
        let long_key = key.len() > LONGEST_KEY;
        let outline = Box::new(Outline { key: long_key.then(|| key.into()), value });
        let head = Head { long_key, ..Head::new(Form::Outline, access) };
        self.put(at, key, &head, &[], Some(outline))
    }

    /// Writes an entry; the value of the old one, if there is one, is gone.
    pub(super) fn put(
        &mut self,
        at: Option<At>,
        key: &[u8],
        head: &Head,
        payload: &[u8],
        outline: Option<Box<Outline>>,
    ) -> At {
        self.tally.revision += 1;
        let deadline = at.map_or(0, |at| self.segments[at.segment].deadline(at.id));
        if let Some(at) = at {
            self.drop_value(at);
        }
        let hash = at.map_or_else(|| self.state.hash_one(key), |at| at.hash);
        let index = match at {
            Some(at) => at.segment,
            None => self.room_for(hash, key),
        };
        let before = self.segments[index].bytes();
        let segment = &mut self.segments[index];
        let number = outline.map(|outline| {
            self.tally.outlines += outline.bytes();
            segment.add_outline(outline)
        });
        let payload = number.as_ref().map_or(payload, |number| number);
        let mut entry = std::mem::take(&mut self.scratch.entry);
        entry.clear();
        head.write(key, payload, &mut entry);
        let id = match at {
            Some(at) => {
                segment.replace(at.id, &entry);
                at.id
            }
            None => {
                self.tally.keys += 1;
                segment.insert(hash, &entry, &|key| self.state.hash_one(key))
            }
        };
        self.scratch.entry = entry;
        self.tally.segments = self.tally.segments + self.segments[index].bytes() - before;
        let at = At { segment: index, id, hash };
        self.note_fields(at, deadline);
        at
    }

    /// Puts a whole entry without an outline under a new key, without a deadline.
    pub(super) fn put_new(&mut self, hash: u64, key: &[u8], entry: &[u8]) -> At {
        let index = self.room_for(hash, key);
        let segment = &mut self.segments[index];
        let before = segment.bytes();
        let hash_of = |key: &[u8]| self.state.hash_one(key);
        if segment.len() == WORTH_TRUSTING && self.announced > WORTH_TRUSTING {
            segment.reserve(self.announced - WORTH_TRUSTING, &hash_of);
        }
        let id = segment.insert(hash, entry, &hash_of);
        self.tally.segments = self.tally.segments + segment.bytes() - before;
        self.tally.keys += 1;
        self.tally.revision += 1;
        let at = At { segment: index, id, hash };
        self.note_fields(at, 0);
        at
    }

    /// After an entry is written whose key has this deadline: what its fields' deadlines mean for it.
    fn note_fields(&mut self, at: At, deadline: Millis) {
        let first = self.first_field(at);
        self.tally.volatile_fields += usize::from(first != 0);
        if first != 0 || deadline != self.segments[at.segment].time(at.id) {
            self.set_deadline_at(at, deadline);
        }
    }

    /// Before an entry's value is replaced or removed: what it holds elsewhere is given back.
    fn drop_value(&mut self, at: At) {
        self.tally.volatile_fields -= usize::from(self.first_field(at) != 0);
        self.tally.outlines -= self.outline_bytes(at);
        let segment = &mut self.segments[at.segment];
        let entry = segment.entry(at.id);
        if let Form::Hash(layout) = entry.form()
            && layout.shaped
        {
            let payload = entry.payload();
            self.shapes.release(ShapeId::from_le_bytes([payload[0], payload[1]]));
        }
        let before = segment.bytes();
        segment.take_outline(at.id);
        self.tally.segments = self.tally.segments + segment.bytes() - before;
    }

    /// The entry of a key, its deadline cleared, if it has one; it is about to be overwritten.
    fn cleared(&mut self, key: &[u8]) -> Option<At> {
        let at = self.find(key)?;
        self.before_change(at);
        let old = self.segments[at.segment].deadline(at.id);
        if old != 0 {
            self.tally.exchange_deadlines(old, 0);
            self.set_deadline_at(at, 0);
        }
        Some(at)
    }

    /// Whether this hash can be inline; if so the draft holds it.
    fn draft_of(&mut self, hash: &super::Hash) -> bool {
        let Some(fields) = hash.packed_fields() else { return false };
        self.scratch.draft.load(fields);
        self.scratch.draft.fits(LONGEST_ENTRY)
    }

    pub(super) fn remove_at(&mut self, at: At) {
        self.before_change(at);
        let old = self.segments[at.segment].deadline(at.id);
        self.tally.exchange_deadlines(old, 0);
        self.drop_value(at);
        let segment = &mut self.segments[at.segment];
        let before = segment.bytes();
        segment.remove(at.id, at.hash);
        self.tally.segments = self.tally.segments + segment.bytes() - before;
        self.tally.keys -= 1;
        self.tally.revision += 1;
        if self.segments[at.segment].len() <= SPARSE {
            self.tidy(at.segment);
        }
    }

    /// Gives an entry this key's deadline (0 = none), which is in the books already, and has the
    /// wheel look at it when the first of it ends.
    pub(super) fn set_deadline_at(&mut self, at: At, deadline: Millis) {
        let first = self.first_field(at);
        let needs_own = first != 0 || deadline > FAR;
        let segment = &mut self.segments[at.segment];
        if needs_own || segment.entry(at.id).deadline().is_some() {
            let entry = segment.entry(at.id);
            let head = Head { deadline: needs_own.then_some(deadline), ..entry.head() };
            let mut bytes = std::mem::take(&mut self.scratch.entry);
            bytes.clear();
            head.write(entry.key(), entry.payload(), &mut bytes);
            let before = segment.bytes();
            segment.replace(at.id, &bytes);
            self.tally.segments = self.tally.segments + segment.bytes() - before;
            self.scratch.entry = bytes;
        }
        let ends = [deadline, first].into_iter().filter(|at| *at != 0).min().unwrap_or(0).min(FAR);
        self.segments[at.segment].set_time(at.id, ends);
        if ends != 0 {
            self.arm(at.segment, ends);
        }
    }

    /// The segment that will take an entry under a new key of this hash; a full one is split first.
    fn room_for(&mut self, hash: u64, key: &[u8]) -> usize {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.before_change(position_of(hash), key, None);
        }
        if self.segments.is_empty() {
            self.segments.push(Segment::new(Span::WHOLE));
        }
        let mut index = self.directory.segment_of(hash);
        while self.segments[index].len() >= FULL && self.segments[index].span().depth < CURSOR_BITS
        {
            self.split(index);
            index = self.directory.segment_of(hash);
        }
        index
    }

    fn split(&mut self, index: usize) {
        let whole = std::mem::replace(&mut self.segments[index], Segment::new(Span::WHOLE));
        let (lower, upper) = whole.span().halves();
        self.tally.segments -= whole.bytes();
        let [low, high] = whole.split(&|key: &[u8]| self.state.hash_one(key));
        self.tally.segments += low.bytes() + high.bytes();
        self.segments[index] = low;
        self.segments.push(high);
        let twin = self.segments.len() - 1;
        self.directory.enter(lower, index);
        self.directory.enter(upper, twin);
        self.rearm(index);
        self.rearm(twin);
    }

    /// Enters all segments in the directory.
    pub(super) fn enter_all(&mut self) {
        for (index, segment) in self.segments.iter().enumerate() {
            self.directory.enter(segment.span(), index);
        }
    }

    /// After a removal: a sparse segment is merged with its neighbour if that has room.
    pub(super) fn tidy(&mut self, index: usize) {
        let (span, len) = (self.segments[index].span(), self.segments[index].len());
        let Some(twin) = span.twin() else {
            if len == 0 {
                self.tally.segments -= self.segments[index].bytes();
                self.segments.clear();
            }
            return;
        };
        let twin = self.directory.segment_of(twin.prefix);
        let other = &self.segments[twin];
        if other.span().depth == span.depth && len + other.len() <= FULL / 2 {
            self.merge(index, twin);
        }
    }

    fn merge(&mut self, a: usize, b: usize) {
        let (keep, gone) = (a.min(b), a.max(b));
        let gone_half = self.segments.swap_remove(gone);
        if let Some(moved) = self.segments.get(gone) {
            self.directory.enter(moved.span(), gone);
        }
        let kept_half = std::mem::replace(&mut self.segments[keep], Segment::new(Span::WHOLE));
        self.tally.segments -= gone_half.bytes() + kept_half.bytes();
        let whole = Segment::join([gone_half, kept_half], &|key: &[u8]| self.state.hash_one(key));
        self.tally.segments += whole.bytes();
        self.directory.enter(whole.span(), keep);
        self.segments[keep] = whole;
        self.directory.shrink(self.segments.iter().map(Segment::span));
        self.rearm(keep);
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

/// Where a key of this hash comes in a scan.
fn position_of(hash: u64) -> u64 {
    hash >> (64 - CURSOR_BITS)
}

/// Entries of a segment after which it is believed that as many will come as were announced.
const WORTH_TRUSTING: usize = 28;

/// Bytes of an entry beside key and payload, at most.
pub(super) const ENTRY_HEAD: usize = 16;

impl Tally {
    pub(super) fn exchange_deadlines(&mut self, old: Millis, new: Millis) {
        self.volatile = self.volatile + usize::from(new != 0) - usize::from(old != 0);
        self.deadlines = self.deadlines + u128::from(new) - u128::from(old);
    }
}
