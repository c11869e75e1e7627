//! Sorted sets: members by score, and scores by member.
//!
//! A small one is one sorted array; a big one adds a table from member to score. It turns big by
//! the limits of the settings and never back.

use std::ops::Range;

use super::allocated;
use super::ordered::{LexBound, Ordered, ScoreBound};
use super::table::{Keyed, Table};

/// Up to what a sorted set is small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortedSetLimits {
    /// Members (`zset-max-listpack-entries`).
    pub entries: usize,
    /// Bytes of a member (`zset-max-listpack-value`).
    pub value: usize,
}

impl Default for SortedSetLimits {
    fn default() -> Self {
        SortedSetLimits { entries: 128, value: 64 }
    }
}

/// Members with scores, ordered by score and then by bytes.
#[derive(Debug, Clone, Default)]
pub struct SortedSet {
    ordered: Ordered,
    /// Only of a big one.
    scores: Option<Box<Table<Scored>>>,
    /// Bytes of the members, once.
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Scored {
    member: Box<[u8]>,
    score: f64,
}

impl Keyed for Scored {
    fn key(&self) -> &[u8] {
        &self.member
    }
}

impl SortedSet {
    /// A sorted set without members.
    pub fn new() -> Self {
        SortedSet::default()
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.ordered.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.scores {
            Some(scores) => scores.get(member).map(|found| found.score),
            None => self.iter().find(|(found, _)| *found == member).map(|(_, score)| score),
        }
    }

    /// Gives a member this score, which is no NaN; returns the score it had.
    pub fn insert(&mut self, member: &[u8], score: f64, limits: &SortedSetLimits) -> Option<f64> {
        let old = self.score(member);
        match old {
            Some(old) => {
                self.ordered.remove(old, member);
            }
            None => self.bytes += allocated(member.len()),
        }
        self.ordered.insert(score, member.into());
        match &mut self.scores {
            Some(scores) => {
                scores.insert(Scored { member: member.into(), score });
            }
            None if self.ordered.len() > limits.entries || member.len() > limits.value => {
                self.enlarge();
            }
            None => {}
        }
        old
    }

    /// Removes a member; returns the score it had.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let score = self.score(member)?;
        self.ordered.remove(score, member);
        if let Some(scores) = &mut self.scores {
            scores.remove(member);
        }
        self.bytes -= allocated(member.len());
        Some(score)
    }

    /// How many members stand before this one.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        Some(self.ordered.rank(self.score(member)?, member))
    }

    /// All members in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], f64)> + '_ {
        self.range(0..self.len())
    }

    /// Members of these ranks in order.
    pub fn range(&self, ranks: Range<usize>) -> impl DoubleEndedIterator<Item = (&[u8], f64)> + '_ {
        self.ordered.range(ranks)
    }

    /// The ranks of members whose score lies between the bounds.
    pub fn ranks_by_score(&self, min: ScoreBound, max: ScoreBound) -> Range<usize> {
        let start = self
            .ordered
            .count_while(|score, _| score < min.score || (min.exclusive && score == min.score));
        let end = self
            .ordered
            .count_while(|score, _| score < max.score || (!max.exclusive && score == max.score));
        start..end.max(start)
    }

    /// The ranks of members between the bounds. All scores should be equal; where they are not,
    /// there is no such order, and a small set is walked as Redis walks it: from its start, or from
    /// its end.
    pub fn ranks_by_lex(
        &self,
        min: LexBound<'_>,
        max: LexBound<'_>,
        from_end: bool,
    ) -> Range<usize> {
        let precedes = |member: &[u8]| match min {
            LexBound::First => false,
            LexBound::Last => true,
            LexBound::Inclusive(bound) => member < bound,
            LexBound::Exclusive(bound) => member <= bound,
        };
        let ends_before = |member: &[u8]| match max {
            LexBound::First => true,
            LexBound::Last => false,
            LexBound::Inclusive(bound) => member > bound,
            LexBound::Exclusive(bound) => member >= bound,
        };
        if self.scores.is_some() {
            let start = self.ordered.count_while(|_, member| precedes(member));
            let end = self.ordered.count_while(|_, member| !ends_before(member));
            return start..end.max(start);
        }
        let members: Vec<&[u8]> = self.iter().map(|(member, _)| member).collect();
        match (members.first(), members.last()) {
            (Some(first), Some(last)) if !ends_before(first) && !precedes(last) => {}
            _ => return 0..0,
        }
        if from_end {
            let after = members.iter().rev().take_while(|member| ends_before(member)).count();
            let end = members.len() - after;
            let found = members[..end].iter().rev().take_while(|member| !precedes(member)).count();
            return end - found..end;
        }
        let start = members.iter().take_while(|member| precedes(member)).count();
        let found = members[start..].iter().take_while(|member| !ends_before(member)).count();
        start..start + found
    }

    /// Whether all members have the same score, so that they are in the order of their bytes.
    pub fn has_one_score(&self) -> bool {
        let mut scores = self.iter().map(|(_, score)| score);
        scores.next() == scores.next_back().or_else(|| self.iter().next().map(|(_, score)| score))
    }

    /// Visits about `count` members from `cursor` on; returns where to go on, 0 at the end. A
    /// small sorted set is visited as a whole.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(&[u8], f64)) -> u64 {
        match &self.scores {
            Some(scores) => {
                scores.scan(cursor, count, &mut |found| visit(&found.member, found.score))
            }
            None => {
                self.iter().for_each(|(member, score)| visit(member, score));
                0
            }
        }
    }

    /// Any member, each as likely as the others.
    pub fn random(&self, rng: &mut fastrand::Rng) -> Option<(&[u8], f64)> {
        match &self.scores {
            Some(scores) => scores.random(rng).map(|found| (&*found.member, found.score)),
            None if self.is_empty() => None,
            None => {
                let rank = rng.usize(..self.len());
                self.range(rank..rank + 1).next()
            }
        }
    }

    /// `listpack` or `skiplist`.
    pub fn encoding(&self) -> &'static str {
        if self.scores.is_some() { "skiplist" } else { "listpack" }
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let table = |scores: &Table<Scored>| {
            allocated(size_of::<Table<Scored>>()) + scores.heap_bytes() + self.bytes
        };
        self.ordered.heap_bytes() + self.bytes + self.scores.as_deref().map_or(0, table)
    }

    fn enlarge(&mut self) {
        let mut scores = Box::new(Table::new());
        for (member, score) in self.iter() {
            scores.insert(Scored { member: member.into(), score });
        }
        self.scores = Some(scores);
    }
}

