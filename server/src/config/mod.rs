//! Settings: one table from which flags, config file, CONFIG GET/SET and the documentation follow.

mod cli;
mod file;
mod inert;
mod notify;
mod rewrite;
mod settings;
mod shutdown;

pub use cli::{ConfigError, LINES, Loaded};
pub use file::split as split_words;
pub use inert::REASONS;
pub use notify::NotifyFlags;
pub use rewrite::Rewritten;
pub use settings::{SETTINGS, Setting};
pub use shutdown::{ShutdownFlags, Signal};

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::clock::Millis;

/// How much may wait for a client (`client-output-buffer-limit`); 0 = no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputLimit {
    /// Bytes at which the client is closed at once.
    pub hard: u64,
    /// Bytes at which it is closed if they stay for `soft_seconds`.
    pub soft: u64,
    /// See `soft`.
    pub soft_seconds: u64,
}

impl OutputLimit {
    /// Whether `waiting` bytes are too many at `now`. `over_soft` remembers from call to call since
    /// when they have been over the soft limit.
    pub fn is_over(self, over_soft: &mut Option<Millis>, waiting: u64, now: Millis) -> bool {
        if self.hard != 0 && waiting > self.hard {
            return true;
        }
        if self.soft == 0 || waiting <= self.soft {
            *over_soft = None;
            return false;
        }
        // Redis counts in whole seconds.
        let since = *over_soft.get_or_insert(now);
        (now / 1000).saturating_sub(since / 1000) > self.soft_seconds
    }
}

/// `client-output-buffer-limit` by kind of client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLimits {
    /// Ordinary clients.
    pub normal: OutputLimit,
    /// Replicas.
    pub replica: OutputLimit,
    /// Subscribers.
    pub pubsub: OutputLimit,
}

/// `maxmemory-clients`: how much connections may take together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientMemory {
    /// So many bytes; 0 = no limit.
    Bytes(u64),
    /// So much of `maxmemory`, in percent.
    Percent(u8),
}

impl ClientMemory {
    /// The limit in bytes under this `maxmemory`; 0 = no limit.
    pub fn bytes(self, maxmemory: u64) -> u64 {
        match self {
            ClientMemory::Bytes(bytes) => bytes,
            ClientMemory::Percent(share) => {
                (u128::from(maxmemory) * u128::from(share) / 100) as u64
            }
        }
    }
}

/// `save`: when the data is saved by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavePoint {
    /// So many seconds after the last save,
    pub seconds: u64,
    /// if there were so many changes.
    pub changes: u64,
}

/// `maxmemory-policy`: what is evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvictionPolicy {
    /// Keys with a deadline, those unused for longest.
    VolatileLru,
    /// Keys with a deadline, those used least.
    VolatileLfu,
    /// Keys with a deadline, any.
    VolatileRandom,
    /// Keys with a deadline, those that end first.
    VolatileTtl,
    /// All keys, those unused for longest.
    AllkeysLru,
    /// All keys, those used least.
    AllkeysLfu,
    /// All keys, any.
    AllkeysRandom,
    /// None: writes are refused.
    NoEviction,
}

impl EvictionPolicy {
    /// Names in Redis's order.
    pub const NAMES: [(&'static str, EvictionPolicy); 8] = [
        ("volatile-lru", EvictionPolicy::VolatileLru),
        ("volatile-lfu", EvictionPolicy::VolatileLfu),
        ("volatile-random", EvictionPolicy::VolatileRandom),
        ("volatile-ttl", EvictionPolicy::VolatileTtl),
        ("allkeys-lru", EvictionPolicy::AllkeysLru),
        ("allkeys-lfu", EvictionPolicy::AllkeysLfu),
        ("allkeys-random", EvictionPolicy::AllkeysRandom),
        ("noeviction", EvictionPolicy::NoEviction),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        EvictionPolicy::NAMES
            .iter()
            .find(|(_, policy)| *policy == self)
            .map_or("", |(name, _)| name)
    }

    /// Whether it goes by how often keys are used.
    pub fn is_lfu(self) -> bool {
        matches!(self, EvictionPolicy::VolatileLfu | EvictionPolicy::AllkeysLfu)
    }

    /// Whether it goes by when keys were last used.
    pub fn is_lru(self) -> bool {
        matches!(self, EvictionPolicy::VolatileLru | EvictionPolicy::AllkeysLru)
    }

    /// Whether it evicts only keys with a deadline.
    pub fn is_volatile(self) -> bool {
        self.name().starts_with("volatile")
    }
}

/// `tls-auth-clients`: whether clients show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthClients {
    /// They must.
    Yes,
    /// They need not.
    No,
    /// They may; one that is shown must be right.
    Optional,
}

