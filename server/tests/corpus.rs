//! Files that real servers of several versions wrote: what they hold is what the commands that made
//! them say, and damage to them is told and bounded.

mod support;

use std::alloc::System;
use std::fs;
use std::path::{Path, PathBuf};

use cap::Cap;
use cloakroom::rdb::{LoadOptions, Loader, ReadOptions};
use cloakroom::store::{Encodings, Keyspace};
use support::{Folder, NOW, Node};

/// Counts what is allocated.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// All files, each with the name of its commands.
fn files() -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(corpus()).expect("the corpus is there");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "rdb"))
        .map(|path| {
            let stem = path.file_stem().expect("files have names").to_string_lossy();
            let script = stem.rsplit('-').next().expect("a part is left").to_owned();
            (path, script)
        })
        .collect();
    files.sort();
    assert!(files.len() >= 23, "the corpus is whole");
    files
}

/// The words of a line as redis-cli reads them: quotes, and escapes within.
fn words(line: &str) -> Vec<Vec<u8>> {
    let mut parser = cloakroom::resp::RequestParser::new();
    let bytes = [line.as_bytes(), b"\r\n"].concat();
    parser.parse(&bytes, &cloakroom::resp::Limits::default()).expect("the line is well-formed");
    parser.args(&bytes).iter().map(<[u8]>::to_vec).collect()
}

/// A node whose data was made by the commands that every server was sent.
fn made_by(script: &str) -> Node {
    let folder = Folder::new(&format!("made-{script}"));
    let mut node = Node::start(folder.path(), |_| {}).expect("there is nothing to load");
    let text = fs::read_to_string(corpus().join(script).with_extension("redis"));
    for line in text.expect("each file has its commands").lines() {
        if !line.starts_with(['#', '!']) && !line.is_empty() {
            let reply = node.call(words(line));
            assert!(!reply.starts_with('-'), "{line}: {reply}");
        }
    }
    node
}

fn loaded(file: &Path, skip: bool) -> Result<Node, String> {
    let folder = file.parent().expect("it lies in a folder");
    let name = file.file_name().expect("it has a name").to_string_lossy().into_owned();
    Node::start(folder, |config| {
        config.dbfilename = name;
        config.rdb_skip_unknown_types = skip;
    })
    .map_err(|error| error.to_string())
}

#[test]
fn what_real_servers_wrote_is_read() {
    for (file, script) in files() {
        let skip = matches!(script.as_str(), "unknown" | "modules");
        let mut node = loaded(&file, skip).unwrap_or_else(|why| panic!("{why}"));
        let mut due = made_by(&script);
        assert_eq!(node.digest(), due.digest(), "{}", file.display());
        let ended = u8::from(script == "plain");
        assert_eq!(node.info("rdb_last_load_keys_expired"), ended.to_string());
    }
}

#[test]
fn what_was_read_is_written_for_all_versions() {
    let folder = Folder::new("rewritten");
    for (file, script) in files() {
        let mut node = loaded(&file, true).unwrap_or_else(|why| panic!("{why}"));
        node.call(["CONFIG", "SET", "dir", &folder.path().display().to_string()]);
        for version in ["auto", "10", "11", "12", "80"] {
            for compressed in ["yes", "no"] {
                node.call(["CONFIG", "SET", "dbfilename", "dump.rdb", "rdb-version", version]);
                node.call(["CONFIG", "SET", "rdbcompression", compressed]);
                let reply = node.say("SAVE");
                if script == "fields" && matches!(version, "10" | "11") {
                    assert!(
                        reply.starts_with("-ERR cannot save: fields of 3 hashes have deadlines"),
                        "{reply}"
                    );
                    continue;
                }
                assert_eq!(reply, "+OK\r\n");
                let mut again =
                    loaded(&folder.path().join("dump.rdb"), false).expect("it is whole");
                assert_eq!(again.digest(), node.digest(), "{} as {version}", file.display());
            }
        }
    }
}

