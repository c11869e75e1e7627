//! All transcripts at once against one server: several copies of it share the files, because on a
//! real server most of the time is spent sleeping.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::drivers::SocketDriver;
use crate::peers::{Kind, Peer, root};
use crate::runner::{self, Driver, Outcome};
use crate::transcript::{self, Transcript};
use crate::wire::Protocol;

/// Every transcript with its file, in order.
pub fn transcripts() -> Result<Vec<(PathBuf, Transcript)>, String> {
    let mut files = Vec::new();
    collect(&root().join("tests/transcripts"), &mut files).map_err(|e| e.to_string())?;
    files.sort();
    files.into_iter().map(|file| Ok((file.clone(), read(&file)?))).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => collect(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}

/// Reads one transcript.
pub fn read(file: &Path) -> Result<Transcript, String> {
    let named = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    let source = std::fs::read_to_string(file).map_err(|e| named(&e))?;
    transcript::parse(&source).map_err(|e| named(&e))
}

/// Runs every transcript on a server. The error lists what failed.
pub fn run_all(kind: Kind, protocol: Protocol) -> Result<usize, String> {
    run_all_with(kind, &[], protocol)
}

/// The same with further arguments for the server.
pub fn run_all_with(kind: Kind, args: &[&str], protocol: Protocol) -> Result<usize, String> {
    let copies = if kind == Kind::Ours { 2 } else { 6 };
    let waiting = Mutex::new(transcripts()?);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..copies)
            .map(|_| scope.spawn(|| work(kind, args, protocol, &waiting, &outcomes)))
            .collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(_) => Err("a worker panicked".to_string()),
        })
    })?;
    summary(outcomes.into_inner().unwrap_or_else(|e| e.into_inner()))
}

type Waiting = Mutex<Vec<(PathBuf, Transcript)>>;

fn work(
    kind: Kind,
    args: &[&str],
    protocol: Protocol,
    waiting: &Waiting,
    outcomes: &Mutex<Vec<(PathBuf, Outcome)>>,
) -> Result<(), String> {
    let text = |e: std::io::Error| format!("{}: {e}", kind.tag());
    let peer = Peer::start_with(kind, args).map_err(text)?;
    let mut driver = SocketDriver::new(&peer, protocol).map_err(text)?;
    loop {
        let next = waiting.lock().unwrap_or_else(|e| e.into_inner()).pop();
        let Some((file, transcript)) = next else { return Ok(()) };
        // Scripts of another file must not be known here.
        driver.control(&["SCRIPT", "FLUSH"]).map_err(text)?;
        let outcome = runner::run(&transcript, &mut driver);
        outcomes.lock().unwrap_or_else(|e| e.into_inner()).push((file, outcome));
    }
}

fn summary(mut outcomes: Vec<(PathBuf, Outcome)>) -> Result<usize, String> {
    outcomes.sort_by(|(a, _), (b, _)| a.cmp(b));
    let passed = outcomes.iter().map(|(_, outcome)| outcome.passed).sum();
    let mut failed = 0;
    let mut report = String::new();
    for (file, outcome) in &outcomes {
        for failure in &outcome.failures {
            failed += 1;
            let file = file.strip_prefix(root()).unwrap_or(file).display();
            report.push_str(&format!("{file} {failure}\n\n"));
        }
    }
    match failed {
        0 => Ok(passed),
        _ => Err(format!("{report}{failed} cases failed, {passed} passed")),
    }
}
