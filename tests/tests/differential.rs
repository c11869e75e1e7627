//! Random commands to ours, redis-server 7.0 and valkey-server 9.1: ours gives no reply that
//! neither of them gives, and publishes no keyspace events that neither of them publishes.
//! `SEED=n COUNT=n` in the environment plays others.

use cloakroom_tests::differential::Contest;
use cloakroom_tests::peers::{Kind, Peer};
use cloakroom_tests::wire::Protocol;

fn check(protocol: Protocol, seed: u64, field_deadlines: bool) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("SEED").unwrap_or(seed);
    let count = number("COUNT").unwrap_or(26_000);
    let start = |kind| Peer::start(kind).unwrap_or_else(|e| panic!("{kind:?}: {e}"));
    let peers = [start(Kind::Ours), start(Kind::Redis7), start(Kind::Valkey9)];
    let [ours, redis, valkey] = &peers;
    let mut contest = Contest::new([ours, redis, valkey], protocol).expect("all answer");
    let findings = contest.play(seed, count as usize, field_deadlines);
    let findings = findings.unwrap_or_else(|error| panic!("seed {seed}\n{error}"));
    let report: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(report.is_empty(), "seed {seed}\n{}", report.join("\n"));
}

#[test]
#[ignore = "needs peers: tests/run"]
fn what_redis_7_knows_in_resp2() {
    check(Protocol::Resp2, 1, false);
}

#[test]
#[ignore = "needs peers: tests/run"]
fn what_redis_7_knows_in_resp3() {
    check(Protocol::Resp3, 2, false);
}

#[test]
#[ignore = "needs peers: tests/run"]
fn deadlines_of_fields_in_resp2() {
    check(Protocol::Resp2, 3, true);
}

#[test]
#[ignore = "needs peers: tests/run"]
fn deadlines_of_fields_in_resp3() {
    check(Protocol::Resp3, 4, true);
}
