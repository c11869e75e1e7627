//! Libraries of functions beyond one request: saved and loaded, on replicas, and while one runs.

use cloakroom_tests::peers::{Kind, Peer};
use cloakroom_tests::wire::{Value, Wire};

const LIBRARY: &str = "#!lua name=sessions\n\
    redis.register_function('touch', function(keys, args) \
        return redis.call('HSET', keys[1], 'seen', args[1]) end)\n\
    redis.register_function{function_name='seen', flags={'no-writes'}, \
        callback=function(keys) return redis.call('HGET', keys[1], 'seen') end}";

fn ask(wire: &mut Wire, args: &[&str]) -> String {
    let answer = wire.call(args).expect("an answer");
    String::from_utf8_lossy(&answer.bytes().unwrap_or_default()).into_owned()
}

fn start(args: &[&str]) -> (Peer, Wire) {
    let peer = Peer::start_with(Kind::Ours, args).expect("it starts");
    let wire = peer.connect().expect("it accepts");
    (peer, wire)
}

/// What a server knows of functions: how many there are in how many libraries.
fn counts(wire: &mut Wire) -> (String, String) {
    let info = ask(wire, &["INFO", "memory"]);
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().to_owned()
    };
    (field("number_of_functions:"), field("number_of_libraries:"))
}

#[test]
fn libraries_are_saved_and_loaded() {
    let folder = cloakroom_tests::process::Folder::new();
    let dir = folder.path().display().to_string();
    let args = ["--dir", dir.as_str(), "--enable-debug-command", "yes"];
    let (peer, mut wire) = start(&args);
    assert_eq!(ask(&mut wire, &["FUNCTION", "LOAD", LIBRARY]), "sessions");
    assert_eq!(ask(&mut wire, &["FCALL", "touch", "1", "s", "noon"]), "1");
    assert_eq!(ask(&mut wire, &["SAVE"]), "OK");
    drop((peer, wire));
    let (_peer, mut wire) = start(&args);
    assert_eq!(counts(&mut wire), ("2".to_owned(), "1".to_owned()));
    assert_eq!(ask(&mut wire, &["FCALL_RO", "seen", "1", "s"]), "noon");
    assert_eq!(ask(&mut wire, &["DEBUG", "RELOAD"]), "OK");
    assert_eq!(ask(&mut wire, &["FCALL_RO", "seen", "1", "s"]), "noon");
    // What cannot be taken in leaves what is there.
    let failed = ask(&mut wire, &["DEBUG", "RELOAD", "NOSAVE", "NOFLUSH"]);
    assert!(failed.contains("Error trying to load"), "{failed}");
    assert_eq!(ask(&mut wire, &["FLUSHALL"]), "OK");
    assert_eq!(counts(&mut wire), ("2".to_owned(), "1".to_owned()));
}

#[test]
fn a_dump_moves_libraries_to_another_server() {
    let ((_first, mut from), (_second, mut to)) = (start(&[]), start(&[]));
    assert_eq!(ask(&mut from, &["FUNCTION", "LOAD", LIBRARY]), "sessions");
    let dump = from.call(&["FUNCTION", "DUMP"]).expect("an answer").bytes().expect("a dump");
    let restore = |to: &mut Wire, payload: &[u8], policy: &str| {
        let answer = to.call(&[b"FUNCTION", &b"RESTORE"[..], payload, policy.as_bytes()]);
        String::from_utf8_lossy(&answer.expect("an answer").bytes().unwrap_or_default())
            .into_owned()
    };
    assert_eq!(restore(&mut to, &dump, "APPEND"), "OK");
    assert_eq!(ask(&mut to, &["FCALL", "touch", "1", "s", "noon"]), "1");
    assert_eq!(restore(&mut to, &dump, "APPEND"), "ERR Library sessions already exists");
    assert_eq!(restore(&mut to, &dump, "REPLACE"), "OK");
    let other = "#!lua name=other\nredis.register_function('SEEN', function() return 1 end)";
    assert_eq!(ask(&mut to, &["FUNCTION", "FLUSH"]), "OK");
    assert_eq!(ask(&mut to, &["FUNCTION", "LOAD", other]), "other");
    assert_eq!(restore(&mut to, &dump, "REPLACE"), "ERR Function seen already exists");
    assert_eq!(ask(&mut to, &["FCALL", "seen", "0"]), "1");
    assert_eq!(restore(&mut to, &dump, "FLUSH"), "OK");
    assert_eq!(counts(&mut to), ("2".to_owned(), "1".to_owned()));
    let mut damaged = dump.clone();
    damaged[3] ^= 1;
    let told = restore(&mut to, &damaged, "FLUSH");
    assert_eq!(told, "ERR DUMP payload version or checksum are wrong");
}

