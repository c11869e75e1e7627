//! CLOAKROOM: the clock of a server turned over the wire.

use std::net::TcpStream;

use cloakroom_tests::peers::{Kind, Peer};
use cloakroom_tests::process::{Folder, Process};
use cloakroom_tests::wire::{Value, Wire};

fn ours(args: &[&str]) -> Peer {
    Peer::start_with(Kind::Ours, args).expect("the server starts")
}

fn ok() -> Value {
    Value::Status(b"OK".to_vec())
}

fn ask(wire: &mut Wire, args: &[&str]) -> Value {
    wire.call(args).expect("an answer")
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(&value.bytes().unwrap_or_default()).into_owned()
}

/// The server's time, and whether it runs.
fn clock(wire: &mut Wire) -> (i64, String) {
    let reply = ask(wire, &["CLOAKROOM", "CLOCK"]);
    let items = reply.items().expect("a map");
    assert_eq!((text(&items[0]).as_str(), text(&items[2]).as_str()), ("now-ms", "state"));
    let Value::Integer(now) = items[1] else { panic!("{reply}") };
    (now, text(&items[3]))
}

#[test]
fn it_is_refused_where_tests_do_not_control() {
    let folder = Folder::new();
    let mut server = Process::start(folder.path(), &["--port", "0"]);
    let url = server.ready();
    let address = url.strip_prefix("redis://").and_then(|a| a.parse().ok()).expect("an address");
    let mut client = Wire::connect(address).expect("it accepts");
    for args in [&["ADVANCE", "1s"][..], &["FREEZE"], &["RESUME"], &["CLOCK"], &["HELP"]] {
        let request: Vec<_> = ["CLOAKROOM"].iter().chain(args).collect();
        let told = client.call(&request).expect("an answer");
        assert!(told.is_error() && text(&told).contains("--test-control yes"), "{args:?}: {told}");
    }
    let set = ask(&mut client, &["CONFIG", "SET", "test-control", "yes"]);
    assert!(set.is_error(), "and nobody allows it over the wire");
}

#[test]
fn help_names_every_subcommand() {
    let peer = ours(&[]);
    let mut client = peer.connect().expect("it accepts");
    let help = ask(&mut client, &["cloakroom", "help"]);
    let lines: Vec<_> = help.items().expect("lines").iter().map(text).collect();
    for name in ["ADVANCE <duration>", "FREEZE", "RESUME", "CLOCK", "HELP"] {
        assert!(lines.iter().any(|line| line == name), "no {name} in {lines:?}");
    }
}

