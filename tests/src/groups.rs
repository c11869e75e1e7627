//! Real servers that belong together, or need more than a port: a primary with its replica and a
//! sentinel, a cluster of three, a server behind TLS and access rules.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::certificates::{HERE, authority, certificate};
use crate::peers::{Kind, Peer, own_folder};
use crate::wire::{Value, Wire, is_end};

/// How long a group may take to find itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is so. Looking that meets the end of its connection is done again: a sentinel
/// ends all connections of a server whose role it changes.
///
/// # Errors
///
/// It is not so in time, or looking fails; `what` tells what was waited for.
pub fn until(what: &str, mut so: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        match so() {
            Ok(true) => return Ok(()),
            Err(error) if !is_end(&error) => return Err(error),
            Ok(false) | Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    Err(io::Error::other(format!("{what}: not within {PATIENCE:?}")))
}

/// The text of a reply, an error's too.
fn ask(peer: &Peer, words: &[&str]) -> io::Result<String> {
    ask_at(peer.address(), None, words)
}

/// The text of the reply of whoever listens there, and asks for this password, an error's too.
pub(crate) fn ask_at(
    address: SocketAddr,
    password: Option<&str>,
    words: &[&str],
) -> io::Result<String> {
    let mut wire = Wire::connect(address)?;
    if let Some(password) = password {
        wire.call(&["AUTH", password])?;
    }
    let reply = wire.call(words)?;
    Ok(match reply.bytes() {
        Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        None => reply.to_string(),
    })
}

/// A primary, a replica, and a sentinel that watches them.
pub struct Watched {
    primary: Option<Peer>,
    replica: Peer,
    sentinel: Peer,
}

/// The name under which the sentinel knows the primary.
pub const SERVICE: &str = "main";

impl Watched {
    /// Starts servers of this kind under a stock sentinel, and waits until each knows the others.
    pub fn start(kind: Kind) -> io::Result<Watched> {
        let user = app(kind, &["+role"]);
        let primary = Peer::start_with(kind, &user)?;
        let port = primary.address().port().to_string();
        let replica = ["--replicaof", "127.0.0.1", &port].into_iter().chain(user);
        let replica = Peer::start_with(kind, &replica.collect::<Vec<_>>())?;
        until("the replica is online", || {
            Ok(ask(&primary, &["INFO", "replication"])?.contains("state=online"))
        })?;
        let sentinel = Peer::start_sentinel(&format!(
            "sentinel monitor {SERVICE} 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds {SERVICE} 60000\n\
             sentinel failover-timeout {SERVICE} 5000\n"
        ))?;
        until("the sentinel knows the replica", || {
            let known = sentinel.connect()?.call(&["SENTINEL", "REPLICAS", SERVICE])?;
            Ok(known.items().is_some_and(|replicas| !replicas.is_empty()))
        })?;
        Ok(Watched { primary: Some(primary), replica, sentinel })
    }

    /// What a client needs to know. Nobody is at the first address: others are asked then.
    pub fn url(&self) -> String {
        format!("redis+sentinel://{LOGIN}127.0.0.1:1,{}/{SERVICE}", self.sentinel.address())
    }

    /// Lets the primary send what it has to its replica and end; returns when it has ended. The
    /// sentinel notices and makes the replica the primary.
    pub fn end_primary(&mut self) -> io::Result<()> {
        let Some(mut primary) = self.primary.take() else { return Ok(()) };
        // Until now a primary that was only slow was not to be given up.
        let soon = ["SENTINEL", "SET", SERVICE, "down-after-milliseconds", "500"];
        done(ask(&self.sentinel, &soon)?)?;
        // It answers by closing the connection.
        let _ = primary.connect()?.call(&["SHUTDOWN", "NOSAVE"]);
        primary.wait().map(drop)
    }

    /// Makes the replica the primary, and the primary a replica that lives on.
    pub fn swap(&self) -> io::Result<()> {
        // Right after another failover the sentinel refuses for a while.
        until("the sentinel begins", || {
            Ok(ask(&self.sentinel, &["SENTINEL", "FAILOVER", SERVICE])? == "OK")
        })
    }

    /// Waits until the replica is the primary and the sentinel says so.
    pub fn failed_over(&self) -> io::Result<()> {
        let port = self.replica.address().port().to_string();
        until("the replica leads", || {
            let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE];
            let address = self.sentinel.connect()?.call(&words)?;
            let named = address.items().and_then(|items| items.get(1)?.bytes());
            let role = ask(&self.replica, &["INFO", "replication"])?;
            Ok(named.as_deref() == Some(port.as_bytes()) && role.contains("role:master"))
        })
    }
}

