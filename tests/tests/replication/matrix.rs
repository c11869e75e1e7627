//! Each kind of server as the primary and the replica of ours, under a random load: the same data
//! and deadlines, cuts that cost no copy, and a copy where there is no other way.

use cloakroom_tests::peers::Kind;

use crate::load::{Load, write_some};
use crate::node::{Node, assert_equal, eventually, know_fields};

#[test]
fn ours_follows_ours() {
    converges(Kind::Ours, Kind::Ours);
}

#[test]
#[ignore = "needs redis-server: tests/run"]
fn redis_follows_ours() {
    converges(Kind::Ours, Kind::Redis7);
}

#[test]
#[ignore = "needs valkey-server: tests/run"]
fn valkey_follows_ours() {
    converges(Kind::Ours, Kind::Valkey9);
}

#[test]
#[ignore = "needs redis-server 6.2: tests/run"]
fn redis_6_follows_ours() {
    converges(Kind::Ours, Kind::Redis6);
}

#[test]
#[ignore = "needs redis-server: tests/run"]
fn ours_follows_redis() {
    converges(Kind::Redis7, Kind::Ours);
}

#[test]
#[ignore = "needs valkey-server: tests/run"]
fn ours_follows_valkey() {
    converges(Kind::Valkey9, Kind::Ours);
}

fn converges(primary: Kind, replica: Kind) {
    let (mut primary, mut replica) = (Node::start(primary, &[]), Node::start(replica, &[]));
    let with_fields = know_fields(&[&primary, &replica]);
    let address = primary.address();
    write_some(replica.address(), 1, with_fields, 500);
    write_some(address, 2, with_fields, 2_000);

    let load = Load::start(address, 3, with_fields);
    replica.follow(address);
    load.go_on_for(3_000);
    replica.wait_for_link();
    load.stop();
    assert_equal(&mut primary, &mut replica);
    // Redis 6.2 does not say that it is too old for the first one.
    let copies = if replica.kind() == Kind::Redis6 { 2 } else { 1 };
    assert_eq!(primary.number("sync_full"), copies);

    cuts_cost_no_copy(&mut primary, &mut replica, with_fields);
    who_is_away_too_long_gets_a_copy(&mut primary, &mut replica, with_fields);
}

/// Links that are cut while clients write at full speed go on from where they were.
fn cuts_cost_no_copy(primary: &mut Node, replica: &mut Node, with_fields: bool) {
    let refused = primary.number("sync_partial_err");
    let copies = primary.number("sync_full");
    let load = Load::start(primary.address(), 4, with_fields);
    for cut in 1..=3 {
        load.go_on_for(1_000);
        // By turns the primary and the replica.
        match cut % 2 {
            0 => assert_eq!(replica.must("CLIENT KILL TYPE master").to_string(), "(integer) 1"),
            _ => assert_eq!(primary.must("CLIENT KILL TYPE replica").to_string(), "(integer) 1"),
        }
        eventually("a partial synchronization", || primary.number("sync_partial_ok") == cut);
        replica.wait_for_link();
    }
    load.stop();
    assert_equal(primary, replica);
    assert_eq!(primary.number("sync_full"), copies);
    assert_eq!(primary.number("sync_partial_err"), refused);
}

fn who_is_away_too_long_gets_a_copy(primary: &mut Node, replica: &mut Node, with_fields: bool) {
    primary.must("CONFIG SET repl-backlog-size 16384");
    let (copies, refused) = (primary.number("sync_full"), primary.number("sync_partial_err"));
    replica.signal("-STOP");
    primary.must("CLIENT KILL TYPE replica");
    primary.wait("connected_slaves", "0");
    let began = primary.number("master_repl_offset");
    let load = Load::start(primary.address(), 5, with_fields);
    eventually("the backlog is past it", || primary.number("master_repl_offset") > began + 100_000);
    load.stop();
    replica.signal("-CONT");
    eventually("a copy", || primary.number("sync_full") == copies + 1);
    assert_equal(primary, replica);
    assert_eq!(primary.number("sync_partial_err"), refused + 1);
}
