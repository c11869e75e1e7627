//! The face of a connection that others see: CLIENT LIST reads it, CLIENT KILL ends it, PUBLISH drops
//! messages into its outbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use crate::acl::DEFAULT;
use crate::clock::Millis;
use crate::config::OutputLimit;
use crate::resp::Protocol;

/// A connection's number, never used twice.
pub type ClientId = u64;

/// A name that a client gives itself, of any length; shared by whoever shows it.
pub type Label = Arc<[u8]>;

/// How a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// A Unix socket.
    Unix,
    /// A stream within the process.
    Embedded,
}

/// The shared face of a connection.
#[derive(Debug)]
pub struct Client {
    /// Its number.
    pub id: ClientId,
    /// How it is connected.
    pub transport: Transport,
    /// Its own address, `host:port` or `path:0`.
    pub addr: String,
    /// The address at which it was accepted.
    pub laddr: String,
    /// The socket's number, -1 without one.
    pub fd: i32,
    /// When it connected.
    pub created: Millis,
    /// What changes with every batch.
    pub pulse: Pulse,
    /// What else CLIENT LIST shows of it.
    pub view: Mutex<View>,
    outbox: Mutex<Outbox>,
    /// An [`End`], or 0.
    ending: AtomicU8,
    finishing: AtomicBool,
    wake: AtomicU8,
    /// How often others had something to say to the connection, and up to when it has listened.
    told: AtomicU64,
    heard: AtomicU64,
    /// What it takes of `maxmemory-clients`, in bytes.
    memory: AtomicUsize,
}

/// What changes with every batch of a connection's requests: nothing has to be locked for it.
#[derive(Debug)]
pub struct Pulse {
    active: AtomicU64,
    command: AtomicUsize,
    received: AtomicU64,
    sent: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
}

/// What has gone through a connection, or through several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// How often something was received.
    pub reads: u64,
    /// How often something was sent.
    pub writes: u64,
}

impl Traffic {
    /// What takes it away where it is added.
    pub fn negated(self) -> Traffic {
        Traffic {
            received: self.received.wrapping_neg(),
            sent: self.sent.wrapping_neg(),
            reads: self.reads.wrapping_neg(),
            writes: self.writes.wrapping_neg(),
        }
    }
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Traffic) {
        self.received = self.received.wrapping_add(other.received);
        self.sent = self.sent.wrapping_add(other.sent);
        self.reads = self.reads.wrapping_add(other.reads);
        self.writes = self.writes.wrapping_add(other.writes);
    }
}

impl Pulse {
    fn new(now: Millis) -> Self {
        Pulse {
            active: AtomicU64::new(now),
            command: AtomicUsize::new(usize::MAX),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        }
    }

    /// When its last request came.
    pub fn active(&self) -> Millis {
        self.active.load(Ordering::Relaxed)
    }

    /// A request came, or bytes still move.
    pub fn set_active(&self, now: Millis) {
        self.active.store(now, Ordering::Relaxed);
    }

    /// The number of the last command; None before the first.
    pub fn command(&self) -> Option<usize> {
        Some(self.command.load(Ordering::Relaxed)).filter(|id| *id != usize::MAX)
    }

    /// Its last command is this.
    pub fn set_command(&self, id: usize) {
        self.command.store(id, Ordering::Relaxed);
    }

    /// What has gone through it in all.
    pub fn traffic(&self) -> Traffic {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (reads, writes) = (of(&self.reads), of(&self.writes));
        Traffic { received: of(&self.received), sent: of(&self.sent), reads, writes }
    }

    /// So much has gone through it in all.
    pub fn set_traffic(&self, traffic: Traffic) {
        let Traffic { received, sent, reads, writes } = traffic;
        self.received.store(received, Ordering::Relaxed);
        self.sent.store(sent, Ordering::Relaxed);
        self.reads.store(reads, Ordering::Relaxed);
        self.writes.store(writes, Ordering::Relaxed);
    }
}

/// Why a connection is closed from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum End {
    /// CLIENT KILL, or the server stops.
    Killed = 1,
    /// Idle for longer than `timeout`.
    Idle,
    /// More waits to be sent to it than `client-output-buffer-limit` allows.
    OutputLimit,
    /// More of its requests waits than `client-query-buffer-limit` allows.
    QueryLimit,
    /// `maxmemory-clients`.
    Evicted,
}

