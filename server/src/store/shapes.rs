//! Shapes: an application's sessions have the same field names, so each set of names is kept once
//! and its sessions hold only the values.
//!
//! Names are kept as small hashes keep them (see `inline.rs`): their count, their lengths, their
//! bytes. A set of names becomes a shape when it is met a second time: where every session has
//! names of its own, none does.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

/// How many shapes there are at most; sessions of further ones keep their names themselves.
const MOST_SHAPES: usize = 4096;

/// Bytes of a shape's names at most.
const MOST_BYTES: usize = 1024;

/// Sets of names met lately, by their hashes.
const REMEMBERED: usize = 1024;

/// How many shapes are asked whether they are still in use when one more is wanted.
const LOOKED_AT: usize = 64;

/// The number of a shape.
pub(super) type ShapeId = u16;

/// All shapes of a database.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    shapes: Vec<Shape>,
    index: HashTable<ShapeId>,
    /// Parts of the hashes of sets of names that were met once; empty until the first.
    seen: Vec<u32>,
    /// Where the search for a shape out of use goes on.
    hand: usize,
    bytes: usize,
    state: RandomState,
}

#[derive(Debug)]
struct Shape {
    names: Box<[u8]>,
    hash: u64,
    /// Hashes that have it.
    uses: u32,
}

impl Shapes {
    /// The names of a shape, which is in use.
    #[inline]
    pub(super) fn names(&self, id: ShapeId) -> &[u8] {
        &self.shapes[id as usize].names
    }

    /// The shape of these names for one more hash; None: the hash is to keep them itself.
    pub(super) fn adopt(&mut self, names: &[u8]) -> Option<ShapeId> {
        let hash = self.state.hash_one(names);
        let known = self.index.find(hash, |id| *self.shapes[*id as usize].names == *names);
        let id = match known {
            Some(id) => *id,
            None => self.admit(names, hash)?,
        };
        self.shapes[id as usize].uses += 1;
        Some(id)
    }

    /// Whether more than one hash has this shape.
    pub(super) fn is_shared(&self, id: ShapeId) -> bool {
        self.shapes[id as usize].uses > 1
    }

    /// A hash no longer has this shape.
    pub(super) fn release(&mut self, id: ShapeId) {
        self.shapes[id as usize].uses -= 1;
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes
            + self.shapes.capacity() * size_of::<Shape>()
            + self.index.allocation_size()
            + self.seen.capacity() * size_of::<u32>()
    }

    fn admit(&mut self, names: &[u8], hash: u64) -> Option<ShapeId> {
        if names.len() > MOST_BYTES || !self.is_met_again(hash) {
            return None;
        }
        let shape = Shape { names: names.into(), hash, uses: 0 };
        let id = if self.shapes.len() < MOST_SHAPES {
            self.shapes.push(shape);
            (self.shapes.len() - 1) as ShapeId
        } else {
            let id = self.out_of_use()?;
            let old = std::mem::replace(&mut self.shapes[id as usize], shape);
            self.bytes -= old.names.len();
            if let Ok(found) = self.index.find_entry(old.hash, |other| *other == id) {
                found.remove();
            }
            id
        };
        self.bytes += names.len();
        let shapes = &self.shapes;
        self.index.insert_unique(hash, id, |id| shapes[*id as usize].hash);
        Some(id)
    }

    fn is_met_again(&mut self, hash: u64) -> bool {
        if self.seen.is_empty() {
            self.seen = vec![0; REMEMBERED];
        }
        // The low bits choose the place, the high ones are remembered; 0 stands for nothing.
        let (place, mark) = (hash as usize % REMEMBERED, (hash >> 32) as u32 | 1);
        std::mem::replace(&mut self.seen[place], mark) == mark
    }

    fn out_of_use(&mut self) -> Option<ShapeId> {
        let found = (0..LOOKED_AT)
            .map(|step| (self.hand + step) % MOST_SHAPES)
            .find(|at| self.shapes[*at].uses == 0);
        self.hand = (self.hand + LOOKED_AT) % MOST_SHAPES;
        found.map(|at| at as ShapeId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_a_shape_when_they_come_again() {
        let mut shapes = Shapes::default();
        assert_eq!(shapes.adopt(b"ab"), None);
        let id = shapes.adopt(b"ab");
        assert_eq!(id, Some(0));
        assert_eq!((shapes.adopt(b"ab"), shapes.names(0)), (id, &b"ab"[..]));
    }

    #[test]
    fn names_of_their_own_fill_nothing() {
        let mut shapes = Shapes::default();
        for number in 0..100_000u32 {
            assert_eq!(shapes.adopt(&number.to_le_bytes()), None);
        }
        assert!(shapes.heap_bytes() < 8192);
    }

    #[test]
    fn when_all_are_taken_one_out_of_use_gives_way() {
        let mut shapes = Shapes::default();
        let twice = |shapes: &mut Shapes, number: u32| {
            shapes.adopt(&number.to_le_bytes()).or_else(|| shapes.adopt(&number.to_le_bytes()))
        };
        (0..MOST_SHAPES as u32).for_each(|number| assert!(twice(&mut shapes, number).is_some()));
        assert_eq!(twice(&mut shapes, 70_000), None);
        shapes.release(40);
        let looks = MOST_SHAPES / LOOKED_AT;
        assert_eq!((0..looks).find_map(|_| twice(&mut shapes, 70_000)), Some(40));
        assert_eq!(shapes.adopt(&40u32.to_le_bytes()), None);
    }
}
