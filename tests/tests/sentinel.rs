//! Failover by what exists: stock sentinels over nodes of ours, with clients that go on meanwhile.

#![cfg(unix)]

use std::io::{self, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use cloakroom_tests::groups::SERVICE;
use cloakroom_tests::nodes::{converged, followed};
use cloakroom_tests::peers::{Kind, python, root};
use cloakroom_tests::sentinels::Watch;
use cloakroom_tests::wire::Wire;
use cloakroom_tests::writers::{Outcome, Writer};
use redis::sentinel::{SentinelClient, SentinelServerType};
use redis::{Connection, RedisResult, pipe};

/// redis-py, which finds the primary by the sentinels.
fn redis_py(watch: &Watch) -> io::Result<Writer> {
    let script = root().join("tests/clients/python/sentinel.py");
    let mut command = Command::new(python());
    command.arg(script).args(["redis-py", SERVICE]).args(watch.addresses());
    Writer::program("redis-py", &mut command)
}

/// redis-rs, which does so as well.
fn redis_rs(watch: &Watch) -> RedisResult<Writer> {
    let urls: Vec<String> = watch.addresses().iter().map(|at| format!("redis://{at}")).collect();
    let kind = SentinelServerType::Master;
    let mut client = SentinelClient::build(urls, SERVICE, None, kind)?;
    let mut connection = None;
    Ok(Writer::thread("redis-rs", move |number| {
        let written = match connection.take() {
            Some(connection) => Ok(connection),
            None => client.get_connection(),
        }
        .and_then(|connection| write(connection, number));
        match written {
            Ok((kept, replicas)) => {
                connection = Some(kept);
                match replicas {
                    0 => Outcome::Failed("no replica has it".to_owned()),
                    _ => Outcome::Acknowledged,
                }
            }
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }))
}

fn write(mut connection: Connection, number: u64) -> RedisResult<(Connection, u32)> {
    let key = format!("redis-rs:{number}");
    let fields = [("user", "ann".to_owned()), ("n", number.to_string())];
    let (replicas,) = pipe()
        .hset_multiple(&key, &fields)
        .ignore()
        .expire(&key, 1800)
        .ignore()
        .cmd("WAIT")
        .arg(1)
        .arg(1000)
        .query(&mut connection)?;
    Ok((connection, replicas))
}

/// Kills the primary while clients write; the others take over, the clients go on, nothing that was
/// acknowledged is lost, and the old primary returns as a replica. Returns who leads then.
fn the_primary_dies(watch: &mut Watch, leads: usize) -> io::Result<usize> {
    watch.settled(leads)?;
    let mut writers = [redis_py(watch)?, redis_rs(watch).map_err(io::Error::other)?];
    writers.iter().try_for_each(|writer| writer.goes_on(100))?;
    let died = Instant::now();
    watch.kill(leads)?;
    let successor = watch.failed_over(leads)?;
    let took = died.elapsed();
    writers.iter().try_for_each(|writer| writer.goes_on(100))?;
    report(watch, [leads, successor], took, &writers)?;
    for other in (0..watch.nodes.len()).filter(|other| ![leads, successor].contains(other)) {
        followed(&watch.nodes[successor], &watch.nodes[other])?;
    }
    watch.nodes[leads].restart()?;
    followed(&watch.nodes[successor], &watch.nodes[leads])?;
    // Until each sentinel knows of it, one may give the order again, which ends all connections.
    watch.settled(successor)?;
    writers.iter().try_for_each(|writer| writer.goes_on(100))?;
    writers.iter_mut().for_each(Writer::end);
    for node in &watch.nodes {
        if node.port() != watch.nodes[successor].port() {
            converged(&watch.nodes[successor], node)?;
        }
        for writer in &writers {
            assert_eq!(writer.lost(node.address())?, [0; 0], "of {}", node.port());
        }
    }
    Ok(successor)
}

/// Tells how long it took, also where a test's output is kept back.
fn report(watch: &Watch, nodes: [usize; 2], took: Duration, writers: &[Writer]) -> io::Result<()> {
    let [from, to] = nodes.map(|node| watch.nodes[node].kind());
    writers.iter().try_for_each(|writer| {
        let (name, gap) = (writer.name(), writer.gap());
        writeln!(
            io::stderr(),
            "from {from:?} to {to:?}: the sentinels took {took:.1?}, {name} did without for {gap:.1?}"
        )
    })
}

/// Each node's file says whom it follows, and still has what people wrote in it.
fn files_are_rewritten(watch: &Watch, leads: usize) -> io::Result<()> {
    for (number, node) in watch.nodes.iter().enumerate() {
        let text = std::fs::read_to_string(node.file())?;
        let follows = text.lines().find(|line| line.starts_with("replicaof "));
        let due = format!("replicaof 127.0.0.1 {}", watch.nodes[leads].port());
        assert_eq!(follows, (number != leads).then_some(due.as_str()), "{text}");
        assert!(text.starts_with(&format!("# A node\nport {}\n", node.port())), "{text}");
    }
    Ok(())
}

#[test]
#[ignore = "needs peers: tests/run"]
fn a_primary_that_is_killed_is_replaced_and_returns() -> io::Result<()> {
    let mut watch = Watch::start(Kind::Ours, &[(Kind::Ours, ""), (Kind::Ours, "")])?;
    let leads = the_primary_dies(&mut watch, 0)?;
    files_are_rewritten(&watch, leads)
}

#[test]
#[ignore = "needs peers: tests/run"]
fn stock_redis_takes_over_and_gives_back() -> io::Result<()> {
    let preferred = (Kind::Redis7, "replica-priority 1\n");
    let mut watch = Watch::start(Kind::Ours, &[(Kind::Ours, ""), preferred])?;
    let leads = the_primary_dies(&mut watch, 0)?;
    assert_eq!(watch.nodes[leads].kind(), Kind::Redis7);
    let leads = the_primary_dies(&mut watch, leads)?;
    assert_eq!(watch.nodes[leads].kind(), Kind::Ours);
    files_are_rewritten(&watch, leads)
}

/// What nodes ask of each other, of sentinels, and of everybody else.
const GUARDED: &str = "\
    requirepass everybody\n\
    masteruser copier\n\
    masterauth copies\n\
    user copier on >copies +psync +replconf +ping\n\
    user watcher on >watches allchannels +multi +slaveof +ping +exec +subscribe +config|rewrite \
        +role +publish +info +client|setname +client|kill +script|kill\n";

#[test]
#[ignore = "needs redis-sentinel: tests/run"]
fn sentinels_and_replicas_authenticate() -> io::Result<()> {
    let sentinels =
        format!("sentinel auth-user {SERVICE} watcher\nsentinel auth-pass {SERVICE} watches\n");
    let mut watch = Watch::start_with((Kind::Ours, GUARDED), &[(Kind::Ours, GUARDED)], &sentinels)?;
    watch.settled(0)?;
    assert_eq!(watch.nodes[0].ask(&["HSET", "session:1", "user", "ann"])?, "1");
    converged(&watch.nodes[0], &watch.nodes[1])?;
    watch.kill(0)?;
    assert_eq!(watch.failed_over(0)?, 1);
    assert_eq!(watch.nodes[1].ask(&["HGET", "session:1", "user"])?, "ann");
    assert_eq!(watch.nodes[1].ask(&["HSET", "session:1", "visits", "1"])?, "1");
    watch.nodes[0].restart()?;
    followed(&watch.nodes[1], &watch.nodes[0])?;
    watch.settled(1)?;
    converged(&watch.nodes[1], &watch.nodes[0])?;
    // Both were reached by their own users alone; who is none of them is let in nowhere.
    for node in &watch.nodes {
        let users = node.ask(&["ACL", "LIST"])?;
        assert_eq!(users.matches("user ").count(), 3, "{users}");
        let mut stranger = Wire::connect(node.address())?;
        assert!(stranger.call(&["INFO"])?.to_string().contains("NOAUTH"));
        let refused = node.ask(&["ACL", "LOG"])?;
        assert_eq!(refused, "(empty array)", "nobody lacked a right");
    }
    Ok(())
}
