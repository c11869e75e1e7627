//! An ordered list of scores and members: ranks and ranges in logarithmic time and little memory.
//!
//! Members lie in chunks of some hundred, sorted by score and then by bytes. A chunk is found by
//! halving; a rank is a sum over the chunks before, which even for a million members are a few
//! thousand numbers that lie side by side.

use std::cmp::Ordering;
use std::ops::Range;

/// An end of a range of scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreBound {
    /// The score.
    pub score: f64,
    /// The score itself is left out.
    pub exclusive: bool,
}

/// An end of a range of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// Before every member (`-`).
    First,
    /// Behind every member (`+`).
    Last,
    /// `[member`
    Inclusive(&'a [u8]),
    /// `(member`
    Exclusive(&'a [u8]),
}

/// An element.
pub(super) type Scored = (f64, Box<[u8]>);

/// Elements in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Ordered {
    chunks: Vec<Vec<Scored>>,
    len: usize,
}

/// Elements at which a chunk splits.
const CHUNK: usize = 256;

pub(super) fn compare(a: (f64, &[u8]), b: (f64, &[u8])) -> Ordering {
    // NaN is never stored; zeros of both signs are equal.
    a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal).then_with(|| a.1.cmp(b.1))
}

impl Ordered {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, score: f64, member: Box<[u8]>) {
        self.len += 1;
        let Some(last) = self.chunks.len().checked_sub(1) else {
            self.chunks.push(vec![(score, member)]);
            return;
        };
        let (chunk, at) = self.place(score, &member);
        let chunk = chunk.min(last);
        let elements = &mut self.chunks[chunk];
        elements.insert(at.min(elements.len()), (score, member));
        if elements.len() > CHUNK {
            let upper = elements.split_off(CHUNK / 2);
            self.chunks.insert(chunk + 1, upper);
        }
    }

    pub(super) fn remove(&mut self, score: f64, member: &[u8]) -> bool {
        let (chunk, at) = self.place(score, member);
        let Some(elements) = self.chunks.get_mut(chunk) else { return false };
        if elements.get(at).is_none_or(|found| *found.1 != *member) {
            return false;
        }
        elements.remove(at);
        self.len -= 1;
        self.tidy(chunk);
        true
    }

    /// How many elements stand before this one.
    pub(super) fn rank(&self, score: f64, member: &[u8]) -> usize {
        let (chunk, at) = self.place(score, member);
        self.before(chunk) + at
    }

    /// How many elements `is_before` accepts; it accepts a first part of all.
    pub(super) fn count_while(&self, is_before: impl Fn(f64, &[u8]) -> bool) -> usize {
        let chunk = self.chunks.partition_point(|chunk| {
            chunk.last().is_some_and(|(score, member)| is_before(*score, member))
        });
        let inside = self
            .chunks
            .get(chunk)
            .map_or(0, |chunk| chunk.partition_point(|(score, member)| is_before(*score, member)));
        self.before(chunk) + inside
    }

    /// Elements of these ranks in order.
    pub(super) fn range(
        &self,
        ranks: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = (&[u8], f64)> + '_ {
        let start = self.position(ranks.start.min(self.len));
        let end = self.position(ranks.end.clamp(ranks.start.min(self.len), self.len));
        let last = (end.0 + 1).min(self.chunks.len());
        let chunks = self.chunks.get(start.0..last).unwrap_or_default();
        chunks
            .iter()
            .enumerate()
            .flat_map(move |(index, chunk)| {
                let from = if index == 0 { start.1 } else { 0 };
                let to = if start.0 + index == end.0 { end.1 } else { chunk.len() };
                chunk[from..to.max(from)].iter()
            })
            .map(|(score, member)| (&**member, *score))
    }

    /// Bytes of the chunks, without the members'.
    pub(super) fn heap_bytes(&self) -> usize {
        // A chunk is between half full and full; counting each would cost more than it tells.
        self.len * size_of::<Scored>() * 4 / 3 + self.chunks.capacity() * size_of::<Vec<Scored>>()
    }

    /// The chunk and place at which an element is, or would be put.
    fn place(&self, score: f64, member: &[u8]) -> (usize, usize) {
        let is_before =
            |element: &Scored| compare((element.0, &element.1), (score, member)) == Ordering::Less;
        let chunk = self.chunks.partition_point(|chunk| chunk.last().is_some_and(is_before));
        match self.chunks.get(chunk) {
            Some(elements) => (chunk, elements.partition_point(is_before)),
            // Behind everything: at the end of the last chunk.
            None if chunk > 0 => (chunk - 1, self.chunks[chunk - 1].len()),
            None => (0, 0),
        }
    }

    fn before(&self, chunk: usize) -> usize {
        self.chunks[..chunk.min(self.chunks.len())].iter().map(Vec::len).sum()
    }

    /// The chunk and place of the element of this rank.
    fn position(&self, mut rank: usize) -> (usize, usize) {
        for (index, chunk) in self.chunks.iter().enumerate() {
            if rank < chunk.len() {
                return (index, rank);
            }
            rank -= chunk.len();
        }
        (self.chunks.len(), 0)
    }

    fn tidy(&mut self, chunk: usize) {
        let len = self.chunks[chunk].len();
        if len == 0 {
            self.chunks.remove(chunk);
        } else if len < CHUNK / 8
            && let Some(next) = self.chunks.get(chunk + 1)
            && len + next.len() <= CHUNK / 2
        {
            let mut next = self.chunks.remove(chunk + 1);
            self.chunks[chunk].append(&mut next);
        }
    }
}
