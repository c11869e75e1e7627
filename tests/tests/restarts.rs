//! Primaries and replicas that stop in order and start again: nobody misses anything, and nobody gets
//! a copy of what he has.

#![cfg(unix)]

use std::io;

use cloakroom_tests::groups::until;
use cloakroom_tests::nodes::{Node, converged};
use cloakroom_tests::peers::Kind;
use cloakroom_tests::wire::{Value, Wire};

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

/// A primary with a replica that hangs, and so lacks what was written last.
fn behind(lines: &str) -> io::Result<(Node, Node)> {
    let primary = Node::start(Kind::Ours, &format!("{LINES}{lines}"))?;
    let replica = Node::start_replica(Kind::Ours, &primary, LINES)?;
    converged(&primary, &replica)?;
    until("it is online", || Ok(primary.info("slave0")?.contains("state=online")))?;
    replica.signal("STOP")?;
    primary.ask(&["SET", "last", "1"])?;
    Ok((primary, replica))
}

fn waits(primary: &Node) -> io::Result<()> {
    until("it waits", || Ok(!primary.info("shutdown_in_milliseconds")?.is_empty()))
}

#[test]
fn a_primary_ends_when_its_replicas_have_everything() -> io::Result<()> {
    let (primary, replica) = behind("shutdown-timeout 600\n")?;
    let mut operator = Wire::connect(primary.address())?;
    operator.send(&["SHUTDOWN"])?;
    waits(&primary)?;
    let mut writer = Wire::connect(primary.address())?;
    writer.send(&["SET", "held", "back"])?;
    assert_eq!(primary.ask(&["GET", "held"])?, "(nil)", "it is answered and has not changed");
    assert_eq!(primary.ask(&["SHUTDOWN", "ABORT"])?, "OK");
    let failed = "(error) ERR Errors trying to SHUTDOWN. Check logs.";
    assert_eq!(operator.read()?.to_string(), failed);
    assert_eq!(writer.read()?, Value::Status(b"OK".to_vec()));
    assert_eq!(primary.ask(&["SHUTDOWN", "ABORT"])?, "ERR No shutdown in progress.");

    primary.signal("TERM")?;
    waits(&primary)?;
    operator.send(&["SHUTDOWN", "NOSAVE"])?;
    replica.signal("CONT")?;
    until("it has ended", || Ok(Wire::connect(primary.address()).is_err()))?;
    assert_eq!(replica.ask(&["MGET", "last", "held"])?, "1) \"1\"\n2) \"back\"");
    Ok(())
}

#[test]
fn a_signal_waits_for_replicas_unless_it_is_meant() -> io::Result<()> {
    let ended = |signals: &[&str], setting: &[&str]| -> io::Result<Option<i32>> {
        let (mut primary, replica) = behind("shutdown-timeout 600\n")?;
        primary.ask(&[&["CONFIG", "SET"], setting].concat())?;
        primary.signal(signals[0])?;
        for again in &signals[1..] {
            waits(&primary)?;
            primary.signal(again)?;
        }
        replica.signal("CONT")?;
        primary.wait()
    };
    assert_eq!(ended(&["TERM"], &["shutdown-on-sigterm", "now"])?, Some(0));
    // Ctrl-C once more: it does not end in order.
    assert_eq!(ended(&["INT", "INT"], &["shutdown-on-sigint", "save"])?, Some(1));
    assert_eq!(ended(&["INT", "TERM"], &["shutdown-on-sigterm", "now"])?, Some(0));
    Ok(())
}

#[test]
fn a_primary_does_not_wait_for_ever() -> io::Result<()> {
    for (lines, words) in [
        ("shutdown-timeout 1\n", &["SHUTDOWN", "NOSAVE"][..]),
        ("shutdown-timeout 600\n", &["SHUTDOWN", "NOW"]),
        ("shutdown-timeout 0\n", &["SHUTDOWN"]),
    ] {
        let (primary, replica) = behind(lines)?;
        let _ = Wire::connect(primary.address())?.call(words);
        until("it has ended", || Ok(Wire::connect(primary.address()).is_err()))?;
        replica.signal("CONT")?;
    }
    Ok(())
}
