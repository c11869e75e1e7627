//! Kinds of arguments, mostly sensible.

use fastrand::Rng;

/// Texts that are read as numbers, words or patterns in one place and not in another.
const ODD: [&[u8]; 33] = [
    b"",
    b" ",
    b"0",
    b"-0",
    b"-1",
    b"1.5",
    b"3.0",
    b"007",
    b"+1",
    b" 1",
    b"1 ",
    b"1\x00",
    b"0x1F",
    b"1e2",
    b"nan",
    b"inf",
    b"-inf",
    b"Infinity",
    b"1e400",
    b"1e-400",
    b"2147483648",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"99999999999999999999",
    b"\x00\xff\r\n",
    b"\xff\r\x80",
    b"*",
    b"[",
    b"(1",
    b"FIELDS",
    b"NX",
    b"COUNT",
];

/// The digest of `return 1`, and one of nothing.
const DIGESTS: [&[u8]; 3] = [
    b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db",
    b"E0E1F9FABFC9D4800C877A703B823AC0578FF8DB",
    b"ffffffffffffffffffffffffffffffffffffffff",
];

/// What Redis 7.0's DUMP answers of a string and of a hash, a piece of it, and nothing of the kind.
const DUMPS: [&[u8]; 4] = [
    b"\x00\xc0\n\n\x00n\x9fWE\x0e\xaec\xbb",
    b"\x10\x13\x13\x00\x00\x00\x04\x00\x81a\x02\x01\x01\x81b\x02\x82xx\x03\xff\n\x00s\"@\x08\xfd\xdav\xd5",
    b"\x00\xc0\n\n\x00n\x9fWE\x0e\xae",
    b"nonsense",
];

const PATTERNS: [&[u8]; 10] =
    [b"*", b"h*", b"?1", b"[a-c]", b"[^a]*", b"a", b"\\a", b"z[12]", b"[c-a]", b"**[hk"];

/// One of the odd texts.
pub(super) fn odd(rng: &mut Rng) -> Vec<u8> {
    one(rng, &ODD)
}

/// Whether a word is a script's text; `_` stands for a blank in it.
pub(super) fn is_script(word: &str) -> bool {
    ["return", "redis.", "for_"].iter().any(|begin| word.starts_with(begin))
}

/// An argument of this kind; a word that names none stands for itself.
///
/// Keys: of a hash `kh`, string `kt`, set `ks`, sorted set `kz`, sorted set of equal scores `kl`
/// (which alone have an order by member) or any `k`. Then: `f` field, `m` member, `v` value, `i`
/// integer, `n` small count, `x` float, `s` score, `r` bound of scores, `l` bound of members, `t`
/// and `T` times from now in seconds and milliseconds, `at` and `AT` points in time, `p` pattern,
/// `cur` cursor, `sha` digest of a script, `dump` what RESTORE takes; `soon` a time within half a
/// second in milliseconds, `moment` as a point, which may be past, `second` the same in seconds.
pub(super) fn argument(rng: &mut Rng, kind: &str, now: u64) -> Vec<u8> {
    match kind {
        "k" | "kh" | "kt" | "ks" | "kz" | "kl" => key_of(rng, kind),
        "f" => vec![b'a' + rng.u8(..5)],
        "m" => match rng.u8(..4) {
            0 => number(rng.i64(0..6)),
            _ => vec![b'a' + rng.u8(..6)],
        },
        "v" => match rng.u8(..8) {
            0 => odd(rng),
            1 => number(rng.i64(-100..100)),
            2 => vec![b'x'; rng.usize(1..90)],
            _ => vec![b'u' + rng.u8(..4); rng.usize(1..6)],
        },
        "i" => or_odd(rng, 10, |rng| number(rng.i64(-20..20))),
        "n" => or_odd(rng, 12, |rng| number(rng.i64(-3..6))),
        "x" => or_odd(rng, 10, |rng| fraction(f64::from(rng.i32(-400..400)) / 8.0)),
        "s" => match rng.u8(..12) {
            0 => b"inf".to_vec(),
            _ => or_odd(rng, 12, |rng| fraction(f64::from(rng.i32(-40..40)) / 4.0)),
        },
        "r" | "l" => bound(rng, kind),
        "t" => or_odd(rng, 10, |rng| number(rng.i64(1000..5000))),
        "T" => or_odd(rng, 10, |rng| number(rng.i64(1_000_000..5_000_000))),
        "at" => point(rng, 1),
        "AT" => point(rng, 1000),
        "soon" => number(rng.i64(1..400)),
        "moment" => number(now as i64 + rng.i64(-100..400)),
        "second" => number((now / 1000) as i64 + rng.i64(0..3)),
        "p" => one(rng, &PATTERNS),
        // Of a negative cursor Redis makes a large one and Valkey an error: in a transaction that
        // Redis refuses for another reason, ours cannot be held to either.
        "cur" => match or_odd(rng, 12, |_| b"0".to_vec()) {
            negative if negative.starts_with(b"-") => b"0".to_vec(),
            cursor => cursor,
        },
        "sha" => one(rng, &DIGESTS),
        "dump" => one(rng, &DUMPS),
        script if is_script(script) => script.replace('_', " ").into_bytes(),
        word => word.into(),
    }
}

/// A key that holds what the kind says, mostly.
fn key_of(rng: &mut Rng, kind: &str) -> Vec<u8> {
    let wrong = rng.u8(..12) == 0;
    match kind {
        "kl" if wrong => key(rng, b"hts"),
        "kl" => key(rng, b"l"),
        "kh" if !wrong => key(rng, b"h"),
        "kt" if !wrong => key(rng, b"t"),
        "ks" if !wrong => key(rng, b"s"),
        "kz" if !wrong => key(rng, b"z"),
        _ => key(rng, b"htsz"),
    }
}

fn key(rng: &mut Rng, kinds: &[u8]) -> Vec<u8> {
    vec![kinds[rng.usize(..kinds.len())], b'1' + rng.u8(..3)]
}

fn bound(rng: &mut Rng, kind: &str) -> Vec<u8> {
    match (kind, rng.u8(..8)) {
        ("l", 0) => b"-".to_vec(),
        ("l", 1) => b"+".to_vec(),
        ("l", 2) => vec![b'(', b'a' + rng.u8(..6)],
        ("l", 3) => odd(rng),
        ("l", _) => vec![b'[', b'a' + rng.u8(..6)],
        (_, 0) => b"-inf".to_vec(),
        (_, 1) => b"+inf".to_vec(),
        (_, 2) => odd(rng),
        (_, 3) => format!("({}", rng.i32(-10..10)).into_bytes(),
        _ => number(rng.i64(-10..10)),
    }
}

/// A point in time, mostly in the year 3021.
fn point(rng: &mut Rng, unit: i64) -> Vec<u8> {
    match rng.u8(..10) {
        0 => odd(rng),
        1 => number(rng.i64(1..1000)),
        _ => number(rng.i64(33_177_117_000..33_177_118_000) * unit),
    }
}

fn or_odd(rng: &mut Rng, once_in: u8, sensible: impl FnOnce(&mut Rng) -> Vec<u8>) -> Vec<u8> {
    if rng.u8(..once_in) == 0 { odd(rng) } else { sensible(rng) }
}

fn one(rng: &mut Rng, of: &[&[u8]]) -> Vec<u8> {
    of[rng.usize(..of.len())].to_vec()
}

fn number(n: i64) -> Vec<u8> {
    n.to_string().into_bytes()
}

fn fraction(x: f64) -> Vec<u8> {
    x.to_string().into_bytes()
}
