//! A copy whose size must be said before its first byte: it waits in a file, not in memory.
//!
//! A thread writes the file and reads it again, so that a slow disk holds nobody back. The file has
//! lost its name by the time it holds anything, where the system lets it: nothing is left behind.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Waker;

use parking_lot::{Condvar, Mutex};

/// Pieces that wait for the thread, or for whoever sends them.
const MOST_PIECES: usize = 4;

/// Bytes of a piece that is read.
const PIECE: usize = 64 * 1024;

/// A copy on its way through a file.
#[derive(Debug)]
pub struct Spool {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Something has changed that the thread may wait for.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// To the thread, and back from it.
    written: VecDeque<Vec<u8>>,
    read: VecDeque<Vec<u8>>,
    /// Nothing more is written.
    is_whole: bool,
    /// Everything was read, or will never be.
    end: Option<End>,
    /// Nobody wants it any more.
    is_dropped: bool,
    waker: Option<Waker>,
}

/// How the thread ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All was read.
    Over,
    /// The disk failed.
    Failed,
}

impl Spool {
    /// A spool with this file, which is made.
    pub fn begin(path: PathBuf) -> Self {
        let shared = Arc::<Shared>::default();
        let thread = std::thread::Builder::new().name("cloakroom-spool".to_owned());
        let of_thread = Arc::clone(&shared);
        let started = thread.spawn(move || {
            let end = match of_thread.run(&path) {
                Ok(()) => End::Over,
                Err(cause) => {
                    tracing::error!("a copy cannot be kept in {}: {cause}", path.display());
                    End::Failed
                }
            };
            of_thread.change(|state| state.end = Some(end));
        });
        if started.is_err() {
            shared.change(|state| state.end = Some(End::Failed));
        }
        Spool { shared }
    }

    /// Writes more of it.
    pub fn write(&self, bytes: Vec<u8>) {
        self.shared.change(|state| state.written.push_back(bytes));
    }

    /// All of it is written: it can be sent.
    pub fn end(&self) {
        self.shared.change(|state| state.is_whole = true);
    }

    /// Whether there is room for more to be written, or something to be sent; if not, `waker` is
    /// called when there is.
    pub fn is_ready(&self, waker: &Waker) -> bool {
        let mut state = self.shared.state.lock();
        let is_ready = match state.is_whole {
            true => !state.read.is_empty(),
            false => state.written.len() < MOST_PIECES,
        };
        if !is_ready && state.end.is_none() {
            state.waker = Some(waker.clone());
        }
        is_ready || state.end.is_some()
    }

    /// Appends what can be sent. Its end, when nothing more will come.
    pub fn read(&self, out: &mut Vec<u8>) -> Option<End> {
        let mut state = self.shared.state.lock();
        if let Some(mut piece) = state.read.pop_front() {
            self.shared.changed.notify_one();
            out.append(&mut piece);
            return None;
        }
        state.end
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.shared.change(|state| state.is_dropped = true);
    }
}

impl Shared {
    fn change(&self, act: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        act(&mut state);
        self.changed.notify_one();
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    fn run(&self, path: &Path) -> io::Result<()> {
        let mut file = Nameless::create(path)?;
        let mut size = 0;
        while let Some(piece) = self.next() {
            file.file.write_all(&piece)?;
            size += piece.len();
        }
        file.file.rewind()?;
        let mut piece = format!("${size}\r\n").into_bytes();
        while !piece.is_empty() && self.give(piece) {
            piece = Vec::with_capacity(PIECE);
            (&mut file.file).take(PIECE as u64).read_to_end(&mut piece)?;
        }
        Ok(())
    }

    /// What is to be written next. None: it was all, or nobody wants it.
    fn next(&self) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        while state.written.is_empty() && !state.is_whole && !state.is_dropped {
            self.changed.wait(&mut state);
        }
        let next = state.written.pop_front();
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        next
    }

    /// Hands a piece over when there is room for it. False: nobody wants it.
    fn give(&self, piece: Vec<u8>) -> bool {
        let mut state = self.state.lock();
        while state.read.len() >= MOST_PIECES && !state.is_dropped {
            self.changed.wait(&mut state);
        }
        state.read.push_back(piece);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        !state.is_dropped
    }
}

/// A file that nobody finds.
struct Nameless {
    file: File,
    path: PathBuf,
}

impl Nameless {
    fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        // Where an open file cannot lose its name it does so when it is closed.
        let _ = std::fs::remove_file(path);
        Ok(Nameless { file, path: path.to_owned() })
    }
}

impl Drop for Nameless {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits until a spool can go on.
    fn wait(spool: &Spool) {
        while !spool.is_ready(Waker::noop()) {
            std::thread::yield_now();
        }
    }

    fn read_all(spool: &Spool) -> (Vec<u8>, End) {
        let mut out = Vec::new();
        loop {
            wait(spool);
            if let Some(end) = spool.read(&mut out) {
                return (out, end);
            }
        }
    }

    #[test]
    fn what_was_written_comes_behind_its_size() {
        let path = std::env::temp_dir().join(format!("cloakroom-spool-{}", std::process::id()));
        let spool = Spool::begin(path.clone());
        let pieces = (0..50).map(|at| vec![at as u8; 1 + at * 1_000]);
        let mut expected = Vec::new();
        for piece in pieces {
            expected.extend_from_slice(&piece);
            wait(&spool);
            spool.write(piece);
        }
        spool.end();
        let (out, end) = read_all(&spool);
        let head = format!("${}\r\n", expected.len()).into_bytes();
        assert!(end == End::Over && out == [head, expected].concat());
        assert!(!path.exists());
    }

    #[test]
    fn a_disk_that_fails_ends_it() {
        let spool = Spool::begin("/nowhere/at/all".into());
        wait(&spool);
        spool.end();
        assert_eq!(read_all(&spool), (Vec::new(), End::Failed));
    }
}
