//! Real clients of other languages and the web application, against ours. Each also runs against
//! redis-server, so that a failure here is not the test's own.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use cloakroom_tests::peers::{Kind, Peer, python, root};

fn client(path: &str) -> PathBuf {
    root().join("tests/clients").join(path)
}

/// Runs a program to its end. It must succeed, and its last word is `ok`.
fn must_succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{command:?} (see tests/run): {e}"));
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let ok = output.status.success() && out.trim_end().ends_with("ok");
    assert!(ok, "{command:?}: {}\n{out}\n{err}", output.status);
}

fn start(kind: Kind) -> Peer {
    Peer::start(kind).unwrap_or_else(|e| panic!("{}: {e}", kind.tag()))
}

fn python_client(kind: Kind) {
    let peer = start(kind);
    must_succeed(Command::new(python()).arg(client("python/session.py")).arg(peer.url()));
}

fn node_client(kind: Kind, script: &str) {
    let peer = start(kind);
    must_succeed(Command::new("node").arg(client(script)).arg(peer.url()));
}

fn flask_application(kind: Kind) {
    let peer = start(kind);
    let passing = if kind == Kind::Ours { "advance" } else { "sleep" };
    let mut command = Command::new(python());
    command.arg(client("flask/drive.py")).arg(peer.url()).arg(passing);
    must_succeed(command.env("PYTHONDONTWRITEBYTECODE", "1"));
}

/// Feeds redis-cli and compares all that it prints.
fn redis_cli(kind: Kind, protocol: &str) {
    let peer = start(kind);
    let mut command = Command::new("redis-cli");
    command.args(["-u", &peer.url(), protocol, "--no-auth-warning"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("redis-cli is installed (see tests/run)");
    let input = "\
HSET session:1 user ann visits 0
HINCRBY session:1 visits 1
HGETALL session:1
EXPIRE session:1 1800
TTL session:1
MULTI
INCR n
GET n
EXEC
SET lock mine NX PX 30000
EVAL \"if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) end return 0\" 1 lock mine
HGET lock f
PUBLISH news hello
NONSENSE
DEL session:1 n
";
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    stdin.write_all(input.as_bytes()).expect("redis-cli reads");
    drop(stdin);
    let output = child.wait_with_output().expect("redis-cli ends");
    let shown = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = shown.lines().filter(|line| !line.trim().is_empty()).collect();
    let hash: &[&str] = &["user", "ann", "visits", "1"];
    let paired: &[&str] = &["user ann", "visits 1"];
    let hash = if protocol == "-3" { paired } else { hash };
    let due: Vec<&str> = ["2", "1"]
        .into_iter()
        .chain(hash.iter().copied())
        .chain(["1", "1800", "OK", "QUEUED", "QUEUED", "1", "1", "OK", "1"])
        .chain(["", "0", "ERR unknown command 'NONSENSE', with args beginning with: ", "2"])
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(lines, due, "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs redis-cli to its end, or ends it once it has printed a line.
fn redis_cli_says(peer: &Peer, args: &[&str], last: Option<&str>) -> String {
    let mut command = Command::new("redis-cli");
    command.args(["-u", &peer.url(), "--no-auth-warning"]).args(args).current_dir(peer.folder());
    let mut child = command.stdout(Stdio::piped()).spawn().expect("redis-cli is installed");
    let mut lines = BufReader::new(child.stdout.take().expect("it was piped")).lines();
    let mut said = String::new();
    while let Some(Ok(line)) = lines.next() {
        said += &line;
        said.push('\n');
        if last.is_some_and(|last| line.eq_ignore_ascii_case(last)) {
            let _ = child.kill();
        }
    }
    child.wait().expect("redis-cli ends");
    said
}

/// What redis-cli fetches as a replica: all data, functions alone, and what is written.
fn redis_cli_as_a_replica(kind: Kind) {
    let peer = start(kind);
    let mut wire = peer.connect().expect("it is there");
    let mut ask = |words: &[&str]| {
        let said = wire.call(words).expect("it answers").bytes().unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    };
    if kind != Kind::Ours {
        ask(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    }
    ask(&["SET", "a-key", "1"]);
    let code = "#!lua name=mine\nredis.register_function('f', function() return 1 end)";
    ask(&["FUNCTION", "LOAD", code]);
    for (option, file, with_keys) in
        [("--rdb", "all.rdb", true), ("--functions-rdb", "f.rdb", false)]
    {
        redis_cli_says(&peer, &[option, file], None);
        let path = peer.folder().join(file);
        let bytes = std::fs::read(&path).expect("it was written");
        let holds = |what: &str| bytes.windows(what.len()).any(|part| part == what.as_bytes());
        let found = (bytes.starts_with(b"REDIS0010"), holds("a-key"), holds("register_function"));
        assert_eq!(found, (true, with_keys, true), "{option}");
        let checked = Command::new("redis-check-rdb").arg(path).output().expect("it is installed");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    }
    let mut until = |state: &str| {
        // Nobody can tell when redis-cli comes and goes, but the server.
        while !ask(&["INFO", "replication"]).contains(state) {
            std::thread::yield_now();
        }
    };
    until("connected_slaves:0");
    let last = r#""SET","written-later","1""#;
    let said = std::thread::scope(|threads| {
        let said = threads.spawn(|| redis_cli_says(&peer, &["--replica"], Some(last)));
        until("state=online");
        peer.connect().expect("it is there").ask(&[b"SET", b"written-later", b"1"]);
        said.join().expect("it ends")
    });
    assert!(said.lines().any(|line| line.eq_ignore_ascii_case(last)), "{said}");
    assert!(!said.contains("a-key"), "{said}");
}

macro_rules! on_both {
    ($($name:ident => $check:expr;)*) => {
        mod on_ours {
            use super::*;
            $(
                #[test]
                #[ignore = "needs peers: tests/run"]
                fn $name() {
                    $check(Kind::Ours);
                }
            )*
        }
        mod on_redis {
            use super::*;
            $(
                #[test]
                #[ignore = "needs peers: tests/run"]
                fn $name() {
                    $check(Kind::Redis7);
                }
            )*
        }
    };
}

on_both! {
    redis_py => python_client;
    node_redis => |kind| node_client(kind, "node/node-redis.mjs");
    ioredis => |kind| node_client(kind, "node/ioredis.mjs");
    the_flask_application => flask_application;
    redis_cli_in_resp2 => |kind| redis_cli(kind, "-2");
    redis_cli_as_replica => redis_cli_as_a_replica;
    redis_cli_in_resp3 => |kind| redis_cli(kind, "-3");
}
