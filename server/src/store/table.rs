//! The hash table of big values: grows by splitting one small segment at a time, never as a whole.
//!
//! Extendible hashing (see `directory.rs`). Segments in the directory's order are in the order of
//! the hashes, so a scan whose cursor is a position in that order loses nothing to splits and
//! merges between its calls.

use std::fmt;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::directory::{CURSOR_BITS, Directory, Span, spread, wrap};

/// What is found by a key of its own.
pub trait Keyed {
    /// The key.
    fn key(&self) -> &[u8];
}

/// Entries by key.
pub struct Table<T> {
    segments: Vec<Segment<T>>,
    directory: Directory,
    len: usize,
    /// Bytes of the segments' own allocations.
    allocated: usize,
    state: RandomState,
}

struct Segment<T> {
    entries: HashTable<T>,
    span: Span,
}

/// Entries at which a segment splits: what 512 buckets take.
const FULL: usize = 448;

/// Entries under which a segment looks for a neighbour to merge with.
const SPARSE: usize = FULL / 8;

impl<T: Keyed> Table<T> {
    /// A table without entries or allocations.
    pub fn new() -> Self {
        Table {
            segments: Vec::new(),
            directory: Directory::default(),
            len: 0,
            allocated: 0,
            state: RandomState::default(),
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the table's own allocations, without what entries hold.
    pub fn heap_bytes(&self) -> usize {
        self.allocated
            + self.segments.capacity() * size_of::<Segment<T>>()
            + self.directory.heap_bytes()
    }

    /// The hash of a key in this table.
    pub fn hash_of(&self, key: &[u8]) -> u64 {
        self.state.hash_one(key)
    }

    /// The entry of a key.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<&T> {
        let hash = self.hash_of(key);
        self.segments
            .get(self.directory.segment_of(hash))?
            .entries
            .find(spread(hash), |e| e.key() == key)
    }

    /// The entry of a key, to change all but the key.
    #[inline]
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut T> {
        let hash = self.hash_of(key);
        let segment = self.directory.segment_of(hash);
        let entries = &mut self.segments.get_mut(segment)?.entries;
        entries.find_mut(spread(hash), |entry| entry.key() == key)
    }

    /// Whether a key has an entry.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    /// The entry of a key, to change or remove it.
    #[inline]
    pub fn find(&mut self, key: &[u8]) -> Option<Occupied<'_, T>> {
        let hash = self.hash_of(key);
        self.find_by_hash(hash, |entry| entry.key() == key)
    }

