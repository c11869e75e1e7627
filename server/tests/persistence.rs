//! Saving and loading on disks that fail and machines that stop.

mod support;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use cloakroom::persistence::{Disk, Next, Output, Saver};
use support::{Folder, Node};

/// A disk that fails, or a machine that stops, at a chosen step. A write of many bytes is as many
/// steps, so that it can stop within.
#[derive(Debug, Clone, Default)]
struct TestDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, File>,
    steps: usize,
    /// At this step it fails; once, or from then on.
    fails_at: Option<usize>,
    for_good: bool,
    /// A rename that has not reached the disk yet: what the target was.
    unsettled: Option<(PathBuf, Option<File>)>,
}

#[derive(Debug, Default, Clone, PartialEq)]
struct File {
    written: Vec<u8>,
    /// How much of it has reached the disk.
    synced: usize,
}

impl State {
    /// Takes steps; the error, and how many could be taken.
    fn step(&mut self, count: usize) -> Result<(), (io::Error, usize)> {
        let from = self.steps;
        self.steps += count;
        let fails = match self.fails_at {
            Some(at) if self.for_good => from + count > at,
            Some(at) => (from..from + count).contains(&at),
            None => false,
        };
        let taken = self.fails_at.unwrap_or(0).saturating_sub(from);
        if fails { Err((io::ErrorKind::StorageFull.into(), taken)) } else { Ok(()) }
    }

    fn one(&mut self) -> io::Result<()> {
        self.step(1).map_err(|(error, _)| error)
    }
}

impl TestDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics with it")
    }

    /// The whole of a file.
    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        self.state().files.get(path).map(|file| file.written.clone())
    }

    /// What may be found in place of `path` once the machine runs again: it has stopped now.
    fn after_a_stop(&self, path: &Path) -> Vec<Option<Vec<u8>>> {
        let state = self.state();
        let survives = |file: &File| file.written[..file.synced].to_vec();
        let mut found = vec![state.files.get(path).map(survives)];
        if let Some((renamed, before)) = &state.unsettled
            && renamed == path
        {
            found.push(before.as_ref().map(survives));
        }
        found
    }
}

struct Open(TestDisk, PathBuf);

impl Write for Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state();
        let done = state.step(bytes.len());
        let taken = done.as_ref().err().map_or(bytes.len(), |(_, taken)| *taken);
        if let Some(file) = state.files.get_mut(&self.1) {
            file.written.extend_from_slice(&bytes[..taken]);
        }
        done.map(|()| bytes.len()).map_err(|(error, _)| error)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Open {
    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.0.state();
        state.one()?;
        if let Some(file) = state.files.get_mut(&self.1) {
            file.synced = file.written.len();
        }
        Ok(())
    }
}

impl Disk for TestDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        let mut state = self.state();
        state.one()?;
        state.files.insert(path.to_owned(), File::default());
        drop(state);
        Ok(Box::new(Open(self.clone(), path.to_owned())))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.one()?;
        let file = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        let before = state.files.insert(to.to_owned(), file);
        state.unsettled = Some((to.to_owned(), before));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.one()?;
        state.files.remove(path).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.one()?;
        state.unsettled = None;
        Ok(())
    }
}

/// A node with some data on a test's disk, whose file is `/data/dump.rdb`.
fn node_on(disk: &TestDisk, folder: &Folder) -> (Node, PathBuf) {
    let mut node = Node::start_on(folder.path(), Arc::new(disk.clone()), |_| {})
        .expect("there is nothing to load");
    for number in 0..20 {
        node.say(&format!("HSET session:{number} user ann visits {number}"));
        node.say(&format!("PEXPIREAT session:{number} 4102444800000"));
    }
    (node, folder.path().join("dump.rdb"))
}