impl AuthClients {
    /// All with their names.
    pub const NAMES: [(&'static str, AuthClients); 3] =
        [("yes", AuthClients::Yes), ("no", AuthClients::No), ("optional", AuthClients::Optional)];

    /// Its name.
    pub fn name(self) -> &'static str {
        AuthClients::NAMES.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }
}

/// A directive of several words that may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Where it stands, for error texts.
    pub at: String,
    /// Its words, without its name.
    pub words: Vec<String>,
}

/// All settings. Fields are named like the directives.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // The table documents each.
pub struct Config {
    pub port: u16,
    pub bind: Vec<String>,
    pub unixsocket: Option<PathBuf>,
    pub unixsocketperm: u32,
    /// None = off, 0 = a free one.
    pub tls_port: Option<u16>,
    pub tls_only: bool,
    pub tls_dev: bool,
    pub tls_cert_file: String,
    pub tls_key_file: String,
    pub tls_ca_cert_file: String,
    /// See [`Config::auth_clients`].
    pub tls_auth_clients: Option<AuthClients>,
    pub tls_protocols: String,
    pub tls_replication: bool,
    pub tls_handshake_timeout: i64,
    pub requirepass: String,
    /// `user` lines.
    pub users: Vec<Directive>,
    pub aclfile: Option<PathBuf>,
    pub acl_pubsub_default: String,
    pub acllog_max_len: i64,
    /// `rename-command` lines.
    pub renamed_commands: Vec<Directive>,
    pub protected_mode: bool,
    pub databases: i64,
    pub maxclients: i64,
    pub timeout: i64,
    pub tcp_keepalive: i64,
    pub tcp_backlog: i64,
    pub io_threads: i64,
    pub loglevel: String,
    pub logfile: String,
    pub log_format: String,
    pub dir: String,
    pub dbfilename: String,
    pub save: Vec<SavePoint>,
    pub stop_writes_on_bgsave_error: bool,
    pub rdbcompression: bool,
    pub rdbchecksum: bool,
    pub rdb_save_incremental_fsync: bool,
    pub rdb_version: String,
    pub rdb_drop_field_deadlines: bool,
    pub rdb_skip_unknown_types: bool,
    pub maxmemory: u64,
    pub maxmemory_policy: EvictionPolicy,
    pub maxmemory_samples: i64,
    pub maxmemory_clients: ClientMemory,
    pub lfu_log_factor: i64,
    pub lfu_decay_time: i64,
    pub notify_keyspace_events: NotifyFlags,
    pub client_output_buffer_limit: OutputLimits,
    pub client_query_buffer_limit: u64,
    pub proto_max_bulk_len: u64,
    pub proto_max_reply_len: u64,
    pub hash_max_listpack_entries: u64,
    pub hash_max_listpack_value: u64,
    pub set_max_intset_entries: u64,
    pub zset_max_listpack_entries: u64,
    pub zset_max_listpack_value: u64,
    pub string_compression_threshold: u64,
    pub replicaof: Option<(String, u16)>,
    pub masteruser: String,
    pub masterauth: String,
    pub replica_read_only: bool,
    pub replica_serve_stale_data: bool,
    pub replica_ignore_maxmemory: bool,
    pub replica_lazy_flush: bool,
    pub replica_priority: i64,
    pub replica_announced: bool,
    pub replica_announce_ip: String,
    /// `bind-source-addr`.
    pub bind_source_addr: String,
    pub replica_announce_port: u16,
    pub repl_backlog_size: u64,
    pub repl_backlog_ttl: i64,
    pub repl_diskless_load: String,
    pub repl_ping_replica_period: i64,
    pub repl_timeout: i64,
    pub shutdown_timeout: i64,
    pub shutdown_on_sigint: ShutdownFlags,
    pub shutdown_on_sigterm: ShutdownFlags,
    pub min_replicas_to_write: i64,
    pub min_replicas_max_lag: i64,
    pub busy_reply_threshold: i64,
    pub lua_memory_limit: u64,
    pub slowlog_log_slower_than: i64,
    pub slowlog_max_len: i64,
    pub latency_monitor_threshold: i64,
    pub enable_protected_configs: String,
    pub latency_tracking: bool,
    pub latency_tracking_info_percentiles: Vec<f64>,
    pub enable_debug_command: String,
    pub test_control: bool,
    pub exit_with_parent: bool,
    /// Redis's directives without meaning here, by name: what was set last.
    pub inert: BTreeMap<&'static str, String>,
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Config {
            port: 6379,
            bind: vec!["127.0.0.1".to_owned(), "-::1".to_owned()],
            unixsocket: None,
            unixsocketperm: 0,
            tls_port: None,
            tls_only: false,
            tls_dev: false,
            tls_cert_file: String::new(),
            tls_key_file: String::new(),
            tls_ca_cert_file: String::new(),
            tls_auth_clients: None,
            tls_protocols: String::new(),
            tls_replication: false,
            tls_handshake_timeout: 10_000,
            requirepass: String::new(),
            users: Vec::new(),
            aclfile: None,
            acl_pubsub_default: "resetchannels".to_owned(),
            acllog_max_len: 128,
            renamed_commands: Vec::new(),
            protected_mode: true,
            databases: 16,
            maxclients: 10_000,
            timeout: 0,
            tcp_keepalive: 300,
            tcp_backlog: 511,
            io_threads: 1,
            loglevel: "notice".to_owned(),
            logfile: String::new(),
            log_format: "human".to_owned(),
            dir: String::new(),
            dbfilename: "dump.rdb".to_owned(),
            save: [(3600, 1), (300, 100), (60, 10_000)]
                .map(|(seconds, changes)| SavePoint { seconds, changes })
                .to_vec(),
            stop_writes_on_bgsave_error: true,
            rdbcompression: true,
            rdbchecksum: true,
            rdb_save_incremental_fsync: true,
            rdb_version: "auto".to_owned(),
            rdb_drop_field_deadlines: false,
            rdb_skip_unknown_types: false,
            maxmemory: 0,
            maxmemory_policy: EvictionPolicy::NoEviction,
            maxmemory_samples: 5,
            maxmemory_clients: ClientMemory::Bytes(0),
            lfu_log_factor: 10,
            lfu_decay_time: 1,
            notify_keyspace_events: NotifyFlags::default(),
            client_output_buffer_limit: OutputLimits {
                normal: OutputLimit::default(),
                replica: OutputLimit { hard: 256 << 20, soft: 64 << 20, soft_seconds: 60 },
                pubsub: OutputLimit { hard: 32 << 20, soft: 8 << 20, soft_seconds: 60 },
            },
            client_query_buffer_limit: 1 << 30,
            proto_max_bulk_len: 512 << 20,
            proto_max_reply_len: 1 << 30,
            hash_max_listpack_entries: 512,
            hash_max_listpack_value: 64,
            set_max_intset_entries: 512,
            zset_max_listpack_entries: 128,
            zset_max_listpack_value: 64,
            string_compression_threshold: 0,
            replicaof: None,
            masteruser: String::new(),
            masterauth: String::new(),
            replica_read_only: true,
            replica_serve_stale_data: true,
            replica_ignore_maxmemory: true,
            replica_lazy_flush: true,
            replica_priority: 100,
            replica_announced: true,
            replica_announce_ip: String::new(),
            bind_source_addr: String::new(),
            replica_announce_port: 0,
            repl_backlog_size: 1 << 20,
            repl_backlog_ttl: 3600,
            repl_diskless_load: "swapdb".to_owned(),
            repl_ping_replica_period: 10,
            repl_timeout: 60,
            shutdown_timeout: 10,
            shutdown_on_sigint: ShutdownFlags::default(),
            shutdown_on_sigterm: ShutdownFlags::default(),
            min_replicas_to_write: 0,
            min_replicas_max_lag: 10,
            busy_reply_threshold: 5_000,
            lua_memory_limit: 1 << 30,
            slowlog_log_slower_than: 10_000,
            slowlog_max_len: 128,
            latency_monitor_threshold: 0,
            enable_protected_configs: "no".to_owned(),
            latency_tracking: true,
            latency_tracking_info_percentiles: vec![50.0, 99.0, 99.9],
            enable_debug_command: "no".to_owned(),
            test_control: false,
            exit_with_parent: false,
            inert: BTreeMap::new(),
        };
        for (name, value) in settings::INERT {
            config.inert.insert(name, (*value).to_owned());
        }
        config
    }
}

