//! What a connection is to the server: its private state, and the face that others see.
//!
//! A [`Session`] belongs to its connection alone and travels with each request. Its [`Client`] is
//! shared.

mod client;

pub use client::{Client, ClientId, End, Label, Pulse, Traffic, Transport, View, ViewFlags, Wake};

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::acl::DEFAULT;
use crate::clock::Millis;
use crate::replication::{Feed, Offset, Peer};
use crate::resp::{OwnedRequest, Protocol};
use crate::store::Watcher;

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

/// A key watched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Watched {
    /// Its database.
    pub db: usize,
    /// The key.
    pub key: Box<[u8]>,
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
    /// WAIT, until enough replicas have the client's writes, or its time is up.
    Replicas {
        /// What they must have of the stream.
        offset: Offset,
    },
    /// CLIENT PAUSE holds its request back: it is to be executed again.
    Paused,
    /// SHUTDOWN, until the server ends or goes on.
    Shutdown,
}

/// Who a connection is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The user whose rights it has: the default one before AUTH.
    pub user: Label,
    /// It has authenticated, or had no need to when it came.
    pub is_authenticated: bool,
    /// The version of all users at which this one was found to be allowed everything; 0 = none.
    pub cleared_at: u64,
}

impl Identity {
    /// The default user, who need not authenticate if the server `is_open`.
    pub fn stranger(is_open: bool) -> Self {
        Identity { user: DEFAULT.into(), is_authenticated: is_open, cleared_at: 0 }
    }

    /// It has authenticated as this user.
    pub fn become_user(&mut self, user: Label) {
        *self = Identity { user, is_authenticated: true, cleared_at: 0 };
    }
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
    /// Who it is.
    pub identity: Identity,
    /// The last command executed.
    pub last: Option<C>,
    /// By CLIENT SETNAME or HELLO.
    pub name: Label,
    /// By CLIENT SETINFO.
    pub lib_name: Label,
    /// By CLIENT SETINFO.
    pub lib_ver: Label,
    /// Set between MULTI and EXEC.
    pub transaction: Option<Transaction<C>>,
    /// Keys watched.
    pub watched: HashMap<Watched, Arc<Watcher>>,
    /// Set when one of them was touched.
    pub dirty: Arc<AtomicBool>,
    /// Channels subscribed.
    pub channels: HashSet<Box<[u8]>>,
    /// Patterns subscribed.
    pub patterns: HashSet<Box<[u8]>>,
    /// Shard channels subscribed.
    pub shard_channels: HashSet<Box<[u8]>>,
    /// Bytes of the names of all that is subscribed or watched.
    pub name_bytes: usize,
    /// MONITOR was called.
    pub monitor: bool,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// CLIENT REPLY.
    pub reply_mode: ReplyMode,
    /// Messages and confirmations beside replies that are not sent.
    pub pushes: Vec<u8>,
    /// Bytes of the requests that are being executed.
    pub input: usize,
    /// Why it waits.
    pub waiting: Option<Waiting>,
    /// EXEC is executing its requests: they do not wait.
    pub in_exec: bool,
    /// It is a script's: some commands are not for it.
    pub in_script: bool,
    /// It is a script's that may take memory beyond `maxmemory`.
    pub may_exceed_memory: bool,
    /// What it was asked to do comes from a primary: nothing is hidden or refused.
    pub is_primary_link: bool,
    /// Up to where the stream carries what it has written, for WAIT.
    pub written: Offset,
    /// What it said of itself as a replica, and what it is sent as one.
    pub peer: Option<Box<Peer>>,
    /// What CLIENT LIST was shown last.
    shown: Face,
    /// Something that takes memory may have changed since it was counted for
    /// `maxmemory-clients`.
    pub memory_changed: bool,
}

/// What of a session CLIENT LIST shows: compared before anything is locked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Face {
    db: usize,
    protocol: Protocol,
    subscriptions: usize,
    patterns: usize,
    shard_subscriptions: usize,
    watching: usize,
    queued: Option<usize>,
    queued_bytes: usize,
    kept_bytes: usize,
    /// Labels are told apart by their places, since a client may give itself a name of megabytes.
    labels: [usize; 4],
    flags: ViewFlags,
}

