//! What a connection is to the server: its private state, and the face that others see.
//!
//! A [`Session`] belongs to its connection alone and travels with each request. Its [`Client`] is
//! shared: CLIENT LIST reads it, CLIENT KILL ends it, PUBLISH drops messages into its outbox.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use crate::clock::Millis;
use crate::resp::{OwnedRequest, Protocol};

/// A connection's number, never used twice.
pub type ClientId = u64;

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
    /// What CLIENT LIST shows of it beside this.
    pub view: Mutex<View>,
    outbox: Mutex<Outbox>,
    ending: AtomicBool,
    finishing: AtomicBool,
    wake: AtomicU8,
}

/// What of a connection changes and is shown by CLIENT LIST.
#[derive(Debug, Clone)]
pub struct View {
    /// By CLIENT SETNAME or HELLO.
    pub name: Vec<u8>,
    /// By CLIENT SETINFO.
    pub lib_name: Vec<u8>,
    /// By CLIENT SETINFO.
    pub lib_ver: Vec<u8>,
    /// The user whose rights it has.
    pub user: String,
    /// When its last request came.
    pub active: Millis,
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
    /// Keys watched.
    pub watching: usize,
    /// The last command, `name` or `name|subcommand`.
    pub command: Arc<str>,
    /// The protocol.
    pub protocol: Protocol,
    /// Flags that CLIENT LIST prints as letters.
    pub flags: ViewFlags,
    /// Bytes in its query buffer, and room left there.
    pub query: (usize, usize),
    /// Bytes that wait to be sent.
    pub output: usize,
    /// Bytes received and sent in all.
    pub traffic: (u64, u64),
    /// Requests executed.
    pub commands: u64,
}

/// Which letters CLIENT LIST prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ViewFlags {
    /// `O`: MONITOR.
    pub monitor: bool,
    /// `b`: waits in a blocking command.
    pub blocked: bool,
    /// `c`: closes when its reply is sent.
    pub closing: bool,
    /// `d`: a watched key was touched.
    pub dirty: bool,
    /// `e`: exempt from client eviction.
    pub no_evict: bool,
    /// `T`: its reads do not count as uses.
    pub no_touch: bool,
}

/// Bytes for a connection that come from others: messages, MONITOR lines.
#[derive(Debug, Default)]
struct Outbox {
    bytes: Vec<u8>,
    waker: Option<Waker>,
    /// Since when it has been over the soft limit.
    over_soft: Option<Millis>,
}

pub use crate::config::OutputLimit;

/// Why a connection that waits is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Wake {
    /// What it waited for has come, or time is up.
    Resume = 1,
    /// CLIENT UNBLOCK ... ERROR.
    Error = 2,
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
            view: Mutex::new(View::new(created)),
            outbox: Mutex::default(),
            ending: AtomicBool::new(false),
            finishing: AtomicBool::new(false),
            wake: AtomicU8::new(0),
        }
    }

    /// Asks the connection to close as soon as it can, without sending what waits.
    pub fn kill(&self) {
        self.ending.store(true, Ordering::Release);
        self.notify();
    }

    /// Whether the connection is to close.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
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
        let waiting = outbox.bytes.len() as u64 + self.view.lock().output as u64;
        if outbox.is_over(limit, waiting, now) {
            outbox.bytes = Vec::new();
            self.ending.store(true, Ordering::Release);
        }
        outbox.wake();
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

    /// Bytes that the outbox holds.
    pub fn outbox_bytes(&self) -> usize {
        self.outbox.lock().bytes.capacity()
    }

    /// Lets a connection that waits go on.
    pub fn wake(&self, why: Wake) {
        self.wake.store(why as u8, Ordering::Release);
        self.notify();
    }

    /// Why the connection was woken, once.
    pub fn take_wake(&self) -> Option<Wake> {
        match self.wake.swap(0, Ordering::AcqRel) {
            0 => None,
            1 => Some(Wake::Resume),
            _ => Some(Wake::Error),
        }
    }

    /// Has `waker` called at the next push, wake or kill.
    pub fn listen(&self, waker: &Waker) {
        let mut outbox = self.outbox.lock();
        if !outbox.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            outbox.waker = Some(waker.clone());
        }
    }

    fn notify(&self) {
        self.outbox.lock().wake();
    }
}

impl Outbox {
    fn wake(&mut self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    fn is_over(&mut self, limit: OutputLimit, waiting: u64, now: Millis) -> bool {
        if limit.hard != 0 && waiting > limit.hard {
            return true;
        }
        if limit.soft == 0 || waiting <= limit.soft {
            self.over_soft = None;
            return false;
        }
        let since = *self.over_soft.get_or_insert(now);
        now.saturating_sub(since) >= limit.soft_seconds * 1000
    }
}

impl View {
    fn new(now: Millis) -> Self {
        View {
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            user: "default".to_owned(),
            active: now,
            db: 0,
            subscriptions: 0,
            patterns: 0,
            shard_subscriptions: 0,
            queued: None,
            queued_bytes: 0,
            watching: 0,
            command: Arc::from("NULL"),
            protocol: Protocol::Resp2,
            flags: ViewFlags::default(),
            query: (0, 0),
            output: 0,
            traffic: (0, 0),
            commands: 0,
        }
    }
}

/// A request queued by MULTI, its command already found.
#[derive(Debug, Clone)]
pub struct Queued<C> {
    /// The command.
    pub command: C,
    /// The request.
    pub request: OwnedRequest,
}

/// What MULTI has begun.
#[derive(Debug, Clone)]
pub struct Transaction<C> {
    /// The requests to execute.
    pub queue: Vec<Queued<C>>,
    /// Bytes of the queued requests.
    pub bytes: usize,
    /// A request could not be queued: EXEC will refuse.
    pub aborted: bool,
}

impl<C> Default for Transaction<C> {
    fn default() -> Self {
        Transaction { queue: Vec::new(), bytes: 0, aborted: false }
    }
}

/// A key watched, and whether it was past its deadline already when WATCH came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its database.
    pub db: usize,
    /// The key.
    pub key: Box<[u8]>,
    /// It had ended, but was not yet taken out.
    pub was_due: bool,
}

