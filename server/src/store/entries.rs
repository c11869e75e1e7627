//! The entries of a database: found, put in, replaced and taken out; and the books that are kept of
//! them.
//!
//! The accounting, the deadline wheel and the count of keys with a deadline cannot be forgotten: they
//! are kept where entries are put in, taken out and, by [`Write`](super::Write), changed.

use std::hash::BuildHasher;

use super::Access;
use super::db::Db;
use super::directory::{CURSOR_BITS, Span};
use super::entry::{Form, Head, LONGEST_KEY};
use super::inline::{Draft, InlineHash, encode};
use super::object::{ObjectRef, Type, Value, is_due};
use super::segment::{FULL, LONGEST_ENTRY, Outline, SPARSE, Segment};
use super::shapes::ShapeId;
use super::slots::{FAR, SlotId};
use super::string::Origin;
use crate::clock::Millis;

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
    pub(super) keys: usize,
    /// Bytes of all entries and of the structures of their segments, and of all outlines.
    pub(super) segments: usize,
    pub(super) outlines: usize,
    /// Keys with a deadline, and the sum of those deadlines.
    pub(super) volatile: usize,
    pub(super) deadlines: u128,
    /// Keys that have fields with a deadline.
    pub(super) volatile_fields: usize,
    /// Moves with every change of the data.
    pub(super) revision: u64,
}

impl Db {
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
        ObjectRef::new(&self.segments[at.segment], &self.common, at.id)
    }

    #[inline]
    pub(super) fn is_due(&self, at: At, now: Millis) -> bool {
        is_due(&self.segments[at.segment], at.id, now)
    }

    /// An inline hash where it lies.
    pub(super) fn inline(&self, at: At) -> Option<InlineHash<'_>> {
        let entry = self.segments[at.segment].entry(at.id);
        match entry.form() {
            Form::Hash(layout) => {
                Some(InlineHash::new(entry.payload(), layout, &self.common.shapes))
            }
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
            Form::Text(_) | Form::Compressed => 0,
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
            Form::Text(_) | Form::Compressed => Type::Str,
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

    /// Compresses a string into the entry of `key`, made if `at` is None. The entry's deadline stays.
    /// None, and nothing is done: it stays too long, or it is not worth it.
    pub(super) fn put_compressed(
        &mut self,
        at: Option<At>,
        key: &[u8],
        text: &[u8],
        access: Access,
    ) -> Option<At> {
        let room = LONGEST_ENTRY.saturating_sub(key.len() + ENTRY_HEAD);
        let mut payload = std::mem::take(&mut self.scratch.payload);
        let is_shorter =
            key.len() <= LONGEST_KEY && self.common.dictionaries.compress(text, room, &mut payload);
        let head = Head::new(Form::Compressed, access);
        let at = is_shorter.then(|| self.put(at, key, &head, &payload, None));
        self.scratch.payload = payload;
        at
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
        let layout = encode(draft.iter(), &mut self.common.shapes, &mut payload);
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
        let payload = entry.payload();
        match entry.form() {
            Form::Hash(layout) if layout.shaped => {
                self.common.shapes.release(ShapeId::from_le_bytes([payload[0], payload[1]]));
            }
            Form::Compressed => self.common.dictionaries.release(payload),
            _ => {}
        }
        let before = segment.bytes();
        segment.take_outline(at.id);
        self.tally.segments = self.tally.segments + segment.bytes() - before;
    }

    /// The entry of a key, its deadline cleared, if it has one; it is about to be overwritten.
    pub(super) fn cleared(&mut self, key: &[u8]) -> Option<At> {
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
    pub(super) fn draft_of(&mut self, hash: &super::Hash) -> bool {
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
        while self.segments[index].is_full() && self.segments[index].span().depth < CURSOR_BITS {
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
}

/// Where a key of this hash comes in a scan.
pub(super) fn position_of(hash: u64) -> u64 {
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
