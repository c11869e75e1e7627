//! What a server keeps beside its data: settings, clients, subscriptions, statistics, waits.

mod clients;
mod effects;
mod pubsub;
mod script;
mod scripts;
mod slowlog;
mod stats;
mod waits;

pub use clients::Clients;
pub use effects::Effects;
pub use pubsub::{PubSub, Subject};
pub use script::ScriptWatch;
pub use scripts::Scripts;
pub use slowlog::{SlowRequest, Slowlog};
pub use stats::{CommandStats, Stats};
pub use waits::{Pause, Waits};

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::{Clock, Millis};
use crate::config::Config;
use crate::session::Client;
use crate::store::{HashLimits, SetLimits, SortedSetLimits};

/// What a server keeps beside its data. Its parts are fields so that they can be borrowed apart.
#[derive(Debug)]
pub struct Server {
    /// The settings.
    pub config: Config,
    /// The file they were read from.
    pub config_file: Option<PathBuf>,
    /// All connections.
    pub clients: Arc<Clients>,
    /// Who subscribes to what.
    pub pubsub: PubSub,
    /// What is counted.
    pub stats: Stats,
    /// Who listens with MONITOR.
    pub monitors: Vec<Arc<Client>>,
    /// Connections that wait, and CLIENT PAUSE.
    pub waits: Waits,
    /// What changes, for replicas and for whoever records.
    pub effects: Effects,
    /// Requests that took long.
    pub slowlog: Slowlog,
    /// Scripts by their digest, and the interpreter.
    pub scripts: Scripts,
    /// What others may know of a running script without the gate.
    pub script: Arc<ScriptWatch>,
    /// Whether what falls due is deleted by itself (DEBUG SET-ACTIVE-EXPIRE).
    pub active_expire: bool,
    /// CONFIG SET has changed something since the last turn.
    pub config_changed: bool,
    /// When the server started.
    pub started: Millis,
    /// 40 hexadecimal digits that tell this run from others.
    pub run_id: String,
    /// The port at which it listens; 0 = at none.
    pub port: u16,
}

impl Server {
    /// A server of these settings before its first client.
    pub fn new(config: Config, clock: &Arc<Clock>, commands: usize) -> Self {
        let mut rng = fastrand::Rng::new();
        Server {
            config,
            config_file: None,
            clients: Arc::default(),
            pubsub: PubSub::default(),
            stats: Stats::new(commands),
            monitors: Vec::new(),
            waits: Waits::default(),
            effects: Effects::default(),
            slowlog: Slowlog::default(),
            scripts: Scripts::default(),
            script: Arc::new(ScriptWatch::new(Arc::clone(clock))),
            config_changed: false,
            active_expire: true,
            started: clock.now(),
            run_id: (0..40).map(|_| char::from_digit(rng.u32(..16), 16).unwrap_or('0')).collect(),
            port: 0,
        }
    }
}

/// The sizes at which small encodings give way to big ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct Encodings {
    /// `hash-max-listpack-entries`, `hash-max-listpack-value`.
    pub hash: HashLimits,
    /// `set-max-intset-entries`.
    pub set: SetLimits,
    /// `zset-max-listpack-entries`, `zset-max-listpack-value`.
    pub sorted_set: SortedSetLimits,
}

impl From<&Config> for Encodings {
    fn from(config: &Config) -> Self {
        Encodings {
            hash: HashLimits {
                entries: config.hash_max_listpack_entries as usize,
                value: config.hash_max_listpack_value as usize,
            },
            set: SetLimits { intset: config.set_max_intset_entries as usize },
            sorted_set: SortedSetLimits {
                entries: config.zset_max_listpack_entries as usize,
                value: config.zset_max_listpack_value as usize,
            },
        }
    }
}

/// What lookups need and count.
#[derive(Debug)]
pub struct Lookups {
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Whether missed keys are noted (event class `m`).
    pub notes_misses: bool,
    /// Keys missed by the command at hand, if they are noted.
    pub missed: Vec<Box<[u8]>>,
    /// Whether new keys are noted (event class `n`).
    pub notes_new: bool,
    /// Keys made by the command at hand, if they are noted.
    pub created: Vec<Box<[u8]>>,
    /// The sizes at which encodings change.
    pub encodings: Encodings,
    /// For random choices.
    pub rng: fastrand::Rng,
}

impl Lookups {
    /// Nothing counted yet.
    pub fn new(encodings: Encodings) -> Self {
        Lookups {
            hits: 0,
            misses: 0,
            notes_misses: false,
            missed: Vec::new(),
            notes_new: false,
            created: Vec::new(),
            encodings,
            rng: fastrand::Rng::new(),
        }
    }

    /// Counts a miss.
    pub fn missed(&mut self, key: &[u8]) {
        self.misses += 1;
        if self.notes_misses {
            self.missed.push(key.into());
        }
    }
}
