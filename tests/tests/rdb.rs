//! RDB files and DUMP payloads between ours and the real servers, both ways: random data of every
//! type, in every database, with deadlines.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use cloakroom_tests::peers::{Kind, Peer};
use cloakroom_tests::process::Folder;
use cloakroom_tests::wire::Wire;

type Bytes = Vec<u8>;

/// What a key holds: its type, its deadline, and its elements in an order of their own.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    kind: Bytes,
    deadline: Bytes,
    elements: Vec<Vec<Bytes>>,
}

type Contents = BTreeMap<(usize, Bytes), Held>;

/// The databases that are filled.
const DATABASES: [usize; 3] = [0, 3, 15];

fn elements(wire: &mut Wire, key: &[u8], kind: &[u8], with_deadlines: bool) -> Vec<Vec<Bytes>> {
    let mut elements: Vec<Vec<Bytes>> = match kind {
        b"string" => vec![vec![wire.ask(&[b"GET", key]).bytes().expect("it is there")]],
        b"hash" => wire.ask(&[b"HGETALL", key]).list().chunks(2).map(<[Bytes]>::to_vec).collect(),
        b"set" => wire.ask(&[b"SMEMBERS", key]).list().chunks(1).map(<[Bytes]>::to_vec).collect(),
        b"zset" => {
            let all = wire.ask(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]);
            // Servers differ in how they print doubles.
            let score = |text: &Bytes| {
                let text = String::from_utf8_lossy(text).into_owned();
                text.parse::<f64>().expect("a score is a number").to_string().into_bytes()
            };
            all.list().chunks(2).map(|pair| vec![pair[0].clone(), score(&pair[1])]).collect()
        }
        other => panic!("nobody made a {}", other.escape_ascii()),
    };
    if kind == b"hash" && with_deadlines {
        let count = elements.len().to_string();
        let mut asked = vec![b"HPEXPIRETIME", key, b"FIELDS", count.as_bytes()];
        asked.extend(elements.iter().map(|field| field[0].as_slice()));
        let deadlines = wire.ask(&asked).list();
        elements.iter_mut().zip(deadlines).for_each(|(field, deadline)| field.push(deadline));
    }
    elements.sort();
    elements
}

fn contents(wire: &mut Wire, with_deadlines: bool) -> Contents {
    let mut found = Contents::new();
    for db in DATABASES {
        wire.ask(&[b"SELECT", db.to_string().as_bytes()]);
        for key in wire.ask(&[b"KEYS", b"*"]).list() {
            let kind = wire.ask(&[b"TYPE", &key]);
            let kind = kind.bytes().unwrap_or_else(|| kind.to_string().into_bytes());
            let deadline = wire.ask(&[b"PEXPIRETIME", &key]).bytes().unwrap_or_default();
            let elements = elements(wire, &key, &kind, with_deadlines);
            found.insert((db, key), Held { kind, deadline, elements });
        }
    }
    found
}

fn random_bytes(rng: &mut fastrand::Rng) -> Bytes {
    match rng.u32(..10) {
        0 => rng.i64(..).to_string().into_bytes(),
        1 => rng.i16(..).to_string().into_bytes(),
        2 => rng.i8(..).to_string().into_bytes(),
        3 => vec![rng.alphabetic() as u8; rng.usize(..500)],
        4 => (0..rng.usize(..70)).map(|_| rng.u8(..)).collect(),
        5 => Vec::new(),
        6 => format!("{{\"user\":\"{}\",\"cart\":[]}}", rng.u32(..))
            .repeat(rng.usize(1..9))
            .into_bytes(),
        _ => (0..rng.usize(1..20)).map(|_| rng.alphanumeric() as u8).collect(),
    }
}

/// How many elements a collection gets: few most of the time, or beyond what is kept small.
fn random_size(rng: &mut fastrand::Rng) -> usize {
    match rng.u32(..12) {
        0 => rng.usize(120..140),
        1 => rng.usize(500..700),
        _ => rng.usize(1..12),
    }
}

/// A point in time that no test lives to see.
fn far(rng: &mut fastrand::Rng) -> Bytes {
    rng.u64(4_102_444_800_000..8_000_000_000_000).to_string().into_bytes()
}

