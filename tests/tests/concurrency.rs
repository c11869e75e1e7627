//! Several threads of a server at once, held to what must be true at every moment: nothing is
//! counted twice or lost, a transaction is seen whole or not at all, every end of a key is told
//! once and not early, and what a snapshot or a replica holds is one moment of the data.
//!
//! `ROUNDS=100000 cargo test -p cloakroom-tests --test concurrency` plays for longer; CONTRIBUTING.md
//! tells how to play under ThreadSanitizer.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};

use cloakroom::{Clock, Handle, Server};
use cloakroom_tests::process::Folder;
use cloakroom_tests::wire::{Value, Wire};

const WRITERS: usize = 4;

/// Counters that all writers count in: the first half are keys, the others fields of one hash.
const COUNTERS: usize = 16;

/// What transfers move money between; none is lost on the way.
const ACCOUNTS: [&str; 6] = ["account:0", "account:1", "account:2", "account:3", "a:4", "a:5"];
const MONEY: i64 = 1000 * ACCOUNTS.len() as i64;

/// What is published when everything is over.
const OVER: &str = "over";

/// A transfer by a script.
const TRANSFER: &str = "redis.call('DECRBY', KEYS[1], ARGV[1]) \
                        redis.call('INCRBY', KEYS[2], ARGV[1]) return 1";

/// What a writer has done, to be found in the data afterwards.
#[derive(Debug, Default)]
struct Done {
    counted: [i64; COUNTERS],
    /// Increments by WATCH, MULTI and EXEC that nobody came between.
    won: i64,
    /// Keys with the moment before which they must not end.
    mortal: HashMap<String, u64>,
}