    /// The first entry with this hash that `is` accepts, to change or remove it.
    #[inline]
    pub fn find_by_hash(
        &mut self,
        hash: u64,
        is: impl FnMut(&T) -> bool,
    ) -> Option<Occupied<'_, T>> {
        let segment = self.directory.segment_of(hash);
        let bucket = self.segments.get(segment)?.entries.find_bucket_index(spread(hash), is)?;
        Some(Occupied { table: self, hash, segment, bucket })
    }

    /// The place of a key, whether it has an entry or not.
    #[inline]
    pub fn entry<'a>(&'a mut self, key: &[u8]) -> Entry<'a, T> {
        let hash = self.hash_of(key);
        let segment = self.directory.segment_of(hash);
        let found = self.segments.get(segment).and_then(|segment| {
            segment.entries.find_bucket_index(spread(hash), |entry| entry.key() == key)
        });
        match found {
            Some(bucket) => Entry::Occupied(Occupied { table: self, hash, segment, bucket }),
            None => Entry::Vacant(Vacant { table: self, hash }),
        }
    }

    /// Puts an entry in; returns the one of the same key that it replaces.
    pub fn insert(&mut self, entry: T) -> Option<T> {
        match self.entry(entry.key()) {
            Entry::Occupied(mut found) => Some(std::mem::replace(found.get_mut(), entry)),
            Entry::Vacant(vacant) => {
                vacant.insert_entry(entry);
                None
            }
        }
    }

    /// Takes the entry of a key out.
    pub fn remove(&mut self, key: &[u8]) -> Option<T> {
        Some(self.find(key)?.remove())
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.segments.iter().flat_map(|segment| segment.entries.iter())
    }

    /// Visits about `count` entries from `cursor` on; returns where to go on, 0 at the end. An
    /// entry that is there from the call with cursor 0 to the one that returns 0 is visited.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(&T)) -> u64 {
        let (mut position, mut wanted) = (cursor, count.max(1));
        while position < 1 << CURSOR_BITS {
            let index = self.directory.segment_of(position << (64 - CURSOR_BITS));
            let Some(segment) = self.segments.get(index) else { return 0 };
            let mut found: Vec<(u64, &T)> = segment
                .entries
                .iter()
                .map(|entry| (self.hash_of(entry.key()) >> (64 - CURSOR_BITS), entry))
                .filter(|(at, _)| *at >= position)
                .collect();
            if found.len() > wanted {
                found.sort_unstable_by_key(|(at, _)| *at);
                let last = found[wanted - 1].0;
                for (_, entry) in found.iter().take_while(|(at, _)| *at <= last) {
                    visit(entry);
                }
                return wrap(last + 1);
            }
            found.iter().for_each(|(_, entry)| visit(entry));
            position = segment.span.end();
            wanted -= found.len();
            if wanted == 0 {
                break;
            }
        }
        wrap(position)
    }

    /// Any entry, each exactly as likely as the others.
    pub fn random(&self, rng: &mut fastrand::Rng) -> Option<&T> {
        if self.len == 0 {
            return None;
        }
        // Every pair of segment and bucket number is as likely; a pair without an entry is drawn
        // again.
        let buckets = self.segments.iter().map(|segment| segment.entries.num_buckets()).max()?;
        loop {
            let segment = &self.segments[rng.usize(..self.segments.len())];
            let bucket = rng.usize(..buckets);
            if bucket < segment.entries.num_buckets()
                && let Some(entry) = segment.entries.get_bucket(bucket)
            {
                return Some(entry);
            }
        }
    }

    /// Visits up to `count` entries that lie together at a random place.
    pub fn sample(&self, rng: &mut fastrand::Rng, count: usize, visit: &mut dyn FnMut(&T)) {
        if self.len == 0 {
            return;
        }
        let mut missing = count.min(self.len);
        let first = rng.usize(..self.segments.len());
        for offset in 0..self.segments.len() {
            let segment = &self.segments[(first + offset) % self.segments.len()].entries;
            let buckets = segment.num_buckets();
            let start = rng.usize(..buckets.max(1));
            for step in 0..buckets {
                if missing == 0 {
                    return;
                }
                if let Some(entry) = segment.get_bucket((start + step) % buckets) {
                    visit(entry);
                    missing -= 1;
                }
            }
        }
    }

    /// Puts an entry that is not there into its segment; splits that first if it is full.
    fn insert_new(&mut self, hash: u64, entry: T) -> (usize, usize) {
        if self.segments.is_empty() {
            self.segments.push(Segment { entries: HashTable::new(), span: Span::WHOLE });
        }
        let mut segment = self.directory.segment_of(hash);
        while self.segments[segment].entries.len() >= FULL
            && self.segments[segment].span.depth < CURSOR_BITS
        {
            self.split(segment);
            segment = self.directory.segment_of(hash);
        }
        let Table { segments, state, allocated, .. } = self;
        let entries = &mut segments[segment].entries;
        let before = entries.allocation_size();
        let rehash = |entry: &T| spread(state.hash_one(entry.key()));
        let placed = entries.insert_unique(spread(hash), entry, rehash);
        let bucket = placed.bucket_index();
        *allocated = *allocated + entries.allocation_size() - before;
        self.len += 1;
        (segment, bucket)
    }

    fn split(&mut self, index: usize) {
        let Segment { entries, span } = &mut self.segments[index];
        let (whole, (lower, upper)) = (*span, span.halves());
        let (mut low, mut high) = (HashTable::with_capacity(FULL), HashTable::with_capacity(FULL));
        self.allocated -= entries.allocation_size();
        let state = &self.state;
        let rehash = |entry: &T| spread(state.hash_one(entry.key()));
        for entry in std::mem::take(entries) {
            let hash = state.hash_one(entry.key());
            let half = if whole.is_upper(hash) { &mut high } else { &mut low };
            half.insert_unique(spread(hash), entry, rehash);
        }
        self.allocated += low.allocation_size() + high.allocation_size();
        self.segments[index] = Segment { entries: low, span: lower };
        self.segments.push(Segment { entries: high, span: upper });
        self.directory.enter(lower, index);
        self.directory.enter(upper, self.segments.len() - 1);
    }

    /// After a removal: gives memory back if the segment has become sparse.
    fn tidy(&mut self, index: usize) {
        let Segment { entries, span } = &self.segments[index];
        if entries.len() > SPARSE {
            return;
        }
        let Some(twin) = span.twin() else {
            self.shrink_only();
            return;
        };
        let twin = self.directory.segment_of(twin.prefix);
        let other = &self.segments[twin];
        if other.span.depth == span.depth && entries.len() + other.entries.len() <= FULL / 2 {
            self.merge(index, twin);
        }
    }

    /// The only segment gives back room when it is nearly empty.
    fn shrink_only(&mut self) {
        let Table { segments, state, allocated, len, .. } = self;
        let entries = &mut segments[0].entries;
        if entries.capacity() > 28 && entries.len() * 8 < entries.capacity() || *len == 0 {
            let before = entries.allocation_size();
            entries.shrink_to(*len * 2, |entry| spread(state.hash_one(entry.key())));
            *allocated = *allocated + entries.allocation_size() - before;
        }
    }

    fn merge(&mut self, a: usize, b: usize) {
        let (keep, gone) = (a.min(b), a.max(b));
        let moved = std::mem::take(&mut self.segments[gone].entries);
        self.allocated -= moved.allocation_size();
        let Table { segments, state, allocated, .. } = self;
        let Segment { entries, span } = &mut segments[keep];
        let before = entries.allocation_size();
        for entry in moved {
            let hash = spread(state.hash_one(entry.key()));
            entries.insert_unique(hash, entry, |entry| spread(state.hash_one(entry.key())));
        }
        *allocated = *allocated + entries.allocation_size() - before;
        *span = span.parent();
        self.directory.enter(*span, keep);
        self.segments.swap_remove(gone);
        if let Some(moved) = self.segments.get(gone) {
            self.directory.enter(moved.span, gone);
        }
        self.directory.shrink(self.segments.iter().map(|segment| segment.span));
    }
}

