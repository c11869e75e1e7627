//! What several keys lead to is fetched from memory for all of them at once.
//!
//! The way from a key to its value is a chain of places in memory, each of which names the next.
//! Key by key, a core waits for every one of them; here each step is taken for all keys before the
//! next, so that a core waits for one while the others are on their way too.

use std::hash::BuildHasher;
use std::hint::black_box;

use super::db::Db;
use super::segment::Segment;
use super::slots::SlotId;

/// How many keys are on their way together.
const TOGETHER: usize = 32;

/// A key longer than this is not worth its hashing.
const LONGEST_KEY: usize = 256;

/// Bytes that come from memory at a time.
const LINE: usize = 64;

/// Of a longer entry the rest is left where it is.
const LONGEST_ENTRY: usize = 512;

/// How far one key has come.
#[derive(Clone, Copy)]
struct Way<'d> {
    segment: &'d Segment,
    hash: u64,
    slot: SlotId,
}

impl Db {
    /// Has at hand what belongs to these keys. Nothing can be told from it, and nothing changes.
    pub fn fetch(&self, keys: &[&[u8]]) {
        for keys in keys.chunks(TOGETHER) {
            self.fetch_together(keys);
        }
    }

    fn fetch_together(&self, keys: &[&[u8]]) {
        let mut ways: [Option<Way<'_>>; TOGETHER] = [None; TOGETHER];
        for (way, key) in ways.iter_mut().zip(keys).filter(|(_, key)| key.len() <= LONGEST_KEY) {
            let hash = self.state.hash_one(*key);
            let segment = self.segments.get(self.directory.segment_of(hash));
            *way = segment.map(|segment| Way { segment, hash, slot: 0 });
        }
        let ways = &mut ways[..keys.len()];
        for way in ways.iter_mut() {
            *way = way.and_then(|way| Some(Way { slot: way.segment.likely(way.hash)?, ..way }));
        }
        // The processor sees that nothing of a step depends on its other keys, and the compiler that
        // all of it is wanted.
        let mut wanted = 0;
        for way in ways.iter().flatten() {
            wanted ^= way.segment.time(way.slot) ^ way.segment.slots.bound_of(way.slot);
        }
        for way in ways.iter().flatten() {
            wanted ^= way.segment.entry(way.slot).len() as u64;
        }
        for way in ways.iter().flatten() {
            let entry = way.segment.entry(way.slot);
            let bytes = &entry.0[..entry.len().min(LONGEST_ENTRY)];
            wanted ^=
                bytes.iter().skip(LINE).step_by(LINE).fold(0, |all, byte| all ^ u64::from(*byte));
        }
        black_box(wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Access, Origin};
    use super::*;

    #[test]
    fn keys_of_all_kinds_can_be_fetched_and_nothing_changes() {
        let mut db = Db::default();
        let long = vec![b'k'; 1000];
        let keys: Vec<Vec<u8>> = (0..5_000).map(|n| format!("key:{n}").into_bytes()).collect();
        let access = Access::used_at(1);
        for key in keys.iter().step_by(2).chain([&long]) {
            db.put_text(None, key, &[b'v'; 3000][..key.len() * 2], Origin::Given, access);
        }
        db.put_text(None, b"big", &[b'v'; 10_000], Origin::Given, access);
        let revision = db.revision();
        let all: Vec<&[u8]> =
            keys.iter().map(Vec::as_slice).chain([&long[..], b"big", b""]).collect();
        db.fetch(&all);
        Db::default().fetch(&all);
        assert_eq!((db.revision(), db.len()), (revision, 2_502));
    }
}
