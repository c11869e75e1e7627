//! A segment of a keyspace: some hundreds of entries, packed into frames of equal size.
//!
//! A hash index leads from a key to a *slot* (see `slots.rs`), which knows the entry's place and the
//! moment at which something of it ends; *frames* hold the entries one behind the other. What an entry
//! leaves behind is garbage until its frame is compacted. Frames have one size, so no pattern of
//! logins and logouts can fragment the heap; nothing here is allocated for a single session.
//! Values too big for a frame, sets and sorted sets are *outlines*: allocations of their own.

use hashbrown::HashTable;

use super::allocated;
use super::directory::{CURSOR_BITS, Span, spread};
use super::entry::{Entry, Form};
use super::object::Value;
use super::slots::{SlotId, Slots, TAG_BITS};
use crate::clock::Millis;

/// Entries at which a segment splits at the latest: what 2,048 buckets of its index take.
pub(super) const FULL: usize = 1792;

/// By how many entries earlier a segment may split. Each has a limit of its own: they fill evenly, and
/// with the same limit all of a keyspace would split within a few logins.
const EARLIER: usize = FULL / 8;

/// Entries under which a segment looks for a neighbour to merge with.
pub(super) const SPARSE: usize = FULL / 8;

/// Bytes of a frame.
const FRAME: usize = 1 << OFFSET_BITS;

const OFFSET_BITS: u32 = 13;

/// Bytes of an entry at most; what is bigger becomes an outline.
pub(super) const LONGEST_ENTRY: usize = FRAME / 4;

/// Bytes of an entry from which on its frame is chosen with care: where the room left over is least. One
/// after the other they would leave a twelfth of each frame empty.
const LARGE: usize = FRAME / 16;

/// A frame with at least so much garbage is worth compacting when room is needed.
const WORTHWHILE: usize = FRAME / 16;

/// A frame's bytes.
type Block = Box<[u8; FRAME]>;

#[derive(Debug)]
struct Frame {
    bytes: Block,
    /// Bytes in use from the start, garbage included.
    fill: u16,
    /// Bytes of entries.
    live: u16,
}

/// A value kept outside the frames, with its key if that is too long for an entry.
#[derive(Debug)]
pub(super) struct Outline {
    pub(super) key: Option<Box<[u8]>>,
    pub(super) value: Value,
}

/// Entries whose hashes are in one span.
///
/// The order matters for speed: glibc places a large array 16 bytes behind a cache line's beginning,
/// so that what every request needs, the index, the frames and the slots, is two lines of a segment.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Segment {
    outlines: Vec<Option<Box<Outline>>>,
    /// When the wheel looks here next; 0 = it will not.
    pub(super) armed: Millis,
    /// When it will look again by what it was armed for before; 0 = not known.
    pub(super) armed_before: Millis,
    /// Bytes of all entries and of what outlines hold beside their values.
    bytes: usize,
    index: HashTable<SlotId>,
    frames: Vec<Frame>,
    /// The frame that is being filled.
    current: usize,
    pub(super) slots: Slots,
    span: Span,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Segment>() == 3 * 64 && size_of::<Slots>() == 64);

impl Outline {
    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        allocated(size_of::<Outline>())
            + self.key.as_ref().map_or(0, |key| allocated(key.len()))
            + self.value.heap_bytes()
    }
}

impl Frame {
    fn has_room(&self, length: usize) -> bool {
        self.fill as usize + length <= FRAME
    }
}

impl Segment {
    /// A segment without entries or allocations.
    pub(super) fn new(span: Span) -> Self {
        Segment {
            span,
            index: HashTable::new(),
            slots: Slots::new(),
            frames: Vec::new(),
            current: 0,
            armed: 0,
            armed_before: 0,
            outlines: Vec::new(),
            bytes: 0,
        }
    }

    /// The hashes that it holds.
    pub(super) fn span(&self) -> Span {
        self.span
    }

