//! Servers that come and go: each keeps its port, its config file and its data from one start to
//! the next, as a service does.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use crate::groups::{ask_at, until};
use crate::peers::{Kind, Peer};
use crate::process::Folder;

/// Where ports are looked for: the system gives none of these to clients, which could hold one
/// while its server is away.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A server with a config file of its own.
pub struct Node {
    kind: Kind,
    port: u16,
    home: Folder,
    /// What it asks for, by a line of its own.
    password: Option<String>,
    /// None: it is away.
    peer: Option<Peer>,
}

impl Node {
    /// Starts a server with these lines in its config file, beside its port and folder.
    pub fn start(kind: Kind, lines: &str) -> io::Result<Node> {
        let mut failed = None;
        // Another test may take the port first.
        for _ in 0..20 {
            let (port, home) = (free_port()?, Folder::new());
            let dir = home.path().display();
            home.write("node.conf", format!("# A node\nport {port}\ndir {dir}\n{lines}"));
            let password = lines.lines().find_map(|line| line.strip_prefix("requirepass "));
            let password = password.map(str::to_owned);
            let mut node = Node { kind, port, home, password, peer: None };
            match node.restart() {
                Ok(()) => return Ok(node),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| io::Error::other("no port is free")))
    }

    /// Starts a replica of another node, and waits until it has its data.
    pub fn start_replica(kind: Kind, primary: &Node, lines: &str) -> io::Result<Node> {
        let replica = Node::start(kind, &format!("replicaof 127.0.0.1 {}\n{lines}", primary.port))?;
        followed(primary, &replica)?;
        Ok(replica)
    }

    /// Starts it again, from its config file as it is now.
    pub fn restart(&mut self) -> io::Result<()> {
        let file = self.file().display().to_string();
        self.peer = Some(Peer::start_at(self.kind, &file, self.port)?);
        Ok(())
    }

    /// Ends it on the spot, as `kill -9` does.
    pub fn kill(&mut self) {
        // Dropping sends that signal and waits for the end.
        self.peer = None;
    }

    /// Waits for its end; its exit code.
    pub fn wait(&mut self) -> io::Result<Option<i32>> {
        let peer = self.peer.as_mut().ok_or_else(|| io::Error::other("it is away"))?;
        Ok(peer.wait()?.code())
    }

    /// Sends its process a signal by its name.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let peer = self.peer.as_ref().ok_or_else(|| io::Error::other("it is away"))?;
        let status = Command::new("kill").args(["-s", name, &peer.id().to_string()]).status()?;
        match status.success() {
            true => Ok(()),
            false => Err(io::Error::other("the process is gone")),
        }
    }

    /// Which server it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Its config file.
    pub fn file(&self) -> PathBuf {
        self.home.path().join("node.conf")
    }

    /// What it answers, as text.
    pub fn ask(&self, words: &[&str]) -> io::Result<String> {
        ask_at(self.address(), self.password.as_deref(), words)
    }

    /// A field of INFO; nothing if there is no such field.
    pub fn info(&self, field: &str) -> io::Result<String> {
        let all = self.ask(&["INFO", "everything"])?;
        let found = all.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(found.unwrap_or_default().trim().to_owned())
    }

    /// Whether it is a replica of another node, and connected with it.
    pub fn follows(&self, primary: &Node) -> io::Result<bool> {
        Ok(self.info("master_port")? == primary.port.to_string()
            && self.info("master_link_status")? == "up")
    }

    /// What all its data come to.
    pub fn digest(&self) -> io::Result<String> {
        self.ask(&["DEBUG", "DIGEST"])
    }
}

/// Waits until a node is a replica of another and connected with it.
///
/// # Errors
///
/// It is not so in time; the error says how both stand.
pub fn followed(primary: &Node, replica: &Node) -> io::Result<()> {
    let found = until("the replica's link is up", || replica.follows(primary));
    found.map_err(|error| told(&error, primary, replica))
}

/// Waits until a replica holds the very data of its primary; nobody writes any more.
///
/// # Errors
///
/// It is not so in time; the error says how both stand.
pub fn converged(primary: &Node, replica: &Node) -> io::Result<()> {
    let found = until("the replica has its primary's data", || {
        Ok(replica.follows(primary)?
            && replica.info("slave_repl_offset")? == primary.info("master_repl_offset")?
            && holds_the_same(primary, replica)?)
    });
    found.map_err(|error| told(&error, primary, replica))
}

/// Whether their data come to the same. Valkey reckons scores in its own way.
fn holds_the_same(one: &Node, other: &Node) -> io::Result<bool> {
    let is_valkey = |node: &Node| node.kind == Kind::Valkey9;
    match is_valkey(one) == is_valkey(other) {
        true => Ok(one.digest()? == other.digest()?),
        false => Ok(one.ask(&["DBSIZE"])? == other.ask(&["DBSIZE"])?),
    }
}

fn told(error: &io::Error, primary: &Node, replica: &Node) -> io::Error {
    let stands = |node: &Node| {
        let said = node.ask(&["INFO", "replication"]).unwrap_or_else(|error| error.to_string());
        let size = node.ask(&["DBSIZE"]).unwrap_or_default();
        format!("{}: {size} keys, {}", node.port, said.replace("\r\n", " "))
    };
    io::Error::other(format!("{error}\n{}\n{}", stands(primary), stands(replica)))
}

fn free_port() -> io::Result<u16> {
    for _ in 0..1000 {
        let port = fastrand::u16(PORTS);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::other("no port is free"))
}