fn fill(wire: &mut Wire, seed: u64, with_deadlines: bool) {
    let mut rng = fastrand::Rng::with_seed(seed);
    for db in DATABASES {
        wire.ask(&[b"SELECT", db.to_string().as_bytes()]);
        for number in 0..80 {
            let name = random_bytes(&mut rng);
            let key = [format!("{number}:").as_bytes(), &name].concat();
            let mut args: Vec<Bytes> = Vec::new();
            let size = random_size(&mut rng);
            match rng.u32(..5) {
                0 => args = vec![b"SET".to_vec(), key.clone(), random_bytes(&mut rng)],
                1 | 2 => {
                    args.extend([b"HSET".to_vec(), key.clone()]);
                    for _ in 0..size {
                        args.extend([random_bytes(&mut rng), random_bytes(&mut rng)]);
                    }
                }
                3 => {
                    args.extend([b"SADD".to_vec(), key.clone()]);
                    let ints = rng.bool();
                    args.extend((0..size).map(|_| match ints {
                        true => (rng.i64(..) >> rng.u32(..64)).to_string().into_bytes(),
                        false => random_bytes(&mut rng),
                    }));
                }
                _ => {
                    args.extend([b"ZADD".to_vec(), key.clone()]);
                    for _ in 0..size {
                        let scores =
                            [f64::from(rng.i32(..)), rng.f64() * 1e3, 1e300, f64::INFINITY];
                        let score = scores[rng.usize(..scores.len())].to_string();
                        args.extend([score.into_bytes(), random_bytes(&mut rng)]);
                    }
                }
            }
            let words: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            wire.ask(&words);
            if args[0] == b"HSET" && with_deadlines && rng.bool() {
                for field in args[2..].chunks(2).take(rng.usize(1..4)) {
                    let at = far(&mut rng);
                    wire.ask(&[b"HPEXPIREAT", &key, &at, b"FIELDS", b"1", &field[0]]);
                }
            }
            if rng.u32(..3) == 0 {
                let at = far(&mut rng);
                wire.ask(&[b"PEXPIREAT", &key, &at]);
            }
        }
    }
}

/// Whether this server knows deadlines of fields.
fn knows_field_deadlines(kind: Kind) -> bool {
    kind != Kind::Redis7
}

fn start_in(kind: Kind, folder: &Path) -> Peer {
    let folder = folder.display().to_string();
    Peer::start_with(kind, &["--dir", &folder]).unwrap_or_else(|e| panic!("{}: {e}", kind.tag()))
}

/// One server saves, the other loads, and both hold the same.
fn file_goes(from: Kind, to: Kind) {
    let folder = Folder::new();
    let with_deadlines = knows_field_deadlines(from) && knows_field_deadlines(to);
    for seed in 0..3 {
        let _ = std::fs::remove_file(folder.path().join("dump.rdb"));
        let source = start_in(from, folder.path());
        let mut wire = source.connect().expect("it accepts");
        fill(&mut wire, seed, with_deadlines);
        wire.ask(&[b"SAVE"]);
        let due = contents(&mut wire, with_deadlines);
        if from == Kind::Ours && to == Kind::Redis7 {
            check_rdb(&folder.path().join("dump.rdb"));
        }
        let target = start_in(to, folder.path());
        let found = contents(&mut target.connect().expect("it accepts"), with_deadlines);
        assert!(due.len() >= 200, "much was made");
        assert_eq!(found, due, "seed {seed} from {} to {}", from.tag(), to.tag());
    }
}

/// Redis's own checker accepts the file.
fn check_rdb(path: &Path) {
    let output = Command::new("redis-check-rdb").arg(path).output();
    let output = output.expect("redis-check-rdb is installed (see tests/run)");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("RDB looks OK"), "{text}");
}

/// Each key goes from one server to the other by DUMP and RESTORE.
fn payloads_go(from: Kind, to: Kind) {
    let [source, target] =
        [from, to].map(|kind| Peer::start(kind).unwrap_or_else(|e| panic!("{}: {e}", kind.tag())));
    let [mut source, mut target] =
        [source.connect(), target.connect()].map(|wire| wire.expect("up"));
    let with_deadlines = knows_field_deadlines(from) && knows_field_deadlines(to);
    fill(&mut source, 9, with_deadlines);
    let due = contents(&mut source, with_deadlines);
    for (db, key) in due.keys() {
        for wire in [&mut source, &mut target] {
            wire.ask(&[b"SELECT", db.to_string().as_bytes()]);
        }
        let payload = source.ask(&[b"DUMP", key]).bytes().expect("the key is there");
        let deadline = source.ask(&[b"PEXPIRETIME", key]).bytes().unwrap_or_default();
        let deadline: &[u8] = if deadline == b"-1" { b"0" } else { &deadline };
        target.ask(&[b"RESTORE", key, deadline, &payload, b"ABSTTL"]);
    }
    assert_eq!(contents(&mut target, with_deadlines), due, "{} to {}", from.tag(), to.tag());
}

macro_rules! with_peers {
    ($($name:ident => $check:expr;)*) => {$(
        #[test]
        #[ignore = "needs peers: tests/run"]
        fn $name() {
            $check;
        }
    )*};
}

with_peers! {
    redis_loads_what_ours_saves => file_goes(Kind::Ours, Kind::Redis7);
    valkey_loads_what_ours_saves => file_goes(Kind::Ours, Kind::Valkey9);
    ours_loads_what_redis_saves => file_goes(Kind::Redis7, Kind::Ours);
    ours_loads_what_valkey_saves => file_goes(Kind::Valkey9, Kind::Ours);
    redis_restores_what_ours_dumps => payloads_go(Kind::Ours, Kind::Redis7);
    valkey_restores_what_ours_dumps => payloads_go(Kind::Ours, Kind::Valkey9);
    ours_restores_what_redis_dumps => payloads_go(Kind::Redis7, Kind::Ours);
    ours_restores_what_valkey_dumps => payloads_go(Kind::Valkey9, Kind::Ours);
}

#[test]
fn ours_loads_what_ours_saves() {
    file_goes(Kind::Ours, Kind::Ours);
}

#[test]
fn ours_restores_what_ours_dumps() {
    payloads_go(Kind::Ours, Kind::Ours);
}