#[test]
fn deadlines_of_fields_are_dropped_where_that_is_asked_for() {
    let (folder, file) = (Folder::new("dropped"), corpus().join("valkey-9.1-fields.rdb"));
    let mut node = loaded(&file, false).expect("it is whole");
    node.call(["CONFIG", "SET", "dir", &folder.path().display().to_string()]);
    node.call(["CONFIG", "SET", "dbfilename", "dump.rdb", "rdb-version", "10"]);
    node.call(["CONFIG", "SET", "rdb-drop-field-deadlines", "yes"]);
    assert_eq!(node.say("SAVE"), "+OK\r\n");
    let bytes = fs::read(folder.path().join("dump.rdb")).expect("it was written");
    assert_eq!(bytes[..9], *b"REDIS0010");
    let mut again = loaded(&folder.path().join("dump.rdb"), false).expect("it is whole");
    assert_eq!(again.say("HGET hash:small b"), "$3\r\ntwo\r\n");
    assert_eq!(again.say("HTTL hash:small FIELDS 1 b"), "*1\r\n:-1\r\n");
}

#[test]
fn types_that_are_not_known_are_refused_by_name() {
    for (file, key, kind) in [
        ("redis-6.2-unknown.rdb", "list:deadline", "list"),
        ("redis-8.2-modules.rdb", "graph", "module graphdata"),
    ] {
        let why = loaded(&corpus().join(file), false).err().expect("it is refused");
        let says = |part: &str| assert!(why.contains(part), "{why}");
        says(file);
        says(&format!("key \"{key}\": the value is a {kind}, a type that is not known here"));
        says("at byte ");
    }
}

/// Loads bytes that may be damaged.
fn load(bytes: &[u8], checksum: bool) -> Result<usize, String> {
    let options = LoadOptions {
        read: ReadOptions { skip_unknown: true, checksum, ..ReadOptions::default() },
        encodings: Encodings::default(),
        now: NOW,
        counts_uses: false,
        drop_expired: true,
        merge: false,
    };
    let (mut keyspace, mut loader) = (Keyspace::new(16), Loader::new(options));
    for piece in bytes.chunks(97) {
        if loader.feed(piece, &mut keyspace).map_err(|error| error.to_string())? {
            break;
        }
    }
    loader.finish().map_err(|error| error.to_string())?;
    Ok(keyspace.len())
}

/// However a file is damaged, loading it takes at most this much memory for each of its bytes, and
/// this much in all: what is compressed comes to 88 times as much, and a packed element of two bytes
/// to a string of its own in memory.
const BYTES_A_BYTE: usize = 4_000;
const BYTES_IN_ALL: usize = 8 << 20;

#[test]
fn damage_is_told_and_takes_no_memory() {
    let mut rng = fastrand::Rng::with_seed(11);
    let rounds = if cfg!(debug_assertions) { 400 } else { 20_000 };
    for (file, _) in files() {
        let whole = fs::read(&file).expect("it can be read");
        assert!(load(&whole, true).is_ok());
        for end in 0..whole.len() {
            assert!(load(&whole[..end], true).is_err(), "{} cut at {end}", file.display());
        }
        for _ in 0..rounds {
            let mut damaged = whole.clone();
            for _ in 0..rng.usize(1..4) {
                damage(&mut damaged, &mut rng);
            }
            if damaged != whole && damaged.len() > 9 && damaged[..9] == whole[..9] {
                // Behind an end that damage made there may be anything.
                let _ = load(&damaged, true);
            }
            let before = ALLOCATOR.allocated();
            // Without a checksum the damage meets every check of the reader's own.
            let _ = load(&damaged, false);
            let most = before + BYTES_IN_ALL + damaged.len() * BYTES_A_BYTE;
            let peak = ALLOCATOR.max_allocated();
            assert!(peak <= most, "{}: {peak} bytes: {damaged:?}", file.display());
        }
    }
}

/// Changes, removes, repeats or adds some bytes.
fn damage(bytes: &mut Vec<u8>, rng: &mut fastrand::Rng) {
    if bytes.is_empty() {
        return;
    }
    let at = rng.usize(..bytes.len());
    match rng.u32(..6) {
        0 => bytes[at] ^= 1 << rng.u32(..8),
        1 => bytes[at] = [0, 1, 0x7f, 0x80, 0x81, 0xbf, 0xc3, 0xfe, 0xff][rng.usize(..9)],
        2 => bytes[at] = rng.u8(..),
        3 => drop(bytes.drain(at..(at + rng.usize(1..8)).min(bytes.len()))),
        4 => {
            let end = (at + rng.usize(1..64)).min(bytes.len());
            let part = bytes[at..end].to_vec();
            let to = rng.usize(..=bytes.len());
            bytes.splice(to..to, part);
        }
        _ => {
            // A length of 64 bits where something else was.
            let promise = [&[0x81][..], &rng.u64(..).to_be_bytes()].concat();
            bytes.splice(at..at, promise);
        }
    }
}