/// What CLIENT REPLY has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// Replies are sent.
    #[default]
    On,
    /// No replies are sent.
    Off,
    /// The next reply is left out, this one (to CLIENT REPLY SKIP) too.
    SkipNext,
    /// This reply is left out.
    Skip,
}

/// Why a connection waits; other requests of it wait behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// WAIT, until its deadline if it has one.
    Replicas {
        /// When it ends; None = never.
        until: Option<Millis>,
    },
    /// CLIENT PAUSE holds its request back: it is to be executed again.
    Paused,
}

/// The private state of a connection. `C` is the type of a found command, which stands above.
#[derive(Debug)]
pub struct Session<C> {
    /// Its shared face.
    pub client: Arc<Client>,
    /// The selected database.
    pub db: usize,
    /// The protocol it speaks.
    pub protocol: Protocol,
    /// The user whose rights it has; None before AUTH.
    pub user: Option<String>,
    /// The last command executed.
    pub last: Option<C>,
    /// By CLIENT SETNAME or HELLO.
    pub name: Vec<u8>,
    /// By CLIENT SETINFO.
    pub lib_name: Vec<u8>,
    /// By CLIENT SETINFO.
    pub lib_ver: Vec<u8>,
    /// Set between MULTI and EXEC.
    pub transaction: Option<Transaction<C>>,
    /// Keys watched.
    pub watched: Vec<Watched>,
    /// Set when one of them was touched.
    pub dirty: Arc<AtomicBool>,
    /// Channels subscribed.
    pub channels: HashSet<Box<[u8]>>,
    /// Patterns subscribed.
    pub patterns: HashSet<Box<[u8]>>,
    /// Shard channels subscribed.
    pub shard_channels: HashSet<Box<[u8]>>,
    /// MONITOR was called.
    pub monitor: bool,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// CLIENT REPLY.
    pub reply_mode: ReplyMode,
    /// Why it waits.
    pub waiting: Option<Waiting>,
    /// EXEC is executing its requests: they do not wait.
    pub in_exec: bool,
    /// It is a script's: some commands are not for it.
    pub in_script: bool,
    /// What it was asked to do comes from a primary: nothing is hidden or refused.
    pub is_primary_link: bool,
}

impl<C> Session<C> {
    /// The state of a new connection, `user` set where none has to authenticate.
    pub fn new(client: Arc<Client>, user: Option<String>) -> Self {
        Session {
            client,
            db: 0,
            protocol: Protocol::Resp2,
            user,
            last: None,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            transaction: None,
            watched: Vec::new(),
            dirty: Arc::default(),
            channels: HashSet::new(),
            patterns: HashSet::new(),
            shard_channels: HashSet::new(),
            monitor: false,
            no_evict: false,
            no_touch: false,
            reply_mode: ReplyMode::On,
            waiting: None,
            in_exec: false,
            in_script: false,
            is_primary_link: false,
        }
    }

    /// Its number.
    pub fn id(&self) -> ClientId {
        self.client.id
    }

    /// Channels, patterns and shard channels together.
    pub fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }

    /// Whether it is in RESP2's subscriber mode, where few commands are allowed.
    pub fn is_subscriber(&self) -> bool {
        self.protocol == Protocol::Resp2 && self.subscriptions() > 0
    }

    /// Whether a watched key was touched.
    pub fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Relaxed)
    }

    /// Shows its present state to CLIENT LIST.
    pub fn publish(&self, now: Millis) {
        let mut view = self.client.view.lock();
        view.active = now;
        if view.name != self.name {
            view.name.clone_from(&self.name);
        }
        if view.lib_name != self.lib_name || view.lib_ver != self.lib_ver {
            view.lib_name.clone_from(&self.lib_name);
            view.lib_ver.clone_from(&self.lib_ver);
        }
        view.db = self.db;
        view.protocol = self.protocol;
        view.subscriptions = self.channels.len();
        view.patterns = self.patterns.len();
        view.shard_subscriptions = self.shard_channels.len();
        view.queued = self.transaction.as_ref().map(|transaction| transaction.queue.len());
        view.queued_bytes = self.transaction.as_ref().map_or(0, |transaction| transaction.bytes);
        view.watching = self.watched.len();
        view.flags = ViewFlags {
            monitor: self.monitor,
            blocked: matches!(self.waiting, Some(Waiting::Replicas { .. })),
            closing: view.flags.closing,
            dirty: self.is_dirty(),
            no_evict: self.no_evict,
            no_touch: self.no_touch,
        };
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
        client.push(b"6", limit, 2_999);
        assert!(!client.is_ending());
        client.push(b"7", limit, 3_000);
        assert!(client.is_ending());
    }
}
