//! The commands of documents: each block of `console` is a session of a shell that is run as it
//! stands, and prints what stands below each command.

#![cfg(unix)]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use cloakroom_tests::peers::{Kind, Peer, cloakroom, root, valkey_server};
use cloakroom_tests::process::Folder;

/// A command, and what it prints.
struct Step {
    line: usize,
    command: String,
    output: Vec<String>,
}

fn steps(document: &str) -> Vec<Step> {
    let text = std::fs::read_to_string(root().join("docs").join(document)).expect("it is there");
    let (mut steps, mut inside) = (Vec::<Step>::new(), false);
    for (number, line) in text.lines().enumerate() {
        match (line, inside) {
            ("```console", _) => inside = true,
            ("```", true) => inside = false,
            (line, true) => match line.strip_prefix("$ ") {
                Some(command) => steps.push(Step {
                    line: number + 1,
                    command: command.to_owned(),
                    output: Vec::new(),
                }),
                None => steps.last_mut().expect("a command first").output.push(line.to_owned()),
            },
            _ => {}
        }
    }
    steps
}

/// A shell that takes one command after the other.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<std::process::ChildStdout>,
}

/// How long a document may take.
const MOST_SECONDS: &str = "240";

/// What the shell prints behind a command's output.
const DONE: &str = "--done--";

impl Shell {
    fn start(folder: &Path) -> Shell {
        // Documents call programs by the names that they have where they are installed.
        let programs = folder.join("programs");
        std::fs::create_dir(&programs).expect("a folder can be made");
        let valkey = valkey_server().expect("valkey-server is there (see tests/run)");
        for (name, program) in
            [("cloakroom", cloakroom().expect("it is built")), ("valkey-server", valkey)]
        {
            symlink(program, programs.join(name)).expect("a link can be made");
        }
        let path = std::env::var("PATH").unwrap_or_default();
        // It and all that it starts end where a document waits for what never comes.
        let mut command = Command::new("timeout");
        command.args([MOST_SECONDS, "bash"]);
        command.current_dir(folder).env("PATH", format!("{}:{path}", programs.display()));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash is there");
        let input = child.stdin.take().expect("it was asked for");
        let output = BufReader::new(child.stdout.take().expect("it was asked for"));
        Shell { child, input, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.output.read_line(&mut line).expect("the shell prints text");
        assert!(read > 0, "the shell has ended, or took longer than {MOST_SECONDS} seconds");
        line.trim_end().to_owned()
    }

    /// Runs a command; what it printed. `starts`: a server in the background, which is waited for.
    fn run(&mut self, command: &str, starts: bool) -> Vec<String> {
        writeln!(self.input, "{command}\necho {DONE}").expect("the shell reads");
        let (mut printed, mut is_ready, mut is_done) = (Vec::new(), !starts, false);
        while !(is_done && is_ready) {
            match self.line() {
                line if line == DONE => is_done = true,
                line => {
                    is_ready |= line.starts_with("ready ");
                    printed.push(line);
                }
            }
        }
        printed
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Asked politely, those that have something to save would stay when their folder has gone.
        let _ = writeln!(self.input, "kill -9 $(jobs -p); wait; exit");
        let _ = self.child.wait();
    }
}

/// Ports of documents, and free ones in their place.
struct Ports(Vec<(&'static str, String)>);

impl Ports {
    fn new() -> Ports {
        let named = ["26379", "26380", "26381", "6379", "6380", "6381", "6382"];
        let listeners = named.map(|_| TcpListener::bind("127.0.0.1:0"));
        let port = |listener: &std::io::Result<TcpListener>| {
            Some(listener.as_ref().ok()?.local_addr().ok()?.port().to_string())
        };
        let free = listeners.iter().map(|listener| port(listener).expect("a port is free"));
        Ports(named.into_iter().zip(free).collect())
    }

    /// The text with free ports.
    fn apply(&self, mut text: &str) -> String {
        let mut out = String::new();
        while let Some(first) = text.chars().next() {
            let length = match self.0.iter().find(|(named, _)| text.starts_with(named)) {
                Some((named, free)) => {
                    out.push_str(free);
                    named.len()
                }
                None => {
                    out.push(first);
                    first.len_utf8()
                }
            };
            text = &text[length..];
        }
        out
    }
}

/// The file that the document takes for an export: a valkey-server made it.
fn make_export(folder: &Path) {
    let path = folder.display().to_string();
    let peer = Peer::start_with(Kind::Valkey9, &["--dir", &path, "--dbfilename", "export.rdb"]);
    let mut wire =
        peer.as_ref().expect("valkey-server starts (see tests/run)").connect().expect("up");
    for line in ["HSET session:7 user eve", "EXPIRE session:7 1800", "SAVE"] {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(!wire.call(&words).expect("it answers").is_error());
    }
}

/// Runs a document from its first command to its last.
fn run(document: &str, prepare: impl FnOnce(&Path)) {
    let home = Folder::new();
    prepare(home.path());
    let (ports, mut shell) = (Ports::new(), Shell::start(home.path()));
    let steps = steps(document);
    assert!(steps.len() > 25, "the document is whole");
    for step in &steps {
        let starts = step.output.iter().any(|line| line.starts_with("ready "));
        let printed = shell.run(&ports.apply(&step.command), starts);
        let due: Vec<String> = step.output.iter().map(|line| ports.apply(line)).collect();
        // A second may pass where a remaining time is shown.
        let seconds = |lines: &[String]| lines.first().and_then(|line| line.parse::<i64>().ok());
        let is_near = step.command.contains(" TTL ")
            && seconds(&printed).zip(seconds(&due)).is_some_and(|(a, b)| (a - b).abs() <= 60);
        assert!(
            printed == due || is_near,
            "docs/{document}, line {}: `{}` printed {printed:?} and not {due:?}",
            step.line,
            step.command
        );
    }
}

#[test]
#[ignore = "needs peers: tests/run"]
fn backup() {
    run("backup.md", make_export);
}

#[test]
#[ignore = "needs peers: tests/run"]
fn replication() {
    run("replication.md", |_| {});
}
