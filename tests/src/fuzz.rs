//! What fuzzing does with the bytes that it makes up. The targets in `fuzz/` call these, and so do
//! tests with a small corpus and seeded random bytes, so that the targets never rot.

use std::collections::VecDeque;
use std::io::{self, Cursor};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cloakroom::config::{Loaded, Rewritten};
use cloakroom::engine::Engine;
use cloakroom::net::Connection;
use cloakroom::persistence::{Disk, Output};
use cloakroom::resp::{Limits, Parsed, ProtocolError, RequestParser};
use cloakroom::session::{Client, Transport};
use cloakroom::store::glob::{self, Glob};
use cloakroom::{Clock, Config};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::Wire;

/// A target: its name, and what it does with bytes. It panics if something is wrong.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("parser_split", parser_split),
    ("engine", engine),
    ("glob", globs),
    ("config_file", config_file),
];

/// The requests that bytes hold, and what ended them.
type Requests = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

/// Parses bytes that come in pieces of these lengths, over and over.
fn parse(bytes: &[u8], lengths: &[usize]) -> Requests {
    let (mut parser, mut buf, mut found) = (RequestParser::new(), Vec::new(), Vec::new());
    let (mut rest, mut lengths) = (bytes, lengths.iter().cycle());
    while !rest.is_empty() {
        let length = lengths.next().map_or(rest.len(), |length| (*length).clamp(1, rest.len()));
        buf.extend_from_slice(&rest[..length]);
        rest = &rest[length..];
        loop {
            match parser.parse(&buf, &Limits::default()) {
                Ok(Parsed::Incomplete) => break,
                Ok(Parsed::Complete(used)) => {
                    assert!(used <= buf.len(), "it has taken more than there is");
                    found.push(parser.args(&buf).iter().map(<[u8]>::to_vec).collect());
                    buf.drain(..used);
                }
                Err(error) => return (found, Some(error)),
            }
        }
        let held = parser.heap_bytes();
        assert!(held <= 64 * (buf.len() + 2048), "{held} bytes held for {} that came", buf.len());
    }
    (found, None)
}

/// The first bytes say in which pieces the others come: the requests are the same as in one piece.
pub fn parser_split(data: &[u8]) {
    let (lengths, bytes) = data.split_at(data.len().min(4));
    let lengths: Vec<usize> = lengths.iter().map(|length| usize::from(*length)).collect();
    if bytes.len() > Limits::INLINE {
        // How much of an endless line has come when its end does decides whether it is too long.
        parse(bytes, &lengths);
        return;
    }
    assert_eq!(parse(bytes, &lengths), parse(bytes, &[]));
}

/// The first byte says how long the pattern is that the text is held against.
pub fn globs(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else { return };
    let (pattern, text) = rest.split_at(usize::from(*length).min(rest.len()));
    for nocase in [false, true] {
        let matches = glob::matches(pattern, text, nocase);
        assert_eq!(matches, Glob::new(pattern, nocase).matches(text), "prepared or not");
        if pattern == text && !text.iter().any(|byte| b"*?[]\\^".contains(byte)) {
            assert!(matches, "it means itself");
        }
    }
}

/// A config file is refused, or its settings come out of the rewritten file again.
pub fn config_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.to_ascii_lowercase().contains("include") {
        return;
    }
    match Config::from_text(text) {
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
        Ok(Loaded { config, .. }) => {
            let all = |config: &Config| config.get(|_| true);
            let rewritten = config.rewrite(text, &[], Rewritten::Changed);
            let again = Config::from_text(&rewritten);
            let again = again.unwrap_or_else(|error| panic!("{error} in {rewritten:?}"));
            assert_eq!(all(&again.config), all(&config), "{rewritten:?}");
            assert_eq!(
                again.config.rewrite(&rewritten, &[], Rewritten::Changed),
                rewritten,
                "twice is once"
            );
        }
    }
}

/// A connection's stream: what comes in is the data, in pieces; what goes out is kept. Now and then
/// neither goes on at once.
struct Script {
    pieces: VecDeque<Vec<u8>>,
    out: Vec<u8>,
    turns: usize,
}

impl Script {
    fn is_slow(&mut self, cx: &Context<'_>) -> bool {
        self.turns += 1;
        let is_slow = self.turns.is_multiple_of(3);
        if is_slow {
            cx.waker().wake_by_ref();
        }
        is_slow
    }
}

