//! The handshake of a replica with its primary, without sockets: what comes in is taken in, what
//! is to be sent is fetched.
//!
//! PING first, because a primary may be up and unable to answer; then AUTH and the REPLCONFs at
//! once; then PSYNC, whose answer says how the replica comes to its data.

use std::collections::VecDeque;
use std::fmt;

use super::{Offset, ReplicationId};
use crate::resp::OwnedRequest;

/// How a replica introduces itself.
#[derive(Debug, Clone, Default)]
pub struct Introduction {
    /// `masteruser`; empty for the default user.
    pub user: String,
    /// `masterauth`; empty where none is asked for.
    pub password: String,
    /// The port at which it listens itself, or `replica-announce-port`.
    pub port: u16,
    /// `replica-announce-ip`; empty: the primary sees where the connection comes from.
    pub ip: String,
    /// The history that it has, and how much of it.
    pub has: Option<(ReplicationId, Offset)>,
    /// The primary is to become one only now: a FAILOVER.
    pub failover: bool,
}

/// How a replica comes to its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A copy of all data follows, then the stream from this offset of this history on.
    Full {
        /// The history.
        id: ReplicationId,
        /// How much of it the copy holds.
        offset: Offset,
    },
    /// The stream follows from where the replica stands, perhaps under a new ID.
    Continue {
        /// The history's ID now, if the primary says it.
        id: Option<ReplicationId>,
    },
}

/// Why a handshake came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The primary cannot be spoken to at the moment; it says why.
    NotNow(String),
    /// The primary does not let this replica in; it says why.
    Refused {
        /// What was asked.
        what: &'static str,
        /// What it said.
        said: String,
    },
    /// That was no answer.
    Garbled(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotNow(said) => write!(f, "the primary is not ready: {said}"),
            Refusal::Refused { what, said } => write!(f, "the primary refuses {what}: {said}"),
            Refusal::Garbled(said) => write!(f, "the primary answers what cannot be: {said:?}"),
        }
    }
}

/// A handshake from its first byte to PSYNC's answer.
#[derive(Debug)]
pub struct Handshake {
    introduction: Introduction,
    /// What is still to be answered, in order.
    asked: VecDeque<Asked>,
    /// The beginning of a line.
    line: Vec<u8>,
    out: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Ping,
    Auth,
    Conf(&'static str),
    Psync,
}

/// The version of Valkey whose copies of the data are understood.
const LIKE_VALKEY: &str = "9.1.0";

/// No answer of a handshake is longer.
const LONGEST_LINE: usize = 4096;

impl Handshake {
    /// Begins one.
    pub fn new(introduction: Introduction) -> Self {
        let mut handshake =
            Handshake { introduction, asked: VecDeque::new(), line: Vec::new(), out: Vec::new() };
        handshake.ask(Asked::Ping, &["PING"]);
        handshake
    }

    /// What is to be sent now.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Takes in what has come. Returns how many bytes belonged to the handshake, and its outcome
    /// when that has come; the bytes behind it are the copy of the data, or the stream.
    ///
    /// # Errors
    ///
    /// The primary does not let this replica in, or is no primary.
    pub fn take_in(&mut self, bytes: &[u8]) -> Result<(usize, Option<Answer>), Refusal> {
        let mut used = 0;
        while let Some(end) = memchr::memchr(b'\n', &bytes[used..]) {
            self.line.extend_from_slice(&bytes[used..used + end]);
            used += end + 1;
            let line = std::mem::take(&mut self.line);
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            // A primary that prepares a copy keeps the connection alive by empty lines.
            if !line.is_empty()
                && let Some(answer) = self.answered(line)?
            {
                return Ok((used, Some(answer)));
            }
        }
        self.line.extend_from_slice(&bytes[used..]);
        if self.line.len() > LONGEST_LINE {
            return Err(Refusal::Garbled(shown(&self.line)));
        }
        Ok((bytes.len(), None))
    }