#[test]
fn whatever_fails_the_file_is_the_old_one_or_the_new_one() {
    let (folder, disk) = (Folder::new("failing"), TestDisk::default());
    let (mut node, path) = node_on(&disk, &folder);
    assert_eq!(node.say("SAVE"), "+OK\r\n");
    let old = disk.read(&path).expect("it was saved");
    node.say("SET new value");
    let files = disk.state().files.clone();
    let before = disk.state().steps;
    assert_eq!(node.say("SAVE"), "+OK\r\n");
    let steps = disk.state().steps - before;
    let new = disk.read(&path).expect("it was saved");
    assert!(steps > old.len() && old != new);
    for for_good in [false, true] {
        for at in 0..steps {
            *disk.state() = State { files: files.clone(), ..State::default() };
            (disk.state().fails_at, disk.state().for_good) = (Some(at), for_good);
            let reply = node.say("SAVE");
            // The last step tells the folder: without it the new file is there, but not for sure.
            assert_eq!(reply, "-ERR\r\n", "step {at}");
            for found in disk.after_a_stop(&path) {
                let found = found.expect("the old file does not go");
                assert!(found == old || (at == steps - 1 && found == new), "step {at}");
            }
            let is_clean = disk.state().files.len() == 1;
            assert!(is_clean || for_good, "step {at} leaves {:?}", disk.state().files.keys());
        }
    }
}

/// Drives a save in the background to its end; `meanwhile` happens between its steps.
fn drive(node: &mut Node, saver: &mut Saver, mut meanwhile: impl FnMut(&mut Node)) {
    loop {
        match saver.step() {
            Next::Idle => return,
            Next::Again => meanwhile(node),
            // The writer has its own pace.
            Next::Later => std::thread::yield_now(),
        }
    }
}

#[test]
fn a_save_behind_changes_is_of_the_moment_at_which_it_began() {
    let folder = Folder::new("behind");
    let mut node = Node::start(folder.path(), |_| {}).expect("there is nothing to load");
    let mut saver = Saver::new(Arc::clone(&node.engine), Arc::clone(&node.disk));
    let mut rng = fastrand::Rng::with_seed(4);
    node.say("DEBUG POPULATE 20000 key 100");
    node.say("SELECT 3");
    node.say("DEBUG POPULATE 5000 other");
    for round in 0..6 {
        let digest = node.digest();
        let (began, mut changes) = (node.say("BGSAVE"), 0);
        assert_eq!(began, "+Background saving started\r\n");
        assert_eq!(node.say("BGSAVE"), "-ERR Background save already in progress\r\n");
        assert_eq!(node.say("SAVE"), "-ERR Background save already in progress\r\n");
        assert_eq!(node.info("rdb_bgsave_in_progress"), "1");
        drive(&mut node, &mut saver, |node| {
            for _ in 0..50 {
                changes += 1;
                let key = format!("key:{}", rng.u32(..25_000));
                match rng.u32(..6) {
                    0 => node.say(&format!("DEL {key}")),
                    1 => node.say(&format!("SET {key} {changes}")),
                    2 => node.say(&format!("PEXPIRE {key} 100000")),
                    3 => node.say(&format!("RENAME {key} new:{changes}")),
                    4 => node.say(&format!("HSET hash:{key} field {changes}")),
                    _ => node.say(&format!("SELECT {}", 3 * rng.u32(..2))),
                };
            }
            if changes == 100 {
                match round {
                    1 => node.say("SWAPDB 0 3"),
                    2 => node.say("FLUSHDB"),
                    _ => String::new(),
                };
            }
        });
        assert!(changes > 100, "the save ran beside changes");
        assert_eq!(node.info("rdb_last_bgsave_status"), "ok");
        let mut loaded = Node::start(folder.path(), |_| {}).expect("it is whole");
        assert_eq!(loaded.digest(), digest, "round {round}");
    }
    assert_eq!(node.info("rdb_saves"), "6");
}

#[test]
fn while_nothing_can_be_saved_writes_are_refused() {
    let (folder, disk) = (Folder::new("misconf"), TestDisk::default());
    let (mut node, path) = node_on(&disk, &folder);
    let mut saver = Saver::new(Arc::clone(&node.engine), Arc::clone(&node.disk));
    disk.state().fails_at = Some(100);
    disk.state().for_good = true;
    node.say("BGSAVE");
    drive(&mut node, &mut saver, |_| {});
    assert_eq!(node.info("rdb_last_bgsave_status"), "err");
    assert!(node.say("SET a 1").starts_with("-MISCONF Redis is configured to save RDB snapshots"));
    assert!(node.say("PING").starts_with("-MISCONF"));
    assert_eq!(node.say("EXISTS a"), ":0\r\n");
    node.say("CONFIG SET stop-writes-on-bgsave-error no");
    assert_eq!(node.say("SET a 1"), "+OK\r\n");
    node.say("CONFIG SET stop-writes-on-bgsave-error yes");
    disk.state().fails_at = None;
    // It is tried again by itself, once a save point is due and some time after the failure.
    node.call(["CONFIG", "SET", "save", "1 1"]);
    node.engine.clock().advance(Duration::from_secs(10));
    assert_eq!(node.info("rdb_bgsave_in_progress"), "1");
    drive(&mut node, &mut saver, |_| {});
    assert_eq!(node.info("rdb_last_bgsave_status"), "ok");
    assert_eq!(node.say("SET a 2"), "+OK\r\n");
    assert!(disk.read(&path).is_some());
}