#[test]
fn replicas_have_their_primarys_libraries() {
    let (primary, mut wire) = start(&[]);
    assert_eq!(ask(&mut wire, &["FUNCTION", "LOAD", LIBRARY]), "sessions");
    assert_eq!(ask(&mut wire, &["FCALL", "touch", "1", "s", "noon"]), "1");
    let port = primary.address().port().to_string();
    let (_replica, mut replica) = start(&["--replicaof", &format!("127.0.0.1 {port}")]);
    while !ask(&mut replica, &["INFO", "replication"]).contains("master_link_status:up") {
        std::thread::yield_now();
    }
    assert_eq!(ask(&mut replica, &["FCALL", "seen", "1", "s"]), "noon");
    let refused = "READONLY You can't write against a read only replica.";
    assert_eq!(ask(&mut replica, &["FCALL", "touch", "1", "s", "x"]), refused);
    assert_eq!(ask(&mut replica, &["FUNCTION", "FLUSH"]), refused);
    let more = "#!lua name=more\nredis.register_function{function_name='one', \
        callback=function() return 1 end, flags={'no-writes'}}";
    assert_eq!(ask(&mut wire, &["FUNCTION", "LOAD", more]), "more");
    assert_eq!(ask(&mut wire, &["FUNCTION", "DELETE", "sessions"]), "OK");
    assert_eq!(ask(&mut wire, &["WAIT", "1", "0"]), "1");
    assert_eq!(ask(&mut replica, &["FCALL", "one", "0"]), "1");
    assert_eq!(ask(&mut replica, &["FCALL", "seen", "1", "s"]), "ERR Function not found");
}

#[test]
fn a_function_without_end_is_killed_as_one() {
    let (peer, mut wire) = start(&["--busy-reply-threshold", "1"]);
    let endless = "#!lua name=endless\n\
        redis.register_function('endless', function() while true do end end)";
    assert_eq!(ask(&mut wire, &["FUNCTION", "LOAD", endless]), "endless");
    assert_eq!(ask(&mut wire, &["FUNCTION", "KILL"]), "NOTBUSY No scripts in execution right now.");
    wire.send(&["FCALL", "endless", "0", "word"]).expect("it listens");
    let mut other = peer.connect().expect("it accepts");
    let busy = "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN \
                NOSAVE.";
    while ask(&mut other, &["PING"]) == "PONG" {}
    assert_eq!(ask(&mut other, &["PING"]), busy);
    assert_eq!(ask(&mut other, &["SCRIPT", "KILL"]), busy);
    let stats = other.call(&["FUNCTION", "STATS"]).expect("an answer").to_string();
    for part in ["\"endless\"", "\"FCALL\"", "\"word\"", "duration_ms", "libraries_count"] {
        assert!(stats.contains(part), "{part}: {stats}");
    }
    assert_eq!(ask(&mut other, &["FUNCTION", "KILL"]), "OK");
    let killed = wire.read().expect("an answer");
    assert!(killed.is_error(), "{killed}");
    assert_eq!(ask(&mut other, &["PING"]), "PONG");
    // The same of a script.
    wire.send(&["EVAL", "while true do end", "0"]).expect("it listens");
    while ask(&mut other, &["PING"]) == "PONG" {}
    assert!(ask(&mut other, &["FUNCTION", "KILL"]).starts_with("BUSY"));
    assert_eq!(ask(&mut other, &["SCRIPT", "KILL"]), "OK");
    assert!(wire.read().expect("an answer").is_error());
    assert_eq!(ask(&mut other, &["FCALL", "nosuch", "0"]), "ERR Function not found");
}

#[test]
fn a_library_whose_code_does_not_end_is_not_loaded() {
    let (_peer, mut wire) = start(&[]);
    let answer = ask(&mut wire, &["FUNCTION", "LOAD", "#!lua name=lib\nwhile true do end"]);
    assert_eq!(answer, "ERR Error registering functions: ERR FUNCTION LOAD timeout");
    assert_eq!(ask(&mut wire, &["FUNCTION", "LOAD", LIBRARY]), "sessions");
    assert_eq!(
        wire.call(&["FUNCTION", "LIST"]).map(|all| all.items().map(<[Value]>::len)).ok(),
        Some(Some(1))
    );
}

#[test]
#[ignore = "needs redis-server: tests/run"]
fn redis_reads_our_libraries_and_we_read_its() {
    let (ours, mut wire) = start(&[]);
    assert_eq!(ask(&mut wire, &["FUNCTION", "LOAD", LIBRARY]), "sessions");
    assert_eq!(ask(&mut wire, &["FCALL", "touch", "1", "s", "noon"]), "1");
    assert_eq!(ask(&mut wire, &["SAVE"]), "OK");
    let dir = ask_dir(&mut wire);
    let theirs = Peer::start_with(Kind::Redis7, &["--dir", &dir]).expect("it starts");
    let mut redis = theirs.connect().expect("it accepts");
    assert_eq!(ask(&mut redis, &["FCALL", "seen", "1", "s"]), "noon");
    let dump = redis.call(&["FUNCTION", "DUMP"]).expect("an answer").bytes().expect("a dump");
    let again = wire.call(&[b"FUNCTION", &b"RESTORE"[..], &dump, b"REPLACE"]);
    assert_eq!(again.expect("an answer"), Value::Status(b"OK".to_vec()));
    // And as its replica, in a full synchronization.
    let port = theirs.address().port().to_string();
    assert_eq!(ask(&mut wire, &["FUNCTION", "FLUSH"]), "OK");
    assert_eq!(ask(&mut wire, &["REPLICAOF", "127.0.0.1", &port]), "OK");
    while !ask(&mut wire, &["INFO", "replication"]).contains("master_link_status:up") {
        std::thread::yield_now();
    }
    assert_eq!(ask(&mut wire, &["FCALL", "seen", "1", "s"]), "noon");
    drop(ours);
}

/// Where a server keeps its file.
fn ask_dir(wire: &mut Wire) -> String {
    let reply = wire.call(&["CONFIG", "GET", "dir"]).expect("an answer");
    let dir = reply.items().and_then(|items| items.get(1)?.bytes()).expect("a folder");
    String::from_utf8_lossy(&dir).into_owned()
}
