//! Deadlines: a hierarchical timing wheel of one millisecond's resolution.
//!
//! Each of eight levels has 64 slots, 64 times as long as those of the level below. An entry lies
//! at the level of the highest digit (base 64) in which its deadline differs from the wheel's time
//! and moves down as time comes near: a constant few steps an entry, whatever the order of
//! deadlines. Moving a crowded slot down is done in bounded portions.

use std::collections::VecDeque;

use crate::clock::Millis;

/// Keys' hashes by the moment at which somebody has to look at the key.
#[derive(Debug)]
pub struct Wheel {
    levels: [Level; LEVELS],
    /// Nothing is due before this; never moves back.
    elapsed: Millis,
    /// Reached, in order.
    ready: VecDeque<Armed>,
    /// Of a slot that is being moved down.
    moving: Vec<Armed>,
    len: usize,
    allocated: usize,
    /// Nothing comes up before this; `Millis::MAX`: nothing is there.
    bound: Millis,
}

/// An entry: what to look at, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Armed {
    at: Millis,
    hash: u64,
}

/// What [`Wheel::pop_due`] comes back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Popped {
    /// This was armed for that time, which has come.
    Due(Millis, u64),
    /// Nothing yet: a portion of moving was done, and there is more.
    Working,
    /// Nothing is due.
    Nothing,
}

#[derive(Debug, Default)]
struct Level {
    /// A bit for each slot that is not empty.
    occupied: u64,
    slots: Vec<Vec<Armed>>,
}

/// Levels; their 48 bits reach 8,900 years from the wheel's time on. What is later waits in the
/// last level's last slot.
const LEVELS: usize = 8;

/// Bits of a slot's number.
const DIGIT: u32 = 6;

/// How many entries are moved down at once.
const PORTION: usize = 512;

