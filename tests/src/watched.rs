//! A server of ours with an offender at it: whether others are still served, and what of the
//! server's memory the offender has taken.

use std::collections::HashMap;
use std::io;
use std::net::TcpStream;
use std::time::Duration;

use crate::peers::{Kind, Peer};
use crate::wire::{Value, Wire, is_end};

/// A server under watch. With `ON=redis7` in the environment it is the real one, to see what a test
/// tells of it.
pub struct Watched {
    peer: Peer,
    other: Wire,
    rss_before: u64,
}

impl Watched {
    /// Starts a server with these arguments beside the usual ones.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start(args: &[&str]) -> Watched {
        let real = std::env::var("ON").is_ok_and(|on| on == Kind::Redis7.tag());
        let kind = if real { Kind::Redis7 } else { Kind::Ours };
        let peer = Peer::start_with(kind, args).expect("the server starts");
        let other = connect(&peer);
        let mut watched = Watched { peer, other, rss_before: 0 };
        watched.rss_before = watched.number("used_memory_rss");
        watched
    }

    /// A new connection.
    pub fn connect(&self) -> Wire {
        connect(&self.peer)
    }

    /// A new connection as bare as it can be.
    pub fn stream(&self) -> TcpStream {
        TcpStream::connect(self.peer.address()).expect("the server accepts")
    }

    /// The server.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What somebody else is answered.
    pub fn ask(&mut self, args: &[&str]) -> Value {
        self.other.call(args).expect("somebody else is answered")
    }

    /// What somebody else is answered, where it must be no error.
    pub fn must(&mut self, args: &[&str]) -> Value {
        let reply = self.ask(args);
        assert!(!reply.is_error(), "{args:?}: {reply}");
        reply
    }

    /// Somebody else works with a session for a while; every reply must come and be right.
    pub fn others_are_served(&mut self) {
        for visit in 1..=200 {
            let key = format!("session:{}", visit % 10);
            self.must(&["HSET", &key, "user", "ann", "visit", &visit.to_string()]);
            self.must(&["EXPIRE", &key, "1800"]);
            let found = self.must(&["HGET", &key, "visit"]);
            assert_eq!(found.bytes(), Some(visit.to_string().into_bytes()));
        }
    }

    /// A field of INFO.
    pub fn number(&mut self, field: &str) -> u64 {
        let info = self.must(&["INFO", "everything"]).bytes().expect("text");
        let info = String::from_utf8_lossy(&info).into_owned();
        let found = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        found.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("{field}?"))
    }

    /// Bytes by which the server's resident memory has grown since it started.
    pub fn growth(&mut self) -> u64 {
        self.number("used_memory_rss").saturating_sub(self.rss_before)
    }

    /// What CLIENT LIST tells of the client of this name, if it is still there.
    pub fn client(&mut self, name: &str) -> Option<HashMap<String, String>> {
        let list = self.must(&["CLIENT", "LIST"]).bytes().expect("text");
        let list = String::from_utf8_lossy(&list).into_owned();
        let fields = |line: &str| -> HashMap<String, String> {
            let pairs = line.split(' ').filter_map(|field| field.split_once('='));
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        list.lines().map(fields).find(|client| client.get("name").is_some_and(|n| n == name))
    }

    /// A field of the offender (the client that calls itself so); None: it is gone.
    pub fn offender(&mut self, field: &str) -> Option<u64> {
        self.client(OFFENDER)?.get(field)?.parse().ok()
    }

    /// Asks for a field of the offender until it is as it should be. A server that never gets
    /// there lets the test run into its harness's limit.
    pub fn until_offender(&mut self, field: &str, is_right: impl Fn(Option<u64>) -> bool) {
        while !is_right(self.offender(field)) {
            std::thread::yield_now();
        }
    }
}

/// A connection with patience: what is contained may still keep a slow machine busy for a while.
fn connect(peer: &Peer) -> Wire {
    let stream = TcpStream::connect(peer.address()).expect("the server accepts");
    let patience = Some(Duration::from_secs(120));
    let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(patience));
    set.and_then(|()| stream.set_write_timeout(patience)).expect("a socket's options");
    Wire::new(stream)
}

/// What an offender calls itself, so that it can be found.
pub const OFFENDER: &str = "offender";

/// A connection that has called itself [`OFFENDER`].
pub fn offender(watched: &Watched) -> Wire {
    let mut wire = watched.connect();
    let reply = wire.call(&["CLIENT", "SETNAME", OFFENDER]).expect("it may call itself so");
    assert_eq!(reply, Value::Status(b"OK".to_vec()));
    wire
}

/// Reads until the server closes; returns all replies. Any other error than the end is one.
pub fn read_to_end(wire: &mut Wire) -> io::Result<Vec<Value>> {
    let mut replies = Vec::new();
    loop {
        match wire.read() {
            Ok(reply) => replies.push(reply),
            Err(end) if is_end(&end) => return Ok(replies),
            Err(error) => return Err(error),
        }
    }
}