#[test]
fn save_points_begin_a_save() {
    let folder = Folder::new("points");
    let mut node = Node::start(folder.path(), |_| {}).expect("there is nothing to load");
    let mut saver = Saver::new(Arc::clone(&node.engine), Arc::clone(&node.disk));
    node.call(["CONFIG", "SET", "save", "60 3"]);
    node.say("SET a 1");
    node.engine.clock().advance(Duration::from_secs(100));
    assert_eq!(node.info("rdb_bgsave_in_progress"), "0", "too few changes");
    node.say("SET b 1");
    node.say("SET c 1");
    assert_eq!(node.info("rdb_changes_since_last_save"), "3");
    drive(&mut node, &mut saver, |_| {});
    assert_eq!(node.info("rdb_changes_since_last_save"), "0");
    assert_eq!(node.info("rdb_last_save_time"), (support::NOW / 1000 + 100).to_string());
    node.say("DEL a b c");
    node.say("SET a 1");
    node.say("SET b 1");
    assert_eq!(node.info("rdb_bgsave_in_progress"), "0", "too early");
    node.engine.clock().advance(Duration::from_secs(61));
    assert_eq!(node.info("rdb_bgsave_in_progress"), "1");
    // A flush makes it useless; an empty file takes its place.
    node.say("FLUSHALL");
    assert_eq!(node.info("rdb_changes_since_last_save"), "0");
    assert_eq!(node.info("rdb_bgsave_in_progress"), "0");
    let mut loaded = Node::start(folder.path(), |_| {}).expect("it is whole");
    assert_eq!(loaded.say("DBSIZE"), ":0\r\n");
    drive(&mut node, &mut saver, |_| {});
    assert_eq!(node.info("rdb_last_bgsave_status"), "ok");
}

#[test]
fn changes_are_counted_as_redis_counts_them() {
    let folder = Folder::new("counted");
    let mut node = Node::start(folder.path(), |config| config.save.clear()).expect("empty");
    // What redis-server 7.0 shows after each, one after the other.
    for (line, changes) in [
        ("MSET a 1 b 2 c 3", 3),
        ("DEL a b x", 5),
        ("HSET h a 1 b 2 c 3", 8),
        ("HSET h a 1", 9),
        ("HDEL h a b", 11),
        ("SADD s 1 2 3", 14),
        ("SADD s 1 2 4", 15),
        ("SREM s 1 2", 17),
        ("EXPIRE h 100", 18),
        ("MSETNX x 1 y 2", 20),
        ("SET c 2", 21),
        ("FLUSHDB", 26),
    ] {
        node.say(line);
        assert_eq!(node.info("rdb_changes_since_last_save"), changes.to_string(), "{line}");
    }
}

#[test]
fn a_flush_is_saved_from_wherever_it_comes() {
    let folder = Folder::new("flushed");
    let mut node = Node::start(folder.path(), |_| {}).expect("there is nothing to load");
    let mut saver = Saver::new(Arc::clone(&node.engine), Arc::clone(&node.disk));
    let loaded = || Node::start(folder.path(), |_| {}).expect("it is whole").say("DBSIZE");
    for flush in [&["FLUSHALL"][..], &["MULTI", "FLUSHALL", "EXEC"]] {
        node.say("SET a 1");
        node.say("SAVE");
        assert_eq!(loaded(), ":1\r\n");
        flush.iter().for_each(|line| drop(node.say(line)));
        assert_eq!(loaded(), ":0\r\n", "{flush:?}");
    }
    node.say("SET a 1");
    node.say("SAVE");
    node.call(["EVAL", "return redis.call('FLUSHALL')", "0"]);
    // A script does not wait for the disk; what follows it does.
    drive(&mut node, &mut saver, |_| {});
    assert_eq!(loaded(), ":0\r\n");
}

