//! Replication as a deterministic simulation: several servers, their connections and their time in
//! one thread, with faults at moments that a seed chooses.
//!
//! Everything but sockets is the real thing: engines, connections, links. Whatever happens, a
//! replica's data must be those that its primary had at the same offset of the same history, at
//! every moment; and when the faults end, all must come to the same data.
//!
//! `SEED=7 cargo test -p cloakroom-tests --test simulation` plays one seed and tells what happens;
//! `SEEDS=10000 cargo test --release -p cloakroom-tests --test simulation` plays so many.

mod pipe;
mod world;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};

use world::{Tally, World};

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Plays seeds; names the first that fails.
fn play(seeds: std::ops::Range<u64>) {
    let seeds = match (number("SEED"), number("SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => 0..count,
        (None, None) => seeds,
    };
    let is_told = number("SEED").is_some();
    let mut tally = Tally::default();
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| World::new(seed, is_told).play())) {
            Ok(played) => tally = tally.and(played),
            Err(_) => panic!("seed {seed} fails; SEED={seed} tells what happens"),
        }
    }
    eprintln!("{tally:?}");
    let Tally { compared, full, partial, refused, failovers } = tally;
    // One world alone need not have seen everything.
    let is_enough = [compared, full, partial, refused, failovers].iter().all(|count| *count > 0);
    assert!(is_told || is_enough, "too little happened: {tally:?}");
}

#[test]
fn some_worlds_converge() {
    play(0..150);
}

#[test]
#[ignore = "takes a minute: tests/run"]
fn many_worlds_converge() {
    play(1_000..3_000);
}
