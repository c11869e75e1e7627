//! Settings: one table from which flags, config file, CONFIG GET/SET and the documentation follow.

mod cli;
mod file;
mod notify;
mod settings;

pub use cli::{ConfigError, Loaded};
pub use notify::NotifyFlags;
pub use settings::{SETTINGS, Setting};

use std::collections::BTreeMap;
use std::path::PathBuf;

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

    /// Whether it evicts only keys with a deadline.
    pub fn is_volatile(self) -> bool {
        self.name().starts_with("volatile")
    }
}

/// All settings. Fields are named like the directives.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // The table documents each.
pub struct Config {
    pub port: u16,
    pub bind: Vec<String>,
    pub unixsocket: Option<PathBuf>,
    pub unixsocketperm: u32,
    pub requirepass: String,
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
    pub maxmemory: u64,
    pub maxmemory_policy: EvictionPolicy,
    pub maxmemory_samples: i64,
    pub lfu_log_factor: i64,
    pub lfu_decay_time: i64,
    pub notify_keyspace_events: NotifyFlags,
    pub client_output_buffer_limit: OutputLimits,
    pub client_query_buffer_limit: u64,
    pub proto_max_bulk_len: u64,
    pub hash_max_listpack_entries: u64,
    pub hash_max_listpack_value: u64,
    pub set_max_intset_entries: u64,
    pub zset_max_listpack_entries: u64,
    pub zset_max_listpack_value: u64,
    pub busy_reply_threshold: i64,
    pub slowlog_log_slower_than: i64,
    pub slowlog_max_len: i64,
    pub latency_monitor_threshold: i64,
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
            requirepass: String::new(),
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
            maxmemory: 0,
            maxmemory_policy: EvictionPolicy::NoEviction,
            maxmemory_samples: 5,
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
            hash_max_listpack_entries: 512,
            hash_max_listpack_value: 64,
            set_max_intset_entries: 512,
            zset_max_listpack_entries: 128,
            zset_max_listpack_value: 64,
            busy_reply_threshold: 5_000,
            slowlog_log_slower_than: 10_000,
            slowlog_max_len: 128,
            latency_monitor_threshold: 0,
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

    /// Sets all of these at run time, or none: the error is Redis's text.
    ///
    /// # Errors
    ///
    /// A name that is unknown, given twice or fixed at the start; a value that is not permitted.
    pub fn set(&mut self, pairs: &[(String, String)]) -> Result<(), String> {
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
                let is_switch = |value: &str| value == "yes" || value == "no";
                let old = changed.inert.get(inert).is_some_and(|old| is_switch(old));
                if old && !is_switch(&value.to_ascii_lowercase()) {
                    return failed(&name, "argument must be 'yes' or 'no'");
                }
                changed.inert.insert(inert, value.clone());
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
