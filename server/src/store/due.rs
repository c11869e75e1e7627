//! What ends in a database: found by the wheel, a segment at a time, and taken out in the order of
//! the deadlines.

use std::hash::BuildHasher;

use super::db::Db;
use super::entries::At;
use super::slots::SlotId;
use super::{Hash, Popped};
use crate::clock::Millis;

/// What has come to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// A key.
    Key {
        /// Its database.
        db: usize,
        /// Its name.
        key: Box<[u8]>,
    },
    /// Fields of a hash.
    Fields {
        /// The hash's database.
        db: usize,
        /// The hash's key.
        key: Box<[u8]>,
        /// The fields, in the order of their deadlines.
        fields: Vec<Box<[u8]>>,
        /// They were its last: the key is gone with them.
        emptied: bool,
    },
}

/// In which order what is due is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// In that of the deadlines.
    Deadlines,
    /// Whatever is due and lies together: a segment is then fetched from memory once for all of it.
    Place,
}

impl Db {
    /// Nothing ends before this.
    #[inline]
    pub(super) fn next_due(&self) -> Option<Millis> {
        let in_hand = self.in_hand.map(|(armed, _)| armed);
        in_hand.into_iter().chain(self.wheel.next_due()).min()
    }

    /// Takes a step towards what has ended by `now`: the first of it, or None for a step of
    /// work, after which [`Db::next_due`] tells whether there is more.
    pub(super) fn pop_due(&mut self, number: usize, now: Millis, order: Order) -> Option<Due> {
        let (armed, prefix) = match self.in_hand.take() {
            Some(in_hand) => in_hand,
            None => self.next_segment(now)?,
        };
        // Segments come and go.
        let index = self.directory.segment_of(prefix);
        let segment = self.segments.get_mut(index)?;
        let found = match order {
            // What ends later than the wheel thought waits for its turn: others may be earlier.
            Order::Deadlines => segment.slots.earliest().filter(|(_, time)| *time <= armed),
            Order::Place => segment.slots.any_due(now),
        };
        let due = found.and_then(|(id, _)| {
            let hash = self.state.hash_one(self.segments[index].key(id));
            self.end(At { segment: index, id, hash }, number, now)
        });
        match (order, found) {
            (Order::Place, Some(_)) => self.in_hand = Some((armed, prefix)),
            _ => self.let_go(prefix, found.map(|(id, _)| id)),
        }
        due
    }

    /// The next segment that the wheel comes to, by its first hash, and what it was armed for.
    fn next_segment(&mut self, now: Millis) -> Option<(Millis, u64)> {
        let Popped::Due(armed, prefix) = self.wheel.pop_due(now) else { return None };
        // It may have been armed again since: only the one that waits for this moment is meant.
        let segment = self.segments.get_mut(self.directory.segment_of(prefix))?;
        if segment.armed_before == armed {
            segment.armed_before = 0;
        }
        (segment.armed == armed).then(|| segment.armed = 0)?;
        Some((armed, prefix))
    }

    /// Leaves a segment to the wheel again, after this slot of it has ended.
    fn let_go(&mut self, prefix: u64, ended: Option<SlotId>) {
        // An entry that is gone may have taken the segment with it.
        let index = self.directory.segment_of(prefix);
        let Some(segment) = self.segments.get_mut(index) else { return };
        if let Some(id) = ended {
            segment.slots.tighten(id);
        }
        self.rearm(index);
    }

    /// Takes out what of this one key has come to its end by `now`.
    pub(super) fn end_if_due(&mut self, number: usize, key: &[u8], now: Millis) -> Option<Due> {
        let at = self.find(key)?;
        let time = self.segments[at.segment].time(at.id);
        if time == 0 || time > now { None } else { self.end(at, number, now) }
    }

    /// Takes out a key that has come to its end by `now`, and leaves fields that have.
    pub(super) fn end_key_if_due(&mut self, number: usize, key: &[u8], now: Millis) -> Option<Due> {
        self.remove_at(self.find(key).filter(|at| self.is_due(*at, now))?);
        Some(Due::Key { db: number, key: key.into() })
    }

    /// Takes out what of this entry has ended by `now`.
    fn end(&mut self, at: At, db: usize, now: Millis) -> Option<Due> {
        let key: Box<[u8]> = self.segments[at.segment].key(at.id).into();
        if self.is_due(at, now) {
            let first_field = self.first_field(at);
            if first_field == 0 || self.segments[at.segment].deadline(at.id) <= first_field {
                self.remove_at(at);
                return Some(Due::Key { db, key });
            }
        }
        let mut hash = self.write::<Hash>(&key, 0, |_| None).ok().flatten()?;
        let first = hash.next_deadline().filter(|first| *first <= now)?;
        // One deadline at a time, so that events of several keys come in order.
        let fields: Vec<_> = std::iter::from_fn(|| hash.pop_due(first)).collect();
        let emptied = hash.is_empty();
        drop(hash);
        Some(Due::Fields { db, key, fields, emptied })
    }

    /// Sees to it that the wheel looks at a segment at `time` or earlier. A later time than the
    /// wheel's is left for when the wheel comes round: a sliding deadline is moved many times for
    /// each time that it is reached. And what the wheel was told before it was told of an earlier
    /// time is used again: or each short deadline among long ones would leave something in it for as
    /// long as the long ones last.
    #[inline]
    pub(super) fn arm(&mut self, index: usize, time: Millis) {
        let segment = &mut self.segments[index];
        if segment.armed == 0 && (1..=time).contains(&segment.armed_before) {
            segment.armed = std::mem::take(&mut segment.armed_before);
        } else if segment.armed == 0 || time < segment.armed {
            if segment.armed_before == 0 {
                segment.armed_before = segment.armed;
            }
            segment.armed = time;
            self.wheel.arm(time, segment.span().prefix);
        }
    }

    pub(super) fn rearm(&mut self, index: usize) {
        let bound = self.segments[index].slots.bound();
        if bound != 0 {
            self.arm(index, bound);
        }
    }
}