impl<T: Keyed> Default for Table<T> {
    fn default() -> Self {
        Table::new()
    }
}

impl<T: Keyed + Clone> Clone for Table<T> {
    fn clone(&self) -> Self {
        let mut copy = Table::new();
        for entry in self.iter() {
            copy.insert(entry.clone());
        }
        copy
    }
}

impl<T: fmt::Debug> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.segments.iter().flat_map(|s| s.entries.iter())).finish()
    }
}

/// The place of a key.
#[derive(Debug)]
pub enum Entry<'a, T> {
    /// It has an entry.
    Occupied(Occupied<'a, T>),
    /// It has none.
    Vacant(Vacant<'a, T>),
}

/// An entry where it lies.
#[derive(Debug)]
pub struct Occupied<'a, T> {
    table: &'a mut Table<T>,
    hash: u64,
    segment: usize,
    bucket: usize,
}

/// Where an entry could be.
#[derive(Debug)]
pub struct Vacant<'a, T> {
    table: &'a mut Table<T>,
    hash: u64,
}

impl<'a, T: Keyed> Occupied<'a, T> {
    /// The hash of its key.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The entry.
    #[inline]
    pub fn get(&self) -> &T {
        let entries = &self.table.segments[self.segment].entries;
        entries.get_bucket(self.bucket).expect("an occupied place holds an entry")
    }

