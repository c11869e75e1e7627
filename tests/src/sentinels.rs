//! Three stock sentinels over nodes: a primary and its replicas, of ours and of the real servers.

use std::io;

use crate::groups::{SERVICE, until};
use crate::nodes::Node;
use crate::peers::{Kind, Peer};
use crate::wire::Value;

/// How many sentinels there are; two of them decide.
const SENTINELS: usize = 3;

/// How long a node may be silent before the sentinels take it for dead, in milliseconds. One that has
/// to wait for its turn on a busy machine must not pass for dead.
const PATIENT: &str = "60000";

/// The same for one that is dead.
const IMPATIENT: &str = "3000";

/// Nodes under sentinels, which know all of them and each other.
pub struct Watch {
    /// The first one began as the primary.
    pub nodes: Vec<Node>,
    sentinels: Vec<Peer>,
}

impl Watch {
    /// Starts a primary, its replicas, each with lines of its own for the config file, and the
    /// sentinels, who get to know them and each other.
    pub fn start(primary: Kind, replicas: &[(Kind, &str)]) -> io::Result<Watch> {
        Watch::start_with((primary, "# who leads\n"), replicas, "")
    }

    /// The same with lines of its own for the primary's config file too, and for the sentinels'.
    pub fn start_with(
        (primary, lines): (Kind, &str),
        replicas: &[(Kind, &str)],
        sentinels: &str,
    ) -> io::Result<Watch> {
        let mut nodes = vec![Node::start(primary, lines)?];
        for (kind, lines) in replicas {
            nodes.push(Node::start_replica(*kind, &nodes[0], lines)?);
        }
        let configuration = format!(
            "sentinel monitor {SERVICE} 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds {SERVICE} {PATIENT}\n\
             sentinel failover-timeout {SERVICE} 3000\n\
             sentinel parallel-syncs {SERVICE} 2\n{sentinels}",
            nodes[0].port()
        );
        let sentinels: io::Result<Vec<Peer>> =
            (0..SENTINELS).map(|_| Peer::start_sentinel(&configuration)).collect();
        Ok(Watch { nodes, sentinels: sentinels? })
    }

    /// `127.0.0.1:PORT` of each sentinel.
    pub fn addresses(&self) -> Vec<String> {
        self.sentinels.iter().map(|sentinel| sentinel.address().to_string()).collect()
    }

    /// Which node the sentinels name as the primary; None: they are not of one mind.
    pub fn primary(&self) -> io::Result<Option<usize>> {
        let mut named = Vec::new();
        for sentinel in &self.sentinels {
            let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE];
            let address = sentinel.connect()?.call(&words)?;
            let port = address.items().and_then(|items| items.get(1)?.bytes()).unwrap_or_default();
            named.push(String::from_utf8_lossy(&port).into_owned());
        }
        let is_one = named.iter().all(|port| *port == named[0]);
        Ok(self.nodes.iter().position(|node| is_one && node.port().to_string() == named[0]))
    }

    /// Ends the primary on the spot, and with it the sentinels' patience.
    pub fn kill(&mut self, primary: usize) -> io::Result<()> {
        self.nodes[primary].kill();
        self.bear(IMPATIENT)
    }

    /// How long a node may be silent from now on.
    fn bear(&self, milliseconds: &str) -> io::Result<()> {
        let words = ["SENTINEL", "SET", SERVICE, "down-after-milliseconds", milliseconds];
        self.sentinels.iter().try_for_each(|sentinel| {
            let said = sentinel.connect()?.call(&words)?;
            if said.is_error() { Err(io::Error::other(said.to_string())) } else { Ok(()) }
        })
    }

    /// Waits until the sentinels have put another node in the place of this primary, and it has
    /// taken the role; which one.
    pub fn failed_over(&self, from: usize) -> io::Result<usize> {
        let mut leads = from;
        until("another node leads", || {
            leads = self.primary()?.unwrap_or(from);
            Ok(leads != from && self.nodes[leads].info("role")? == "master")
        })?;
        self.bear(PATIENT)?;
        Ok(leads)
    }

    /// Waits until each sentinel knows the others, and all nodes but the primary as its replicas.
    pub fn settled(&self, primary: usize) -> io::Result<()> {
        until("the sentinels know all", || {
            for sentinel in &self.sentinels {
                let words = ["SENTINEL", "SENTINELS", SERVICE];
                let others = sentinel.connect()?.call(&words)?;
                let others = others.items().unwrap_or_default();
                let known = others.iter().filter(|other| field(other, "flags") == "sentinel");
                if known.count() != SENTINELS - 1 {
                    return Ok(false);
                }
                for replica in (0..self.nodes.len()).filter(|node| *node != primary) {
                    if !self.sees(sentinel, replica)? {
                        return Ok(false);
                    }
                }
            }
            Ok(true)
        })
    }

    /// Whether a sentinel takes a node for a replica that is well.
    fn sees(&self, sentinel: &Peer, node: usize) -> io::Result<bool> {
        let port = self.nodes[node].port().to_string();
        let replicas = sentinel.connect()?.call(&["SENTINEL", "REPLICAS", SERVICE])?;
        Ok(replicas.items().into_iter().flatten().any(|replica| {
            field(replica, "port") == port
                && field(replica, "flags") == "slave"
                && field(replica, "master-link-status") == "ok"
        }))
    }
}

/// A field of what a sentinel tells of somebody.
fn field(about: &Value, name: &str) -> String {
    let pairs = about.items().unwrap_or_default().chunks(2);
    let text =
        |value: &Value| String::from_utf8_lossy(&value.bytes().unwrap_or_default()).into_owned();
    pairs
        .filter(|pair| text(&pair[0]) == name)
        .find_map(|pair| pair.get(1))
        .map(text)
        .unwrap_or_default()
}
