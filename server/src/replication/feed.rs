//! What is sent to a replica: a copy of the data if it needs one, then the stream.

use std::task::Waker;

use super::spool::{End, Spool};
use super::{CopyReader, MARK, Progress, Reader, SharedProgress};

/// What is still to be sent to one replica.
#[derive(Debug)]
pub struct Feed {
    stage: Stage,
    progress: SharedProgress,
}

#[derive(Debug)]
enum Stage {
    /// Until a copy begins.
    Waiting,
    Copying(Box<Copying>),
    Streaming(Reader),
    /// All that was asked for is sent.
    Over,
}

/// A copy that is sent.
#[derive(Debug)]
struct Copying {
    /// What stands before it.
    head: Vec<u8>,
    copy: CopyReader,
    form: Form,
    after: AfterCopy,
    stream: Reader,
}

/// How a replica is told where a copy ends.
#[derive(Debug)]
pub enum Form {
    /// By a mark behind its last byte.
    Marked([u8; MARK]),
    /// By its size before the first: it waits until that is known.
    Sized(Spool),
}

/// What follows a copy of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterCopy {
    /// The stream, at once.
    Stream,
    /// The stream, but not before the replica has said that it found the copy's end: one that looks
    /// for a mark would otherwise read beyond it.
    StreamWhenAcked,
    /// Nothing: just the data were asked for.
    Nothing,
}

/// How sending goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fed {
    /// There may be more.
    Going,
    /// All that is to be sent is sent: the connection closes.
    Over,
    /// The replica lagged too far behind, or its copy was given up.
    CutOff,
}

impl Feed {
    /// A replica that waits for a copy of the data.
    pub fn waiting(progress: SharedProgress) -> Self {
        progress.set(Progress::Waiting);
        Feed { stage: Stage::Waiting, progress }
    }

    /// A replica that goes on from where it stands.
    pub fn resume(stream: Reader, progress: SharedProgress) -> Self {
        progress.set(Progress::Online);
        Feed { stage: Stage::Streaming(stream), progress }
    }

    /// The replica gets this copy, behind `head`, and the stream from the copy's moment on.
    pub fn copy(
        &mut self,
        head: Vec<u8>,
        (copy, stream): (CopyReader, Reader),
        form: Form,
        after: AfterCopy,
    ) {
        self.progress.set(Progress::Copying);
        let copying = Copying { head, copy, form, after, stream };
        self.stage = Stage::Copying(Box::new(copying));
    }

    /// Whether it waits for a copy to begin.
    pub fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Waiting)
    }

    /// Whether a copy is sent: making it goes on as it is taken.
    pub fn is_copying(&self) -> bool {
        matches!(self.stage, Stage::Copying(_))
    }

    /// The replica has said how far it is: a copy that was sent has arrived.
    pub fn acked(&self) {
        if self.progress.get() == Progress::Copied {
            self.progress.set(Progress::Online);
        }
    }

    /// Appends about `most` bytes of what is to be sent.
    pub fn fill(&mut self, out: &mut Vec<u8>, most: usize) -> Fed {
        let before = out.len();
        if let Stage::Copying(copying) = &mut self.stage {
            match copying.fill(out, most, &self.progress) {
                Fed::Going => {}
                Fed::Over => self.end_copy(),
                Fed::CutOff => return Fed::CutOff,
            }
        }
        let fed = match &mut self.stage {
            Stage::Waiting => {
                if self.progress.take_keepalive() {
                    out.push(b'\n');
                }
                Fed::Going
            }
            Stage::Copying(_) => Fed::Going,
            Stage::Streaming(stream) => {
                let room = if self.progress.get() == Progress::Online { most } else { 0 };
                if stream.read(out, room) { Fed::Going } else { Fed::CutOff }
            }
            Stage::Over => Fed::Over,
        };
        self.progress.moved(out.len() - before);
        fed
    }

    fn end_copy(&mut self) {
        let Stage::Copying(copying) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return;
        };
        match copying.after {
            AfterCopy::Stream => self.progress.set(Progress::Online),
            AfterCopy::StreamWhenAcked => self.progress.set(Progress::Copied),
            AfterCopy::Nothing => return,
        }
        self.stage = Stage::Streaming(copying.stream);
    }

    /// Whether bytes of the stream are there to be sent.
    pub fn has_stream(&self) -> bool {
        let Stage::Streaming(stream) = &self.stage else { return false };
        self.progress.get() == Progress::Online && stream.lag() > 0
    }

    /// Whether the replica lags too far behind, or its copy was given up; if not, `waker` is called
    /// when it comes to that, however long nothing can be sent.
    pub fn is_cut_off(&self, waker: &Waker) -> bool {
        match &self.stage {
            Stage::Copying(copying) => {
                copying.copy.is_cut_off(waker) || copying.stream.is_cut_off(waker)
            }
            Stage::Streaming(stream) => stream.is_cut_off(waker),
            Stage::Waiting | Stage::Over => false,
        }
    }

    /// Whether there is more to send now; if not, `waker` is called when there is.
    pub fn has_more(&self, waker: &Waker) -> bool {
        match &self.stage {
            // Whoever begins the copy nudges the connection.
            Stage::Waiting => false,
            Stage::Copying(copying) => copying.has_more(waker),
            // The request that says so comes over the same connection.
            Stage::Streaming(_) if self.progress.get() != Progress::Online => false,
            Stage::Streaming(stream) => stream.wait(waker),
            Stage::Over => true,
        }
    }
}