#[test]
fn a_frozen_clock_moves_by_what_it_is_told() {
    let peer = ours(&[]);
    let mut client = peer.connect().expect("it accepts");
    assert_eq!(clock(&mut client).1, "running");
    assert_eq!(ask(&mut client, &["CLOAKROOM", "FREEZE"]), ok());
    let start = clock(&mut client);
    assert_eq!(ask(&mut client, &["CLOAKROOM", "FREEZE"]), ok());
    assert_eq!((clock(&mut client), start.1.as_str()), (start.clone(), "frozen"));
    let mut passed = 0;
    for (by, millis) in [
        ("1500ms", 1_500),
        ("11s", 11_000),
        ("7", 7_000),
        ("30m", 1_800_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("0", 0),
    ] {
        assert_eq!(ask(&mut client, &["CLOAKROOM", "ADVANCE", by]), ok(), "{by}");
        passed += millis;
        assert_eq!(clock(&mut client).0, start.0 + passed, "{by}");
    }
    for by in
        ["", "s", "1.5s", "-1s", "1 s", "11S", "1w", "99999999999999999999s", "4000000000000d"]
    {
        let told = ask(&mut client, &["CLOAKROOM", "ADVANCE", by]);
        assert!(text(&told).contains("invalid duration"), "{by:?}: {told}");
    }
    assert!(ask(&mut client, &["CLOAKROOM", "ADVANCE"]).is_error());
    assert!(ask(&mut client, &["CLOAKROOM", "REWIND"]).is_error());
    assert_eq!(clock(&mut client).0, start.0 + passed, "what is refused turns nothing");
    assert_eq!(ask(&mut client, &["CLOAKROOM", "RESUME"]), ok());
    assert_eq!(clock(&mut client).1, "running");
    while clock(&mut client).0 == start.0 + passed {}
}

#[test]
fn a_running_clock_can_be_turned_too() {
    let peer = ours(&[]);
    let mut client = peer.connect().expect("it accepts");
    let start = clock(&mut client).0;
    assert_eq!(ask(&mut client, &["SET", "k", "v", "EX", "3600"]), ok());
    assert_eq!(ask(&mut client, &["CLOAKROOM", "ADVANCE", "1h"]), ok());
    assert_eq!(ask(&mut client, &["GET", "k"]), Value::NullBulk);
    let (now, state) = clock(&mut client);
    assert!(now >= start + 3_600_000 && state == "running");
}

#[test]
fn everything_due_has_happened_when_the_reply_comes() {
    let peer = ours(&["--notify-keyspace-events", "Ehx"]);
    let mut client = peer.connect().expect("it accepts");
    assert_eq!(ask(&mut client, &["CLOAKROOM", "FREEZE"]), ok());
    let stream = TcpStream::connect(peer.address()).expect("it accepts");
    let looking = stream.try_clone().expect("a second handle");
    let mut events = Wire::new(stream);
    assert!(!ask(&mut events, &["PSUBSCRIBE", "__keyevent@*expired"]).is_error());

    // Many keys in several databases, in no order.
    let mut rng = fastrand::Rng::with_seed(7);
    let mut expected = Vec::new();
    for n in 0..500 {
        let (db, at) = (rng.usize(..3), rng.u32(1..60_000));
        ask(&mut client, &["SELECT", &db.to_string()]);
        assert_eq!(ask(&mut client, &["SET", &n.to_string(), "v", "PX", &at.to_string()]), ok());
        expected.push((at, db, n));
    }
    ask(&mut client, &["HSET", "hash", "a", "1", "b", "2"]);
    ask(&mut client, &["HPEXPIRE", "hash", "100000", "FIELDS", "1", "a"]);
    let mut waiting = peer.connect().expect("it accepts");
    waiting.send(&["WAIT", "5", "50000"]).expect("it is sent");
    while !ask(&mut client, &["INFO", "clients"]).to_string().contains("blocked_clients:1") {}

    assert_eq!(ask(&mut client, &["CLOAKROOM", "ADVANCE", "60s"]), ok());
    for db in 0..3 {
        ask(&mut client, &["SELECT", &db.to_string()]);
        let left = if text(&ask(&mut client, &["TYPE", "hash"])) == "hash" { 1 } else { 0 };
        assert_eq!(ask(&mut client, &["DBSIZE"]), Value::Integer(left), "database {db}");
    }
    looking.set_nonblocking(true).expect("a socket's option");
    let mut times = Vec::new();
    let mut seen = Vec::new();
    for _ in 0..500 {
        let message = events.read().expect("it is there before the reply to ADVANCE");
        let items = message.items().expect("a message");
        let (channel, key) = (text(&items[2]), text(&items[3]));
        let n: usize = key.parse().expect("a key");
        let (at, db, _) = expected[n];
        assert_eq!(channel, format!("__keyevent@{db}__:expired"));
        times.push(at);
        seen.push(n);
    }
    assert!(times.is_sorted(), "in the order of their deadlines");
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..500), "each once");
    assert_eq!(waiting.read().expect("it was woken"), Value::Integer(0));

    assert_eq!(ask(&mut client, &["CLOAKROOM", "ADVANCE", "39999ms"]), ok());
    assert!(events.read().is_err(), "nothing is due yet");
    assert_eq!(ask(&mut client, &["CLOAKROOM", "ADVANCE", "1ms"]), ok());
    let message = events.read().expect("it is there before the reply to ADVANCE");
    assert_eq!(message.items().map(|items| text(&items[3])), Some("hash".to_owned()));
}

#[test]
fn whoever_turns_the_clock_gets_its_own_events_first() {
    let peer = ours(&["--notify-keyspace-events", "Ex"]);
    let mut client = peer.connect().expect("it accepts");
    ask(&mut client, &["HELLO", "3"]);
    ask(&mut client, &["CLOAKROOM", "FREEZE"]);
    ask(&mut client, &["SUBSCRIBE", "__keyevent@0__:expired"]);
    ask(&mut client, &["SET", "k", "v", "PX", "5"]);
    client.send(&["CLOAKROOM", "ADVANCE", "5ms"]).expect("it is sent");
    assert!(matches!(client.read().expect("an event"), Value::Push(_)));
    assert_eq!(client.read().expect("the reply"), ok());
}

#[test]
fn a_pause_ends_when_its_time_has_come() {
    let peer = ours(&[]);
    let mut client = peer.connect().expect("it accepts");
    ask(&mut client, &["CLOAKROOM", "FREEZE"]);
    let mut paused = peer.connect().expect("it accepts");
    assert_eq!(ask(&mut client, &["CLIENT", "PAUSE", "10000", "WRITE"]), ok());
    paused.send(&["INCR", "n"]).expect("it is sent");
    assert_eq!(ask(&mut client, &["CLOAKROOM", "ADVANCE", "9999ms"]), ok());
    assert_eq!(ask(&mut client, &["GET", "n"]), Value::NullBulk);
    assert_eq!(ask(&mut client, &["CLOAKROOM", "ADVANCE", "1ms"]), ok());
    assert_eq!(paused.read().expect("it goes on"), Value::Integer(1));
}
