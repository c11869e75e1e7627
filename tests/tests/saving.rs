//! Our binary from one run to the next: what it keeps when it is asked to stop, and when it is not.

#![cfg(unix)]

use std::io::Write;
#[cfg(target_os = "linux")]
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
#[cfg(target_os = "linux")]
use std::process::Stdio;
use std::time::{Duration, Instant};

use cloakroom_tests::peers::{Kind, Peer, cloakroom};
use cloakroom_tests::process::{self, Folder, Process};
use cloakroom_tests::wire::{Value, Wire};

fn start(folder: &Path, args: &[&str]) -> Peer {
    let folder = folder.display().to_string();
    let args = [&["--dir", folder.as_str()][..], args].concat();
    Peer::start_with(Kind::Ours, &args).expect("it starts")
}

fn say(wire: &mut Wire, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    wire.call(&words).expect("it answers").to_string()
}

/// Sends a signal and waits until the server has ended; its exit code.
fn signal(peer: &mut Peer, name: &str) -> Option<i32> {
    send_signal(peer, name);
    peer.wait().expect("it can be waited for").code()
}

fn send_signal(peer: &Peer, name: &str) {
    let id = peer.id().to_string();
    let status = Command::new("kill").args([format!("-{name}"), id]).status();
    assert!(status.expect("kill is there").success());
}