impl PartialEq for SortedSet {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sorted_set_behaves_like_a_sorted_vector() {
        for limits in [SortedSetLimits::default(), SortedSetLimits { entries: 8, value: 64 }] {
            let (mut set, mut model) = (SortedSet::new(), Vec::<(f64, Vec<u8>)>::new());
            let mut rng = fastrand::Rng::with_seed(5);
            for _ in 0..20_000 {
                let member = format!("m{}", rng.u32(..900)).into_bytes();
                let old = model.iter().position(|(_, found)| *found == member);
                let old = old.map(|at| model.remove(at).0);
                if rng.u32(..5) < 3 {
                    let score = f64::from(rng.i32(-20..20)) / 2.0;
                    assert_eq!(set.insert(&member, score, &limits), old);
                    let at = model.partition_point(|(s, m)| (*s, &**m) < (score, &*member));
                    model.insert(at, (score, member.clone()));
                    assert_eq!(set.rank(&member), Some(at));
                } else {
                    assert_eq!(set.remove(&member), old);
                }
                assert_eq!(set.len(), model.len());
            }
            assert!(set.iter().eq(model.iter().map(|(score, member)| (&**member, *score))));
            let bound = |score, exclusive| ScoreBound { score, exclusive };
            let ranks = set.ranks_by_score(bound(-3.0, true), bound(4.5, false));
            let expected = model.iter().filter(|(score, _)| *score > -3.0 && *score <= 4.5);
            assert!(set.range(ranks.clone()).eq(expected.map(|(s, m)| (&**m, *s))));
            let (from, to) = (ranks.start, ranks.end);
            let backwards: Vec<_> = set.range(from..to).rev().collect();
            let mut forwards: Vec<_> = set.range(from..to).collect();
            forwards.reverse();
            assert_eq!(backwards, forwards);
        }
    }

    #[test]
    fn equal_scores_are_ordered_by_bytes() {
        let (mut set, limits) = (SortedSet::new(), SortedSetLimits::default());
        for member in ["b", "a", "d", "c"] {
            set.insert(member.as_bytes(), 0.0, &limits);
        }
        let ranks = set.ranks_by_lex(LexBound::Exclusive(b"a"), LexBound::Inclusive(b"c"), false);
        assert_eq!(set.range(ranks).map(|(m, _)| m).collect::<Vec<_>>(), [b"b", b"c"]);
        assert_eq!(set.ranks_by_lex(LexBound::First, LexBound::Last, false), 0..4);
        assert!(set.has_one_score());
    }

    /// What Redis 7.0 answers to ZRANGEBYLEX and ZREVRANGEBYLEX of a listpack.
    #[test]
    fn members_of_several_scores_are_walked_one_after_the_other() {
        let (mut set, limits) = (SortedSet::new(), SortedSetLimits::default());
        for (member, score) in [("e", 0.0), ("a", 1.0), ("f", 2.0), ("b", 3.0)] {
            set.insert(member.as_bytes(), score, &limits);
        }
        assert!(!set.has_one_score());
        let upto_c = (LexBound::First, LexBound::Inclusive(b"c".as_slice()));
        assert_eq!(set.ranks_by_lex(upto_c.0, upto_c.1, false), 0..0);
        let from_a = (LexBound::Exclusive(b"a".as_slice()), LexBound::Inclusive(b"e".as_slice()));
        assert_eq!(set.ranks_by_lex(from_a.0, from_a.1, false), 0..2);
        assert_eq!(set.ranks_by_lex(from_a.0, from_a.1, true), 2..4);
    }
}
