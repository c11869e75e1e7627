//! The stream: what changes, as requests in RESP, one after the other, from the start of a history
//! on. A primary writes its own; a replica passes its primary's on, byte by byte.

use std::sync::Arc;

use super::{Backlog, Offset};
use crate::clock::Millis;
use crate::config::OutputLimit;

/// The writing end of the stream.
#[derive(Debug, Default)]
pub struct Stream {
    /// Where it goes. None before the first replica: then nothing is written.
    backlog: Option<Arc<Backlog>>,
    /// It is a primary's stream that is passed on; this server's own effects are not in it.
    is_passed_on: bool,
    /// Written in this turn, not yet in the backlog.
    pending: Vec<u8>,
    /// The offset of the first pending byte.
    flushed: Offset,
    /// The database that the stream has selected.
    db: Option<usize>,
    group: Group,
}

/// Requests that belong together: MULTI and EXEC stand around them if they are several.
#[derive(Debug, Default)]
struct Group {
    /// How many groups have begun and not ended; only the outermost counts.
    depth: u32,
    /// Requests in it so far.
    requests: usize,
    /// Where in `pending` the first of them begins.
    start: usize,
}

/// What of the pending bytes' room is kept from turn to turn.
const KEPT: usize = 256 * 1024;

impl Stream {
    /// Whether effects are to be written.
    pub fn is_open(&self) -> bool {
        self.backlog.is_some() && !self.is_passed_on
    }

    /// How many bytes there have been since the history began.
    pub fn offset(&self) -> Offset {
        self.flushed + self.pending.len() as u64
    }

    /// The database that it has selected, if it has.
    pub fn db(&self) -> Option<usize> {
        self.db
    }

    /// Where the stream goes, if it does.
    pub fn backlog(&self) -> Option<&Arc<Backlog>> {
        self.backlog.as_ref()
    }

    /// Starts a backlog where there is none.
    pub fn open(&mut self, size: u64, limit: OutputLimit) -> &Arc<Backlog> {
        self.db = self.db.filter(|_| self.backlog.is_some());
        let start = self.flushed;
        self.backlog.get_or_insert_with(|| Backlog::new(start, size, limit))
    }

    /// Lets the backlog go: nothing is written until [`Stream::open`].
    pub fn close(&mut self) {
        self.end_requests();
        self.backlog = None;
        self.flushed += self.pending.len() as u64;
        self.pending = Vec::new();
    }

    /// Whether this server passes on a primary's stream from now on, or writes its own, which then
    /// begins by selecting a database.
    pub fn pass_on_only(&mut self, is_passed_on: bool) {
        self.end_requests();
        self.is_passed_on = is_passed_on;
        self.db = None;
    }

    /// Goes on from another offset, because the data were replaced: what was written before has
    /// nothing to do with it.
    pub fn restart(&mut self, offset: Offset) {
        self.close();
        self.flushed = offset;
    }

    /// The next request selects its database again: a copy of the data begins here, and whoever
    /// gets it does not know what was selected before.
    pub fn forget_db(&mut self) {
        self.db = None;
    }

    /// Writes a request on database `db`.
    pub fn write<'a, I>(&mut self, db: usize, args: I)
    where
        I: IntoIterator<Item = &'a [u8]>,
        I::IntoIter: Clone,
    {
        if !self.is_open() {
            return;
        }
        if self.db != Some(db) {
            let number = itoa::Buffer::new().format(db).to_owned();
            encode(&mut self.pending, [b"SELECT".as_slice(), number.as_bytes()]);
            self.db = Some(db);
        }
        // The database of a group's first request is selected before the group.
        self.count_in_group();
        encode(&mut self.pending, args);
    }

    /// Writes a request that is about no database: PING, REPLCONF.
    pub fn write_anywhere(&mut self, args: &[&[u8]]) {
        if self.is_open() {
            encode(&mut self.pending, args.iter().copied());
        }
    }

    /// Passes bytes of the primary's stream on.
    pub fn pass_on(&mut self, bytes: &[u8]) {
        debug_assert!(self.is_passed_on);
        self.pending.extend_from_slice(bytes);
    }

    /// What follows belongs together, until [`Stream::end_group`].
    pub fn begin_group(&mut self) {
        self.group.depth += 1;
    }

    /// Ends what [`Stream::begin_group`] began.
    pub fn end_group(&mut self) {
        self.group.depth -= 1;
        if self.group.depth == 0 {
            self.end_requests();
        }
    }

    /// Ends the group's requests so far: they are whole.
    fn end_requests(&mut self) {
        if std::mem::take(&mut self.group.requests) > 1 {
            encode(&mut self.pending, [b"EXEC".as_slice()]);
        }
    }

    /// Hands the turn's bytes to the backlog.
    #[inline]
    pub fn flush(&mut self, now: Millis) {
        if !self.pending.is_empty() {
            self.flush_pending(now);
        }
    }

    fn flush_pending(&mut self, now: Millis) {
        if let Some(backlog) = &self.backlog {
            backlog.append(&self.pending, now);
        }
        self.flushed += self.pending.len() as u64;
        self.pending.clear();
        self.pending.shrink_to(KEPT);
    }

