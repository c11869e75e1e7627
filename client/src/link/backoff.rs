//! How long to wait before another try: longer each time, and never the same for two clients, so
//! that those whom one failure stopped do not all come back in one moment.

use std::time::Duration;

/// Waits of a random part of a time that doubles with each try up to a limit ("full jitter").
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl Backoff {
    /// The wait after so many tries.
    pub(crate) fn after(&self, tries: u32) -> Duration {
        self.ceiling(tries).mul_f64(fastrand::f64())
    }

    fn ceiling(&self, tries: u32) -> Duration {
        // 2^20 times any first wait is beyond any limit.
        self.first.saturating_mul(1 << tries.saturating_sub(1).min(20)).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_differ() {
        let backoff =
            Backoff { first: Duration::from_millis(10), longest: Duration::from_millis(100) };
        for (tries, most) in [(1, 10), (2, 20), (3, 40), (4, 80), (5, 100), (u32::MAX, 100)] {
            assert_eq!(backoff.ceiling(tries), Duration::from_millis(most));
            assert!(backoff.after(tries) <= Duration::from_millis(most));
        }
        let waits: std::collections::HashSet<_> = (0..100).map(|_| backoff.after(9)).collect();
        assert!(waits.len() > 90, "they are random");
    }
}
