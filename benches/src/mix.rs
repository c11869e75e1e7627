//! The mixes: what one operation of each sends, and how many replies it brings.

use std::io::Write as _;

use clap::ValueEnum;
use cloakroom::store::{Access, Db, Hash, HashLimits};

use crate::document;

/// The fields of a session, as a login writes them.
pub const NAMES: [&[u8]; 8] = [
    b"field:0", b"field:1", b"field:2", b"field:3", b"field:4", b"field:5", b"field:6", b"field:7",
];

/// Bytes of each value.
pub const VALUE: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// What a web server does with sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mix {
    /// PING.
    Ping,
    /// HINCRBY key visits 1, EXPIRE key 1800.
    Visit,
    /// HGETALL key, EXPIRE key 1800.
    Read,
    /// HSET key with 8 fields of 32 bytes, EXPIRE key 1800.
    Login,
    /// 70 % read, 25 % visit, 5 % login.
    Mixed,
    /// HGET key field:0.
    Hget,
}

impl Mix {
    /// All of them, in the order of the tables.
    pub const ALL: [Mix; 6] = [Mix::Ping, Mix::Visit, Mix::Read, Mix::Mixed, Mix::Login, Mix::Hget];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Mix::Ping => "ping",
            Mix::Visit => "visit",
            Mix::Read => "read",
            Mix::Login => "login",
            Mix::Mixed => "mixed",
            Mix::Hget => "hget",
        }
    }

    /// Appends one operation on a random one of `sessions`; returns how many replies it brings.
    pub fn write(self, rng: &mut fastrand::Rng, sessions: u32, out: &mut Vec<u8>) -> u32 {
        let key = Key::new(rng.u32(0..sessions));
        match self {
            Mix::Ping => {
                out.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
                1
            }
            Mix::Visit => {
                out.extend_from_slice(b"*4\r\n$7\r\nHINCRBY\r\n");
                key.write(out);
                out.extend_from_slice(b"$6\r\nvisits\r\n$1\r\n1\r\n");
                expire(&key, out);
                2
            }
            Mix::Read => {
                out.extend_from_slice(b"*2\r\n$7\r\nHGETALL\r\n");
                key.write(out);
                expire(&key, out);
                2
            }
            Mix::Login => {
                login(&key, out);
                expire(&key, out);
                2
            }
            Mix::Mixed => match rng.u32(0..100) {
                0..70 => Mix::Read.write(rng, sessions, out),
                70..95 => Mix::Visit.write(rng, sessions, out),
                _ => Mix::Login.write(rng, sessions, out),
            },
            Mix::Hget => {
                out.extend_from_slice(b"*3\r\n$4\r\nHGET\r\n");
                key.write(out);
                out.extend_from_slice(b"$7\r\nfield:0\r\n");
                1
            }
        }
    }
}

/// `session:%010d` as an argument.
#[derive(Debug, Clone, Copy)]
pub struct Key([u8; 25]);