    /// MULTI is put before the first request when a second one comes.
    fn count_in_group(&mut self) {
        let Group { depth, requests, start } = &mut self.group;
        if *depth == 0 {
            return;
        }
        match *requests {
            0 => *start = self.pending.len(),
            1 => {
                let multi = b"*1\r\n$5\r\nMULTI\r\n";
                self.pending.splice(*start..*start, multi.iter().copied());
            }
            _ => {}
        }
        *requests += 1;
    }
}

/// Appends a request in RESP.
fn encode<'a, I>(out: &mut Vec<u8>, args: I)
where
    I: IntoIterator<Item = &'a [u8]>,
    I::IntoIter: Clone,
{
    let args = args.into_iter();
    let mut digits = itoa::Buffer::new();
    let mut header = |out: &mut Vec<u8>, kind: u8, number: usize| {
        out.push(kind);
        out.extend_from_slice(digits.format(number).as_bytes());
        out.extend_from_slice(b"\r\n");
    };
    header(out, b'*', args.clone().count());
    for arg in args {
        header(out, b'$', arg.len());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Limits, Parsed, RequestParser};

    const FREE: OutputLimit = OutputLimit { hard: 0, soft: 0, soft_seconds: 0 };

    fn write(stream: &mut Stream, db: usize, text: &str) {
        stream.write(db, text.split(' ').map(str::as_bytes).collect::<Vec<_>>());
    }

    /// The requests in the stream since `from`.
    fn requests(stream: &mut Stream, from: Offset) -> Vec<String> {
        stream.flush(0);
        let backlog = stream.backlog().expect("it is open");
        let (mut bytes, mut reader) = (Vec::new(), backlog.read_from(from).expect("it is there"));
        assert!(reader.read(&mut bytes, usize::MAX));
        assert_eq!(from + bytes.len() as u64, stream.offset());
        let (mut parser, mut at, mut found) = (RequestParser::new(), 0, Vec::new());
        while let Ok(Parsed::Complete(length)) = parser.parse(&bytes[at..], &Limits::default()) {
            let args = parser.args(&bytes[at..]);
            let words: Vec<_> = args.iter().map(String::from_utf8_lossy).collect();
            found.push(words.join(" "));
            at += length;
        }
        assert_eq!(at, bytes.len(), "nothing but whole requests");
        found
    }

    #[test]
    fn nothing_is_written_before_somebody_listens() {
        let mut stream = Stream::default();
        write(&mut stream, 0, "SET a 1");
        stream.flush(0);
        assert_eq!(stream.offset(), 0);
        stream.open(1000, FREE);
        write(&mut stream, 0, "SET b 2");
        assert_eq!(requests(&mut stream, 0), ["SELECT 0", "SET b 2"]);
    }

    #[test]
    fn a_database_is_selected_when_it_changes() {
        let mut stream = Stream::default();
        stream.open(1000, FREE);
        write(&mut stream, 3, "SET a 1");
        write(&mut stream, 3, "SET b 1");
        stream.write_anywhere(&[b"PING"]);
        write(&mut stream, 0, "SET c 1");
        stream.forget_db();
        write(&mut stream, 0, "SET d 1");
        let expected = ["SELECT 3", "SET a 1", "SET b 1", "PING", "SELECT 0", "SET c 1"];
        assert_eq!(requests(&mut stream, 0)[..6], expected);
        assert_eq!(requests(&mut stream, 0)[6..], ["SELECT 0", "SET d 1"]);
    }

    #[test]
    fn several_requests_of_a_group_stand_between_multi_and_exec() {
        let mut stream = Stream::default();
        stream.open(1000, FREE);
        write(&mut stream, 0, "SET before 1");
        for count in 0..4 {
            stream.begin_group();
            (0..count).for_each(|n| {
                // A script in a transaction: only the outermost group counts.
                stream.begin_group();
                write(&mut stream, 0, &format!("INCR {count}.{n}"));
                stream.end_group();
            });
            stream.end_group();
        }
        let expected = [
            "SELECT 0",
            "SET before 1",
            "INCR 1.0",
            "MULTI",
            "INCR 2.0",
            "INCR 2.1",
            "EXEC",
            "MULTI",
            "INCR 3.0",
            "INCR 3.1",
            "INCR 3.2",
            "EXEC",
        ];
        assert_eq!(requests(&mut stream, 0), expected);
    }

    #[test]
    fn a_transaction_that_ends_the_role_is_whole() {
        let mut stream = Stream::default();
        stream.open(1000, FREE);
        stream.begin_group();
        write(&mut stream, 0, "SET a 1");
        write(&mut stream, 0, "SET b 1");
        stream.pass_on_only(true);
        write(&mut stream, 0, "SET c 1");
        stream.end_group();
        assert_eq!(requests(&mut stream, 0), ["SELECT 0", "MULTI", "SET a 1", "SET b 1", "EXEC"]);
    }

    #[test]
    fn a_replica_passes_bytes_on_and_none_of_its_own() {
        let mut stream = Stream::default();
        stream.restart(500);
        stream.pass_on_only(true);
        stream.open(1000, FREE);
        write(&mut stream, 0, "SET own 1");
        stream.pass_on(b"*1\r\n$4\r\nPING\r\n");
        assert_eq!(requests(&mut stream, 500), ["PING"]);
        stream.pass_on_only(false);
        write(&mut stream, 0, "SET promoted 1");
        assert_eq!(requests(&mut stream, 500), ["PING", "SELECT 0", "SET promoted 1"]);
    }
}