impl Copying {
    /// Over: the copy has been sent.
    fn fill(&mut self, out: &mut Vec<u8>, most: usize, progress: &SharedProgress) -> Fed {
        out.append(&mut self.head);
        match &self.form {
            Form::Marked(mark) => fill_marked(&mut self.copy, mark, out, most),
            Form::Sized(spool) => {
                // Whoever waits for its size is told that it comes.
                if progress.take_keepalive() && !self.copy.is_over() {
                    out.push(b'\n');
                }
                fill_sized(&mut self.copy, spool, out, most)
            }
        }
    }

    /// See [`Feed::has_more`].
    fn has_more(&self, waker: &Waker) -> bool {
        match &self.form {
            Form::Marked(_) => self.copy.wait(waker),
            Form::Sized(spool) if self.copy.is_over() => spool.is_ready(waker),
            Form::Sized(spool) => spool.is_ready(waker) && self.copy.wait(waker),
        }
    }
}

fn fill_marked(copy: &mut CopyReader, mark: &[u8], out: &mut Vec<u8>, most: usize) -> Fed {
    if !copy.read(out, most) {
        return Fed::CutOff;
    }
    if !copy.is_over() {
        return Fed::Going;
    }
    out.extend_from_slice(mark);
    Fed::Over
}

fn fill_sized(copy: &mut CopyReader, spool: &Spool, out: &mut Vec<u8>, most: usize) -> Fed {
    match spool.read(out) {
        Some(End::Over) => return Fed::Over,
        Some(End::Failed) => return Fed::CutOff,
        None => {}
    }
    if copy.is_over() || !spool.is_ready(Waker::noop()) {
        return Fed::Going;
    }
    let mut piece = Vec::new();
    if !copy.read(&mut piece, most) {
        return Fed::CutOff;
    }
    if !piece.is_empty() {
        spool.write(piece);
    }
    if copy.is_over() {
        spool.end();
    }
    Fed::Going
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::super::{Backlog, Copy, ReplicationId};
    use super::*;
    use crate::config::OutputLimit;
    use crate::rdb::{Recording, Version, Writer};
    use crate::store::Keyspace;

    const REPLICA: u64 = 1;

    /// A copy, the stream that goes on from it, and the feed of a replica that gets both.
    struct Scene {
        copy: Copy,
        stream: Arc<Backlog>,
        feed: Feed,
        progress: SharedProgress,
        out: Vec<u8>,
    }

    fn scene(form: Form, after: AfterCopy) -> Scene {
        let (writer, keyspace) = (Writer::new(Version::V10, true), Keyspace::new(1));
        let recording = Arc::new(Mutex::new(Recording::begin(writer, &keyspace, &[], &[], 1)));
        let mut copy = Copy::new(recording, (ReplicationId::NONE, 6), [b'm'; MARK], false);
        let limit = OutputLimit { hard: 2000, ..OutputLimit::default() };
        let stream = Backlog::new(0, 1000, limit);
        stream.append(b"before", 0);
        copy.invite(REPLICA, stream.read_from(6).expect("it is there"));
        let progress = SharedProgress::default();
        let mut feed = Feed::waiting(progress.clone());
        let readers = copy.accept(REPLICA).expect("it was invited");
        feed.copy(b"head".to_vec(), readers, form, after);
        Scene { copy, stream, feed, progress, out: Vec::new() }
    }

    impl Scene {
        fn fill(&mut self) -> Fed {
            self.feed.fill(&mut self.out, 4)
        }

        fn drain(&mut self) {
            while self.feed.has_more(Waker::noop()) {
                assert_eq!(self.fill(), Fed::Going);
            }
        }
    }

    /// What an empty keyspace is as a file without a checksum.
    const FILE: &[u8] = b"REDIS0010\xff\0\0\0\0\0\0\0\0";

    #[test]
    fn a_replica_that_waits_gets_signs_of_life() {
        let progress = SharedProgress::default();
        let mut feed = Feed::waiting(progress.clone());
        let mut out = Vec::new();
        assert_eq!((feed.fill(&mut out, 10), feed.is_waiting()), (Fed::Going, true));
        progress.keep_alive();
        feed.fill(&mut out, 10);
        feed.fill(&mut out, 10);
        assert_eq!(out, b"\n");
    }

    #[test]
    fn the_stream_follows_a_copy_whose_size_is_known() {
        let path = std::env::temp_dir().join(format!("cloakroom-feed-{}", std::process::id()));
        let mut scene = scene(Form::Sized(Spool::begin(path)), AfterCopy::Stream);
        scene.stream.append(b"after", 0);
        scene.copy.hand_on();
        scene.drain();
        assert_eq!((&scene.out[..], scene.progress.get()), (&b"head"[..], Progress::Copying));
        scene.progress.keep_alive();
        assert_eq!(scene.fill(), Fed::Going);
        scene.copy.end();
        // The spool's thread takes its time.
        while scene.progress.get() == Progress::Copying {
            assert_eq!(scene.fill(), Fed::Going);
        }
        scene.drain();
        let expected = [b"head\n$18\r\n", FILE, b"after"].concat();
        assert_eq!((scene.out, scene.progress.get()), (expected, Progress::Online));
    }

    #[test]
    fn a_replica_that_looks_for_a_mark_is_given_time_to_find_it() {
        let mark = [b'm'; MARK];
        let mut scene = scene(Form::Marked(mark), AfterCopy::StreamWhenAcked);
        scene.stream.append(b"after", 0);
        scene.feed.acked();
        scene.copy.end();
        scene.drain();
        let copy = [b"head", FILE, &mark].concat();
        assert_eq!((&scene.out, scene.progress.get()), (&copy, Progress::Copied));
        assert!(!scene.feed.has_stream());
        scene.feed.acked();
        assert!(scene.feed.has_stream());
        scene.drain();
        assert!(!scene.feed.has_stream());
        assert_eq!(scene.out, [&copy[..], b"after"].concat());
    }

    #[test]
    fn sending_ends_with_the_copy_or_at_the_limit() {
        let mut only_data = scene(Form::Marked([b'm'; MARK]), AfterCopy::Nothing);
        only_data.copy.end();
        let fed = std::iter::repeat_with(|| only_data.fill()).find(|fed| *fed != Fed::Going);
        assert_eq!(fed, Some(Fed::Over));
        let mut slow = scene(Form::Marked([b'm'; MARK]), AfterCopy::StreamWhenAcked);
        slow.copy.end();
        slow.drain();
        slow.stream.append(&[b'x'; 2001], 0);
        assert_eq!((slow.fill(), slow.feed.is_cut_off(Waker::noop())), (Fed::CutOff, true));
        let mut stuck = scene(Form::Marked([b'm'; MARK]), AfterCopy::StreamWhenAcked);
        stuck.copy.hand_on();
        assert!(stuck.fill() == Fed::Going && !stuck.feed.is_cut_off(Waker::noop()));
        stuck.stream.append(&[b'x'; 2001], 0);
        assert!(stuck.feed.is_cut_off(Waker::noop()), "its copy is of no use without the stream");
        let mut given_up = scene(Form::Marked([b'm'; MARK]), AfterCopy::StreamWhenAcked);
        given_up.copy.give_up();
        assert_eq!(given_up.fill(), Fed::CutOff);
    }
}