    /// The entry, to change all but its key.
    #[inline]
    pub fn get_mut(&mut self) -> &mut T {
        let entries = &mut self.table.segments[self.segment].entries;
        entries.get_bucket_mut(self.bucket).expect("an occupied place holds an entry")
    }

    /// The entry for as long as the table is borrowed.
    pub fn into_mut(self) -> &'a mut T {
        let entries = &mut self.table.segments[self.segment].entries;
        entries.get_bucket_mut(self.bucket).expect("an occupied place holds an entry")
    }

    /// Takes the entry out.
    pub fn remove(self) -> T {
        let entries = &mut self.table.segments[self.segment].entries;
        let found = entries.get_bucket_entry(self.bucket).ok();
        let (entry, _) = found.expect("an occupied place holds an entry").remove();
        self.table.len -= 1;
        self.table.tidy(self.segment);
        entry
    }
}

impl<'a, T: Keyed> Vacant<'a, T> {
    /// Puts an entry of this very key in.
    pub fn insert_entry(self, entry: T) -> Occupied<'a, T> {
        let Vacant { table, hash } = self;
        let (segment, bucket) = table.insert_new(hash, entry);
        Occupied { table, hash, segment, bucket }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    impl Keyed for Vec<u8> {
        fn key(&self) -> &[u8] {
            self
        }
    }

    fn key(number: usize) -> Vec<u8> {
        format!("key:{number}").into_bytes()
    }

    fn filled(count: usize) -> Table<Vec<u8>> {
        let mut table = Table::new();
        for number in 0..count {
            assert!(table.insert(key(number)).is_none());
        }
        table
    }

    #[test]
    fn what_is_put_in_is_found_until_it_is_taken_out() {
        let mut table = filled(20_000);
        assert_eq!(table.len(), 20_000);
        assert!((0..20_000).all(|number| table.contains(&key(number))));
        for number in 0..19_990 {
            assert_eq!(table.remove(&key(number)), Some(key(number)));
        }
        assert!((19_990..20_000).all(|number| table.contains(&key(number))));
        assert_eq!(table.iter().count(), 10);
        assert!(table.segments.len() < 60, "sparse segments merge: {}", table.segments.len());
        assert!(table.heap_bytes() < 400_000, "and give memory back: {}", table.heap_bytes());
    }

    #[test]
    fn a_scan_loses_nothing_that_stays() {
        let mut table = filled(3_000);
        let (mut seen, mut cursor, mut next) = (BTreeSet::new(), 0, 3_000);
        loop {
            cursor = table.scan(cursor, 10, &mut |entry| {
                seen.insert(entry.clone());
            });
            if cursor == 0 {
                break;
            }
            // Much comes and goes meanwhile, so that segments split and merge.
            for _ in 0..200 {
                table.insert(key(next));
                next += 1;
            }
            for gone in next - 250..next - 50 {
                if gone >= 3_000 {
                    table.remove(&key(gone));
                }
            }
        }
        assert!((0..3_000).all(|number| seen.contains(&key(number))));
    }

    #[test]
    fn a_scan_visits_about_as_many_as_asked_for() {
        let table = filled(1_000);
        let (mut cursor, mut calls, mut visited) = (0, 0, 0);
        loop {
            let mut now = 0;
            cursor = table.scan(cursor, 10, &mut |_| now += 1);
            assert!(now <= 12, "{now} at once");
            (calls, visited) = (calls + 1, visited + now);
            if cursor == 0 {
                break;
            }
        }
        assert_eq!((calls >= 99, visited), (true, 1_000));
    }

    #[test]
    fn random_entries_are_equally_likely() {
        let table = filled(1_000);
        let mut rng = fastrand::Rng::with_seed(7);
        let mut counts = std::collections::HashMap::new();
        for _ in 0..100_000 {
            let entry = table.random(&mut rng).expect("there are entries");
            *counts.entry(entry.clone()).or_insert(0i64) += 1;
        }
        let chi: f64 = counts.values().map(|n| ((n - 100) * (n - 100)) as f64 / 100.0).sum();
        assert!(counts.len() == 1_000 && chi < 1_160.0, "chi-square {chi}");
    }
}
