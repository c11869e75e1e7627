//! FAILOVER by hand: a primary gives up its role to a replica; nothing is lost, and its clients see
//! no more of it than READONLY for a moment.

#![cfg(unix)]

use std::io;

use cloakroom_tests::groups::until;
use cloakroom_tests::nodes::{Node, converged, followed};
use cloakroom_tests::peers::Kind;
use cloakroom_tests::wire::{Value, Wire};
use cloakroom_tests::writers::{Outcome, Writer};

/// A client with a connection to each node, which none of them may end. It writes at the one that
/// takes writes, and looks for it where it is told that this is a replica.
fn writer(name: &'static str, nodes: &[Node]) -> io::Result<Writer> {
    let connections: io::Result<Vec<Wire>> =
        nodes.iter().map(|node| Wire::connect(node.address())).collect();
    let (mut connections, mut at) = (connections?, 0);
    Ok(Writer::thread(name, move |number| {
        let (key, text) = (format!("{name}:{number}"), number.to_string());
        match connections[at].call(&["HSET", &key, "user", "ann", "n", &text]) {
            Ok(Value::Integer(_)) => Outcome::Acknowledged,
            Ok(other) => {
                at = (at + 1) % connections.len();
                Outcome::Failed(other.to_string())
            }
            Err(error) => Outcome::Failed(format!("the connection: {error}")),
        }
    }))
}

/// Holds what the writers write while a node follows nobody, however fast the machine is.
const BACKLOG: &str = "repl-backlog-size 64mb\n";

/// A primary, its replicas, and clients that write.
struct Group {
    nodes: Vec<Node>,
    writers: Vec<Writer>,
}

impl Group {
    fn start(replicas: &[Kind]) -> io::Result<Group> {
        let mut nodes = vec![Node::start(Kind::Ours, BACKLOG)?];
        for kind in replicas {
            nodes.push(Node::start_replica(*kind, &nodes[0], BACKLOG)?);
        }
        let group = Group { nodes, writers: Vec::new() };
        group.has_online(0, replicas.len())?;
        Ok(group)
    }

    /// Waits until a primary has so many replicas that receive its stream.
    fn has_online(&self, primary: usize, replicas: usize) -> io::Result<()> {
        until("the replicas are online", || {
            let said = self.nodes[primary].ask(&["INFO", "replication"])?;
            Ok(said.matches("state=online").count() == replicas)
        })
    }

    fn write(&mut self) -> io::Result<()> {
        for name in ["one", "two", "three"] {
            self.writers.push(writer(name, &self.nodes)?);
        }
        self.go_on()
    }

    fn go_on(&self) -> io::Result<()> {
        self.writers.iter().try_for_each(|writer| writer.goes_on(200))
    }

    fn failover(&self, at: usize, words: &[&str]) -> io::Result<String> {
        self.nodes[at].ask(&[&["FAILOVER"], words].concat())
    }

    fn port(&self, node: usize) -> String {
        self.nodes[node].port().to_string()
    }

