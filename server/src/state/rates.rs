//! How much happens a second: what INFO calls instantaneous.

use std::collections::VecDeque;

use crate::clock::Micros;

/// How far back a rate looks, in microseconds: as far as Redis's sixteen samples.
const WINDOW: Micros = 1_600_000;

/// How much there had been at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// By the stopwatch.
    pub at: Micros,
    /// Commands executed.
    pub commands: u64,
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
}

/// Each a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PerSecond {
    /// Commands executed.
    pub commands: f64,
    /// Bytes received.
    pub received: f64,
    /// Bytes sent.
    pub sent: f64,
}

/// The samples of the last moments.
#[derive(Debug, Default)]
pub struct Rates {
    samples: VecDeque<Sample>,
}

impl Rates {
    /// Keeps a sample, and those that the next rate will look back to.
    pub fn note(&mut self, sample: Sample) {
        self.samples.push_back(sample);
        while self.samples.get(1).is_some_and(|next| next.at + WINDOW <= sample.at) {
            self.samples.pop_front();
        }
    }

    /// How much there was a second, up to now.
    pub fn up_to(&self, now: Sample) -> PerSecond {
        let mut since = self.samples.iter().rev().take_while(|it| it.at + WINDOW > now.at);
        let newer = since.by_ref().last();
        // One that is a little older is better than none.
        let Some(first) = newer.or(self.samples.back()) else { return PerSecond::default() };
        let seconds = now.at.saturating_sub(first.at) as f64 / 1e6;
        if seconds <= 0.0 {
            return PerSecond::default();
        }
        // Statistics may have been reset meanwhile.
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        PerSecond {
            commands: rate(now.commands, first.commands),
            received: rate(now.received, first.received),
            sent: rate(now.sent, first.sent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_looks_back_for_a_moment() {
        let sample = |at, commands| Sample { at, commands, received: commands * 10, sent: 0 };
        let mut rates = Rates::default();
        assert_eq!(rates.up_to(sample(5, 5)), PerSecond::default());
        (0..100).for_each(|tenth| rates.note(sample(tenth * 100_000, tenth)));
        assert!(rates.samples.len() <= 17, "older ones are of no use");
        let rate = rates.up_to(sample(10_000_000, 100));
        assert_eq!((rate.commands.round(), rate.received.round()), (10.0, 100.0));
        assert_eq!(rates.up_to(sample(20_000_000, 99)).commands, 0.0, "nothing since");
        assert_eq!(rates.up_to(sample(10_000_000, 0)).commands, 0.0, "it was reset");
    }
}
