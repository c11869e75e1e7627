//! Every transcript against the real servers: they are the truth that ours is held to.

use cloakroom_tests::peers::Kind;
use cloakroom_tests::suite::run_all;
use cloakroom_tests::wire::Protocol;

fn check(kind: Kind, protocol: Protocol) {
    if let Err(report) = run_all(kind, protocol) {
        panic!("{report}");
    }
}

#[test]
#[ignore = "needs peers: tests/run"]
fn redis_7_in_resp2() {
    check(Kind::Redis7, Protocol::Resp2);
}

#[test]
#[ignore = "needs peers: tests/run"]
fn redis_7_in_resp3() {
    check(Kind::Redis7, Protocol::Resp3);
}

#[test]
#[ignore = "needs peers: tests/run"]
fn valkey_9_in_resp2() {
    check(Kind::Valkey9, Protocol::Resp2);
}

#[test]
#[ignore = "needs peers: tests/run"]
fn valkey_9_in_resp3() {
    check(Kind::Valkey9, Protocol::Resp3);
}
