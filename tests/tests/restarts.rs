//! Primaries and replicas that stop in order and start again: nobody misses anything, and nobody gets
//! a copy of what he has.

#![cfg(unix)]

use std::io;

use cloakroom_tests::groups::until;
use cloakroom_tests::nodes::{Node, converged};
use cloakroom_tests::peers::Kind;
use cloakroom_tests::wire::Wire;

/// A copy begins at once, and none is loaded that was not saved in order.
const LINES: &str = "save \"\"\nrepl-diskless-sync-delay 0\n";

/// Writes in a database that the stream has to go on with.
fn write(node: &Node, value: &str) -> io::Result<()> {
    let mut wire = Wire::connect(node.address())?;
    wire.call(&["SELECT", "5"])?;
    wire.call(&["SET", "key", value])?;
    wire.call(&["HSET", "hash", "field", value])?;
    Ok(())
}

fn read(node: &Node) -> io::Result<String> {
    let mut wire = Wire::connect(node.address())?;
    wire.call(&["SELECT", "5"])?;
    Ok(wire.call(&["GET", "key"])?.to_string())
}

fn number(node: &Node, field: &str) -> io::Result<u64> {
    node.info(field)?.parse().map_err(io::Error::other)
}

/// Saves and stops a server.
fn stop(node: &mut Node) -> io::Result<()> {
    // It answers by closing the connection.
    let _ = Wire::connect(node.address())?.call(&["SHUTDOWN", "SAVE"]);
    until("it has stopped", || Ok(Wire::connect(node.address()).is_err()))?;
    node.kill();
    Ok(())
}

fn no_copy_is_sent_again(primary: Kind, replica: Kind) -> io::Result<()> {
    let mut primary = Node::start(primary, LINES)?;
    let mut replica = Node::start_replica(replica, &primary, LINES)?;
    write(&primary, "one")?;
    converged(&primary, &replica)?;

    stop(&mut replica)?;
    write(&primary, "two")?;
    replica.restart()?;
    converged(&primary, &replica)?;
    assert_eq!(read(&replica)?, "\"two\"");
    assert_eq!((number(&primary, "sync_full")?, number(&primary, "sync_partial_ok")?), (1, 1));

    // What ends while the primary is away is told to the replica when it is back.
    primary.ask(&["SET", "short", "1", "PX", "50"])?;
    stop(&mut primary)?;
    primary.restart()?;
    converged(&primary, &replica)?;
    write(&primary, "three")?;
    converged(&primary, &replica)?;
    assert_eq!(read(&replica)?, "\"three\"");
    assert_eq!(replica.ask(&["DBSIZE"])?, "0");
    assert_eq!((number(&primary, "sync_full")?, number(&primary, "sync_partial_ok")?), (0, 1));
    Ok(())
}

#[test]
fn ours_and_ours_go_on() -> io::Result<()> {
    no_copy_is_sent_again(Kind::Ours, Kind::Ours)
}

#[test]
#[ignore = "needs redis-server: tests/run"]
fn ours_and_redis_go_on() -> io::Result<()> {
    no_copy_is_sent_again(Kind::Ours, Kind::Redis7)?;
    no_copy_is_sent_again(Kind::Redis7, Kind::Ours)
}