    /// Whether it is to be split before one more entry comes.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.len() >= FULL - EARLIER && self.len() >= self.limit()
    }

    /// Entries at which it splits.
    fn limit(&self) -> usize {
        // Any part of a number that spans which resemble each other do not have in common.
        let any =
            (self.span.prefix ^ u64::from(self.span.depth)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        FULL - (((any >> 32) as usize * EARLIER) >> 32)
    }

    /// How many entries it has.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes of the entries, and of the structures that hold them; not those of outlines' values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.overhead()
    }

    /// Bytes of the structures that hold the entries.
    pub(super) fn overhead(&self) -> usize {
        self.index.allocation_size()
            + self.slots.heap_bytes()
            + self.outlines.capacity() * size_of::<Option<Box<Outline>>>()
    }

    /// Bytes of the frames, garbage and all.
    #[cfg(test)]
    pub(super) fn frame_bytes(&self) -> usize {
        self.frames.len() * FRAME
    }

    /// The slot of a key.
    #[inline]
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<SlotId> {
        let tag = self.tag(hash);
        let is = |id: &SlotId| self.slots.tag(*id) == tag && self.key(*id) == key;
        self.index.find(spread(hash), is).copied()
    }

    /// The slot in which a key of this hash lies if anywhere, most probably.
    #[inline]
    pub(super) fn likely(&self, hash: u64) -> Option<SlotId> {
        self.index.find(spread(hash), |_| true).copied()
    }

    /// The entry in a slot.
    #[inline]
    pub(super) fn entry(&self, id: SlotId) -> Entry<'_> {
        let place = self.slots.place(id) as usize;
        Entry(&self.frames[place >> OFFSET_BITS].bytes[place % FRAME..])
    }

    /// The entry in a slot, to change it where it lies.
    #[inline]
    pub(super) fn entry_mut(&mut self, id: SlotId) -> &mut [u8] {
        let place = self.slots.place(id) as usize;
        &mut self.frames[place >> OFFSET_BITS].bytes[place % FRAME..]
    }

    /// The key in a slot.
    #[inline]
    pub(super) fn key(&self, id: SlotId) -> &[u8] {
        let entry = self.entry(id);
        if entry.has_long_key() {
            return self.outline(id).key.as_deref().unwrap_or_default();
        }
        entry.key()
    }

    /// The value that the entry in a slot keeps outside.
    pub(super) fn outline(&self, id: SlotId) -> &Outline {
        let number = outline_number(self.entry(id));
        self.outlines[number].as_ref().expect("an entry's outline is there")
    }

    /// The value that the entry in a slot keeps outside, to change it.
    pub(super) fn outline_mut(&mut self, id: SlotId) -> &mut Outline {
        let number = outline_number(self.entry(id));
        self.outlines[number].as_mut().expect("an entry's outline is there")
    }

    /// When something of this entry ends first, the key or a field; 0 = never.
    #[inline]
    pub(super) fn time(&self, id: SlotId) -> Millis {
        self.slots.time(id)
    }

    /// When the key in a slot ends; 0 = never.
    #[inline]
    pub(super) fn deadline(&self, id: SlotId) -> Millis {
        match self.time(id) {
            0 => 0,
            time => self.entry(id).deadline().unwrap_or(time),
        }
    }

    /// Says when something of this entry ends first; 0 = never. The caller arms the wheel.
    #[inline]
    pub(super) fn set_time(&mut self, id: SlotId, time: Millis) {
        self.slots.set_time(id, time);
    }

    /// Puts an entry in whose key is not there. `hash_of` hashes keys.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        entry: &[u8],
        hash_of: &impl Fn(&[u8]) -> u64,
    ) -> SlotId {
        self.insert_in(hash, entry, hash_of, &mut Vec::new())
    }

    /// The same, in a spare block if a new frame is needed.
    fn insert_in(
        &mut self,
        hash: u64,
        entry: &[u8],
        hash_of: &impl Fn(&[u8]) -> u64,
        spare: &mut Vec<Block>,
    ) -> SlotId {
        let place = self.allocate(entry.len(), spare);
        self.write(place, entry);
        let id = self.slots.take(self.tag(hash), place);
        let Segment { index, slots, frames, outlines, .. } = self;
        let rehash = |id: &SlotId| hash_in(*id, slots, frames, outlines, hash_of);
        index.insert_unique(spread(hash), id, rehash);
        id
    }

    /// Puts other bytes in place of the entry in a slot.
    pub(super) fn replace(&mut self, id: SlotId, entry: &[u8]) {
        let old = self.entry(id).len();
        if entry.len() <= old {
            let place = self.slots.place(id);
            self.frames[place as usize >> OFFSET_BITS].live -= (old - entry.len()) as u16;
            self.bytes -= old - entry.len();
            self.copy(place, entry);
            return;
        }
        self.release(id);
        // Nothing looks for an entry here while frames are compacted to make room.
        self.slots.lift(id);
        let place = self.allocate(entry.len(), &mut Vec::new());
        self.write(place, entry);
        self.slots.set_place(id, place);
    }

    /// Takes an entry out; returns its outline.
    pub(super) fn remove(&mut self, id: SlotId, hash: u64) -> Option<Box<Outline>> {
        let outline = self.take_outline(id);
        if let Ok(found) = self.index.find_entry(spread(hash), |other| *other == id) {
            found.remove();
        }
        self.release(id);
        self.slots.give_back(id);
        self.evacuate_sparse_frame();
        outline
    }

    /// Keeps a value outside; returns its number, which is an entry's payload.
    pub(super) fn add_outline(&mut self, outline: Box<Outline>) -> [u8; 4] {
        let number = match self.outlines.iter().position(Option::is_none) {
            Some(number) => number,
            None => {
                self.outlines.push(None);
                self.outlines.len() - 1
            }
        };
        self.outlines[number] = Some(outline);
        (number as u32).to_le_bytes()
    }

    /// Takes the outline of an entry out, if it has one; the entry has to be replaced.
    pub(super) fn take_outline(&mut self, id: SlotId) -> Option<Box<Outline>> {
        let entry = self.entry(id);
        if entry.form() != Form::Outline {
            return None;
        }
        let number = outline_number(entry);
        let outline = self.outlines.get_mut(number)?.take();
        while matches!(self.outlines.last(), Some(None)) {
            self.outlines.pop();
        }
        outline
    }

    /// All slots with an entry.
    pub(super) fn ids(&self) -> impl Iterator<Item = SlotId> {
        self.slots.iter().map(|(id, _)| id)
    }

    /// Where the entry in a slot stands in the order of a scan, as exactly as a slot knows it: not
    /// behind its real position.
    pub(super) fn position(&self, id: SlotId) -> u64 {
        let tag = u64::from(self.slots.tag(id));
        let known = self.span.depth + TAG_BITS;
        self.span.start()
            + (tag << CURSOR_BITS.saturating_sub(known) >> known.saturating_sub(CURSOR_BITS))
    }

    /// How far apart different positions are at least.
    pub(super) fn position_step(&self) -> u64 {
        1 << CURSOR_BITS.saturating_sub(self.span.depth + TAG_BITS)
    }

    /// Its entries in two segments, one for each half of its span.
    pub(super) fn split(mut self, hash_of: &impl Fn(&[u8]) -> u64) -> [Segment; 2] {
        let (lower, upper) = self.span.halves();
        let mut halves = [Segment::new(lower), Segment::new(upper)];
        let span = self.span;
        self.hand_over(&mut halves, hash_of, |hash| usize::from(span.is_upper(hash)));
        halves
    }

    /// The entries of two halves in the segment of their span.
    pub(super) fn join(halves: [Segment; 2], hash_of: &impl Fn(&[u8]) -> u64) -> Segment {
        let mut whole = [Segment::new(halves[0].span.parent())];
        for mut half in halves {
            half.hand_over(&mut whole, hash_of, |_| 0);
        }
        let [whole] = whole;
        whole
    }

    /// Makes room in the index for so many more entries.
    pub(super) fn reserve(&mut self, entries: usize, hash_of: &impl Fn(&[u8]) -> u64) {
        let Segment { index, slots, frames, outlines, .. } = self;
        index.reserve(entries, |id| hash_in(*id, slots, frames, outlines, hash_of));
    }

    /// Moves every entry to the one of `others` that `which` chooses by its hash, frame by frame: what
    /// one has held serves the others as soon as it is empty. Nothing is to be done with this segment
    /// after that.
    fn hand_over(
        &mut self,
        others: &mut [Segment],
        hash_of: &impl Fn(&[u8]) -> u64,
        which: impl Fn(u64) -> usize,
    ) {
        let share = self.len().div_ceil(others.len());
        others.iter_mut().for_each(|other| other.reserve(share, hash_of));
        let mut places: Vec<(u32, SlotId)> =
            self.slots.iter().map(|(id, place)| (place, id)).collect();
        places.sort_unstable();
        let (mut spare, mut bytes) = (Vec::new(), Vec::new());
        for (place, id) in places.into_iter().rev() {
            // From the last frame to the first: what is behind this entry's is empty.
            let behind = self.frames.drain((place as usize >> OFFSET_BITS) + 1..);
            spare.extend(behind.map(|frame| frame.bytes));
            let hash = hash_of(self.key(id));
            let (time, other) = (self.time(id), &mut others[which(hash)]);
            bytes.clear();
            let entry = self.entry(id);
            bytes.extend_from_slice(&entry.0[..entry.len()]);
            if let Some(outline) = self.take_outline(id) {
                let payload = Entry(&bytes).payload_start();
                bytes[payload..payload + 4].copy_from_slice(&other.add_outline(outline));
            }
            let placed = other.insert_in(hash, &bytes, hash_of, &mut spare);
            if time != 0 {
                other.set_time(placed, time);
            }
        }
    }

    #[inline]
    fn tag(&self, hash: u64) -> u16 {
        (hash << self.span.depth >> (64 - TAG_BITS)) as u16
    }

    /// The bytes of this entry are garbage from now on.
    fn release(&mut self, id: SlotId) {
        let length = self.entry(id).len();
        let frame = &mut self.frames[self.slots.place(id) as usize >> OFFSET_BITS];
        frame.live -= length as u16;
        if frame.live == 0 {
            frame.fill = 0;
        }
        self.bytes -= length;
    }

    fn write(&mut self, place: u32, entry: &[u8]) {
        self.frames[place as usize >> OFFSET_BITS].live += entry.len() as u16;
        self.bytes += entry.len();
        self.copy(place, entry);
    }

    fn copy(&mut self, place: u32, entry: &[u8]) {
        let (frame, start) = (place as usize >> OFFSET_BITS, place as usize % FRAME);
        self.frames[frame].bytes[start..start + entry.len()].copy_from_slice(entry);
    }

    /// Finds room for so many bytes.
    fn allocate(&mut self, length: usize, spare: &mut Vec<Block>) -> u32 {
        let is_large = length >= LARGE;
        if is_large || !self.frames.get(self.current).is_some_and(|frame| frame.has_room(length)) {
            let left = if is_large { self.tightest(length) } else { self.first(length) };
            self.current = left.unwrap_or_else(|| self.make_room(length, spare));
        }
        let frame = &mut self.frames[self.current];
        let place = (self.current << OFFSET_BITS) as u32 | u32::from(frame.fill);
        frame.fill += length as u16;
        place
    }

    /// The frame with the least room at its end that is still enough.
    fn tightest(&self, length: usize) -> Option<usize> {
        let with_room = self.frames.iter().enumerate().filter(|(_, frame)| frame.has_room(length));
        with_room.max_by_key(|(_, frame)| frame.fill).map(|(index, _)| index)
    }

    /// The first frame with enough room at its end.
    fn first(&self, length: usize) -> Option<usize> {
        self.frames.iter().position(|frame| frame.has_room(length))
    }

    /// A frame with room where none has any: the one with most garbage, compacted, or a new one.
    fn make_room(&mut self, length: usize, spare: &mut Vec<Block>) -> usize {
        let emptiest = self.frames.iter().enumerate().min_by_key(|(_, frame)| frame.live);
        if let Some((index, frame)) = emptiest
            && FRAME - frame.live as usize >= length.max(WORTHWHILE)
        {
            self.compact(index);
            return index;
        }
        self.frames.reserve_exact(1);
        let bytes = spare.pop().unwrap_or_else(|| Box::new([0; FRAME]));
        self.frames.push(Frame { bytes, fill: 0, live: 0 });
        self.frames.len() - 1
    }

    /// Moves the entries of a frame together.
    fn compact(&mut self, index: usize) {
        let mut inside = self.slots_in(index);
        inside.sort_unstable();
        let Segment { slots, frames, .. } = self;
        let frame = &mut frames[index];
        let mut fill = 0;
        for (place, id) in inside {
            let start = place as usize % FRAME;
            let length = Entry(&frame.bytes[start..]).len();
            frame.bytes.copy_within(start..start + length, fill);
            slots.set_place(id, (index << OFFSET_BITS | fill) as u32);
            fill += length;
        }
        frame.fill = fill as u16;
    }

    fn slots_in(&self, frame: usize) -> Vec<(u32, SlotId)> {
        let start = (frame << OFFSET_BITS) as u32;
        self.slots.between(start..start + FRAME as u32)
    }

    /// After a removal: gives a frame back as soon as others can take what it still holds.
    fn evacuate_sparse_frame(&mut self) {
        if self.bytes + 2 * FRAME > self.frames.len() * FRAME * 3 / 4 {
            return;
        }
        let emptiest = self.frames.iter().enumerate().min_by_key(|(_, frame)| frame.live);
        let Some((index, _)) = emptiest else { return };
        let mut gone = self.frames.swap_remove(index);
        let last = self.frames.len();
        let moved = self.slots_in(index);
        for (_, id) in self.slots_in(last) {
            // The last frame has taken the place of the one that goes.
            let offset = self.slots.place(id) % FRAME as u32;
            self.slots.set_place(id, (index << OFFSET_BITS) as u32 | offset);
        }
        self.current = 0;
        // Nothing looks for these entries while frames are compacted to make room for them.
        moved.iter().for_each(|(_, id)| self.slots.lift(*id));
        for (place, id) in moved {
            let start = place as usize % FRAME;
            let bytes = &mut gone.bytes[start..];
            let length = Entry(bytes).len();
            self.bytes -= length;
            let room = self.allocate(length, &mut Vec::new());
            self.write(room, &bytes[..length]);
            self.slots.set_place(id, room);
        }
    }
}

