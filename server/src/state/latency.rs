//! Events that took long, by their name: what LATENCY shows.

use std::collections::{BTreeMap, VecDeque};

/// Samples of one event that are kept, as in Redis.
const MOST_SAMPLES: usize = 160;

/// What took at least `latency-monitor-threshold`.
#[derive(Debug, Default)]
pub struct Latency {
    events: BTreeMap<&'static str, Spikes>,
}

/// One event's samples.
#[derive(Debug, Default)]
pub struct Spikes {
    samples: VecDeque<Spike>,
    /// The longest since the last reset, in milliseconds.
    pub longest: u64,
}

/// A second in which an event took long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spike {
    /// Seconds since the epoch.
    pub at: u64,
    /// Milliseconds; the longest of that second.
    pub took: u64,
}

impl Latency {
    /// Adds a sample of `took` milliseconds at second `at`.
    pub fn add(&mut self, event: &'static str, at: u64, took: u64) {
        let spikes = self.events.entry(event).or_default();
        spikes.longest = spikes.longest.max(took);
        match spikes.samples.back_mut() {
            Some(last) if last.at == at => last.took = last.took.max(took),
            _ => spikes.samples.push_back(Spike { at, took }),
        }
        if spikes.samples.len() > MOST_SAMPLES {
            spikes.samples.pop_front();
        }
    }

    /// All events by name.
    pub fn events(&self) -> impl ExactSizeIterator<Item = (&'static str, &Spikes)> {
        self.events.iter().map(|(name, spikes)| (*name, spikes))
    }

    /// One event, by its name in any case.
    pub fn event(&self, name: &[u8]) -> Option<&Spikes> {
        self.events
            .iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))
            .map(|(_, spikes)| spikes)
    }

    /// Forgets the events that `chosen` names; returns how many.
    pub fn reset(&mut self, chosen: impl Fn(&str) -> bool) -> usize {
        let before = self.events.len();
        self.events.retain(|name, _| !chosen(name));
        before - self.events.len()
    }
}

impl Spikes {
    /// The samples, the oldest first.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Spike> + DoubleEndedIterator + '_ {
        self.samples.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_sample_and_old_ones_go() {
        let mut latency = Latency::default();
        for (at, took) in [(1, 5), (1, 9), (1, 7), (2, 3)] {
            latency.add("command", at, took);
        }
        let spikes = latency.event(b"COMMAND").expect("it was added");
        let expected = [Spike { at: 1, took: 9 }, Spike { at: 2, took: 3 }];
        assert!(spikes.samples().eq(expected) && spikes.longest == 9);
        (3..1000).for_each(|at| latency.add("command", at, 1));
        let spikes = latency.event(b"command").expect("it is still there");
        assert_eq!((spikes.samples().len(), spikes.longest), (MOST_SAMPLES, 9));
        assert_eq!((latency.reset(|name| name == "x"), latency.reset(|_| true)), (0, 1));
    }
}