impl Config {
    /// Takes a directive that may be repeated: `user` or `rename-command`.
    fn repeat(&mut self, name: &str, line: Directive) {
        let is_user = name.eq_ignore_ascii_case("user");
        if is_user { &mut self.users } else { &mut self.renamed_commands }.push(line);
    }

    /// Whether clients show certificates: where nothing is said they must, as in Redis, but not to
    /// a server whose certificate was made for development.
    pub fn auth_clients(&self) -> AuthClients {
        let unsaid = if self.tls_dev { AuthClients::No } else { AuthClients::Yes };
        self.tls_auth_clients.unwrap_or(unsaid)
    }

    /// Whether new users may use all channels (`acl-pubsub-default`).
    pub fn new_users_use_all_channels(&self) -> bool {
        self.acl_pubsub_default == "allchannels"
    }

    /// Names and values of all settings that one of the patterns matches, each once.
    pub fn get(&self, matches: impl Fn(&str) -> bool) -> Vec<(&'static str, String)> {
        let live = SETTINGS
            .iter()
            .flat_map(|setting| setting.names().map(move |name| (name, setting)))
            .filter(|(name, _)| matches(name))
            .map(|(name, setting)| (name, (setting.get)(self)));
        let inert = self
            .inert
            .iter()
            .filter(|(name, _)| matches(name))
            .map(|(name, value)| (*name, value.clone()));
        let mut found: Vec<_> = live.chain(inert).collect();
        found.sort_unstable();
        found
    }