#[test]
fn a_save_given_up_leaves_nothing_behind_and_never_comes_late() {
    let folder = Folder::new("given-up");
    let mut node = Node::start(folder.path(), |config| config.save.clear()).expect("empty");
    let mut saver = Saver::new(Arc::clone(&node.engine), Arc::clone(&node.disk));
    for round in 0..30 {
        node.say("DEBUG POPULATE 3000");
        node.say("BGSAVE");
        for _ in 0..round {
            saver.step();
        }
        node.say("FLUSHALL");
        node.say(&format!("SET round {round}"));
        assert_eq!(node.say("SAVE"), "+OK\r\n");
        drive(&mut node, &mut saver, |_| {});
    }
    drop(saver);
    let mut loaded = Node::start(folder.path(), |_| {}).expect("it is whole");
    assert_eq!(loaded.say("GET round"), "$2\r\n29\r\n");
    let left = std::fs::read_dir(folder.path()).expect("it is there").count();
    assert_eq!(left, 1, "temporary files are gone");
}

#[test]
fn reload_saves_and_loads() {
    let folder = Folder::new("reload");
    let mut node = Node::start(folder.path(), |_| {}).expect("there is nothing to load");
    node.say("SET a 1 PX 100000");
    node.say("HSET h f v");
    let digest = node.digest();
    assert_eq!(node.say("DEBUG RELOAD"), "+OK\r\n");
    assert_eq!(node.digest(), digest);
    node.say("SET a 2");
    assert_eq!(node.say("DEBUG RELOAD NOSAVE NOFLUSH MERGE"), "+OK\r\n");
    assert_eq!(node.digest(), digest);
    assert!(node.say("DEBUG RELOAD NOSAVE NOFLUSH").starts_with("-ERR Error trying to load"));
    assert!(node.say("DEBUG RELOAD SOON").starts_with("-ERR DEBUG RELOAD only supports"));
    node.say("MULTI");
    node.say("DEBUG RELOAD");
    assert!(node.say("EXEC").starts_with("*1\r\n-ERR Command not allowed"));
}

#[test]
fn a_damaged_file_is_not_loaded() {
    let folder = Folder::new("damaged");
    let mut node = Node::start(folder.path(), |_| {}).expect("there is nothing to load");
    node.say("SET some-key value");
    node.say("SAVE");
    let path = folder.path().join("dump.rdb");
    let mut bytes = std::fs::read(&path).expect("it was saved");
    let at = bytes.windows(8).position(|window| window == b"some-key").expect("it is there");
    bytes[at] = b'S';
    std::fs::write(&path, &bytes).expect("it can be written");
    let why = Node::start(folder.path(), |_| {}).err().expect("it is damaged").to_string();
    let end = bytes.len();
    assert!(why.contains(&format!("dump.rdb: at byte {end}: the checksum is")), "{why}");
    assert!(why.ends_with("move the file away to start without its data"), "{why}");
    std::fs::write(&path, &bytes[..at]).expect("it can be written");
    let why = Node::start(folder.path(), |_| {}).err().expect("it is cut").to_string();
    assert!(why.contains(&format!("at byte {at}: the file ends too early")), "{why}");
    std::fs::write(&path, &bytes).expect("it can be written");
    let mut node = Node::start(folder.path(), |config| config.rdbchecksum = false)
        .expect("nobody looks at the checksum");
    assert_eq!(node.say("GET Some-key"), "$5\r\nvalue\r\n");
}

#[test]
fn nobody_waits_for_a_file_that_is_not_there() {
    let folder = Folder::new("announced");
    let mut node = Node::start(folder.path(), |_| {}).expect("there is nothing to load");
    cloakroom::persistence::announce(&mut node.engine.turn());
    assert_eq!(node.say("SET key value"), "+OK\r\n");
    assert_eq!(node.say("SAVE"), "+OK\r\n");
    cloakroom::persistence::announce(&mut node.engine.turn());
    assert!(node.say("GET key").starts_with("-LOADING"));
}
