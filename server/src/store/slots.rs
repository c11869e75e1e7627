//! The slots of a segment: for each entry where it lies, part of its key's hash, and when something of
//! it ends first.
//!
//! They come in chunks, which never move: an array that grows would leave behind, in each segment,
//! pieces of memory of every size that it has had. The moments are found group by group: of each group
//! of slots a bound is kept before which nothing of it ends.

use std::ops::Range;

use super::segment::FULL;
use crate::clock::Millis;

/// Bits of a hash, behind those of the segment's span, that a slot remembers.
pub(super) const TAG_BITS: u32 = 16;

/// The last moment that a slot can hold.
pub(super) const FAR: Millis = (1 << (64 - TAG_BITS)) - 1;

/// Bytes of an entry's slot, bound and place in the index, in a segment as full as segments are.
pub(super) const SHARE: usize = size_of::<Chunk>() / CHUNK + 4;

/// Slots of a chunk.
const CHUNK: usize = 256;

/// Slots that share a bound on their deadlines.
const GROUP: usize = 32;

/// Entries that a frame mostly has less than.
const MOSTLY_FOUND: usize = 32;

/// In a slot's place: there is no entry. The low bits of a slot that was given back say which one
/// is to be taken next.
const VACANT: u32 = 1 << 31;

/// No slot.
const NONE: SlotId = SlotId::MAX;

const TAKEN: &str = "a slot that was taken is there";

/// The number of a slot.
pub(super) type SlotId = u16;

/// An entry's place, its time, and part of its hash. Twelve bytes: two halves spare the padding.
#[derive(Debug, Clone, Copy)]
struct Slot {
    time_and_tag: [u32; 2],
    place: u32,
}

#[derive(Debug)]
struct Chunk {
    slots: [Slot; CHUNK],
    /// For each group: nothing of it ends before this (`Millis::MAX`: ever).
    bounds: [Millis; CHUNK / GROUP],
}

/// The slots of a segment.
#[derive(Debug)]
pub(super) struct Slots {
    /// The first of them, as many as were ever needed.
    chunks: [Option<Box<Chunk>>; FULL / CHUNK],
    /// Slots that were ever taken.
    len: u16,
    /// The vacant slot to be taken next; `NONE`: a new one is.
    vacant: SlotId,
}

impl Slot {
    fn new(time: Millis, tag: u16, place: u32) -> Self {
        let both = time << TAG_BITS | u64::from(tag);
        Slot { time_and_tag: [both as u32, (both >> 32) as u32], place }
    }

    #[inline]
    fn both(&self) -> u64 {
        u64::from(self.time_and_tag[0]) | u64::from(self.time_and_tag[1]) << 32
    }

    #[inline]
    fn time(&self) -> Millis {
        self.both() >> TAG_BITS
    }

    #[inline]
    fn tag(&self) -> u16 {
        self.time_and_tag[0] as u16
    }

    fn is_vacant(&self) -> bool {
        self.place & VACANT != 0
    }
}

impl Slots {
    /// No slots, and no allocation.
    pub(super) fn new() -> Self {
        Slots { chunks: Default::default(), len: 0, vacant: NONE }
    }

    /// How many there are, vacant ones included.
    pub(super) fn len(&self) -> usize {
        self.len.into()
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.len().div_ceil(CHUNK) * size_of::<Chunk>()
    }

    /// Whether there is an entry in this slot.
    pub(super) fn holds(&self, id: usize) -> bool {
        id < self.len() && !self.slot(id as SlotId).is_vacant()
    }

