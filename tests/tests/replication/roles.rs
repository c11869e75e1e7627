//! Chains of replicas, and what others do when one of them is made the primary.

use cloakroom_tests::peers::Kind;

use crate::load::{Load, write_some};
use crate::node::{Node, assert_equal, eventually, know_fields};

#[test]
fn the_stream_passes_through_ours() {
    chain([Kind::Ours, Kind::Ours, Kind::Ours]);
}

#[test]
#[ignore = "needs redis-server: tests/run"]
fn the_stream_passes_from_redis_through_ours_to_redis() {
    chain([Kind::Redis7, Kind::Ours, Kind::Redis7]);
}

#[test]
#[ignore = "needs redis-server: tests/run"]
fn the_stream_passes_from_ours_through_redis_to_ours() {
    chain([Kind::Ours, Kind::Redis7, Kind::Ours]);
}

#[test]
#[ignore = "needs valkey-server: tests/run"]
fn the_stream_passes_from_valkey_through_ours_to_valkey() {
    chain([Kind::Valkey9, Kind::Ours, Kind::Valkey9]);
}

fn chain(kinds: [Kind; 3]) {
    let [mut first, mut second, mut third] = kinds.map(|kind| Node::start(kind, &[]));
    let with_fields = know_fields(&[&first, &second, &third]);
    write_some(first.address(), 1, with_fields, 1_000);
    second.join(&first);
    let load = Load::start(first.address(), 2, with_fields);
    third.join(&second);
    load.go_on_for(1_000);
    // A cut above costs those below nothing.
    second.must("CLIENT KILL TYPE master");
    eventually("the first cut is mended", || first.number("sync_partial_ok") == 1);
    load.go_on_for(1_000);
    second.must("CLIENT KILL TYPE replica");
    eventually("the second cut is mended", || second.number("sync_partial_ok") == 1);
    load.stop();
    assert_equal(&mut first, &mut second);
    assert_equal(&mut first, &mut third);
    assert_eq!((first.number("sync_full"), second.number("sync_full")), (1, 1));
    assert_eq!(first.info("master_replid"), third.info("master_replid"));
}

#[test]
fn others_go_on_with_a_promoted_one_of_ours() {
    promotion([Kind::Ours, Kind::Ours, Kind::Ours]);
}

#[test]
#[ignore = "needs redis-server: tests/run"]
fn redis_goes_on_with_a_promoted_one_of_ours() {
    promotion([Kind::Ours, Kind::Ours, Kind::Redis7]);
    promotion([Kind::Redis7, Kind::Ours, Kind::Redis7]);
}

#[test]
#[ignore = "needs redis-server: tests/run"]
fn ours_goes_on_with_a_promoted_redis() {
    promotion([Kind::Ours, Kind::Redis7, Kind::Ours]);
    promotion([Kind::Redis7, Kind::Redis7, Kind::Ours]);
}

#[test]
#[ignore = "needs valkey-server: tests/run"]
fn valkey_goes_on_with_a_promoted_one_of_ours() {
    promotion([Kind::Valkey9, Kind::Ours, Kind::Valkey9]);
}

/// The second of three becomes the primary; the third follows it, and so does the old one.
fn promotion(kinds: [Kind; 3]) {
    let [mut old, mut new, mut other] = kinds.map(|kind| Node::start(kind, &[]));
    let with_fields = know_fields(&[&old, &new, &other]);
    write_some(old.address(), 1, with_fields, 1_000);
    new.join(&old);
    other.join(&old);
    write_some(old.address(), 2, with_fields, 1_000);
    assert_equal(&mut old, &mut new);
    assert_equal(&mut old, &mut other);

    // Nothing is deleted behind anybody's back: no history goes on alone.
    old.must("CLIENT PAUSE 1000000 WRITE");
    let offset = old.number("master_repl_offset");
    for replica in [&mut new, &mut other] {
        eventually("all is there", || replica.number("slave_repl_offset") >= offset);
    }
    new.must("REPLICAOF NO ONE");
    assert_eq!(new.info("master_replid2"), old.info("master_replid"));
    other.join(&new);
    assert_eq!((new.number("sync_full"), new.number("sync_partial_ok")), (0, 1));
    write_some(new.address(), 3, with_fields, 1_000);
    assert_equal(&mut new, &mut other);
    old.must("CLIENT UNPAUSE");
    old.join(&new);
    assert_equal(&mut new, &mut old);
    write_some(new.address(), 4, with_fields, 500);
    assert_equal(&mut new, &mut old);
    assert_equal(&mut new, &mut other);
}