    fn answered(&mut self, line: &[u8]) -> Result<Option<Answer>, Refusal> {
        let asked = self.asked.pop_front().ok_or_else(|| Refusal::Garbled(shown(line)))?;
        match (asked, line) {
            (Asked::Ping, [b'+', ..]) => self.introduce(),
            // Who has to authenticate first may not even PING.
            (Asked::Ping, line) if is_about_rights(line) => self.introduce(),
            (Asked::Ping, [b'-', said @ ..]) => return Err(Refusal::NotNow(shown(said))),
            (Asked::Auth, [b'+', ..]) => {}
            (Asked::Auth, [b'-', said @ ..]) => return Err(refused("AUTH", said)),
            // An older primary may not know one of these; it does without.
            (Asked::Conf(_), [b'+', ..]) => {}
            (Asked::Conf(what), [b'-', said @ ..]) => {
                tracing::debug!(what, said = shown(said), "the primary does not take REPLCONF");
            }
            (Asked::Psync, line) => return psync_answer(line).map(Some),
            (_, line) => return Err(Refusal::Garbled(shown(line))),
        }
        if self.asked.is_empty() {
            self.psync();
        }
        Ok(None)
    }

    fn introduce(&mut self) {
        let Introduction { user, password, port, ip, .. } = self.introduction.clone();
        match (user.as_str(), password.as_str()) {
            (_, "") => {}
            ("", password) => self.ask(Asked::Auth, &["AUTH", password]),
            (user, password) => self.ask(Asked::Auth, &["AUTH", user, password]),
        }
        self.conf("listening-port", &["listening-port", &port.to_string()]);
        if !ip.is_empty() {
            self.conf("ip-address", &["ip-address", &ip]);
        }
        self.conf("capa", &["capa", "eof", "capa", "psync2"]);
        // To older ones Valkey 9 sends no deadlines of fields.
        self.conf("version", &["version", LIKE_VALKEY]);
    }

    fn psync(&mut self) {
        let (id, next) = match self.introduction.has {
            // The first byte that is missing, counted from 1.
            Some((id, offset)) => (id.to_string(), (offset + 1).to_string()),
            None => ("?".to_owned(), "-1".to_owned()),
        };
        let mut request = vec!["PSYNC", id.as_str(), next.as_str()];
        if self.introduction.failover {
            request.push("FAILOVER");
        }
        self.ask(Asked::Psync, &request);
    }

    fn conf(&mut self, what: &'static str, args: &[&str]) {
        self.ask(Asked::Conf(what), &[&["REPLCONF"], args].concat());
    }

    fn ask(&mut self, asked: Asked, request: &[&str]) {
        self.asked.push_back(asked);
        OwnedRequest::new(request).encode(&mut self.out);
    }
}

fn psync_answer(line: &[u8]) -> Result<Answer, Refusal> {
    let text = shown(line);
    let mut words = text.split(' ');
    match words.next() {
        Some("+FULLRESYNC") => {
            let id = words.next().and_then(|id| ReplicationId::parse(id.as_bytes()));
            let offset = words.next().and_then(|offset| offset.parse().ok());
            let answer = id.zip(offset).map(|(id, offset)| Answer::Full { id, offset });
            answer.ok_or(Refusal::Garbled(text))
        }
        Some("+CONTINUE") => {
            let id = words.next().map(|id| ReplicationId::parse(id.as_bytes()));
            match id {
                Some(None) => Err(Refusal::Garbled(text)),
                id => Ok(Answer::Continue { id: id.flatten() }),
            }
        }
        Some("-NOMASTERLINK" | "-LOADING") => Err(Refusal::NotNow(text)),
        Some(word) if word.starts_with('-') => Err(refused("PSYNC", &line[1..])),
        _ => Err(Refusal::Garbled(text)),
    }
}

fn is_about_rights(line: &[u8]) -> bool {
    [&b"-NOAUTH"[..], b"-NOPERM", b"-ERR operation not permitted"]
        .iter()
        .any(|start| line.starts_with(start))
}

fn refused(what: &'static str, said: &[u8]) -> Refusal {
    Refusal::Refused { what, said: shown(said) }
}

fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(256)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ReplicationId {
        ReplicationId::parse(&[b'a'; 40]).expect("an ID")
    }

