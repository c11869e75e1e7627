//! Settings (interim).
use std::path::PathBuf;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NotifyFlags(pub u32);
impl NotifyFlags {
    pub const KEYSPACE: NotifyFlags = NotifyFlags(1);
    pub const KEYEVENT: NotifyFlags = NotifyFlags(2);
    pub const GENERIC: NotifyFlags = NotifyFlags(4);
    pub const STRING: NotifyFlags = NotifyFlags(8);
    pub const LIST: NotifyFlags = NotifyFlags(16);
    pub const SET: NotifyFlags = NotifyFlags(32);
    pub const HASH: NotifyFlags = NotifyFlags(64);
    pub const ZSET: NotifyFlags = NotifyFlags(128);
    pub const EXPIRED: NotifyFlags = NotifyFlags(256);
    pub const EVICTED: NotifyFlags = NotifyFlags(512);
    pub const STREAM: NotifyFlags = NotifyFlags(1024);
    pub const KEY_MISS: NotifyFlags = NotifyFlags(2048);
    pub const MODULE: NotifyFlags = NotifyFlags(8192);
    pub const NEW: NotifyFlags = NotifyFlags(16384);
    pub fn contains(self, other: NotifyFlags) -> bool {
        self.0 & other.0 == other.0
    }
    pub fn wants(self, class: NotifyFlags) -> bool {
        self.contains(class) && self.0 & 3 != 0
    }
}
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EvictionPolicy {
    #[default]
    NoEviction,
}
impl EvictionPolicy {
    pub fn is_lfu(self) -> bool {
        false
    }
}
#[derive(Debug, Clone, Default)]
pub struct OutputLimits {
    pub normal: crate::session::OutputLimit,
    pub pubsub: crate::session::OutputLimit,
}
#[derive(Debug, Clone)]
pub struct Config {
    pub port: u16,
    pub bind: Vec<String>,
    pub unixsocket: Option<PathBuf>,
    pub unixsocketperm: u32,
    pub requirepass: String,
    pub databases: i64,
    pub maxmemory: u64,
    pub maxmemory_policy: EvictionPolicy,
    pub maxclients: i64,
    pub timeout: i64,
    pub tcp_keepalive: i64,
    pub tcp_backlog: i64,
    pub notify_keyspace_events: NotifyFlags,
    pub client_output_buffer_limit: OutputLimits,
    pub client_query_buffer_limit: u64,
    pub proto_max_bulk_len: u64,
    pub hash_max_listpack_entries: u64,
    pub hash_max_listpack_value: u64,
    pub set_max_intset_entries: u64,
    pub zset_max_listpack_entries: u64,
    pub zset_max_listpack_value: u64,
    pub lfu_log_factor: i64,
    pub lfu_decay_time: i64,
    pub io_threads: i64,
    pub test_control: bool,
    pub enable_debug_command: bool,
}
impl Default for Config {
    fn default() -> Self {
        Config {
            port: 6379,
            bind: vec!["127.0.0.1".into(), "-::1".into()],
            unixsocket: None,
            unixsocketperm: 0,
            requirepass: String::new(),
            databases: 16,
            maxmemory: 0,
            maxmemory_policy: EvictionPolicy::NoEviction,
            maxclients: 10000,
            timeout: 0,
            tcp_keepalive: 300,
            tcp_backlog: 511,
            notify_keyspace_events: NotifyFlags::default(),
            client_output_buffer_limit: OutputLimits::default(),
            client_query_buffer_limit: 1 << 30,
            proto_max_bulk_len: 512 << 20,
            hash_max_listpack_entries: 128,
            hash_max_listpack_value: 64,
            set_max_intset_entries: 512,
            zset_max_listpack_entries: 128,
            zset_max_listpack_value: 64,
            lfu_log_factor: 10,
            lfu_decay_time: 1,
            io_threads: 1,
            test_control: false,
            enable_debug_command: false,
        }
    }
}
