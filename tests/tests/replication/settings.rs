//! What settings and requests do to replication, with real servers at the other end.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use cloakroom_tests::peers::Kind;
use cloakroom_tests::proxy::{Faults, Proxy};
use cloakroom_tests::wire::{Value, Wire};

use crate::load::{Load, write_some};
use crate::node::{Node, assert_equal, eventually};

/// Both ways between ours and another kind.
fn both_ways(other: Kind) -> [(Kind, Kind); 2] {
    [(Kind::Ours, other), (other, Kind::Ours)]
}

#[test]
#[ignore = "needs redis-server: tests/run"]
fn a_replica_authenticates() {
    for (primary, replica) in both_ways(Kind::Redis7) {
        let mut primary = Node::start(primary, &[]);
        let mut replica = Node::start(replica, &[]);
        primary.must("SET key value");
        primary.must("ACL SETUSER copier on >secret +psync +replconf +ping");
        primary.must("CONFIG SET requirepass other");
        primary.must("AUTH other");
        replica.must("CONFIG SET masteruser copier");
        replica.must("CONFIG SET masterauth wrong");
        replica.follow(primary.address());
        eventually("it is refused", || {
            primary.must("ACL LOG").items().is_some_and(|entries| !entries.is_empty())
        });
        assert_eq!(replica.info("master_link_status"), "down");
        replica.must("CONFIG SET masterauth secret");
        replica.wait_for_link();
        assert_equal(&mut primary, &mut replica);
        // The default user, by a password alone.
        replica.must("REPLICAOF NO ONE");
        primary.must("SET key other");
        replica.must("CONFIG SET masteruser ");
        replica.must("CONFIG SET masterauth other");
        replica.join(&primary);
        assert_equal(&mut primary, &mut replica);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_link_comes_from_the_address_that_it_is_bound_to() {
    // As in Redis, 127.0.0.1 alone is taken for this machine.
    let mut primary = Node::start(Kind::Ours, &["--protected-mode", "no"]);
    let mut replica = Node::start(Kind::Ours, &["--bind-source-addr", "127.0.0.2"]);
    replica.join(&primary);
    assert!(primary.info("slave0").starts_with("ip=127.0.0.2,"), "{}", primary.info("slave0"));
}

#[test]
#[ignore = "needs redis-server: tests/run"]
fn copies_come_by_size_and_up_to_a_mark() {
    for diskless in ["yes", "no"] {
        let mut primary = Node::start(Kind::Redis7, &["--repl-diskless-sync", diskless]);
        let mut replica = Node::start(Kind::Ours, &[]);
        write_some(primary.address(), 1, false, 2_000);
        let load = Load::start(primary.address(), 2, false);
        replica.join(&primary);
        load.stop();
        assert_equal(&mut primary, &mut replica);
    }
    for load_as in ["disabled", "on-empty-db", "swapdb"] {
        let mut primary = Node::start(Kind::Ours, &[]);
        let mut replica = Node::start(Kind::Redis7, &["--repl-diskless-load", load_as]);
        write_some(primary.address(), 1, false, 2_000);
        let load = Load::start(primary.address(), 2, false);
        replica.join(&primary);
        load.stop();
        assert_equal(&mut primary, &mut replica);
    }
}

/// A replica of before 2.8 asks by SYNC: its copy comes by size, the stream at once behind it. It is
/// more than is made ahead of who takes it.
#[test]
fn an_old_replica_gets_a_copy_by_size() {
    let mut primary = Node::start(Kind::Ours, &["--rdbcompression", "no"]);
    primary.must("SET key value");
    let fill = "for i = 1, 500 do redis.call('SET', 'key:' .. i, string.rep('x', 10000)) end";
    assert!(!primary.connect().call(&["EVAL", fill, "0"]).expect("it is answered").is_error());
    let mut old = TcpStream::connect(primary.address()).expect("it accepts");
    old.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit can be set");
    std::io::Write::write_all(&mut old, b"SYNC\r\n").expect("sent");
    let mut header = Vec::new();
    while header.last() != Some(&b'\n') || header == b"\n" {
        let mut byte = [0];
        old.read_exact(&mut byte).expect("a header comes");
        if header == b"\n" {
            header.clear();
        }
        header.push(byte[0]);
    }
    let header = String::from_utf8(header).expect("text");
    let size: usize = header.trim().strip_prefix('$').expect("a size").parse().expect("a number");
    assert!(size > 5_000_000, "{size}");
    let mut copy = vec![0; size];
    old.read_exact(&mut copy).expect("a copy comes");
    assert!(copy.starts_with(b"REDIS0010") && copy.windows(5).any(|five| five == b"value"));
    primary.must("SET other word");
    let mut stream = Wire::new(old);
    let request = |wire: &mut Wire| wire.read().expect("the stream comes").to_string();
    assert_eq!(request(&mut stream), "1) \"SELECT\"\n2) \"0\"");
    assert_eq!(request(&mut stream), "1) \"SET\"\n2) \"other\"\n3) \"word\"");
}

#[test]
#[ignore = "needs redis-server: tests/run"]
fn writes_may_ask_for_good_replicas() {
    let mut primary = Node::start(Kind::Ours, &["--min-replicas-to-write", "1"]);
    let mut replica = Node::start(Kind::Redis7, &[]);
    let refused = "(error) NOREPLICAS Not enough good replicas to write.";
    assert_eq!(primary.ask("SET key value").to_string(), refused);
    replica.join(&primary);
    eventually("a replica is good", || !primary.ask("SET key value").is_error());
    assert_eq!(primary.number("min_slaves_good_slaves"), 1);
    replica.must("REPLICAOF NO ONE");
    eventually("it is gone", || primary.ask("SET key value").is_error());
}

#[test]
#[ignore = "needs redis-server and valkey-server: tests/run"]
fn wait_counts_real_replicas() {
    let mut primary = Node::start(Kind::Ours, &[]);
    let (mut redis, mut valkey) = (Node::start(Kind::Redis7, &[]), Node::start(Kind::Valkey9, &[]));
    redis.join(&primary);
    valkey.join(&primary);
    eventually("both are online", || {
        let is_online = |slave: &str| primary.info(slave).contains("state=online");
        ["slave0", "slave1"].map(is_online) == [true, true]
    });
    for number in 0..20 {
        primary.must(&format!("SET key {number}"));
        assert_eq!(primary.must("WAIT 2 30000").to_string(), "(integer) 2");
        for replica in [&mut redis, &mut valkey] {
            assert_eq!(replica.must("GET key").to_string(), format!("\"{number}\""));
        }
    }
    redis.signal("-STOP");
    primary.must("SET key last");
    assert_eq!(primary.must("WAIT 2 200").to_string(), "(integer) 1");
    redis.signal("-CONT");
    assert_eq!(primary.must("WAIT 2 30000").to_string(), "(integer) 2");
}

#[test]
#[ignore = "needs redis-server: tests/run"]
fn a_real_primary_waits_for_ours() {
    let (mut primary, mut replica) = (Node::start(Kind::Redis7, &[]), Node::start(Kind::Ours, &[]));
    replica.join(&primary);
    eventually("it is online", || primary.info("slave0").contains("state=online"));
    for number in 0..20 {
        primary.must(&format!("SET key {number}"));
        assert_eq!(primary.must("WAIT 1 30000").to_string(), "(integer) 1");
        assert_eq!(replica.must("GET key").to_string(), format!("\"{number}\""));
    }
}

#[test]
#[ignore = "needs redis-server: tests/run"]
fn a_replica_that_takes_nothing_is_dropped_at_its_limit() {
    let limit = ["--client-output-buffer-limit", "replica 1mb 0 0", "--repl-timeout", "3600"];
    for (primary, replica) in both_ways(Kind::Redis7) {
        let mut primary = Node::start(primary, &limit);
        primary.must("CONFIG SET repl-backlog-size 16384");
        let mut replica = Node::start(replica, &[]);
        replica.join(&primary);
        eventually("it is online", || primary.info("slave0").contains("state=online"));
        replica.signal("-STOP");
        let value = "x".repeat(100_000);
        // What the sockets hold comes before what the server has to keep.
        eventually("it is dropped", || {
            primary.must(&format!("SET key {value}"));
            primary.info("connected_slaves") == "0"
        });
        replica.signal("-CONT");
        eventually("a copy", || primary.number("sync_full") == 2);
        assert_equal(&mut primary, &mut replica);
    }
}

#[test]
fn a_replica_refuses_writes_and_stale_reads_as_it_is_told() {
    let (mut primary, mut replica) = (Node::start(Kind::Ours, &[]), Node::start(Kind::Ours, &[]));
    primary.must("SET key value");
    replica.join(&primary);
    let read_only = "(error) READONLY You can't write against a read only replica.";
    assert_eq!(replica.ask("SET key other").to_string(), read_only);
    replica.must("CONFIG SET replica-read-only no");
    replica.must("SET own value");
    replica.must("CONFIG SET replica-serve-stale-data no");
    assert_eq!(replica.must("GET key").to_string(), "\"value\"");
    drop(primary);
    replica.wait("master_link_status", "down");
    let down = "(error) MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to \
                'no'.";
    assert_eq!(replica.ask("GET key").to_string(), down);
    replica.must("CONFIG SET replica-serve-stale-data yes");
    assert_eq!(replica.must("GET key").to_string(), "\"value\"");
}

#[test]
fn ours_serves_old_data_while_new_ones_come() {
    serves_old_data(Kind::Ours);
}

#[test]
#[ignore = "needs redis-server: tests/run"]
fn ours_serves_old_data_while_new_ones_come_from_redis() {
    serves_old_data(Kind::Redis7);
}

fn serves_old_data(primary: Kind) {
    let (mut primary, mut replica) = (Node::start(primary, &[]), Node::start(Kind::Ours, &[]));
    let fill =
        "for i = 1, 20000 do redis.call('HSET', 'new:' .. i, 'field', string.rep('x', 100)) end";
    let wire = &mut primary.connect();
    assert!(!wire.call(&["EVAL", fill, "0"]).expect("it is answered").is_error());
    primary.must("SET key new");
    replica.must("SET key old");
    replica.must("SET own old");
    let proxy = Proxy::start(primary.address(), 1);
    proxy.set(Faults { piece: 1_000, delay: 2, cut_one_of: 0 });
    replica.follow(proxy.address());
    eventually("a part has come", || {
        replica.info("master_sync_in_progress") == "1"
            && replica.number("master_sync_read_bytes") > 10_000
    });
    proxy.hold(true);
    assert_eq!(replica.must("GET key").to_string(), "\"old\"");
    assert_eq!(replica.must("DBSIZE").to_string(), "(integer) 2");
    assert_eq!(replica.info("async_loading"), "1");
    proxy.set(Faults::default());
    proxy.hold(false);
    replica.wait_for_link();
    assert_eq!(replica.must("GET key").to_string(), "\"new\"");
    assert_eq!(replica.must("EXISTS own").to_string(), "(integer) 0");
    assert_eq!(replica.must("DBSIZE"), Value::Integer(20_001));
}

/// Which members a range of names has among several scores is for each server to say: a replica is
/// told what came out.
#[test]
#[ignore = "needs redis-server and valkey-server: tests/run"]
fn what_servers_may_see_differently_is_passed_on_as_its_outcome() {
    let mut primary = Node::start(Kind::Ours, &[]);
    let mut replicas = [Kind::Redis7, Kind::Valkey9, Kind::Ours].map(|kind| Node::start(kind, &[]));
    replicas.iter_mut().for_each(|replica| replica.join(&primary));
    let mut rng = fastrand::Rng::with_seed(4);
    let letter = |rng: &mut fastrand::Rng| char::from(rng.u8(b'a'..=b'h'));
    for round in 0..300 {
        let key = format!("z{}", round % 5);
        primary.must(&format!("ZADD {key} {} {}", rng.u8(..4), letter(&mut rng)));
        let (low, high) = (letter(&mut rng), letter(&mut rng));
        let limit = if rng.bool() { " LIMIT 1 2" } else { "" };
        primary.must(&format!("ZRANGESTORE d{} {key} [{low} ({high} BYLEX{limit}", round % 7));
    }
    for replica in &mut replicas {
        assert_equal(&mut primary, replica);
    }
}

/// A replica acknowledges what came before the question, and not the question itself.
#[test]
fn who_waits_again_is_not_made_to_wait_for_the_question() {
    let (mut primary, mut first) = (Node::start(Kind::Ours, &[]), Node::start(Kind::Ours, &[]));
    first.join(&primary);
    drop(first);
    let (id, offset) = (primary.info("master_replid"), primary.number("master_repl_offset"));
    let mut replica = primary.connect();
    let answer = replica.call(&["PSYNC", &id, &(offset + 1).to_string()]);
    assert!(answer.expect("it is answered").to_string().starts_with("CONTINUE"));
    let mut client = primary.connect();
    client.call(&["SET", "key", "value"]).expect("it is answered");
    let written = primary.number("master_repl_offset");
    client.send(&["WAIT", "1", "0"]).expect("it can be sent");
    while !replica.read().expect("the stream comes").to_string().contains("GETACK") {}
    replica.send(&["REPLCONF", "ACK", &written.to_string()]).expect("it can be sent");
    assert_eq!(client.read().expect("it is answered"), Value::Integer(1));
    assert_eq!(client.call(&["WAIT", "1", "0"]).expect("it is answered"), Value::Integer(1));
    // What a transaction writes is there to be waited for when it is over.
    for request in ["MULTI", "INCR number", "WAIT 1 0"] {
        client.call(&request.split(' ').collect::<Vec<_>>()).expect("it is answered");
    }
    let done = client.call(&["EXEC"]).expect("it is answered");
    assert_eq!(done.items(), Some(&[Value::Integer(1), Value::Integer(1)][..]));
}

#[test]
fn what_a_script_withholds_replicas_do_not_get() {
    withheld(Kind::Ours, Kind::Ours);
}

#[test]
#[ignore = "needs redis-server: tests/run"]
fn what_a_script_withholds_replicas_of_redis_do_not_get_either() {
    withheld(Kind::Redis7, Kind::Ours);
    withheld(Kind::Ours, Kind::Redis7);
}

fn withheld(primary: Kind, replica: Kind) {
    let (mut primary, mut replica) = (Node::start(primary, &[]), Node::start(replica, &[]));
    replica.join(&primary);
    let script = "redis.call('set', 'a', 1) \
                  redis.set_repl(redis.REPL_NONE) redis.call('set', 'b', 1) \
                  redis.call('set', 'short', 1, 'px', 1) \
                  redis.set_repl(redis.REPL_AOF) redis.call('incrbyfloat', 'c', 1) \
                  redis.set_repl(redis.REPL_REPLICA) redis.call('set', 'd', 1) \
                  redis.set_repl(redis.REPL_NONE)";
    assert!(!primary.connect().call(&["EVAL", script, "0"]).expect("an answer").is_error());
    // A script leaves nothing withheld behind.
    primary.must("SET e 1");
    primary.must("WAIT 1 5000");
    assert_eq!(primary.must("EXISTS a b c d e"), Value::Integer(5));
    let told = ["a", "b", "c", "d", "e"].map(|key| replica.must(&format!("EXISTS {key}")));
    assert_eq!(told, [1, 0, 0, 1, 1].map(Value::Integer));
}
