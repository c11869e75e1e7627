//! What a server keeps beside its data: settings, clients, subscriptions, statistics, waits.

mod clients;
mod effects;
mod functions;
mod interpreter;
mod latency;
mod listen;
mod persistence;
mod pubsub;
mod rates;
mod script;
mod scripts;
mod shutdown;
mod slowlog;
mod stats;
mod waits;

pub use clients::Clients;
pub use effects::Effects;
pub use functions::{Function, Functions, Library, ScriptFlags};
pub use interpreter::KeptInterpreter;
pub use latency::{Latency, Spikes};
pub use listen::Listen;
pub use persistence::{Background, Loading, Persistence};
pub use pubsub::{PubSub, Subject};
pub use rates::{PerSecond, Rates, Sample};
pub use script::{Running, ScriptWatch};
pub use scripts::Scripts;
pub use shutdown::Shutdown;
pub use slowlog::{SlowRequest, Slowlog};
pub use stats::{CommandStats, Stats};
pub use waits::{Hold, Pause, Waits};

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::acl::{Catalog, Users};
use crate::clock::{Clock, Micros, Millis};
use crate::config::{Config, NotifyFlags};
use crate::rdb::DumpOptions;
use crate::replication::Replication;
use crate::session::Client;
pub use crate::store::Encodings;
use crate::store::{HashLimits, SetLimits, SortedSetLimits, StrLimits};
use crate::tls::Tls;

/// What a server keeps beside its data. Its parts are fields so that they can be borrowed apart.
#[derive(Debug)]
pub struct Server {
    /// The settings.
    pub config: Config,
    /// The file they were read from.
    pub config_file: Option<PathBuf>,
    /// All users.
    pub users: Users,
    /// What speaks TLS, if anything does.
    pub tls: Option<Arc<Tls>>,
    /// All connections.
    pub clients: Arc<Clients>,
    /// Who subscribes to what.
    pub pubsub: PubSub,
    /// What is counted.
    pub stats: Stats,
    /// How much happens a second.
    pub rates: Rates,
    /// Who listens with MONITOR.
    pub monitors: Vec<Arc<Client>>,
    /// Connections that wait, and CLIENT PAUSE.
    pub waits: Waits,
    /// What changes, for replicas.
    pub effects: Effects,
    /// What is known of saving and loading.
    pub persistence: Persistence,
    /// Who this server is to others, its replicas, the link to its primary.
    pub replication: Replication,
    /// A shutdown that waits for replicas.
    pub shutdown: Option<Shutdown>,
    /// A signal has asked for the server's end, and the server has not refused.
    pub asked_to_stop: Arc<AtomicBool>,
    /// Requests that took long.
    pub slowlog: Slowlog,
    /// Events that took long.
    pub latency: Latency,
    /// Scripts by their digest, and the interpreter.
    pub scripts: Scripts,
    /// Libraries of functions, and their interpreter.
    pub functions: Functions,
    /// What others may know of a running script without the gate.
    pub script: Arc<ScriptWatch>,
    /// Whether what falls due is deleted by itself (DEBUG SET-ACTIVE-EXPIRE).
    pub active_expire: bool,
    /// What DEBUG has switched otherwise.
    pub debug: DebugSwitches,
    /// CONFIG SET has changed something since the last turn.
    pub config_changed: bool,
    /// How many turns have changed the settings.
    pub limits_version: u64,
    /// The stopwatch when connections were last looked after, in microseconds.
    pub looked_after: Micros,
    /// When the server started.
    pub started: Millis,
    /// 40 hexadecimal digits that tell this run from others.
    pub run_id: String,
    /// The port at which it listens; 0 = at none.
    pub port: u16,
    /// Who listens there; None: nobody does.
    pub listen: Option<Arc<dyn Listen>>,
    /// The port at which it listens for TLS; 0 = at none.
    pub tls_port: u16,
}

/// What DEBUG switches.
#[derive(Debug, Default)]
pub struct DebugSwitches {
    /// PAUSE-CRON: the regular care that no deadline asks for rests.
    pub pauses_care: bool,
    /// SET-SKIP-CHECKSUM-VALIDATION.
    pub skips_checksums: bool,
}

impl Server {
    /// A server of these settings before its first client.
    pub fn new(config: Config, clock: &Arc<Clock>, commands: usize, catalog: Catalog) -> Self {
        let mut rng = fastrand::Rng::new();
        let mut replication = Replication::new(clock.now());
        let mut effects = Effects::default();
        if let Some((host, port)) = config.replicaof.clone() {
            replication.follow(host, port, &mut effects.stream, clock.now());
        }
        Server {
            config,
            config_file: None,
            users: Users::new(catalog),
            tls: None,
            clients: Arc::default(),
            pubsub: PubSub::default(),
            stats: Stats::new(commands),
            rates: Rates::default(),
            monitors: Vec::new(),
            waits: Waits::default(),
            effects,
            replication,
            persistence: Persistence::new(clock.now()),
            shutdown: None,
            asked_to_stop: Arc::default(),
            slowlog: Slowlog::default(),
            latency: Latency::default(),
            scripts: Scripts::default(),
            functions: Functions::default(),
            script: Arc::new(ScriptWatch::new(Arc::clone(clock))),
            debug: DebugSwitches::default(),
            config_changed: false,
            limits_version: 0,
            active_expire: true,
            looked_after: 0,
            started: clock.now(),
            run_id: (0..40).map(|_| char::from_digit(rng.u32(..16), 16).unwrap_or('0')).collect(),
            port: 0,
            listen: None,
            tls_port: 0,
        }
    }

