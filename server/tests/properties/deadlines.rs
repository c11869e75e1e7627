//! The timing wheel against a sorted list.

use std::collections::BTreeMap;

use cloakroom::store::{Popped, Wheel};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    /// Arms so many milliseconds from now on; negative: already past.
    Arm(i64),
    /// Lets so much time pass, and takes what is due.
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u32..45, any::<u64>()).prop_map(|(bits, low)| Step::Arm((low & ((1 << bits) - 1)) as i64)),
        1 => (0i64..10_000).prop_map(|past| Step::Arm(-past)),
        2 => (0u32..40, any::<u64>()).prop_map(|(bits, low)| Step::Pass(low & ((1 << bits) - 1))),
        1 => (0u64..3).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn what_is_due_comes_in_order_and_never_early(
        start in 0u64..2_000_000_000_000,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut wheel = Wheel::new();
        let mut now = start;
        while wheel.pop_due(now) != Popped::Nothing {}
        // By the moment at which each is due, which is at once for what is past.
        let mut waiting: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Arm(after) => {
                    let at = now.saturating_add_signed(after);
                    wheel.arm(at, number as u64);
                    waiting.entry(at.max(now)).or_default().push((at, number as u64));
                }
                Step::Pass(by) => {
                    now += by;
                    let mut found = Vec::new();
                    loop {
                        match wheel.pop_due(now) {
                            Popped::Due(at, hash) => found.push((at, hash)),
                            Popped::Working => {}
                            Popped::Nothing => break,
                        }
                    }
                    let later = waiting.split_off(&(now + 1));
                    let mut due = found.into_iter();
                    for (_, mut expected) in std::mem::replace(&mut waiting, later) {
                        let mut together: Vec<_> = due.by_ref().take(expected.len()).collect();
                        together.sort_unstable();
                        expected.sort_unstable();
                        prop_assert_eq!(together, expected);
                    }
                    prop_assert_eq!(due.next(), None, "too early");
                }
            }
            let next = waiting.first_key_value().map(|(at, _)| *at);
            match (wheel.next_due(), next) {
                (None, None) => {}
                (Some(bound), Some(next)) => prop_assert!(bound <= next, "{bound} is after {next}"),
                (bound, next) => prop_assert!(false, "{bound:?} instead of {next:?}"),
            }
            prop_assert_eq!(wheel.len(), waiting.values().map(Vec::len).sum::<usize>());
        }
    }
}