/// What of a connection changes and is shown by CLIENT LIST.
#[derive(Debug, Clone)]
pub struct View {
    /// By CLIENT SETNAME or HELLO.
    pub name: Label,
    /// By CLIENT SETINFO.
    pub lib_name: Label,
    /// By CLIENT SETINFO.
    pub lib_ver: Label,
    /// The user whose rights it has.
    pub user: Label,
    /// The selected database.
    pub db: usize,
    /// Channels, patterns and keys subscribed or watched.
    pub subscriptions: usize,
    /// Patterns subscribed.
    pub patterns: usize,
    /// Shard channels subscribed.
    pub shard_subscriptions: usize,
    /// Requests queued since MULTI; None outside.
    pub queued: Option<usize>,
    /// Bytes of those requests.
    pub queued_bytes: usize,
    /// Bytes of subscriptions, watched keys and labels.
    pub kept_bytes: usize,
    /// Keys watched.
    pub watching: usize,
    /// The protocol.
    pub protocol: Protocol,
    /// Flags that CLIENT LIST prints as letters.
    pub flags: ViewFlags,
    /// Bytes in its query buffer, and room left there.
    pub query: (usize, usize),
    /// Bytes that wait to be sent.
    pub output: usize,
}

/// Which letters CLIENT LIST prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ViewFlags {
    /// `O`: MONITOR.
    pub monitor: bool,
    /// `b`: waits for something.
    pub blocked: bool,
    /// CLIENT UNBLOCK can end that.
    pub unblockable: bool,
    /// `c`: closes when its reply is sent.
    pub closing: bool,
    /// `d`: a watched key was touched.
    pub dirty: bool,
    /// `e`: exempt from client eviction.
    pub no_evict: bool,
    /// `T`: its reads do not count as uses.
    pub no_touch: bool,
    /// `S`: a replica, which is sent the stream.
    pub replica: bool,
    /// `M`: the link to the primary.
    pub primary: bool,
}

/// Bytes for a connection that come from others: messages, MONITOR lines.
#[derive(Debug, Default)]
struct Outbox {
    bytes: Vec<u8>,
    waker: Option<Waker>,
    /// Since when it has been over the soft limit.
    over_soft: Option<Millis>,
}

/// Why a connection that waits is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Wake {
    /// What it waited for has come, or time is up.
    Resume = 1,
    /// CLIENT UNBLOCK ... ERROR.
    Error = 2,
    /// The server became a replica: what it waited for will not come.
    Demoted = 3,
}

impl Client {
    /// The face of a new connection.
    pub fn new(
        id: ClientId,
        transport: Transport,
        addr: String,
        laddr: String,
        fd: i32,
        created: Millis,
    ) -> Self {
        Client {
            id,
            transport,
            addr,
            laddr,
            fd,
            created,
            pulse: Pulse::new(created),
            view: Mutex::new(View::new()),
            outbox: Mutex::default(),
            ending: AtomicU8::new(0),
            finishing: AtomicBool::new(false),
            wake: AtomicU8::new(0),
            told: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            memory: AtomicUsize::new(0),
        }
    }

    /// Asks the connection to close as soon as it can, without sending what waits.
    pub fn kill(&self, why: End) {
        self.set_ending(why);
        self.notify();
    }

    fn set_ending(&self, why: End) {
        // The first reason counts.
        let _ = self.ending.compare_exchange(0, why as u8, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Whether the connection is to close.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire) != 0
    }

    /// Whether the connection is to close for this reason.
    pub fn ends_for(&self, why: End) -> bool {
        self.ending.load(Ordering::Acquire) == why as u8
    }

    /// Asks the connection to answer what it has received, and then to close.
    pub fn finish(&self) {
        self.finishing.store(true, Ordering::Release);
        self.notify();
    }

    /// Whether the connection is to close when nothing is left to answer.
    pub fn is_finishing(&self) -> bool {
        self.finishing.load(Ordering::Acquire)
    }

    /// Drops bytes into the outbox and wakes the connection. Past its limit the client is killed,
    /// and nothing is kept for it.
    pub fn push(&self, bytes: &[u8], limit: OutputLimit, now: Millis) {
        let mut outbox = self.outbox.lock();
        if self.is_ending() {
            return;
        }
        outbox.bytes.extend_from_slice(bytes);
        self.judge(&mut outbox, limit, now);
        self.tell(&outbox);
    }

    /// Kills the client if more waits for it than `limit` allows. Asked whenever something is
    /// added, and now and then, because what stays for too long is over the soft limit too.
    pub fn check_output(&self, limit: OutputLimit, now: Millis) {
        let mut outbox = self.outbox.lock();
        if !self.is_ending() && self.judge(&mut outbox, limit, now) {
            self.tell(&outbox);
        }
    }

    /// Bytes that the outbox holds, and whether more waits for it than the soft limit allows.
    pub fn outbox(&self) -> (usize, bool) {
        let outbox = self.outbox.lock();
        (outbox.bytes.len(), outbox.over_soft.is_some())
    }