    /// All slots with an entry, and the places of those.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotId, u32)> {
        let slots = self.chunks.iter().flatten().flat_map(|chunk| &chunk.slots).enumerate();
        slots.filter(|(_, slot)| !slot.is_vacant()).map(|(id, slot)| (id as SlotId, slot.place))
    }

    /// The places in this range that have an entry, and its slot.
    pub(super) fn between(&self, places: Range<u32>) -> Vec<(u32, SlotId)> {
        let mut found = Vec::with_capacity(MOSTLY_FOUND);
        for (chunk, first) in self.chunks.iter().flatten().zip((0..).step_by(CHUNK)) {
            // A frame is looked for among all slots of its segment: this loop is to stay this small.
            // No range reaches places that say that a slot is vacant.
            for (slot, id) in chunk.slots.iter().zip(first..) {
                if slot.place.wrapping_sub(places.start) < places.end - places.start {
                    found.push((slot.place, id));
                }
            }
        }
        found
    }

    /// Takes a slot for an entry of which nothing ends.
    pub(super) fn take(&mut self, tag: u16, place: u32) -> SlotId {
        let id = match self.vacant {
            NONE => {
                // A segment is split before it has more entries than there can be slots.
                self.chunks[self.len() / CHUNK].get_or_insert_with(|| {
                    Box::new(Chunk {
                        slots: [Slot::new(0, 0, VACANT); CHUNK],
                        bounds: [Millis::MAX; CHUNK / GROUP],
                    })
                });
                self.len += 1;
                self.len - 1
            }
            id => {
                self.vacant = self.slot(id).place as SlotId;
                id
            }
        };
        *self.slot_mut(id) = Slot::new(0, tag, place);
        id
    }

    /// The entry of this slot is gone.
    pub(super) fn give_back(&mut self, id: SlotId) {
        *self.slot_mut(id) = Slot::new(0, 0, VACANT | u32::from(self.vacant));
        self.vacant = id;
    }

    /// Where the entry lies.
    #[inline]
    pub(super) fn place(&self, id: SlotId) -> u32 {
        self.slot(id).place
    }

    /// Says where the entry lies.
    pub(super) fn set_place(&mut self, id: SlotId, place: u32) {
        self.slot_mut(id).place = place;
    }

    /// Nothing looks for the entry of this slot until its next place is said.
    pub(super) fn lift(&mut self, id: SlotId) {
        self.slot_mut(id).place = VACANT;
    }

    /// The part of its key's hash.
    #[inline]
    pub(super) fn tag(&self, id: SlotId) -> u16 {
        self.slot(id).tag()
    }

    /// When something of the entry ends first; 0 = never.
    #[inline]
    pub(super) fn time(&self, id: SlotId) -> Millis {
        self.slot(id).time()
    }

    /// Says when something of the entry ends first; 0 = never.
    #[inline]
    pub(super) fn set_time(&mut self, id: SlotId, time: Millis) {
        let (chunk, at) = (self.chunk_mut(id), id as usize % CHUNK);
        let slot = &mut chunk.slots[at];
        *slot = Slot::new(time, slot.tag(), slot.place);
        if time != 0 {
            let bound = &mut chunk.bounds[at / GROUP];
            *bound = time.min(*bound);
        }
    }

    /// The bound on what a slot's group ends before.
    #[inline]
    pub(super) fn bound_of(&self, id: SlotId) -> Millis {
        self.chunk(id).bounds[id as usize % CHUNK / GROUP]
    }

    /// The entry that ends first, and when.
    pub(super) fn earliest(&mut self) -> Option<(SlotId, Millis)> {
        loop {
            let (group, bound) = self.bounds().enumerate().min_by_key(|(_, bound)| *bound)?;
            if bound == Millis::MAX {
                return None;
            }
            match self.tighten_group(group) {
                Some((id, time)) if time == bound => return Some((id, time)),
                _ => {}
            }
        }
    }

    /// An entry of which something has ended by `now`.
    pub(super) fn any_due(&mut self, now: Millis) -> Option<(SlotId, Millis)> {
        loop {
            let group = self.bounds().position(|bound| bound <= now)?;
            let earliest = self.tighten_group(group).filter(|(_, time)| *time <= now);
            if earliest.is_some() {
                return earliest;
            }
        }
    }

    /// Nothing of any ends before this; 0 = nothing ever ends.
    pub(super) fn bound(&self) -> Millis {
        match self.bounds().min() {
            None | Some(Millis::MAX) => 0,
            Some(bound) => bound,
        }
    }

    /// Makes the bound of the group of this slot as exact as it can be: what it was for is gone.
    /// Those of other groups are left alone, since each would be looked for all over the memory.
    pub(super) fn tighten(&mut self, id: SlotId) {
        if id < self.len {
            self.tighten_group(id as usize / GROUP);
        }
    }

    /// The slot of a group that ends first, which its bound is made to say.
    fn tighten_group(&mut self, group: usize) -> Option<(SlotId, Millis)> {
        let first = group * GROUP;
        let chunk = self.chunk_mut(first as SlotId);
        // Time and place in one number, and the moment before instead of the end: what never ends
        // (0) is then the last.
        let slots = chunk.slots[first % CHUNK..][..GROUP].iter().enumerate();
        let least = slots
            .map(|(at, slot)| slot.time().wrapping_sub(1) << TAG_BITS | at as u64)
            .fold(u64::MAX, u64::min);
        let earliest = match least >> TAG_BITS {
            FAR => None,
            before => Some(((first + least as usize % GROUP) as SlotId, before + 1)),
        };
        chunk.bounds[first % CHUNK / GROUP] = earliest.map_or(Millis::MAX, |(_, time)| time);
        earliest
    }

    fn bounds(&self) -> impl Iterator<Item = Millis> {
        self.chunks.iter().flatten().flat_map(|chunk| chunk.bounds)
    }

    #[inline]
    fn slot(&self, id: SlotId) -> &Slot {
        &self.chunk(id).slots[id as usize % CHUNK]
    }

    #[inline]
    fn slot_mut(&mut self, id: SlotId) -> &mut Slot {
        &mut self.chunk_mut(id).slots[id as usize % CHUNK]
    }

    #[inline]
    fn chunk(&self, id: SlotId) -> &Chunk {
        self.chunks[id as usize / CHUNK].as_ref().expect(TAKEN)
    }

    #[inline]
    fn chunk_mut(&mut self, id: SlotId) -> &mut Chunk {
        self.chunks[id as usize / CHUNK].as_mut().expect(TAKEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_taken_given_back_and_taken_again() {
        let mut slots = Slots::new();
        let ids: Vec<SlotId> = (0..600).map(|place| slots.take(7, place)).collect();
        assert_eq!(slots.heap_bytes(), 3 * size_of::<Chunk>());
        ids[100..300].iter().for_each(|id| slots.give_back(*id));
        assert_eq!((slots.len(), slots.iter().count()), (600, 400));
        assert_eq!(
            slots.between(90..310),
            [(90..100), (300..310)]
                .map(|places| places.map(|place| (place, place as SlotId)))
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
        );
        assert!(slots.holds(99) && !slots.holds(100) && slots.holds(599) && !slots.holds(600));
        let again: Vec<SlotId> = (0..200).map(|place| slots.take(8, 1000 + place)).collect();
        assert!(again.iter().all(|id| ids[100..300].contains(id)));
        assert_eq!((slots.len(), slots.iter().count()), (600, 600));
        assert_eq!(slots.between(1005..1300).len(), 195, "those places, and no others");
        for (id, place) in again.iter().zip(1000..) {
            assert_eq!((slots.place(*id), slots.tag(*id), slots.time(*id)), (place, 8, 0));
        }
    }

    #[test]
    fn what_ends_first_is_found_as_in_a_plain_list() {
        let (mut slots, mut rng) = (Slots::new(), fastrand::Rng::with_seed(1));
        let ids: Vec<SlotId> = (0..1_000).map(|place| slots.take(1, place)).collect();
        let mut plain = vec![0; 1_000];
        for _ in 0..20_000 {
            let at = rng.usize(..1_000);
            let time = [0, FAR, rng.u64(1..5_000)][rng.usize(..3)];
            slots.set_time(ids[at], time);
            plain[at] = time;
            slots.tighten(ids[rng.usize(..1_000)]);
            let first = plain.iter().copied().filter(|time| *time != 0).min();
            if rng.u32(..20) == 0 {
                assert_eq!(slots.earliest().map(|(_, time)| time), first);
            }
            assert!(first.is_none_or(|first| slots.bound() <= first));
            let due = slots.any_due(10).map(|(id, time)| (plain[id as usize] == time, time <= 10));
            let is_any_due = first.is_some_and(|first| first <= 10);
            assert_eq!(due, is_any_due.then_some((true, true)));
        }
    }
}
