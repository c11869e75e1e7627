//! A copy of all data on its way to replicas: an RDB file of one moment, made in small parts and no
//! faster than it is sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use super::{Backlog, MARK, Offset, Reader, ReplicationId};
use crate::config::OutputLimit;
use crate::rdb::{Checksum, Recording, trailer};

/// Bytes that are made and not yet sent: with more, making the copy waits.
const MOST_AHEAD: u64 = 1 << 20;

/// A copy that is being made.
#[derive(Debug)]
pub struct Copy {
    /// The file's bytes as they come.
    pub recording: Arc<Mutex<Recording>>,
    /// Which writes the data are the outcome of.
    pub id: ReplicationId,
    /// See `id`.
    pub offset: Offset,
    /// What stands at the end for who looks for it.
    pub mark: [u8; MARK],
    checksum: Option<Checksum>,
    /// What is made, until all have it.
    bytes: Arc<Backlog>,
    /// How many bytes there are in all, once that is known.
    total: Arc<AtomicU64>,
    /// Who is to have it and has not come for it yet: the copy, and the stream from there on.
    invited: BTreeMap<u64, (CopyReader, Reader)>,
}

/// The total of a copy that is not whole.
const UNKNOWN: u64 = u64::MAX;

impl Copy {
    /// Begins a copy; `checksum`: it ends with one (`rdbchecksum`).
    pub fn new(
        recording: Arc<Mutex<Recording>>,
        (id, offset): (ReplicationId, Offset),
        mark: [u8; MARK],
        checksum: bool,
    ) -> Self {
        Copy {
            recording,
            id,
            offset,
            mark,
            checksum: checksum.then(Checksum::new),
            bytes: Backlog::new(0, 0, OutputLimit::default()),
            total: Arc::new(AtomicU64::new(UNKNOWN)),
            invited: BTreeMap::new(),
        }
    }

    /// Keeps the copy from its first byte on, and the stream, for the replica of this number.
    pub fn invite(&mut self, replica: u64, stream: Reader) {
        if let Some(bytes) = self.bytes.read_from(0) {
            let copy = CopyReader { bytes, read: 0, total: Arc::clone(&self.total) };
            self.invited.insert(replica, (copy, stream));
        }
    }

    /// What is kept for the replica of this number.
    pub fn accept(&mut self, replica: u64) -> Option<(CopyReader, Reader)> {
        self.invited.remove(&replica)
    }

    /// The replica of this number will not come for it.
    pub fn uninvite(&mut self, replica: u64) {
        self.invited.remove(&replica);
    }

    /// Whether anybody is still to have it.
    pub fn is_wanted(&self) -> bool {
        self.bytes.readers() > 0
    }

    /// Whether more is to be made now.
    pub fn can_go_on(&self) -> bool {
        self.bytes.most_lag() < MOST_AHEAD
    }

    /// Hands on what was recorded.
    pub fn hand_on(&mut self) {
        let bytes = self.recording.lock().take_bytes();
        if let Some(checksum) = &mut self.checksum {
            checksum.update(&bytes);
        }
        self.bytes.append(&bytes, 0);
    }

    /// All is recorded: the copy is whole.
    pub fn end(&mut self) {
        self.recording.lock().end();
        self.hand_on();
        let end = trailer(self.checksum.as_ref());
        self.total.store(self.bytes.range().end + end.len() as u64, Ordering::Release);
        self.bytes.append(&end, 0);
    }

    /// The copy will never be whole: who reads it is cut off.
    pub fn give_up(&self) {
        self.bytes.cut_all();
    }
}

/// Reads a copy.
#[derive(Debug)]
pub struct CopyReader {
    bytes: Reader,
    read: u64,
    total: Arc<AtomicU64>,
}

impl CopyReader {
    /// Appends up to about `most` bytes to `into`. False: the copy was given up.
    #[must_use]
    pub fn read(&mut self, into: &mut Vec<u8>, most: usize) -> bool {
        let before = into.len();
        let goes_on = self.bytes.read(into, most);
        self.read += (into.len() - before) as u64;
        goes_on
    }

    /// Whether all of it has been read.
    pub fn is_over(&self) -> bool {
        self.read == self.total.load(Ordering::Acquire)
    }

    /// Whether the copy was given up; if not, `waker` is called when it is.
    pub fn is_cut_off(&self, waker: &Waker) -> bool {
        self.bytes.is_cut_off(waker)
    }

    /// Has `waker` called at the next bytes, unless some are there already: then it says so.
    pub fn wait(&self, waker: &Waker) -> bool {
        self.bytes.wait(waker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::{Version, Writer};
    use crate::store::Keyspace;

    fn copy() -> Copy {
        let (writer, keyspace) = (Writer::new(Version::V10, true), Keyspace::new(1));
        let recording = Recording::begin(writer, &keyspace, &[], &[], 1);
        let recording = Arc::new(Mutex::new(recording));
        Copy::new(recording, (ReplicationId::NONE, 7), [b'm'; MARK], true)
    }

    fn stream() -> Reader {
        let backlog = Backlog::new(7, 1, OutputLimit::default());
        backlog.read_from(7).expect("it is there")
    }

    #[test]
    fn every_reader_gets_the_whole_file() {
        let mut copy = copy();
        copy.invite(1, stream());
        copy.invite(2, stream());
        copy.hand_on();
        let (mut first, _) = copy.accept(1).expect("it was invited");
        assert!(copy.accept(1).is_none());
        let mut early = Vec::new();
        assert!(first.read(&mut early, 1000) && !first.is_over() && !first.wait(Waker::noop()));
        copy.end();
        assert!(first.wait(Waker::noop()) && first.read(&mut early, 1000) && first.is_over());
        let (mut second, _) = copy.accept(2).expect("it was invited");
        let mut late = Vec::new();
        assert!(second.read(&mut late, 1000) && second.is_over());
        assert_eq!(early, late);
        assert!(early.starts_with(b"REDIS0010"));
        let (data, sum) = early.split_at(early.len() - 8);
        assert_eq!(sum, Checksum::of(data).to_le_bytes());
        drop((first, second));
        assert!(!copy.is_wanted());
    }

    #[test]
    fn a_copy_that_is_given_up_is_over_for_all() {
        let mut copy = copy();
        copy.invite(1, stream());
        assert!(copy.is_wanted() && copy.can_go_on());
        let (mut reader, _) = copy.accept(1).expect("it was invited");
        copy.give_up();
        assert!(!reader.read(&mut Vec::new(), 10));
    }
}
