//! The hash table of everything: grows by splitting one small segment at a time, never as a whole.
//!
//! Extendible hashing: the top bits of a key's hash choose, by way of a directory, one of many
//! small segments. A full segment splits in two, two sparse neighbours merge, and nobody ever
//! waits for a table of millions to be moved. Segments in the directory's order are in the order
//! of the hashes, so a scan whose cursor is a position in that order loses nothing to splits and
//! merges between its calls.

use std::fmt;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

/// What is found by a key of its own.
pub trait Keyed {
    /// The key.
    fn key(&self) -> &[u8];
}

/// Entries by key.
pub struct Table<T> {
    segments: Vec<Segment<T>>,
    /// By the top `bits` bits of a hash: the segment. Empty while there is at most one.
    directory: Vec<u32>,
    bits: u32,
    len: usize,
    /// Bytes of the segments' own allocations.
    allocated: usize,
    state: RandomState,
}

struct Segment<T> {
    entries: HashTable<T>,
    /// Its entries' hashes begin with these `depth` bits, here at the top.
    prefix: u64,
    depth: u32,
}

/// Entries at which a segment splits: what 512 buckets take.
const FULL: usize = 448;

/// Entries under which a segment looks for a neighbour to merge with.
const SPARSE: usize = FULL / 8;

/// Bits of a hash that make a scan's cursor: few enough for clients that count in doubles.
const CURSOR_BITS: u32 = 48;

impl<T: Keyed> Table<T> {
    /// A table without entries or allocations.
    pub fn new() -> Self {
        Table {
            segments: Vec::new(),
            directory: Vec::new(),
            bits: 0,
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
            + self.directory.capacity() * size_of::<u32>()
    }

    /// The hash of a key in this table.
    pub fn hash_of(&self, key: &[u8]) -> u64 {
        self.state.hash_one(key)
    }

    /// The entry of a key.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<&T> {
        let hash = self.hash_of(key);
        self.segments.get(self.segment_of(hash))?.entries.find(spread(hash), |e| e.key() == key)
    }

    /// The entry of a key, to change all but the key.
    #[inline]
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut T> {
        let hash = self.hash_of(key);
        let segment = self.segment_of(hash);
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
        let segment = self.segment_of(hash);
        let bucket = self.segments.get(segment)?.entries.find_bucket_index(spread(hash), is)?;
        Some(Occupied { table: self, hash, segment, bucket })
    }

    /// The place of a key, whether it has an entry or not.
    #[inline]
    pub fn entry<'a>(&'a mut self, key: &[u8]) -> Entry<'a, T> {
        let hash = self.hash_of(key);
        let segment = self.segment_of(hash);
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
            let index = self.segment_of(position << (64 - CURSOR_BITS));
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
            position = segment.end();
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

    #[inline]
    fn segment_of(&self, hash: u64) -> usize {
        if self.bits == 0 {
            0
        } else {
            self.directory[(hash >> (64 - self.bits)) as usize] as usize
        }
    }

    /// Puts an entry that is not there into its segment; splits that first if it is full.
    fn insert_new(&mut self, hash: u64, entry: T) -> (usize, usize) {
        if self.segments.is_empty() {
            self.segments.push(Segment { entries: HashTable::new(), prefix: 0, depth: 0 });
        }
        let mut segment = self.segment_of(hash);
        while self.segments[segment].entries.len() >= FULL
            && self.segments[segment].depth < CURSOR_BITS
        {
            self.split(segment);
            segment = self.segment_of(hash);
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
        if self.segments[index].depth == self.bits {
            // Every place of the directory becomes two; at first there is none but the only one.
            let doubled = |place: &u32| [*place, *place];
            self.directory = match self.bits {
                0 => vec![0, 0],
                _ => self.directory.iter().flat_map(doubled).collect(),
            };
            self.bits += 1;
        }
        let Segment { entries, prefix, depth } = &mut self.segments[index];
        *depth += 1;
        let bit = 1 << (64 - *depth);
        let (mut low, mut high) = (HashTable::with_capacity(FULL), HashTable::with_capacity(FULL));
        self.allocated -= entries.allocation_size();
        let state = &self.state;
        let rehash = |entry: &T| spread(state.hash_one(entry.key()));
        for entry in std::mem::take(entries) {
            let hash = state.hash_one(entry.key());
            let half = if hash & bit == 0 { &mut low } else { &mut high };
            half.insert_unique(spread(hash), entry, rehash);
        }
        self.allocated += low.allocation_size() + high.allocation_size();
        *entries = low;
        let twin = Segment { entries: high, prefix: *prefix | bit, depth: *depth };
        self.segments.push(twin);
        self.enter(self.segments.len() - 1);
    }

    /// Writes a segment into all its places of the directory.
    fn enter(&mut self, index: usize) {
        if self.bits == 0 {
            return;
        }
        let Segment { prefix, depth, .. } = &self.segments[index];
        let first = (prefix >> (64 - self.bits)) as usize;
        let places = 1usize << (self.bits - depth);
        self.directory[first..first + places].fill(index as u32);
    }

    /// After a removal: gives memory back if the segment has become sparse.
    fn tidy(&mut self, index: usize) {
        let Segment { entries, prefix, depth } = &self.segments[index];
        if entries.len() > SPARSE {
            return;
        }
        if *depth == 0 {
            self.shrink_only();
            return;
        }
        let twin = self.segment_of(prefix ^ (1 << (64 - depth)));
        let other = &self.segments[twin];
        if other.depth != *depth || entries.len() + other.entries.len() > FULL / 2 {
            return;
        }
        self.merge(index, twin);
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
        let Segment { entries, prefix, depth } = &mut segments[keep];
        let before = entries.allocation_size();
        for entry in moved {
            let hash = spread(state.hash_one(entry.key()));
            entries.insert_unique(hash, entry, |entry| spread(state.hash_one(entry.key())));
        }
        *allocated = *allocated + entries.allocation_size() - before;
        *prefix &= !(1 << (64 - *depth));
        *depth -= 1;
        self.enter(keep);
        self.segments.swap_remove(gone);
        if gone < self.segments.len() {
            self.enter(gone);
        }
        self.halve_directory();
    }

    /// Halves the directory as long as no segment needs all its bits. Looked at only when there
    /// are far fewer segments than places, so that it costs nothing in the long run.
    fn halve_directory(&mut self) {
        while self.bits > 0
            && self.segments.len() * 4 <= self.directory.len().max(4)
            && self.segments.iter().all(|segment| segment.depth < self.bits)
        {
            self.bits -= 1;
            self.directory = match self.bits {
                0 => Vec::new(),
                _ => self.directory.iter().step_by(2).copied().collect(),
            };
        }
    }
}

impl<T> Segment<T> {
    /// The scan position behind its last hash.
    fn end(&self) -> u64 {
        let start = self.prefix >> (64 - CURSOR_BITS);
        start + (1 << (CURSOR_BITS - self.depth))
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

/// All entries of a segment share their hashes' top bits, which are those that a segment would
/// tell its entries apart by; the middle bits take their place.
#[inline]
fn spread(hash: u64) -> u64 {
    hash.rotate_left(32)
}

fn wrap(position: u64) -> u64 {
    if position >> CURSOR_BITS == 0 { position } else { 0 }
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