impl Key {
    /// The key of session `number`.
    pub fn new(number: u32) -> Self {
        let mut key = *b"$18\r\nsession:0000000000\r\n";
        let mut rest = number;
        for place in (13..23).rev() {
            key[place] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        Key(key)
    }

    /// The key itself.
    pub fn name(&self) -> &[u8] {
        &self.0[5..23]
    }

    /// Appends it as an argument.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

fn expire(key: &Key, out: &mut Vec<u8>) {
    out.extend_from_slice(b"*3\r\n$6\r\nEXPIRE\r\n");
    key.write(out);
    out.extend_from_slice(b"$4\r\n1800\r\n");
}

/// A login without a server: creates session `number` in a keyspace, or writes its fields anew.
///
/// # Panics
///
/// If its key holds something else than a hash.
pub fn log_in(db: &mut Db, number: u32) {
    let key = Key::new(number);
    let created = db.create::<Hash>(key.name(), |_| None, Access::used_at(0));
    let mut hash = created.expect("nothing else is there");
    for name in NAMES {
        hash.insert(name, VALUE, &HashLimits::default());
    }
}

fn login(key: &Key, out: &mut Vec<u8>) {
    out.extend_from_slice(b"*18\r\n$4\r\nHSET\r\n");
    key.write(out);
    for name in NAMES {
        out.extend_from_slice(b"$7\r\n");
        out.extend_from_slice(name);
        out.extend_from_slice(b"\r\n$32\r\n");
        out.extend_from_slice(VALUE);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a request made of `args`.
pub fn request(args: &[&[u8]], out: &mut Vec<u8>) {
    let _ = write!(out, "*{}\r\n", args.len());
    for arg in args {
        let _ = write!(out, "${}\r\n", arg.len());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// How one kind of session is filled in for the measure of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// 8 fields × 32 bytes and a deadline, the same names everywhere.
    Common,
    /// Each session has names of its own.
    OwnNames,
    /// One field in four has a deadline of its own.
    FieldDeadlines,
    /// Values of 1 KiB.
    LargeValues,
    /// SET with EX, JSON of 300 to 2,000 bytes.
    Strings,
}

impl Shape {
    /// All of them, in the order of the tables.
    pub const ALL: [Shape; 5] =
        [Shape::Common, Shape::OwnNames, Shape::FieldDeadlines, Shape::LargeValues, Shape::Strings];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Common => "8 fields × 32 B, TTL",
            Shape::OwnNames => "own field names",
            Shape::FieldDeadlines => "field TTLs, 1 in 4",
            Shape::LargeValues => "8 fields × 1 KiB",
            Shape::Strings => "JSON strings, 300–2,000 B",
        }
    }

    /// Redis 7.0 has no field deadlines; the share of sessions is smaller where they are large.
    pub fn share(self, sessions: u32) -> u32 {
        match self {
            Shape::LargeValues => sessions / 10,
            Shape::Strings => sessions / 2,
            _ => sessions,
        }
    }

    /// Appends what creates session `number`; returns how many replies it brings.
    pub fn write(self, number: u32, out: &mut Vec<u8>) -> u32 {
        let key = Key::new(number);
        match self {
            Shape::Common => {
                login(&key, out);
                expire(&key, out);
                2
            }
            Shape::OwnNames | Shape::LargeValues => {
                let large = [b'x'; 1024];
                let value: &[u8] = if self == Shape::LargeValues { &large } else { VALUE };
                out.extend_from_slice(b"*18\r\n$4\r\nHSET\r\n");
                key.write(out);
                for field in 0..NAMES.len() {
                    let name = if self == Shape::OwnNames {
                        format!("f{:06x}", (number.wrapping_mul(2_654_435_761) >> 8) ^ field as u32)
                    } else {
                        format!("field:{field}")
                    };
                    let _ = write!(out, "${}\r\n{name}\r\n${}\r\n", name.len(), value.len());
                    out.extend_from_slice(value);
                    out.extend_from_slice(b"\r\n");
                }
                expire(&key, out);
                2
            }
            Shape::FieldDeadlines => {
                login(&key, out);
                expire(&key, out);
                out.extend_from_slice(b"*7\r\n$7\r\nHEXPIRE\r\n");
                key.write(out);
                out.extend_from_slice(b"$4\r\n1700\r\n$6\r\nFIELDS\r\n$1\r\n2\r\n");
                out.extend_from_slice(b"$7\r\nfield:1\r\n$7\r\nfield:5\r\n");
                3
            }
            Shape::Strings => {
                let mut session = Vec::new();
                document::write(number, &mut session);
                request(&[b"SET", key.name(), &session, b"EX", b"1800"], out);
                1
            }
        }
    }

    /// The session's own bytes: key, names, values.
    pub fn own_bytes(self) -> u32 {
        match self {
            Shape::Common | Shape::OwnNames | Shape::FieldDeadlines => 18 + 8 * (7 + 32),
            Shape::LargeValues => 18 + 8 * (7 + 1024),
            Shape::Strings => 18 + document::mean_len(),
        }
    }
}