    /// Waits until these nodes fail over no more, and have these roles.
    fn are(&self, roles: &[(usize, &str)]) -> io::Result<()> {
        until(&format!("{roles:?}"), || {
            for (node, role) in roles {
                let node = &self.nodes[*node];
                let is_over = node.info("master_failover_state")? == "no-failover";
                if !is_over || node.info("role")? != *role {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// Has a node give up its role, as soon as it can.
    fn gives_up(&self, from: usize, words: &[&str]) -> io::Result<()> {
        let mut said = String::new();
        // A replica that has just come back may have to catch up first.
        let found = until("FAILOVER", || {
            said = self.failover(from, words)?;
            Ok(said == "OK")
        });
        found.map_err(|error| io::Error::other(format!("{error}: {said}")))
    }

    /// Ends the clients: all that was acknowledged is everywhere, and whatever they were told
    /// instead is that a node is a replica.
    fn nothing_is_lost(&mut self, leads: usize) -> io::Result<()> {
        self.writers.iter_mut().for_each(Writer::end);
        for (number, node) in self.nodes.iter().enumerate() {
            if number != leads {
                converged(&self.nodes[leads], node)?;
            }
            for writer in &self.writers {
                assert_eq!(writer.lost(node.address())?, [0; 0], "{} of {number}", writer.name());
            }
        }
        for failure in self.writers.iter().flat_map(Writer::failures) {
            assert!(failure.starts_with("(error) READONLY "), "{failure}");
        }
        Ok(())
    }
}

#[test]
fn a_replica_that_is_named_takes_over_and_back() -> io::Result<()> {
    let mut group = Group::start(&[Kind::Ours, Kind::Ours])?;
    group.write()?;
    for (from, to) in [(0, 2), (2, 1), (1, 0)] {
        let port = group.port(to);
        group.gives_up(from, &["TO", "127.0.0.1", &port, "TIMEOUT", "20000"])?;
        group.are(&[(from, "slave"), (to, "master")])?;
        group.go_on()?;
        // The third still follows the node that led: its stream is passed on.
        let other = 3 - from - to;
        followed(&group.nodes[from], &group.nodes[other])?;
        group.nodes[other].ask(&["REPLICAOF", "127.0.0.1", &port])?;
        (0..3)
            .filter(|node| *node != to)
            .try_for_each(|replica| followed(&group.nodes[to], &group.nodes[replica]))?;
    }
    group.nothing_is_lost(0)?;
    assert!(group.writers.iter().all(|writer| !writer.failures().is_empty()), "they were told");
    for node in &group.nodes {
        // All of it went by partial synchronizations.
        let full: u32 = node.info("sync_full")?.parse().map_err(io::Error::other)?;
        assert!(full <= 2, "{} copies from {}", full, node.port());
    }
    Ok(())
}

#[test]
#[ignore = "needs peers: tests/run"]
fn a_stock_replica_takes_over_and_gives_back() -> io::Result<()> {
    let mut group = Group::start(&[Kind::Redis7])?;
    group.write()?;
    group.gives_up(0, &[])?;
    group.are(&[(0, "slave"), (1, "master")])?;
    group.go_on()?;
    followed(&group.nodes[1], &group.nodes[0])?;
    group.gives_up(1, &[])?;
    group.are(&[(0, "master"), (1, "slave")])?;
    group.go_on()?;
    followed(&group.nodes[0], &group.nodes[1])?;
    group.nothing_is_lost(0)
}

#[test]
fn a_replica_that_hangs_does_not_take_over() -> io::Result<()> {
    let mut group = Group::start(&[Kind::Ours])?;
    group.write()?;
    group.nodes[1].signal("STOP")?;
    group.go_on()?;
    assert_eq!(group.failover(0, &["TIMEOUT", "100"])?, "OK");
    group.are(&[(0, "master")])?;
    group.go_on()?;
    // Without a timeout it waits until somebody gives up.
    assert_eq!(group.failover(0, &[])?, "OK");
    assert_eq!(group.nodes[0].info("master_failover_state")?, "waiting-for-sync");
    assert_eq!(group.failover(0, &[])?, "ERR FAILOVER already in progress.");
    assert_eq!(group.failover(0, &["ABORT"])?, "OK");
    group.are(&[(0, "master")])?;
    group.go_on()?;
    group.nodes[1].signal("CONT")?;
    group.nothing_is_lost(0)?;
    assert!(group.writers.iter().all(|writer| writer.failures().is_empty()), "it led all the time");
    Ok(())
}

#[test]
fn force_does_not_wait_for_a_replica_that_hangs() -> io::Result<()> {
    let mut group = Group::start(&[Kind::Ours])?;
    let port = group.port(1);
    let words = ["TO", "127.0.0.1", &port, "FORCE", "TIMEOUT", "100"];
    group.write()?;
    group.nodes[1].signal("STOP")?;
    group.go_on()?;
    assert_eq!(group.failover(0, &words)?, "OK");
    until("it has given up its role", || {
        Ok(group.nodes[0].info("master_failover_state")? == "failover-in-progress")
    })?;
    assert_eq!(group.nodes[0].info("role")?, "slave");
    // It takes its role back, with all that it has.
    assert_eq!(group.failover(0, &["ABORT"])?, "OK");
    group.are(&[(0, "master")])?;
    group.go_on()?;
    group.nodes[1].signal("CONT")?;
    group.has_online(0, 1)?;
    // And gives it up for good: what the replica had not received goes, as Redis warns.
    group.nodes[1].signal("STOP")?;
    group.gives_up(0, &words)?;
    until("it has given up its role", || Ok(group.nodes[0].info("role")? == "slave"))?;
    group.nodes[1].signal("CONT")?;
    group.are(&[(0, "slave"), (1, "master")])?;
    group.go_on()?;
    group.writers.iter_mut().for_each(Writer::end);
    converged(&group.nodes[1], &group.nodes[0])
}