    /// Sets all of these at run time, or none: the error is Redis's text. `protected`: those are
    /// allowed too that only trusted connections may set.
    ///
    /// # Errors
    ///
    /// A name that is unknown, given twice or fixed at the start; a value that is not permitted.
    pub fn set(&mut self, pairs: &[(String, String)], protected: bool) -> Result<(), String> {
        let failed = |name: &str, why: &str| {
            Err(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"))
        };
        let mut changed = self.clone();
        for (at, (name, value)) in pairs.iter().enumerate() {
            let name = name.to_ascii_lowercase();
            if pairs[..at].iter().any(|(other, _)| other.eq_ignore_ascii_case(&name)) {
                return failed(&name, "duplicate parameter");
            }
            if let Some(inert) = settings::inert(&name) {
                match inert::check(inert, value) {
                    Ok(kept) => changed.inert.insert(inert, kept),
                    Err(why) => return failed(&name, &why),
                };
                continue;
            }
            let Some(setting) = settings::find(&name) else {
                return Err(format!(
                    "ERR Unknown option or number of arguments for CONFIG SET - '{}'",
                    pairs[at].0
                ));
            };
            if setting.fixed {
                return failed(&name, "can't set immutable config");
            }
            if setting.protected && !protected {
                return failed(&name, "can't set protected config");
            }
            if let Err(why) = (setting.set)(&mut changed, value) {
                return failed(&name, &why);
            }
        }
        *self = changed;
        Ok(())
    }

    /// Sets one before the start, fixed ones too. True: it is Redis's, but means nothing here.
    ///
    /// # Errors
    ///
    /// Why the value is not permitted, or None for an unknown name.
    pub(crate) fn set_at_start(&mut self, name: &str, value: &str) -> Result<bool, Option<String>> {
        let name = name.to_ascii_lowercase();
        if let Some(inert) = settings::inert(&name) {
            let differs = self.inert.get(inert).is_some_and(|old| old != value);
            self.inert.insert(inert, value.to_owned());
            return Ok(differs);
        }
        let setting = settings::find(&name).ok_or(None)?;
        (setting.set)(self, value).map_err(Some)?;
        Ok(false)
    }
}