impl<C> Session<C> {
    /// The state of a new connection of this identity.
    pub fn new(client: Arc<Client>, identity: Identity) -> Self {
        Session {
            client,
            db: 0,
            protocol: Protocol::Resp2,
            identity,
            last: None,
            name: Label::default(),
            lib_name: Label::default(),
            lib_ver: Label::default(),
            transaction: None,
            watched: HashMap::new(),
            dirty: Arc::default(),
            channels: HashSet::new(),
            patterns: HashSet::new(),
            shard_channels: HashSet::new(),
            name_bytes: 0,
            monitor: false,
            no_evict: false,
            no_touch: false,
            reply_mode: ReplyMode::On,
            pushes: Vec::new(),
            input: 0,
            waiting: None,
            in_exec: false,
            in_script: false,
            may_exceed_memory: false,
            is_primary_link: false,
            written: 0,
            peer: None,
            shown: Face::default(),
            memory_changed: true,
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

    /// What it is sent as a replica.
    pub fn feed(&mut self) -> Option<&mut Feed> {
        self.peer.as_mut()?.feed.as_mut()
    }

    /// Whether it is a replica, which is sent the stream.
    pub fn is_replica(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.feed.is_some())
    }

    /// Bytes of the requests queued since MULTI.
    pub fn queued_bytes(&self) -> usize {
        self.transaction.as_ref().map_or(0, |transaction| transaction.bytes)
    }

    /// Bytes of subscriptions, watched keys and labels.
    fn kept_bytes(&self) -> usize {
        /// What a name takes here and in the tables that lead to its connections.
        const ENTRY: usize = 160;
        (self.subscriptions() + self.watched.len()) * ENTRY
            + self.name_bytes
            + self.name.len()
            + self.lib_name.len()
            + self.lib_ver.len()
    }

    /// Whether a watched key was touched.
    pub fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Relaxed)
    }

    /// Shows its present state to CLIENT LIST.
    pub fn publish(&mut self, now: Millis) {
        self.client.pulse.set_active(now);
        let face = self.face();
        if face == self.shown {
            return;
        }
        self.shown = face;
        self.memory_changed = true;
        let mut view = self.client.view.lock();
        view.name.clone_from(&self.name);
        view.lib_name.clone_from(&self.lib_name);
        view.lib_ver.clone_from(&self.lib_ver);
        view.user.clone_from(&self.identity.user);
        view.db = face.db;
        view.protocol = face.protocol;
        view.subscriptions = face.subscriptions;
        view.patterns = face.patterns;
        view.shard_subscriptions = face.shard_subscriptions;
        view.queued = face.queued;
        view.queued_bytes = face.queued_bytes;
        view.kept_bytes = face.kept_bytes;
        view.watching = face.watching;
        view.flags = ViewFlags { closing: view.flags.closing, ..face.flags };
    }

    fn face(&self) -> Face {
        let place = |label: &Label| Arc::as_ptr(label).cast::<u8>().addr();
        Face {
            db: self.db,
            protocol: self.protocol,
            subscriptions: self.channels.len(),
            patterns: self.patterns.len(),
            shard_subscriptions: self.shard_channels.len(),
            watching: self.watched.len(),
            queued: self.transaction.as_ref().map(|transaction| transaction.queue.len()),
            queued_bytes: self.queued_bytes(),
            kept_bytes: self.kept_bytes(),
            labels: [
                place(&self.name),
                place(&self.lib_name),
                place(&self.lib_ver),
                place(&self.identity.user),
            ],
            flags: ViewFlags {
                monitor: self.monitor,
                blocked: self.waiting.is_some(),
                unblockable: matches!(self.waiting, Some(Waiting::Replicas { .. })),
                closing: false,
                dirty: self.is_dirty(),
                no_evict: self.no_evict,
                no_touch: self.no_touch,
                replica: self.is_replica(),
                primary: self.is_primary_link,
            },
        }
    }
}