    fn judge(&self, outbox: &mut Outbox, limit: OutputLimit, now: Millis) -> bool {
        let waiting = outbox.bytes.len() as u64 + self.view.lock().output as u64;
        let over = limit.is_over(&mut outbox.over_soft, waiting, now);
        if over {
            tracing::warn!(client = self.id, waiting, "closed: its output is over the limit");
            outbox.bytes = Vec::new();
            self.set_ending(End::OutputLimit);
        }
        over
    }

    /// Takes everything out of the outbox.
    pub fn take_pushed(&self, into: &mut Vec<u8>) {
        let mut outbox = self.outbox.lock();
        if into.is_empty() {
            std::mem::swap(into, &mut outbox.bytes);
        } else {
            into.append(&mut outbox.bytes);
        }
    }

    /// Whether something waits in the outbox.
    pub fn has_pushed(&self) -> bool {
        !self.outbox.lock().bytes.is_empty()
    }

    /// Lets a connection that waits go on.
    pub fn wake(&self, why: Wake) {
        self.wake.store(why as u8, Ordering::Release);
        self.notify();
    }

    /// Has the connection look whether there is something to do.
    pub fn nudge(&self) {
        self.notify();
    }

    /// Why the connection was woken, once.
    pub fn take_wake(&self) -> Option<Wake> {
        match self.wake.swap(0, Ordering::AcqRel) {
            0 => None,
            1 => Some(Wake::Resume),
            2 => Some(Wake::Error),
            _ => Some(Wake::Demoted),
        }
    }

    /// How often others had something to say to the connection: pushes, wakes, kills.
    pub fn told(&self) -> u64 {
        self.told.load(Ordering::Acquire)
    }

    /// The connection has done what it can with all that it was told up to then.
    pub fn set_heard(&self, told: u64) {
        self.heard.store(told, Ordering::Release);
    }

    /// Whether the connection has listened to all that it was told.
    pub fn has_heard(&self) -> bool {
        self.heard.load(Ordering::Acquire) >= self.told()
    }

    /// What it takes of `maxmemory-clients`, in bytes.
    pub fn memory(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// Sets what it takes of `maxmemory-clients`; returns what it took before.
    pub fn set_memory(&self, bytes: usize) -> usize {
        self.memory.swap(bytes, Ordering::Relaxed)
    }

    /// Has `waker` called at the next push, wake or kill.
    pub fn listen(&self, waker: &Waker) {
        let mut outbox = self.outbox.lock();
        if !outbox.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            outbox.waker = Some(waker.clone());
        }
    }

    fn notify(&self) {
        self.tell(&self.outbox.lock());
    }

    fn tell(&self, outbox: &Outbox) {
        self.told.fetch_add(1, Ordering::AcqRel);
        if let Some(waker) = &outbox.waker {
            waker.wake_by_ref();
        }
    }
}

/// What a connection takes beside its buffers: its task, its session, its entry in the registry.
const CONNECTION: usize = 1024;

impl View {
    /// Bytes that the connection takes, its outbox excepted.
    pub fn memory(&self) -> usize {
        let buffers = self.query.0 + self.query.1 + self.output;
        CONNECTION + buffers + self.queued_bytes + self.kept_bytes
    }

    /// Whether it listens to anything.
    pub fn is_subscriber(&self) -> bool {
        self.subscriptions + self.patterns + self.shard_subscriptions > 0
    }

    fn new() -> Self {
        View {
            name: Label::default(),
            lib_name: Label::default(),
            lib_ver: Label::default(),
            user: DEFAULT.into(),
            db: 0,
            subscriptions: 0,
            patterns: 0,
            shard_subscriptions: 0,
            queued: None,
            queued_bytes: 0,
            kept_bytes: 0,
            watching: 0,
            protocol: Protocol::Resp2,
            flags: ViewFlags::default(),
            query: (0, 0),
            output: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        Client::new(1, Transport::Embedded, String::new(), String::new(), -1, 0)
    }

    #[test]
    fn a_client_that_does_not_read_is_closed_at_its_hard_limit() {
        let (client, limit) = (client(), OutputLimit { hard: 10, soft: 0, soft_seconds: 0 });
        client.push(b"12345", limit, 0);
        assert!(!client.is_ending());
        client.push(b"678901", limit, 0);
        assert!(client.is_ending());
        assert!(!client.has_pushed(), "nothing is kept for it");
    }

    #[test]
    fn the_soft_limit_gives_it_time() {
        let (client, limit) = (client(), OutputLimit { hard: 0, soft: 4, soft_seconds: 2 });
        client.push(b"12345", limit, 1_000);
        client.push(b"6", limit, 3_999);
        assert!(!client.is_ending() && client.outbox().1);
        client.check_output(limit, 4_000);
        assert!(client.ends_for(End::OutputLimit));
    }
}