    /// What a handshake sends, as words.
    fn sent(handshake: &mut Handshake) -> String {
        let text = String::from_utf8(handshake.take_output()).expect("text");
        let words = text.split("\r\n").filter(|line| !line.starts_with(['$', '*']));
        words.collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    /// Feeds a byte at a time, up to the outcome; returns the bytes that it took.
    fn feed(handshake: &mut Handshake, bytes: &[u8]) -> Result<(usize, Option<Answer>), Refusal> {
        for (at, byte) in bytes.iter().enumerate() {
            let (used, answer) = handshake.take_in(&[*byte])?;
            assert_eq!(used, 1);
            if answer.is_some() {
                return Ok((at + 1, answer));
            }
        }
        Ok((bytes.len(), None))
    }

    #[test]
    fn a_new_replica_asks_for_everything() {
        let mut handshake = Handshake::new(Introduction { port: 7, ..Introduction::default() });
        assert_eq!(sent(&mut handshake), "PING");
        assert_eq!(feed(&mut handshake, b"+PONG\r\n"), Ok((7, None)));
        let greeting =
            "REPLCONF listening-port 7 REPLCONF capa eof capa psync2 REPLCONF version 9.1.0";
        assert_eq!(sent(&mut handshake), greeting);
        feed(&mut handshake, b"+OK\r\n").expect("taken");
        assert_eq!(sent(&mut handshake), "");
        feed(&mut handshake, b"-ERR what?\r\n-ERR what?\r\n").expect("an old primary");
        assert_eq!(sent(&mut handshake), "PSYNC ? -1");
        let wire = format!("\n\n+FULLRESYNC {} 14\r\n$EOF:", id());
        let end = wire.len() - 5;
        let outcome = Answer::Full { id: id(), offset: 14 };
        assert_eq!(handshake.take_in(wire.as_bytes()), Ok((end, Some(outcome))));
    }

    #[test]
    fn a_replica_that_comes_back_asks_for_what_is_missing() {
        let mut handshake = Handshake::new(Introduction {
            user: "replica".into(),
            password: "secret".into(),
            ip: "10.0.0.1".into(),
            has: Some((id(), 100)),
            failover: true,
            ..Introduction::default()
        });
        assert_eq!(sent(&mut handshake), "PING");
        feed(&mut handshake, b"-NOAUTH Authentication required.\r\n").expect("it will");
        let greeting = sent(&mut handshake);
        assert!(greeting.starts_with("AUTH replica secret REPLCONF"), "{greeting}");
        assert!(greeting.contains("REPLCONF ip-address 10.0.0.1"), "{greeting}");
        feed(&mut handshake, b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n").expect("taken");
        assert_eq!(sent(&mut handshake), format!("PSYNC {} 101 FAILOVER", id()));
        let (_, answer) = feed(&mut handshake, b"+CONTINUE\r\n").expect("taken");
        assert_eq!(answer, Some(Answer::Continue { id: None }));
    }

    #[test]
    fn refusals_are_told_apart() {
        let asked = |answers: &[u8]| {
            let introduction = Introduction { password: "wrong".into(), ..Introduction::default() };
            feed(&mut Handshake::new(introduction), answers).expect_err("it is refused")
        };
        let not_now = |refusal| matches!(refusal, Refusal::NotNow(_));
        assert!(not_now(asked(b"-LOADING Redis is loading\r\n")));
        assert!(not_now(asked(b"+PONG\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n-NOMASTERLINK no\r\n")));
        let auth = asked(b"+PONG\r\n-WRONGPASS invalid\r\n");
        assert_eq!(auth.to_string(), "the primary refuses AUTH: WRONGPASS invalid");
        let psync = asked(b"+PONG\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n-ERR no\r\n");
        assert_eq!(psync, Refusal::Refused { what: "PSYNC", said: "ERR no".into() });
        for garbled in [&b"HTTP/1.1 400\r\n"[..], b"+PONG\r\n:1\r\n", &[b'x'; 5000]] {
            assert!(matches!(asked(garbled), Refusal::Garbled(_)));
        }
        let garbled = asked(b"+PONG\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+FULLRESYNC abc 1\r\n");
        assert!(matches!(garbled, Refusal::Garbled(_)));
    }
}