/// Waits until this stands in so many lines of the log.
fn wait_until_logged(log: &str, what: &str, times: usize) {
    let patience = Instant::now() + Duration::from_secs(60);
    while std::fs::read_to_string(log).unwrap_or_default().matches(what).count() < times {
        assert!(Instant::now() < patience, "{what:?} is logged");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether the server ended the connection, as it does when it goes.
fn is_gone(wire: &mut Wire) -> bool {
    wire.read().is_err()
}

#[test]
fn what_is_kept_is_there_again() {
    let folder = Folder::new();
    let saves = ["--save", "3600 1"];
    let mut peer = start(folder.path(), &saves);
    let mut wire = peer.connect().expect("it accepts");
    say(&mut wire, "HSET session user ann");
    assert_eq!(signal(&mut peer, "TERM"), Some(0));
    let mut peer = start(folder.path(), &saves);
    let mut wire = peer.connect().expect("it accepts");
    assert_eq!(say(&mut wire, "HGET session user"), "\"ann\"");
    say(&mut wire, "HSET session user bob");
    wire.send(&["SHUTDOWN"]).expect("it listens");
    assert!(is_gone(&mut wire));
    assert_eq!(peer.wait().expect("it ends").code(), Some(0));
    let mut peer = start(folder.path(), &saves);
    let mut wire = peer.connect().expect("it accepts");
    assert_eq!(say(&mut wire, "HGET session user"), "\"bob\"");
    say(&mut wire, "HSET session user eve");
    wire.send(&["SHUTDOWN", "NOSAVE"]).expect("it listens");
    assert_eq!(peer.wait().expect("it ends").code(), Some(0));
    // Without save points nothing is kept unless it is asked for.
    let mut peer = start(folder.path(), &[]);
    let mut wire = peer.connect().expect("it accepts");
    assert_eq!(say(&mut wire, "HGET session user"), "\"bob\"");
    say(&mut wire, "HSET session user cid");
    assert_eq!(signal(&mut peer, "TERM"), Some(0));
    let mut peer = start(folder.path(), &[]);
    let mut wire = peer.connect().expect("it accepts");
    assert_eq!(say(&mut wire, "HGET session user"), "\"bob\"");
    say(&mut wire, "HSET session user dan");
    wire.send(&["SHUTDOWN", "SAVE"]).expect("it listens");
    assert_eq!(peer.wait().expect("it ends").code(), Some(0));
    let peer = start(folder.path(), &[]);
    let mut wire = peer.connect().expect("it accepts");
    assert_eq!(say(&mut wire, "HGET session user"), "\"dan\"");
}

#[test]
fn a_server_that_cannot_save_goes_on_unless_it_is_forced() {
    let folder = Folder::new();
    let mut peer = start(folder.path(), &["--save", "3600 1"]);
    let mut wire = peer.connect().expect("it accepts");
    say(&mut wire, "SET a 1");
    std::fs::remove_dir_all(folder.path()).expect("it was there");
    assert_eq!(say(&mut wire, "SAVE"), "(error) ERR");
    assert_eq!(say(&mut wire, "SHUTDOWN"), "(error) ERR Errors trying to SHUTDOWN. Check logs.");
    send_signal(&peer, "TERM");
    assert_eq!(say(&mut wire, "GET a"), "\"1\"", "it is still there");
    wire.send(&["SHUTDOWN", "FORCE"]).expect("it listens");
    assert!(is_gone(&mut wire));
    assert_eq!(peer.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_signal_ends_it_as_the_settings_say() {
    for (signal_name, saves, args, is_saved) in [
        ("TERM", "3600 1", &["--shutdown-on-sigint", "nosave"][..], true),
        ("TERM", "3600 1", &["--shutdown-on-sigterm", "now", "nosave"], false),
        ("INT", "3600 1", &["--shutdown-on-sigint", "nosave"], false),
        ("INT", "", &["--shutdown-on-sigint", "save"], true),
        ("TERM", "", &[], false),
    ] {
        let folder = Folder::new();
        let mut peer = start(folder.path(), &[&["--save", saves], args].concat());
        say(&mut peer.connect().expect("it accepts"), "SET a 1");
        assert_eq!(signal(&mut peer, signal_name), Some(0));
        let file = folder.path().join("dump.rdb");
        assert_eq!(file.exists(), is_saved, "{signal_name} with save {saves:?} and {args:?}");
    }
}

#[test]
fn a_signal_may_end_it_even_if_it_cannot_save() {
    let folder = Folder::new();
    let logs = Folder::new();
    let log = logs.path().join("log").display().to_string();
    let mut peer = start(folder.path(), &["--save", "3600 1", "--logfile", &log]);
    let mut wire = peer.connect().expect("it accepts");
    std::fs::remove_dir_all(folder.path()).expect("it was there");
    for times in 1..=2 {
        // Refused, it has not been asked to stop: the second signal does not end it either.
        send_signal(&peer, "INT");
        wait_until_logged(&log, "goes on, for the data cannot be saved", times);
        assert_eq!(say(&mut wire, "SET a 1"), "OK");
    }
    assert_eq!(say(&mut wire, "SHUTDOWN"), "(error) ERR Errors trying to SHUTDOWN. Check logs.");
    wire.call(&["CONFIG", "SET", "shutdown-on-sigint", "force"]).expect("it answers");
    assert_eq!(signal(&mut peer, "INT"), Some(0));
}

#[test]
fn a_machine_that_stops_leaves_a_whole_file() {
    let folder = Folder::new();
    for round in 0..7 {
        let mut peer = start(folder.path(), &[]);
        let mut wire = peer.connect().expect("it accepts");
        let before = say(&mut wire, "DBSIZE");
        say(&mut wire, "DEBUG POPULATE 10000 key 100");
        if round % 3 == 0 {
            assert_eq!(say(&mut wire, "SAVE"), "OK");
            continue;
        }
        assert_eq!(before, "(integer) 10000", "the file was whole");
        say(&mut wire, &format!("DEBUG POPULATE {} round{round}", 2_000 * round));
        assert_eq!(say(&mut wire, "BGSAVE"), "Background saving started");
        // A little later each time.
        for _ in 0..round * 3 {
            say(&mut wire, "PING");
        }
        send_signal(&peer, "KILL");
        peer.wait().expect("it ends");
        // It may have been the new file just in time; the next round wants the old one.
        let peer = start(folder.path(), &[]);
        let mut wire = peer.connect().expect("it accepts");
        assert_ne!(say(&mut wire, "DBSIZE"), "(integer) 0");
        say(&mut wire, "FLUSHALL");
        say(&mut wire, "DEBUG POPULATE 10000 key 100");
        assert_eq!(say(&mut wire, "SAVE"), "OK");
    }
}

#[test]
fn a_file_that_cannot_be_loaded_ends_the_start_with_a_line() {
    let folder = Folder::new();
    std::fs::write(
        folder.path().join("dump.rdb"),
        b"REDIS0010\xfe\x00\x01\x05queue\x01\x01a\xff\0\0\0\0\0\0\0\0",
    )
    .expect("it can be written");
    let run = |args: &[&str]| {
        let mut command = Command::new(cloakroom().expect("it is built"));
        command
            .args(["--port", "0", "--loglevel", "nothing", "--dir"])
            .arg(folder.path())
            .args(args);
        let output = command.output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = run(&[]);
    assert_eq!(code, Some(1));
    let wanted = format!(
        "cloakroom: cannot load {}: at byte 18, key \"queue\": the value is a list, a type that is \
         not known here; rdb-skip-unknown-types yes leaves such keys out; move the file away to \
         start without its data\n",
        folder.path().join("dump.rdb").display()
    );
    assert_eq!(text, wanted);
    let peer = start(folder.path(), &["--rdb-skip-unknown-types", "yes"]);
    let mut wire = peer.connect().expect("it accepts");
    assert_eq!(say(&mut wire, "DBSIZE"), "(integer) 0");
}

#[test]
fn a_save_runs_beside_everything_else() {
    let folder = Folder::new();
    let peer = start(folder.path(), &[]);
    let mut wire = peer.connect().expect("it accepts");
    say(&mut wire, "DEBUG POPULATE 30000 key 200");
    assert_eq!(say(&mut wire, "BGSAVE"), "Background saving started");
    let mut beside = 0;
    while info(&mut wire, "rdb_bgsave_in_progress") == "1" {
        assert_eq!(say(&mut wire, &format!("SET beside {beside}")), "OK");
        beside += 1;
    }
    assert_eq!(info(&mut wire, "rdb_last_bgsave_status"), "ok");
    assert!(beside > 3, "{beside} commands were served meanwhile");
    let second = start(folder.path(), &[]);
    let mut wire = second.connect().expect("it accepts");
    assert_eq!(say(&mut wire, "DBSIZE"), "(integer) 30000");
}

/// Runs the server on a terminal of its own; all that it shows until it has loaded its file.
#[cfg(target_os = "linux")]
fn shown_while_loading(folder: &Path) -> String {
    let binary = cloakroom().expect("it is built").display().to_string();
    let line = format!("{binary} --port 0 --save '' --dir {}", folder.display());
    let mut command = Command::new("script");
    // It hands the server its own standard input, which nobody closes meanwhile.
    command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = command.spawn().expect("script is installed");
    let mut output = BufReader::new(terminal.stdout.take().expect("it was piped"));
    let mut shown = String::new();
    while !shown.contains("ready redis://") {
        let mut part = Vec::new();
        let read = output.read_until(b'\n', &mut part).expect("it can be read");
        assert!(read > 0, "it ended: {shown}");
        shown.push_str(&String::from_utf8_lossy(&part));
    }
    let address = shown.rsplit("ready redis://").next().expect("it stands there").trim();
    let mut wire = Wire::connect(address.parse().expect("an address")).expect("it accepts");
    wire.send(&["SHUTDOWN"]).expect("it listens");
    terminal.wait().expect("it ends");
    shown
}

#[test]
#[cfg(target_os = "linux")]
#[ignore = "needs script, of util-linux: tests/run"]
fn who_waits_for_a_large_file_is_shown_how_far_it_is() {
    let folder = Folder::new();
    let peer = start(folder.path(), &["--rdbcompression", "no", "--rdbchecksum", "no"]);
    let mut wire = peer.connect().expect("it accepts");
    for (keys, has_bar) in [(10, false), (40, true)] {
        say(&mut wire, &format!("DEBUG POPULATE {keys} key 1000000"));
        assert_eq!(say(&mut wire, "SAVE"), "OK");
        let shown = shown_while_loading(folder.path());
        let bars = shown.matches("loading ").count();
        assert_eq!(bars > 1 && shown.contains("left"), has_bar, "{keys} keys: {shown}");
    }
}

fn info(wire: &mut Wire, field: &str) -> String {
    let Value::Bulk(text) = wire.call(&["INFO", "persistence"]).expect("it answers") else {
        panic!("INFO is text");
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let start = format!("{field}:");
    let found = text.lines().find_map(|line| line.strip_prefix(start.as_str()));
    found.expect("the field is there").to_owned()
}

/// A server that loads a file which comes as slowly as the test wants: through a pipe.
struct Slow {
    server: Process,
    folder: Folder,
}

impl Slow {
    /// Starts it; nothing of its file has come.
    fn start() -> Slow {
        let folder = Folder::new();
        let pipe = Command::new("mkfifo").arg(folder.path().join("dump.rdb")).status();
        assert!(pipe.expect("mkfifo is there").success());
        let args = ["--port", "0", "--unixsocket", "socket", "--save", "3600 1"];
        let args = [&args[..], &["--enable-debug-command", "yes"]].concat();
        Slow { server: Process::start(folder.path(), &args), folder }
    }

    /// A connection, as soon as it listens.
    fn connect(&self) -> Wire {
        loop {
            match UnixStream::connect(self.folder.path().join("socket")) {
                Ok(stream) => return Wire::new(stream),
                Err(_) => std::thread::yield_now(),
            }
        }
    }

    /// The end of the pipe into which its file is written.
    fn pipe(&self) -> std::fs::File {
        let file = std::fs::File::options().write(true).open(self.folder.path().join("dump.rdb"));
        file.expect("it is there")
    }
}

const LOADING: &str = "(error) LOADING Redis is loading the dataset in memory";

/// A file with some keys in database 1.
fn saved() -> Vec<u8> {
    let folder = Folder::new();
    let peer = start(folder.path(), &["--rdbcompression", "no"]);
    let mut wire = peer.connect().expect("it accepts");
    say(&mut wire, "SELECT 1");
    say(&mut wire, "HSET session user ann");
    say(&mut wire, "DEBUG POPULATE 1000 key 100");
    assert_eq!(say(&mut wire, "SAVE"), "OK");
    std::fs::read(folder.path().join("dump.rdb")).expect("it was saved")
}

#[test]
fn who_comes_while_data_are_loaded_is_told_so() {
    let file = saved();
    let (first, second) = file.split_at(file.len() / 2);
    let mut slow = Slow::start();
    let mut wire = slow.connect();
    for line in ["PING", "GET key:1", "DBSIZE", "SET a b", "SAVE", "REPLICAOF NO ONE"] {
        assert_eq!(say(&mut wire, line), LOADING, "{line}");
    }
    assert_eq!(say(&mut wire, "DEBUG RELOAD"), LOADING);
    for (line, answer) in [("ECHO a", "\"a\""), ("SELECT 1", "OK"), ("CLIENT SETNAME me", "OK")] {
        assert_eq!(say(&mut wire, line), answer);
    }
    assert_eq!(info(&mut wire, "loading"), "1");
    let mut pipe = slow.pipe();
    pipe.write_all(first).expect("it reads");
    while info(&mut wire, "loading_loaded_bytes").parse::<usize>().expect("a number")
        < first.len() - 200
    {}
    assert_eq!(info(&mut wire, "loading"), "1");
    assert_ne!(info(&mut wire, "rdb_last_load_keys_loaded"), "0");
    assert_ne!(info(&mut wire, "loading_rdb_used_mem"), "0");
    assert_eq!(say(&mut wire, "PING"), LOADING);
    pipe.write_all(second).expect("it reads");
    drop(pipe);
    slow.server.ready();
    assert_eq!(info(&mut wire, "loading"), "0");
    assert_eq!(info(&mut wire, "rdb_last_load_keys_loaded"), "1001");
    assert_eq!(info(&mut wire, "rdb_changes_since_last_save"), "0");
    assert_eq!(say(&mut wire, "HGET session user"), "\"ann\"");
    assert_eq!(say(&mut wire, "PING"), "PONG");
}

#[test]
fn a_server_that_loads_can_be_stopped_and_leaves_its_file_alone() {
    let file = saved();
    for how in ["SHUTDOWN", "SHUTDOWN SAVE", "TERM", "INT"] {
        let slow = Slow::start();
        let mut wire = slow.connect();
        let mut pipe = slow.pipe();
        pipe.write_all(&file[..file.len() / 2]).expect("it reads");
        if how.starts_with("SHUTDOWN") {
            wire.send(&how.split(' ').collect::<Vec<_>>()).expect("it listens");
        } else {
            slow.server.signal(how);
        }
        let Slow { server, folder } = slow;
        let ended = server.end();
        assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""), "{how}: {}", ended.err);
        let file = std::fs::symlink_metadata(folder.path().join("dump.rdb"));
        assert!(file.expect("it is there").file_type().is_fifo(), "{how}");
    }
}

#[test]
fn an_occupied_port_shows_before_anything_is_loaded() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("it has one").port().to_string();
    let folder = Folder::new();
    let pipe = Command::new("mkfifo").arg(folder.path().join("dump.rdb")).status();
    assert!(pipe.expect("mkfifo is there").success());
    let ended = process::run(folder.path(), &["--port", &port, "--loglevel", "nothing"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("something else does already"), "{}", ended.err);
}

#[test]
fn a_file_that_turns_out_to_be_damaged_ends_the_server() {
    let file = saved();
    let slow = Slow::start();
    let mut wire = slow.connect();
    assert_eq!(say(&mut wire, "PING"), LOADING);
    let mut pipe = slow.pipe();
    pipe.write_all(&file[..file.len() / 2]).expect("it reads");
    drop(pipe);
    let ended = slow.server.end();
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{}", ended.err);
    assert!(ended.err.contains("the file ends too early"), "{}", ended.err);
    assert!(is_gone(&mut wire));
}

/// The log says how many deadlines of fields were left out, of whatever it was.
#[test]
fn deadlines_of_fields_that_are_left_out_are_counted_in_the_log() {
    let folder = Folder::new();
    let log = folder.path().join("log");
    let file = log.display().to_string();
    let version = ["--rdb-version", "10", "--rdb-drop-field-deadlines", "yes"];
    let peer = start(folder.path(), &[&["--logfile", file.as_str()][..], &version].concat());
    let mut wire = peer.connect().expect("it accepts");
    say(&mut wire, "HSET one a 1 b 2");
    say(&mut wire, "HSET two c 3");
    say(&mut wire, "HPEXPIREAT one 99999999999999 FIELDS 2 a b");
    say(&mut wire, "HPEXPIREAT two 99999999999999 FIELDS 1 c");
    let logged = |what: &str| {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.lines().filter(|line| line.contains(what)).count()
    };
    assert!(say(&mut wire, "DUMP two").starts_with('"'));
    assert_eq!(logged("1 deadline of a field was left out of a dumped hash"), 1);
    assert_eq!(say(&mut wire, "SAVE"), "OK");
    assert_eq!(logged("3 deadlines of fields were left out of the file"), 1);
    assert_eq!(say(&mut wire, "BGSAVE"), "Background saving started");
    until(|| logged("3 deadlines of fields were left out of the file") == 2);
    // A replica that asks by SYNC says nothing of what it understands.
    let mut old = peer.connect().expect("it accepts");
    old.send(&["SYNC"]).expect("it is sent");
    until(|| logged("3 deadlines of fields were left out of a replica's copy") == 1);
    say(&mut wire, "CONFIG SET rdb-drop-field-deadlines no");
    let refused = "fields of 2 hashes have deadlines, for which RDB version 10 has no place; set \
                   rdb-version to auto, or rdb-drop-field-deadlines to yes";
    for (request, what) in [("SAVE", "save"), ("BGSAVE", "save"), ("SYNC", "copy the data")] {
        let mut wire = peer.connect().expect("it accepts");
        assert_eq!(say(&mut wire, request), format!("(error) ERR cannot {what}: {refused}"));
    }
    say(&mut wire, "CONFIG SET rdb-version auto");
    let refused = say(&mut wire, "SYNC");
    assert!(refused.contains("fields of 2 hashes have deadlines, which this replica"), "{refused}");
}

fn until(mut is: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if is() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("it did not come to that");
}
