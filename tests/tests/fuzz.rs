//! The fuzz targets over their seeds, the transcripts, and some thousand seeded random inputs.

use cloakroom_tests::fuzz::TARGETS;
use cloakroom_tests::peers::root;
use cloakroom_tests::suite::transcripts;
use cloakroom_tests::transcript::{Action, Transcript};

/// Words that inputs are made of, beside the seeds.
const WORDS: &[&[u8]] = &[
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n",
    b"*2\r\n$4\r\nECHO\r\n$",
    b"\r\n",
    b"\n",
    b"*",
    b"$",
    b"-1",
    b"1048577",
    b"536870912",
    b"99999999999999999999",
    b"\"",
    b"'",
    b"\\x",
    b"\\",
    b"\0",
    b" ",
    b"[^a-z]",
    b"?",
    b"#",
    b"PING\r\n",
    b"MULTI\r\n",
    b"EXEC\r\n",
    b"HELLO 3\r\n",
    b"CLIENT REPLY SKIP\r\n",
    b"SUBSCRIBE a b\r\n",
    b"PUBLISH a b\r\n",
    b"HSET h a 1 b 2 c 3\r\n",
    b"HPEXPIRE h 1 FIELDS 1 a\r\n",
    b"HGETALL h\r\n",
    b"ZADD z 1 a nan b\r\n",
    b"SETRANGE k 1048575 x\r\n",
    b"SRANDMEMBER s -9223372036854775807\r\n",
    b"port 7000\n",
    b"maxmemory 100mb\n",
    b"client-output-buffer-limit normal 1 2 3\n",
];

/// Every transcript's commands as one input of the engine.
fn conversations() -> Vec<Vec<u8>> {
    let sent = |action: Action| match action {
        Action::Call { command, .. } | Action::Send { command, .. } => Some(command + "\r\n"),
        _ => None,
    };
    let of_one = |transcript: Transcript| -> Vec<u8> {
        let steps = transcript.cases.into_iter().flat_map(|case| case.steps);
        let requests = steps.filter_map(|step| sent(step.action)).flat_map(String::into_bytes);
        std::iter::once(0x7f).chain(requests).collect()
    };
    let all = transcripts().expect("transcripts can be read");
    all.into_iter().map(|(_, transcript)| of_one(transcript)).collect()
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = root().join("fuzz/seeds").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = files.map(|file| file.expect("it can be listed").path());
    let mut seeds: Vec<_> =
        paths.map(|path| std::fs::read(&path).expect("it can be read")).collect();
    // The order in which a folder lists its files is not the same everywhere.
    seeds.sort();
    if target == "engine" {
        seeds.extend(conversations());
    }
    seeds
}

/// A piece of a seed, or a word, or random bytes.
fn piece(rng: &mut fastrand::Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    match rng.u8(..4) {
        0 => (0..rng.usize(..12)).map(|_| rng.u8(..)).collect(),
        1 | 2 => WORDS[rng.usize(..WORDS.len())].to_vec(),
        _ => {
            let seed = &seeds[rng.usize(..seeds.len())];
            let from = rng.usize(..=seed.len());
            seed[from..from + rng.usize(..=(seed.len() - from).min(400))].to_vec()
        }
    }
}

/// A seed with a few changes, or pieces put together.
fn input(rng: &mut fastrand::Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    if rng.bool() {
        return (0..rng.usize(1..12)).flat_map(|_| piece(rng, seeds)).collect();
    }
    let mut input = seeds[rng.usize(..seeds.len())].clone();
    input.truncate(4_000);
    for _ in 0..rng.usize(1..8) {
        let at = rng.usize(..=input.len());
        match rng.u8(..3) {
            0 => drop(input.splice(at..at, piece(rng, seeds))),
            1 if at < input.len() => input[at] = rng.u8(..),
            _ => drop(input.drain(at..(at + rng.usize(..20)).min(input.len()))),
        }
    }
    input
}

/// Runs a target over its seeds and `count` inputs made of them. Which input it was is told.
fn replay(name: &str, count: u64) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    let seeds = seeds(name);
    assert!(seeds.len() > 2, "{name} has seeds");
    seeds.iter().for_each(|seed| target(seed));
    for number in 0..count {
        let mut rng = fastrand::Rng::with_seed(number);
        let input = input(&mut rng, &seeds);
        let told = std::panic::catch_unwind(|| target(&input));
        if told.is_err() {
            panic!("{name} fails with input {number}: {:?}", String::from_utf8_lossy(&input));
        }
    }
}

#[test]
fn parser_split() {
    replay("parser_split", 5_000);
}

#[test]
fn engine() {
    replay("engine", 2_000);
}

#[test]
fn glob() {
    replay("glob", 5_000);
}

#[test]
fn config_file() {
    replay("config_file", 3_000);
}