/// The hash of the entry in a slot, as the index wants it.
fn hash_in(
    id: SlotId,
    slots: &Slots,
    frames: &[Frame],
    outlines: &[Option<Box<Outline>>],
    hash_of: &impl Fn(&[u8]) -> u64,
) -> u64 {
    let place = slots.place(id) as usize;
    let entry = Entry(&frames[place >> OFFSET_BITS].bytes[place % FRAME..]);
    let outline = || outlines[outline_number(entry)].as_ref()?.key.as_deref();
    let long = entry.has_long_key().then(outline).flatten();
    spread(hash_of(long.unwrap_or(entry.key())))
}

fn outline_number(entry: Entry<'_>) -> usize {
    let payload = entry.payload();
    u32::from_le_bytes([payload[0], payload[1], payload[2], payload[3]]) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::BuildHasher;

    use foldhash::quality::RandomState;

    use super::super::Access;
    use super::super::entry::Head;
    use super::super::string::Origin;
    use super::*;

    fn entry(key: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Head::new(Form::Text(Origin::Given), Access::used_at(0)).write(key, payload, &mut bytes);
        bytes
    }

    #[test]
    fn entries_come_and_go_and_change_their_size_as_in_a_plain_map() {
        let (state, mut rng) = (RandomState::default(), fastrand::Rng::with_seed(5));
        let hash_of = |key: &[u8]| state.hash_one(key);
        let mut segment = Segment::new(Span::WHOLE);
        let mut model: HashMap<Vec<u8>, (Vec<u8>, Millis)> = HashMap::new();
        for step in 1..60_000u64 {
            let key = format!("key:{}", rng.u32(..700)).into_bytes();
            let payload = vec![rng.u8(..); rng.usize(..400)];
            let hash = hash_of(&key);
            let found = segment.find(hash, &key);
            assert_eq!(found.is_some(), model.contains_key(&key));
            // Most come in the first half and go in the second.
            match (found, rng.u32(..10) < if step < 30_000 { 8 } else { 2 }) {
                (None, true) => {
                    let id = segment.insert(hash, &entry(&key, &payload), &hash_of);
                    segment.set_time(id, step % 90 * 7);
                    model.insert(key, (payload, step % 90 * 7));
                }
                (Some(id), true) => {
                    segment.replace(id, &entry(&key, &payload));
                    model.get_mut(&key).unwrap().0 = payload;
                }
                (Some(id), false) => {
                    assert!(segment.remove(id, hash).is_none());
                    model.remove(&key);
                }
                (None, false) => {}
            }
            let first = model.values().map(|(_, at)| *at).filter(|at| *at != 0).min();
            assert_eq!(segment.slots.earliest().map(|(_, at)| at), first);
        }
        assert_eq!(segment.len(), model.len());
        let mut bytes = 0;
        for id in segment.ids() {
            let entry = segment.entry(id);
            bytes += entry.len();
            assert_eq!(model.get(entry.key()).map(|(p, _)| &**p), Some(entry.payload()));
        }
        assert_eq!(segment.bytes() - segment.overhead(), bytes);
        assert!(
            segment.frame_bytes() < bytes * 2 + 3 * FRAME,
            "{} of {bytes}",
            segment.frame_bytes()
        );
    }

    #[test]
    fn frames_are_filled_well_while_sessions_of_many_sizes_come_and_go() {
        let (state, mut rng) = (RandomState::default(), fastrand::Rng::with_seed(6));
        let hash_of = |key: &[u8]| state.hash_one(key);
        let mut segment = Segment::new(Span::WHOLE);
        for _ in 0..100_000 {
            let key = format!("key:{}", rng.u32(..800)).into_bytes();
            let hash = hash_of(&key);
            let entry = entry(&key, &vec![b'v'; rng.usize(200..400)]);
            match segment.find(hash, &key) {
                Some(id) => segment.replace(id, &entry),
                None => {
                    segment.insert(hash, &entry, &hash_of);
                }
            }
        }
        let bytes = segment.bytes() - segment.overhead();
        assert!(segment.frame_bytes() * 100 < bytes * 112, "{} of {bytes}", segment.frame_bytes());
    }

    #[test]
    fn segments_have_limits_of_their_own() {
        let mut spans = vec![Span::WHOLE];
        for _ in 0..10 {
            spans = spans.iter().flat_map(|span| [span.halves().0, span.halves().1]).collect();
        }
        let mut tenths = [0; 10];
        for span in spans {
            let limit = Segment::new(span).limit();
            assert!((FULL - EARLIER..=FULL).contains(&limit));
            tenths[(FULL - limit) * 10 / (EARLIER + 1)] += 1;
        }
        assert!(tenths.iter().all(|count| (70..140).contains(count)), "{tenths:?}");
    }

    #[test]
    fn the_halves_of_a_segment_hold_all_that_it_held() {
        let state = RandomState::default();
        let hash_of = |key: &[u8]| state.hash_one(key);
        let mut whole = Segment::new(Span::WHOLE);
        for number in 0..500u32 {
            let key = number.to_le_bytes();
            let id = whole.insert(hash_of(&key), &entry(&key, b"value"), &hash_of);
            whole.set_time(id, u64::from(number));
        }
        let frames = whole.frames.len();
        let halves = whole.split(&hash_of);
        assert!(halves[0].frames.len() + halves[1].frames.len() <= frames + 1);
        assert_eq!(halves[0].len() + halves[1].len(), 500);
        for number in 0..500u32 {
            let key = number.to_le_bytes();
            let hash = hash_of(&key);
            let half = &halves[usize::from(Span::WHOLE.is_upper(hash))];
            let id = half.find(hash, &key).expect("it is there");
            assert_eq!(half.time(id), u64::from(number));
            let real = hash >> (64 - CURSOR_BITS);
            assert!((half.position(id)..half.position(id) + half.position_step()).contains(&real));
        }
    }
}