impl AsyncRead for &mut Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_slow(cx) {
            return Poll::Pending;
        }
        if let Some(mut piece) = self.pieces.pop_front() {
            let rest = piece.split_off(piece.len().min(buf.remaining()));
            buf.put_slice(&piece);
            if !rest.is_empty() {
                self.pieces.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for &mut Script {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_slow(cx) {
            return Poll::Pending;
        }
        let taken = bytes.len().min(1 + self.turns * 97);
        self.out.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Nothing is written anywhere.
#[derive(Debug)]
struct NoDisk;

impl Disk for NoDisk {
    fn create(&self, _: &Path) -> io::Result<Box<dyn Output>> {
        Err(io::ErrorKind::StorageFull.into())
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// An engine of small limits on a clock that stands still.
fn small_engine() -> Arc<Engine> {
    let settings = "maxmemory 64mb\nproto-max-bulk-len 1mb\nproto-max-reply-len 1mb\n\
                    lua-memory-limit 8mb\nclient-query-buffer-limit 4mb\nnotify-keyspace-events KEA\n\
                    client-output-buffer-limit pubsub 4mb 0 0\nsave \"\"\n";
    let config = Config::from_text(settings).expect("these are right").config;
    let clock = Arc::new(Clock::frozen_at(1_700_000_000_000));
    Arc::new(Engine::new(config, clock).expect("they name no users"))
}

/// Lets a connection take in these pieces to their end; returns all that it sent, and whether it was
/// closed by force.
fn converse(engine: &Arc<Engine>, pieces: VecDeque<Vec<u8>>) -> (Vec<u8>, bool) {
    let mut script = Script { pieces, out: Vec::new(), turns: 0 };
    let (actions, _asked) = tokio::sync::mpsc::unbounded_channel();
    let id = engine.clients().next_id();
    let addr = "127.0.0.1:1".to_owned();
    let now = engine.clock().now();
    let client = Arc::new(Client::new(id, Transport::Embedded, addr.clone(), addr, -1, now));
    engine.clients().add(Arc::clone(&client));
    let mut connection =
        Connection::new(&mut script, Arc::clone(engine), Arc::new(NoDisk), client.clone(), actions);
    let mut cx = Context::from_waker(Waker::noop());
    for polls in 0.. {
        if Pin::new(&mut connection).poll(&mut cx).is_ready() {
            break;
        }
        assert!(polls < 1_000_000, "the connection does not come to its end");
    }
    drop(connection);
    (script.out, client.is_ending())
}

/// Whether bytes may hold a script that runs without end, or a change of folder.
fn is_left_out(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let loops = ["while", "repeat", "for", "function"].iter().any(|word| text.contains(word));
    (text.contains("eval") || text.contains("script")) && loops || text.contains("dir")
}

/// The first byte says in which pieces the others come to a whole engine: nothing panics, what comes
/// out is RESP, and somebody else is still served.
pub fn engine(data: &[u8]) {
    let Some((length, bytes)) = data.split_first() else { return };
    if is_left_out(bytes) {
        return;
    }
    let engine = small_engine();
    let pieces = bytes.chunks(1 + usize::from(*length)).map(<[u8]>::to_vec).collect();
    let (told, by_force) = converse(&engine, pieces);
    is_resp(&told, by_force);
    engine.clock().advance(Duration::from_secs(1_000_000_000));
    engine.turn().settle_all();
    assert!(engine.clients().is_empty(), "nothing is left of the connection");
    let (ping, _) = converse(&engine, VecDeque::from([b"PING\r\n".to_vec()]));
    let told = String::from_utf8_lossy(&ping).into_owned();
    // A password may have been set, or a primary, or a pause.
    let is_fine = ["+PONG", "-NOAUTH", "-MASTERDOWN"].iter().any(|fine| told.starts_with(fine));
    assert!(is_fine || told.is_empty(), "somebody else is told {told:?}");
}

/// Whole replies, the last of which may be cut short if the connection was closed by force.
fn is_resp(bytes: &[u8], by_force: bool) {
    let mut wire = Wire::new(Cursor::new(without_copies(bytes)));
    while wire.has_more().expect("memory can be read") {
        match wire.read() {
            Ok(_) => {}
            Err(error) if by_force && error.kind() == io::ErrorKind::UnexpectedEof => return,
            Err(error) => panic!("{error} in {:?}", String::from_utf8_lossy(bytes)),
        }
    }
}

/// Without the copies of all data that go to replicas (`$EOF:`, a mark of 40 digits, an RDB file, the
/// mark once more): these are no replies.
fn without_copies(bytes: &[u8]) -> Vec<u8> {
    const HEAD: &[u8] = b"$EOF:";
    let mut rest = bytes.to_vec();
    let begins = |at: usize, rest: &[u8]| {
        let mark = rest.get(at + HEAD.len()..at + HEAD.len() + 40)?;
        let is_copy = rest[at..].starts_with(HEAD) && mark.iter().all(u8::is_ascii_hexdigit);
        is_copy.then(|| mark.to_vec())
    };
    while let Some((at, mark)) = (0..rest.len()).find_map(|at| Some((at, begins(at, &rest)?))) {
        let copy = at + HEAD.len() + mark.len();
        let end = rest[copy..].windows(mark.len()).position(|window| window == mark);
        rest.drain(at..end.map_or(rest.len(), |end| copy + end + mark.len()));
    }
    rest
}
