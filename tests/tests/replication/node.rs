//! A server that takes part in replication, with somebody who runs it.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use cloakroom_tests::peers::{Kind, Peer};
use cloakroom_tests::text;
use cloakroom_tests::wire::{Value, Wire, encode};

use crate::digest::{Digest, digest};

/// Nothing here takes longer, on a machine however busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// So many requests of a stream are shown where data differ.
const SHOWN: usize = 4_000;

/// A running server.
pub(crate) struct Node {
    peer: Peer,
    wire: Wire,
}

impl Node {
    /// Starts one with more arguments. Real servers make copies of their data at once, as ours does.
    pub(crate) fn start(kind: Kind, args: &[&str]) -> Node {
        let mut all = vec!["--repl-backlog-size", "64mb"];
        if kind != Kind::Ours {
            all.extend(["--repl-diskless-sync-delay", "0"]);
        }
        all.extend(args);
        let peer = Peer::start_with(kind, &all).expect("the server starts");
        let wire = peer.connect().expect("it accepts");
        Node { peer, wire }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.peer.kind()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.peer.address()
    }

    /// Another connection to it.
    pub(crate) fn connect(&self) -> Wire {
        self.peer.connect().expect("it accepts")
    }

    /// What a request is answered.
    pub(crate) fn ask(&mut self, line: &str) -> Value {
        let words: Vec<_> = line.split(' ').collect();
        self.wire.call(&words).expect("the server answers")
    }

    /// What a request is answered, where it must be no error.
    pub(crate) fn must(&mut self, line: &str) -> Value {
        let reply = self.ask(line);
        assert!(!reply.is_error(), "{:?} answers {line}: {reply}", self.kind());
        reply
    }

    /// A line of INFO.
    pub(crate) fn info(&mut self, name: &str) -> String {
        let info = self.must("INFO").bytes().expect("INFO is text");
        let info = String::from_utf8_lossy(&info).into_owned();
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or("").to_owned()
    }

    /// A number of INFO's.
    pub(crate) fn number(&mut self, name: &str) -> u64 {
        let value = self.info(name);
        value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value:?}"))
    }

    /// Makes it a replica.
    pub(crate) fn follow(&mut self, address: SocketAddr) {
        self.must(&format!("REPLICAOF {} {}", address.ip(), address.port()));
    }

    /// Makes it a replica and waits until it is one.
    pub(crate) fn join(&mut self, primary: &Node) {
        self.follow(primary.address());
        self.wait_for_link();
    }

    /// Waits until the link to its primary is up.
    pub(crate) fn wait_for_link(&mut self) {
        self.wait("master_link_status", "up");
    }

    /// Waits until INFO says so.
    pub(crate) fn wait(&mut self, name: &str, value: &str) {
        eventually(&format!("{:?}: {name} {value}", self.kind()), || self.info(name) == value);
    }

    /// What it holds.
    pub(crate) fn digest(&mut self, with_fields: bool) -> Digest {
        digest(&mut self.wire, self.peer.kind(), with_fields)
    }

    /// The last requests of its stream, as far as its backlog has them: what has led to a difference.
    fn stream(&mut self) -> Vec<String> {
        let first = self.info("repl_backlog_first_byte_offset");
        let (id, end) = (self.info("master_replid"), self.number("master_repl_offset"));
        let mut wire = self.connect();
        let mut read = first.parse::<u64>().unwrap_or(0) - 1;
        let mut requests = std::collections::VecDeque::new();
        let answer = wire.call(&["PSYNC", &id, &first]).map(|answer| answer.to_string());
        assert!(answer.is_ok_and(|answer| answer.starts_with("CONTINUE")), "the backlog has it");
        while read < end
            && let Ok(request) = wire.read()
        {
            let words: Vec<_> = request.items().unwrap_or(&[]).iter().map(Value::bytes).collect();
            let words: Vec<_> = words.into_iter().flatten().collect();
            read += encode(&words).len() as u64;
            requests.push_back(text::join(&words));
            requests.drain(..requests.len().saturating_sub(SHOWN));
        }
        requests.into()
    }

    /// Stops the process where it is, or lets it go on.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.peer.id().to_string()]).status();
        assert!(sent.expect("there is kill").success());
    }
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether deadlines of fields can be replicated between these.
pub(crate) fn know_fields(nodes: &[&Node]) -> bool {
    nodes.iter().all(|node| matches!(node.kind(), Kind::Ours | Kind::Valkey9))
}

/// Waits until a replica has all of its primary's stream, and compares what they hold. What ends
/// meanwhile ends on both: then it is looked at again.
pub(crate) fn assert_equal(primary: &mut Node, replica: &mut Node) {
    let with_fields = know_fields(&[primary, replica]);
    let mut seen = None;
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        replica.wait_for_link();
        let before = primary.digest(with_fields);
        let offset = primary.number("master_repl_offset");
        eventually("the replica has the stream", || {
            replica.info("master_link_status") == "up"
                && replica.number("slave_repl_offset") >= offset
        });
        let found = replica.digest(with_fields);
        if before == primary.digest(with_fields) {
            if before == found {
                return;
            }
            // Deleting what has ended may still be under way: once more, to be sure.
            let difference = difference(&before, &found);
            if seen.as_ref() == Some(&difference) {
                let (kinds, stream) = ((primary.kind(), replica.kind()), primary.stream());
                panic!("{kinds:?}: {difference}\nafter\n{}", stream.join("\n"));
            }
            seen = Some(difference);
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    panic!("{:?} → {:?}: no rest: {seen:?}", primary.kind(), replica.kind());
}

fn difference(primary: &Digest, replica: &Digest) -> String {
    let keys: std::collections::BTreeSet<_> = primary.keys().chain(replica.keys()).collect();
    let differ = keys.into_iter().filter(|key| primary.get(key) != replica.get(key));
    let shown = differ.map(|key| {
        let name = key.1.escape_ascii();
        format!("{} {name}: {:?} / {:?}", key.0, primary.get(key), replica.get(key))
    });
    shown.collect::<Vec<_>>().join("\n")
}