    /// How payloads of DUMP are read.
    pub fn dump_options(&self) -> DumpOptions {
        let checksum = !self.debug.skips_checksums;
        DumpOptions { longest: self.config.proto_max_bulk_len, checksum }
    }

    /// Whether the checksums of RDB files are compared.
    pub fn compares_checksums(&self) -> bool {
        self.config.rdbchecksum && !self.debug.skips_checksums
    }

    /// The backlog's size and what may wait for a replica are now what the settings say.
    pub fn resize_backlog(&self) {
        if let Some(backlog) = self.effects.stream.backlog() {
            let limit = self.config.client_output_buffer_limit.replica;
            backlog.resize(self.config.repl_backlog_size, limit);
        }
    }
}

impl From<&Config> for Encodings {
    fn from(config: &Config) -> Self {
        Encodings {
            string: StrLimits { compress_from: config.string_compression_threshold as usize },
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

impl Server {
    /// Whether what is past its time may be deleted: a replica leaves that to its primary, and
    /// during a pause nothing changes.
    #[inline]
    pub fn may_expire(&self, now: Millis) -> bool {
        !self.replication.is_replica() && self.waits.paused(now).is_none()
    }

    /// What is deleted when its time comes, though nobody asks.
    #[inline]
    pub fn expires(&self, now: Millis) -> Expires {
        if !self.active_expire || self.waits.paused(now).is_some() {
            Expires::Nothing
        } else if self.replication.is_replica() {
            Expires::OwnKeys
        } else {
            Expires::Everything
        }
    }
}

/// What is deleted when its time comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expires {
    /// Whatever has a deadline.
    Everything,
    /// Keys of a replica of which its primary knows nothing.
    OwnKeys,
    /// Nothing for now.
    Nothing,
}

/// What lookups need, count and note.
#[derive(Debug)]
pub struct Lookups {
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Whether missed keys are noted (event class `m`).
    pub notes_misses: bool,
    /// Whether new keys are noted (event class `n`).
    pub notes_new: bool,
    /// Whether keys that a client gives a deadline are noted: on a replica that takes writes.
    pub notes_deadlines: bool,
    /// What the command at hand met and has not yet told, in order.
    pub noted: Vec<Noted>,
    /// The sizes at which encodings change.
    pub encodings: Encodings,
    /// For random choices.
    pub rng: fastrand::Rng,
}

impl Lookups {
    /// Nothing counted yet.
    pub fn new(config: &Config) -> Self {
        let mut lookups = Lookups {
            hits: 0,
            misses: 0,
            notes_misses: false,
            notes_new: false,
            notes_deadlines: false,
            noted: Vec::new(),
            encodings: Encodings::from(config),
            rng: fastrand::Rng::new(),
        };
        lookups.configure(config);
        lookups
    }

    /// Does from now on what the settings say.
    pub fn configure(&mut self, config: &Config) {
        self.encodings = Encodings::from(config);
        self.notes_misses = config.notify_keyspace_events.wants(NotifyFlags::KEY_MISS);
        self.notes_new = config.notify_keyspace_events.wants(NotifyFlags::NEW);
        self.notes_deadlines = config.replicaof.is_some() && !config.replica_read_only;
    }

    /// Counts a read of database `db` that did not find its key.
    pub fn missed(&mut self, db: usize, key: &[u8]) {
        self.misses += 1;
        if self.notes_misses {
            self.noted.push(Noted { db, key: key.into(), is_new: false });
        }
    }

    /// Notes a key of database `db` that is about to be made.
    pub fn created(&mut self, db: usize, key: &[u8]) {
        if self.notes_new {
            self.noted.push(Noted { db, key: key.into(), is_new: true });
        }
    }
}

/// A key that is noted for events of the classes `m` and `n`.
#[derive(Debug)]
pub struct Noted {
    /// Its database.
    pub db: usize,
    /// Its name.
    pub key: Box<[u8]>,
    /// It was made; otherwise a read did not find it.
    pub is_new: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_follows_the_settings_from_the_start() {
        let mut config = Config::default();
        let notes = |config: &Config| {
            let lookups = Lookups::new(config);
            (lookups.notes_misses, lookups.notes_new, lookups.notes_deadlines)
        };
        assert_eq!(notes(&config), (false, false, false));
        let events = ("notify-keyspace-events".to_owned(), "Kmn".to_owned());
        config.set(&[events], false).expect("it is a setting");
        config.replicaof = Some(("10.0.0.1".to_owned(), 6379));
        assert_eq!(notes(&config), (true, true, false));
        config.replica_read_only = false;
        assert_eq!(notes(&config), (true, true, true));
    }
}
