//! The binary as its users start it: its standard streams, its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::peers::cloakroom;

/// A started binary; ended on drop.
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<std::process::ChildStdout>,
}

/// What a binary has left when it ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; None: a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
}

/// The binary with these arguments, in this folder.
pub fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(cloakroom().expect("the binary is built"));
    command.args(args).current_dir(folder);
    command
}

/// Runs the binary to its end.
pub fn run(folder: &Path, args: &[&str]) -> Ended {
    let output = command(folder, args).stdin(Stdio::null()).output().expect("it can be run");
    Ended {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Process {
    /// Starts the binary.
    pub fn start(folder: &Path, args: &[&str]) -> Process {
        Process::spawn(command(folder, args))
    }

    /// Starts a command that becomes the binary.
    pub fn spawn(mut command: Command) -> Process {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it can be started");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("it was piped"));
        Process { child, stdin, stdout }
    }

    /// The address after `ready ` in the next line of its standard output.
    pub fn ready(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it writes lines");
        match line.trim_end().strip_prefix("ready ") {
            Some(url) => url.to_owned(),
            None => panic!("no ready line but {line:?}; {:?}", self.rest()),
        }
    }

    /// Writes all of its standard input, and closes it.
    pub fn write_stdin(&mut self, text: &str) {
        let mut stdin = self.stdin.take().expect("it is open");
        stdin.write_all(text.as_bytes()).expect("somebody reads it");
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let kill = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(kill.is_ok_and(|status| status.success()), "the process is there");
    }

    /// Closes its standard input, as the end of whoever started it does.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        self.rest()
    }

    fn rest(&mut self) -> Ended {
        let (mut out, mut err) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).expect("it writes text");
        let mut stderr = self.child.stderr.take().expect("it was piped");
        stderr.read_to_string(&mut err).expect("it writes text");
        let code = self.child.wait().expect("it ends").code();
        Ended { code, out, err }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder of its own for a test, removed on drop.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one.
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("cloakroom-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder can be made");
        Folder(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it; returns its path as text.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).expect("a folder can be made");
        }
        std::fs::write(&path, text).expect("it can be written");
        path.display().to_string()
    }

    /// The text of a file in it.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).expect("the file can be read")
    }
}

impl Default for Folder {
    fn default() -> Self {
        Folder::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