impl Wheel {
    /// A wheel without entries or allocations.
    pub fn new() -> Self {
        Wheel {
            levels: Default::default(),
            elapsed: 0,
            ready: VecDeque::new(),
            moving: Vec::new(),
            len: 0,
            allocated: 0,
            bound: Millis::MAX,
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

    /// Bytes that it holds.
    pub fn heap_bytes(&self) -> usize {
        self.allocated
            + (self.ready.capacity() + self.moving.capacity()) * size_of::<Armed>()
            + self.levels.iter().map(|level| level.slots.capacity()).sum::<usize>()
                * size_of::<Vec<Armed>>()
    }

    /// Has `hash` come up at `at`, or at once if that has passed.
    pub fn arm(&mut self, at: Millis, hash: u64) {
        self.len += 1;
        self.bound = self.bound.min(at);
        self.place(Armed { at, hash });
    }

    /// Nothing comes up before this; it comes nearer to the first deadline as time does.
    #[inline]
    pub fn next_due(&self) -> Option<Millis> {
        (self.bound != Millis::MAX).then_some(self.bound)
    }

    fn find_bound(&self) -> Option<Millis> {
        if let Some(first) = self.ready.front() {
            return Some(first.at);
        }
        if !self.moving.is_empty() {
            return Some(self.elapsed);
        }
        self.next_slot().map(|(_, _, start)| start)
    }

    /// The next entry whose time has come by `now`, in the order of the deadlines.
    pub fn pop_due(&mut self, now: Millis) -> Popped {
        let popped = self.step(now);
        self.bound = self.find_bound().unwrap_or(Millis::MAX);
        popped
    }

    fn step(&mut self, now: Millis) -> Popped {
        if !self.moving.is_empty() {
            self.move_portion();
            return Popped::Working;
        }
        if let Some(first) = self.ready.front() {
            let Armed { at, hash } = *first;
            if at > now {
                return Popped::Nothing;
            }
            self.ready.pop_front();
            self.len -= 1;
            if self.ready.is_empty() {
                self.ready = VecDeque::new();
            }
            return Popped::Due(at, hash);
        }
        match self.next_slot() {
            Some((level, slot, start)) if start <= now => {
                self.elapsed = self.elapsed.max(start);
                let entries = std::mem::take(&mut self.levels[level].slots[slot]);
                self.levels[level].occupied &= !(1 << slot);
                self.allocated -= entries.capacity() * size_of::<Armed>();
                if level == 0 {
                    self.ready = entries.into();
                } else {
                    self.moving = entries;
                    // Portions are taken from the end: turned round, the order stays.
                    self.moving.reverse();
                }
                Popped::Working
            }
            _ => {
                self.elapsed = self.elapsed.max(now);
                Popped::Nothing
            }
        }
    }

    fn move_portion(&mut self) {
        for _ in 0..PORTION {
            let Some(entry) = self.moving.pop() else { break };
            self.place(entry);
        }
        if self.moving.is_empty() {
            self.moving = Vec::new();
        }
    }

    fn place(&mut self, entry: Armed) {
        let at = entry.at.max(self.elapsed);
        let differs = at ^ self.elapsed;
        let digit = (63 - (differs | 1).leading_zeros()) / DIGIT;
        let level = (digit as usize).min(LEVELS - 1);
        let slot = if digit as usize >= LEVELS {
            SLOTS - 1
        } else {
            (at >> (DIGIT * level as u32)) as usize % SLOTS
        };
        let Level { occupied, slots } = &mut self.levels[level];
        if slots.is_empty() {
            slots.resize_with(SLOTS, Vec::new);
        }
        let before = slots[slot].capacity();
        slots[slot].push(entry);
        self.allocated += (slots[slot].capacity() - before) * size_of::<Armed>();
        *occupied |= 1 << slot;
    }

    /// The first slot that is not empty: its level, number and beginning.
    fn next_slot(&self) -> Option<(usize, usize, Millis)> {
        let (level, occupied) = self
            .levels
            .iter()
            .map(|level| level.occupied)
            .enumerate()
            .find(|(_, bits)| *bits != 0)?;
        let slot = occupied.trailing_zeros() as usize;
        let shift = DIGIT * level as u32;
        let upper = self.elapsed >> (shift + DIGIT) << (shift + DIGIT);
        Some((level, slot, upper | (slot as u64) << shift))
    }
}

impl Default for Wheel {
    fn default() -> Self {
        Wheel::new()
    }
}

/// Slots of a level.
const SLOTS: usize = 1 << DIGIT;

#[cfg(test)]
mod tests {
    use super::*;

    fn pop_all(wheel: &mut Wheel, now: Millis) -> Vec<(Millis, u64)> {
        let mut found = Vec::new();
        loop {
            match wheel.pop_due(now) {
                Popped::Due(at, hash) => found.push((at, hash)),
                Popped::Working => {}
                Popped::Nothing => return found,
            }
        }
    }

    #[test]
    fn entries_come_in_the_order_of_their_deadlines() {
        let (mut wheel, mut rng) = (Wheel::new(), fastrand::Rng::with_seed(1));
        let start = 1_700_000_000_000;
        assert!(pop_all(&mut wheel, start).is_empty());
        let mut waiting: Vec<(Millis, u64)> = Vec::new();
        let mut now = start;
        for hash in 0..20_000 {
            let at = now + (1u64 << rng.u32(..42)) + rng.u64(..50);
            wheel.arm(at, hash);
            waiting.push((at, hash));
            if rng.u32(..100) == 0 {
                now += 1 << rng.u32(..36);
                let found = pop_all(&mut wheel, now);
                waiting.sort();
                let due = waiting.partition_point(|(at, _)| *at <= now);
                let expected: Vec<_> = waiting.drain(..due).collect();
                let times =
                    |list: &[(Millis, u64)]| list.iter().map(|(at, _)| *at).collect::<Vec<_>>();
                assert_eq!(times(&found), times(&expected));
                assert!(wheel.next_due().is_none_or(|at| at > now));
            }
        }
        assert_eq!(wheel.len(), waiting.len());
    }

    #[test]
    fn a_bound_is_never_late() {
        let mut wheel = Wheel::new();
        pop_all(&mut wheel, 1_000);
        wheel.arm(90_000, 1);
        let mut now = 1_000;
        while let Some(at) = wheel.next_due() {
            assert!(at <= 90_000 && at >= now);
            now = at;
            if pop_all(&mut wheel, now) == [(90_000, 1)] {
                assert_eq!(now, 90_000);
                return;
            }
        }
        panic!("the entry is lost");
    }

    #[test]
    fn what_is_past_comes_at_once_and_far_future_is_no_trouble() {
        let mut wheel = Wheel::new();
        pop_all(&mut wheel, 5_000);
        wheel.arm(10, 1);
        wheel.arm(u64::MAX, 2);
        wheel.arm(i64::MAX as u64, 3);
        assert_eq!(pop_all(&mut wheel, 5_000), [(10, 1)]);
        assert_eq!(pop_all(&mut wheel, 1 << 47), []);
        assert_eq!(wheel.len(), 2);
    }

    #[test]
    fn an_empty_wheel_holds_nothing_for_what_was() {
        let mut wheel = Wheel::new();
        (0..100_000).for_each(|n| wheel.arm(1_000 + n % 500, n));
        let full = wheel.heap_bytes();
        assert_eq!(pop_all(&mut wheel, 2_000).len(), 100_000);
        assert!(full > 1_000_000 && wheel.heap_bytes() < 20_000, "{}", wheel.heap_bytes());
    }
}
