//! What a server holds: every key of every database, with values and points in time.

use std::collections::BTreeMap;

use cloakroom_tests::peers::Kind;
use cloakroom_tests::wire::{Value, Wire};

type Bytes = Vec<u8>;

/// What a key holds: its type, its deadline in milliseconds since the epoch (-1: none), and its
/// elements in an order of their own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    kind: Bytes,
    deadline: i64,
    elements: Vec<Vec<Bytes>>,
}

/// All of it, by database and key.
pub(crate) type Digest = BTreeMap<(usize, Bytes), Held>;

/// The databases that the load writes to.
const DATABASES: [usize; 2] = [0, 1];

/// Redis 6.2 does not tell a deadline, only the time left: exact where a millisecond does not end
/// meanwhile.
const LEFT: &str = "
    local function now() local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000) end
    local before = now()
    local left = redis.call('PTTL', KEYS[1])
    return {before, left, now()}";

/// Takes the digest of what `wire`'s server holds, as far as servers of both kinds know of it.
pub(crate) fn digest(wire: &mut Wire, kind: Kind, with_fields: bool) -> Digest {
    let mut found = Digest::new();
    for db in DATABASES {
        wire.ask(&[b"SELECT", db.to_string().as_bytes()]);
        for key in wire.ask(&[b"KEYS", b"*"]).list() {
            let held = held(wire, &key, kind, with_fields);
            found.insert((db, key), held);
        }
    }
    found
}

fn held(wire: &mut Wire, key: &[u8], server: Kind, with_fields: bool) -> Held {
    let kind = wire.ask(&[b"TYPE", key]).bytes().unwrap_or_default();
    let deadline = match server {
        Kind::Redis6 => deadline_of(wire, key),
        _ => integer(&wire.ask(&[b"PEXPIRETIME", key])),
    };
    let mut elements = elements(wire, key, &kind);
    if with_fields && kind == b"hash" && !elements.is_empty() {
        let count = elements.len().to_string();
        let mut asked = vec![b"HPEXPIRETIME", key, b"FIELDS", count.as_bytes()];
        asked.extend(elements.iter().map(|field| field[0].as_slice()));
        let deadlines = wire.ask(&asked).list();
        elements.iter_mut().zip(deadlines).for_each(|(field, deadline)| field.push(deadline));
    }
    elements.sort();
    Held { kind, deadline, elements }
}

fn elements(wire: &mut Wire, key: &[u8], kind: &[u8]) -> Vec<Vec<Bytes>> {
    let chunks = |value: &Value, by| value.list().chunks(by).map(<[Bytes]>::to_vec).collect();
    match kind {
        b"string" => vec![vec![wire.ask(&[b"GET", key]).bytes().unwrap_or_default()]],
        b"hash" => chunks(&wire.ask(&[b"HGETALL", key]), 2),
        b"set" => chunks(&wire.ask(&[b"SMEMBERS", key]), 1),
        b"zset" => {
            let all = wire.ask(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]);
            // Servers differ in how they print doubles.
            let plain = |pair: &[Bytes]| vec![pair[0].clone(), score(&pair[1])];
            all.list().chunks(2).map(plain).collect()
        }
        // It has ended since its name was read.
        b"none" => Vec::new(),
        other => panic!("nobody made a {}", other.escape_ascii()),
    }
}

fn score(text: &[u8]) -> Bytes {
    let number: f64 = String::from_utf8_lossy(text).parse().expect("a score is a number");
    number.to_string().into_bytes()
}

fn deadline_of(wire: &mut Wire, key: &[u8]) -> i64 {
    loop {
        let reply = wire.ask(&[b"EVAL", LEFT.as_bytes(), b"1", key]);
        let times: Vec<i64> = reply.items().expect("a list").iter().map(integer).collect();
        match times[..] {
            [_, left, _] if left < 0 => return left,
            [before, left, after] if before == after => return before + left,
            _ => {}
        }
    }
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::Integer(number) => *number,
        other => panic!("a number was asked for: {other}"),
    }
}