fn rounds() -> usize {
    std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

fn connect(server: &Handle) -> Wire {
    Wire::connect(server.addr().expect("it listens")).expect("it accepts")
}

fn ask<A: AsRef<[u8]>>(wire: &mut Wire, args: &[A]) -> Value {
    wire.call(args).expect("an answer")
}

fn number(value: &Value) -> Option<i64> {
    String::from_utf8(value.bytes()?).ok()?.parse().ok()
}

/// The sum of numbers, unless one of them is missing.
fn sum(values: &Value) -> Option<i64> {
    values.items()?.iter().map(number).sum()
}

fn is_ok(value: &Value) -> bool {
    *value == Value::Status(b"OK".to_vec())
}

#[test]
fn what_must_be_true_is_true_while_all_threads_write() {
    play("4");
}

#[test]
fn what_must_be_true_is_true_while_connections_stand_in_line() {
    play("1");
}

fn play(io_threads: &str) {
    let folder = Folder::new();
    let server = start(io_threads, folder.path());
    let elsewhere = Folder::new();
    let replica = start("2", elsewhere.path());
    let mut client = connect(&server);
    for account in ACCOUNTS {
        assert!(is_ok(&ask(&mut client, &["SET", account, "1000"])));
    }
    let (is_over, listener) = (AtomicBool::new(false), listen(&server));
    let (done, ended) = std::thread::scope(|scope| {
        let listener = scope.spawn(|| hear(&server, listener));
        let writers: Vec<_> = (0..WRITERS).map(|who| scope.spawn(write(&server, who))).collect();
        let others = others(scope, &server, &replica, folder.path(), &is_over);
        let done = join(writers);
        is_over.store(true, Ordering::Relaxed);
        join(others);
        // Whatever is left ends now.
        server.advance(std::time::Duration::from_secs(3600));
        ask(&mut client, &["PUBLISH", OVER, ""]);
        (done, join(vec![listener]).remove(0))
    });
    assert_counted(&mut client, &done);
    assert_ended_once(&done, &ended);
    assert_copied(&server, &replica, folder.path());
}

fn start(io_threads: &str, folder: &Path) -> Handle {
    let settings = [
        ("io-threads", io_threads),
        ("notify-keyspace-events", "KEA"),
        ("save", ""),
        ("dir", &folder.display().to_string()),
        ("enable-debug-command", "yes"),
        ("repl-diskless-sync-delay", "0"),
        ("client-output-buffer-limit", "pubsub 0 0 0"),
    ];
    let builder = Server::builder().clock(Clock::frozen_at(1_800_000_000_000));
    let set = |builder: cloakroom::Builder, (name, value)| builder.set(name, value);
    let builder = settings.into_iter().try_fold(builder, set).expect("settings");
    builder.start_blocking().expect("it starts")
}

fn join<T>(threads: Vec<ScopedJoinHandle<'_, T>>) -> Vec<T> {
    threads.into_iter().map(|thread| thread.join().expect("a thread ends well")).collect()
}

/// Does this until everything is over, and at least once.
fn again_and_again(is_over: &AtomicBool, mut act: impl FnMut()) {
    loop {
        act();
        if is_over.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Whoever is busy beside the writers.
fn others<'s>(
    scope: &'s Scope<'s, '_>,
    server: &'s Handle,
    replica: &'s Handle,
    folder: &'s Path,
    is_over: &'s AtomicBool,
) -> Vec<ScopedJoinHandle<'s, ()>> {
    let mut rng = fastrand::Rng::with_seed(99);
    let turn_the_clock = move || {
        again_and_again(is_over, || {
            server.advance(std::time::Duration::from_micros(rng.u64(..4_000)));
            std::thread::yield_now();
        });
    };
    let read = || {
        let mut client = connect(server);
        again_and_again(is_over, || assert_no_money_is_lost(&mut client));
    };
    let save = || {
        let mut client = connect(server);
        again_and_again(is_over, || assert_a_snapshot_is_whole(&mut client, folder));
    };
    let come_and_go = || again_and_again(is_over, || visit(server));
    let follow = || follow(server, replica, is_over);
    vec![
        scope.spawn(turn_the_clock),
        scope.spawn(read),
        scope.spawn(save),
        scope.spawn(come_and_go),
        scope.spawn(follow),
    ]
}

fn write(server: &Handle, who: usize) -> impl FnOnce() -> Done {
    move || {
        let mut rng = fastrand::Rng::with_seed(who as u64);
        let (mut client, mut done) = (connect(server), Done::default());
        for round in 0..rounds() {
            match rng.u32(..10) {
                0..3 => count(&mut client, &mut rng, &mut done),
                3 => transfer(&mut client, &mut rng),
                4 => transfer_by_script(&mut client, &mut rng),
                5 => win(&mut client, &mut done),
                6..8 => {
                    let key = format!("mortal:{who}:{round}");
                    done.mortal.insert(key.clone(), make_mortal(server, &mut client, &key));
                }
                _ => make_noise(&mut client, &mut rng),
            }
        }
        done
    }
}

/// Counts in a batch, in counters of both kinds, beside fields that come, grow and go.
fn count(client: &mut Wire, rng: &mut fastrand::Rng, done: &mut Done) {
    let batch = rng.usize(1..32);
    for _ in 0..batch {
        let (counter, by) = (rng.usize(..COUNTERS), rng.i64(-50..100));
        done.counted[counter] += by;
        let (name, by) = (format!("count:{counter}"), by.to_string());
        let sent = if counter < COUNTERS / 2 {
            client.send(&["INCRBY", &name, &by])
        } else {
            client.send(&["HINCRBY", "counts", &name, &by])
        };
        sent.expect("it is sent");
    }
    let (field, value) = (format!("pad:{}", rng.u32(..6)), "x".repeat(rng.usize(..900)));
    let sent = match rng.bool() {
        true => client.send(&["HSET", "counts", &field, &value]),
        false => client.send(&["HDEL", "counts", &field]),
    };
    sent.expect("it is sent");
    for _ in 0..=batch {
        assert!(!client.read().expect("an answer").is_error());
    }
}

fn two_accounts(rng: &mut fastrand::Rng) -> (&'static str, &'static str, String) {
    let from = rng.usize(..ACCOUNTS.len());
    let to = (from + rng.usize(1..ACCOUNTS.len())) % ACCOUNTS.len();
    (ACCOUNTS[from], ACCOUNTS[to], rng.u32(..500).to_string())
}

fn transfer(client: &mut Wire, rng: &mut fastrand::Rng) {
    let (from, to, amount) = two_accounts(rng);
    assert!(is_ok(&ask(client, &["MULTI"])));
    ask(client, &["DECRBY", from, &amount]);
    ask(client, &["INCRBY", to, &amount]);
    assert_eq!(ask(client, &["EXEC"]).items().map(<[_]>::len), Some(2));
}

fn transfer_by_script(client: &mut Wire, rng: &mut fastrand::Rng) {
    let (from, to, amount) = two_accounts(rng);
    let reply = ask(client, &["EVAL", TRANSFER, "2", from, to, &amount]);
    assert_eq!(reply, Value::Integer(1));
}

/// Increments a number by reading and writing it, unless somebody else does so meanwhile.
fn win(client: &mut Wire, done: &mut Done) {
    assert!(is_ok(&ask(client, &["WATCH", "won"])));
    let before = number(&ask(client, &["GET", "won"])).unwrap_or(0);
    ask(client, &["MULTI"]);
    ask(client, &["SET", "won", &(before + 1).to_string()]);
    let has_won = matches!(ask(client, &["EXEC"]), Value::Array(_));
    done.won += i64::from(has_won);
}

/// Makes a key that ends, and moves its end; returns the moment before which it must not.
fn make_mortal(server: &Handle, client: &mut Wire, key: &str) -> u64 {
    let now = server.clock().now();
    assert!(is_ok(&ask(client, &["SET", key, "v", "PX", "20"])));
    let later = server.clock().now();
    match ask(client, &["PEXPIRE", key, "45"]) {
        Value::Integer(1) => later + 45,
        // It has ended already.
        _ => now + 20,
    }
}

/// Changes of all kinds that nobody counts, of keys that all writers share.
fn make_noise(client: &mut Wire, rng: &mut fastrand::Rng) {
    let key = |rng: &mut fastrand::Rng| format!("noise:{}", rng.u32(..40));
    let (one, other, n) = (key(rng), key(rng), rng.u32(..300).to_string());
    let requests: [&[&str]; 14] = [
        &["SADD", &one, &n, &other],
        &["ZINCRBY", &one, "1.5", &n],
        &["HSET", &one, &n, &other],
        &["HPEXPIRE", &one, "15", "FIELDS", "1", &n],
        &["APPEND", &one, &n],
        &["RENAME", &one, &other],
        &["COPY", &one, &other, "REPLACE"],
        &["PEXPIRE", &one, "30"],
        &["PERSIST", &one],
        &["DEL", &one, &other],
        &["SUNIONSTORE", &one, &other],
        &["SCAN", "0", "COUNT", "50"],
        &["SPOP", &one],
        &["GETDEL", &one],
    ];
    for _ in 0..8 {
        // Many are refused: the key is of another kind.
        ask(client, requests[rng.usize(..requests.len())]);
    }
}

fn assert_no_money_is_lost(client: &mut Wire) {
    let mut all = vec!["MGET"];
    all.extend(ACCOUNTS);
    assert_eq!(sum(&ask(client, &all)), Some(MONEY));
    ask(client, &["MULTI"]);
    ACCOUNTS.iter().for_each(|account| drop(ask(client, &["GET", account])));
    assert_eq!(sum(&ask(client, &["EXEC"])), Some(MONEY));
}

/// A connection that comes, looks, changes a setting, subscribes and goes.
fn visit(server: &Handle) {
    let mut client = connect(server);
    ask(&mut client, &["CLIENT", "SETNAME", "visitor"]);
    assert!(!ask(&mut client, &["CLIENT", "LIST"]).is_error());
    assert!(!ask(&mut client, &["INFO", "everything"]).is_error());
    let slower = ["CONFIG", "SET", "slowlog-log-slower-than", "5000"];
    assert!(is_ok(&ask(&mut client, &slower)));
    ask(&mut client, &["SUBSCRIBE", "__keyevent@0__:expired", "channel"]);
}

/// Has a snapshot taken while others write, and counts the money in it.
fn assert_a_snapshot_is_whole(client: &mut Wire, folder: &Path) {
    ask(client, &["BGSAVE"]);
    loop {
        let info = ask(client, &["INFO", "persistence"]).bytes().expect("a text");
        let info = String::from_utf8_lossy(&info).into_owned();
        if info.contains("rdb_bgsave_in_progress:0") {
            assert!(info.contains("rdb_last_bgsave_status:ok"), "{info}");
            break;
        }
        std::thread::yield_now();
    }
    assert_no_money_is_lost(&mut connect(&loaded(folder)));
}

/// A server of its own that has loaded the snapshot in this folder.
fn loaded(folder: &Path) -> Handle {
    let copy = Folder::new();
    let file = "dump.rdb";
    std::fs::copy(folder.join(file), copy.path().join(file)).expect("there is a snapshot");
    let builder = Server::builder().clock(Clock::frozen_at(1_800_000_000_000)).keep_in(copy.path());
    let builder = builder.set("save", "").and_then(|it| it.set("enable-debug-command", "yes"));
    builder.expect("settings").start_blocking().expect("it loads")
}

/// Follows the server while it is written to, breaks away and follows again; counts the money.
fn follow(server: &Handle, replica: &Handle, is_over: &AtomicBool) {
    let port = server.addr().expect("it listens").port().to_string();
    let mut client = connect(replica);
    let follow = ["REPLICAOF", "127.0.0.1", &port];
    again_and_again(is_over, || {
        assert!(is_ok(&ask(&mut client, &follow)));
        let mut seen = 0;
        while seen < 200 && !is_over.load(Ordering::Relaxed) {
            let mut all = vec!["MGET"];
            all.extend(ACCOUNTS);
            // Before the first copy there is nothing, and while it is loaded an error.
            if let Some(money) = sum(&ask(&mut client, &all)) {
                assert_eq!(money, MONEY, "on the replica");
                seen += 1;
            }
        }
        assert!(is_ok(&ask(&mut client, &["REPLICAOF", "NO", "ONE"])));
    });
    assert!(is_ok(&ask(&mut client, &follow)));
}

/// A connection that hears of every key's end, and when everything is over.
fn listen(server: &Handle) -> Wire {
    let mut wire = connect(server);
    wire.send(&["SUBSCRIBE", "__keyevent@0__:expired", OVER]).expect("it is sent");
    (0..2).for_each(|_| drop(wire.read().expect("a confirmation")));
    wire
}

/// Keys that ended, with the time that the clock showed when that was heard.
fn hear(server: &Handle, mut wire: Wire) -> Vec<(String, u64)> {
    let mut ended = Vec::new();
    loop {
        // The clock may be turned meanwhile: what is early is early even so, most of the time.
        let message = wire.read().expect("a message");
        let now = server.clock().now();
        let words: Vec<_> = message.items().expect("a message").iter().map(Value::bytes).collect();
        let [_, Some(channel), Some(key)] = &words[..] else { panic!("{message:?}") };
        if channel == OVER.as_bytes() {
            return ended;
        }
        ended.push((String::from_utf8_lossy(key).into_owned(), now));
    }
}

fn assert_counted(client: &mut Wire, done: &[Done]) {
    for counter in 0..COUNTERS {
        let name = format!("count:{counter}");
        let found = if counter < COUNTERS / 2 {
            ask(client, &["GET", &name])
        } else {
            ask(client, &["HGET", "counts", &name])
        };
        let counted: i64 = done.iter().map(|done| done.counted[counter]).sum();
        assert_eq!(number(&found).unwrap_or(0), counted, "{name}");
    }
    let won: i64 = done.iter().map(|done| done.won).sum();
    assert_eq!(number(&ask(client, &["GET", "won"])).unwrap_or(0), won);
}

fn assert_ended_once(done: &[Done], ended: &[(String, u64)]) {
    let mut heard: HashMap<&str, Vec<u64>> = HashMap::new();
    for (key, at) in ended {
        heard.entry(key).or_default().push(*at);
    }
    for (key, earliest) in done.iter().flat_map(|done| &done.mortal) {
        match heard.get(key.as_str()).map(Vec::as_slice) {
            Some([at]) => assert!(at >= earliest, "{key} ended at {at}, before {earliest}"),
            other => panic!("{key} was to end once, not {other:?}"),
        }
    }
}

/// The replica and a snapshot hold the same data as the server, now that all is quiet.
fn assert_copied(server: &Handle, replica: &Handle, folder: &Path) {
    let mut client = connect(server);
    assert_eq!(ask(&mut client, &["WAIT", "1", "0"]), Value::Integer(1));
    assert!(is_ok(&ask(&mut client, &["SAVE"])));
    let digest = ask(&mut client, &["DEBUG", "DIGEST"]);
    assert_eq!(ask(&mut connect(replica), &["DEBUG", "DIGEST"]), digest);
    assert_eq!(ask(&mut connect(&loaded(folder)), &["DEBUG", "DIGEST"]), digest);
}