/// Three servers that share the slots.
pub struct Cluster {
    nodes: Vec<Peer>,
}

/// The first and the last slot of each node.
const SLOTS: [(u16, u16); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];

impl Cluster {
    /// Starts them, and waits until each thinks that all is well.
    pub fn start() -> io::Result<Cluster> {
        let mut nodes = Vec::new();
        for (number, (first, last)) in (1..).zip(SLOTS) {
            let user = app(Kind::Redis7, &["+cluster|slots", "+asking"]);
            let args = ["--cluster-enabled", "yes"].into_iter().chain(user);
            let node = Peer::start_with(Kind::Redis7, &args.collect::<Vec<_>>())?;
            let (first, last) = (first.to_string(), last.to_string());
            done(ask(&node, &["CLUSTER", "ADDSLOTSRANGE", &first, &last])?)?;
            done(ask(&node, &["CLUSTER", "SET-CONFIG-EPOCH", &number.to_string()])?)?;
            nodes.push(node);
        }
        for node in &nodes[1..] {
            let port = node.address().port().to_string();
            done(ask(&nodes[0], &["CLUSTER", "MEET", "127.0.0.1", &port])?)?;
        }
        until("the cluster is complete", || {
            for node in &nodes {
                let info = ask(node, &["CLUSTER", "INFO"])?;
                if !info.contains("cluster_state:ok") || !info.contains("cluster_known_nodes:3") {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        Ok(Cluster { nodes })
    }

    /// What a client needs to know: one of them.
    pub fn url(&self) -> String {
        format!("redis+cluster://{LOGIN}{}", self.nodes[0].address())
    }

    /// In which slot a key lies.
    pub fn slot_of(&self, key: &str) -> io::Result<u16> {
        match self.nodes[0].connect()?.call(&["CLUSTER", "KEYSLOT", key])? {
            Value::Integer(slot) => u16::try_from(slot).map_err(io::Error::other),
            other => Err(io::Error::other(other.to_string())),
        }
    }

    /// Moves a slot to the next node, key by key. `between` is called when some of its keys have
    /// moved and others not.
    pub fn move_slot(&self, slot: u16, mut between: impl FnMut()) -> io::Result<()> {
        let from = self.owner(slot)?;
        let to = (from + 1) % self.nodes.len();
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        let (from_id, to_id) = (ask(from, &["CLUSTER", "MYID"])?, ask(to, &["CLUSTER", "MYID"])?);
        let number = slot.to_string();
        done(ask(to, &["CLUSTER", "SETSLOT", &number, "IMPORTING", &from_id])?)?;
        done(ask(from, &["CLUSTER", "SETSLOT", &number, "MIGRATING", &to_id])?)?;
        let keys = from.connect()?.call(&["CLUSTER", "GETKEYSINSLOT", &number, "10000"])?;
        let keys: Vec<_> = keys.items().into_iter().flatten().filter_map(Value::bytes).collect();
        let port = to.address().port().to_string();
        for (moved, key) in keys.iter().enumerate() {
            if moved == keys.len() / 2 {
                between();
            }
            let key = String::from_utf8_lossy(key);
            done(ask(from, &["MIGRATE", "127.0.0.1", &port, &key, "0", "10000"])?)?;
        }
        for node in [to, from] {
            done(ask(node, &["CLUSTER", "SETSLOT", &number, "NODE", &to_id])?)?;
        }
        Ok(())
    }

    /// Which node has a slot.
    fn owner(&self, slot: u16) -> io::Result<usize> {
        for (number, node) in self.nodes.iter().enumerate() {
            let known = node.connect()?.call(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()])?;
            let info = ask(node, &["CLUSTER", "NODES"])?;
            let own = info.lines().find(|line| line.contains("myself")).unwrap_or_default();
            let has = own.split(' ').skip(8).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let within = |a: u16, b: u16| (a..=b).contains(&slot);
                matches!((first.parse(), last.parse()), (Ok(a), Ok(b)) if within(a, b))
            });
            if has && !known.is_error() {
                return Ok(number);
            }
        }
        Err(io::Error::other(format!("nobody has slot {slot}")))
    }
}

fn done(answer: String) -> io::Result<()> {
    match answer.as_str() {
        "OK" => Ok(()),
        _ => Err(io::Error::other(answer)),
    }
}

/// A server behind TLS, with a user who may do only what a session store needs.
pub struct Secured {
    _peer: Peer,
    port: u16,
    folder: PathBuf,
}

/// What docs/guide.md says that a session store's user needs, beside HPEXPIRE where it is known, ROLE
/// behind sentinels, and CLUSTER SLOTS and ASKING in a cluster.
pub const RIGHTS: &str = "~session:* resetchannels -@all +evalsha +eval +hgetall +hmget +hset +hdel \
                          +hincrby +hkeys +exists +pttl +pexpireat +rename +unlink +time +zadd \
                          +zrem +zrange +zrangebyscore +zremrangebyscore +hello +ping";

/// The login of the user who may do only what a session store needs.
const LOGIN: &str = "app:sesame@";

/// Arguments that make this user, with some more rights.
fn app(kind: Kind, more: &[&'static str]) -> Vec<&'static str> {
    let known = matches!(kind, Kind::Ours | Kind::Valkey9);
    let fields = known.then_some("+hpexpire");
    let user = ["--user", "app", "on", ">sesame"].into_iter().chain(RIGHTS.split(' '));
    user.chain(fields).chain(more.iter().copied()).collect()
}

impl Secured {
    /// Makes an authority and a certificate for localhost, and starts a server with them.
    pub fn start(kind: Kind) -> io::Result<Secured> {
        let folder = own_folder()?;
        write_certificates(&folder).map_err(io::Error::other)?;
        let path = |name: &str| folder.join(name).display().to_string();
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let (number, ca, cert, key) =
                (port.to_string(), path("ca.pem"), path("cert.pem"), path("key.pem"));
            let mut args = vec!["--tls-port", &number, "--tls-ca-cert-file", &ca];
            args.extend(["--tls-cert-file", &cert, "--tls-key-file", &key]);
            args.extend(["--tls-auth-clients", "no"]);
            args.extend(app(kind, &[]));
            // What the test itself uses to see whether the server is there.
            args.extend(["--user", "default", "on", "nopass", "-@all", "+info"]);
            if let Ok(peer) = Peer::start_with(kind, &args) {
                return Ok(Secured { _peer: peer, port, folder });
            }
        }
        Err(io::Error::other("the server with TLS found no free port"))
    }

    /// What a client needs to know.
    pub fn url(&self) -> String {
        let ca = self.folder.join("ca.pem");
        format!("rediss://{LOGIN}localhost:{}?ca={}", self.port, ca.display())
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn write_certificates(folder: &Path) -> io::Result<()> {
    let authority = authority();
    let (certificate, key) = certificate(&authority, HERE);
    std::fs::write(folder.join("ca.pem"), authority.pem())?;
    std::fs::write(folder.join("cert.pem"), certificate)?;
    std::fs::write(folder.join("key.pem"), key)
}
