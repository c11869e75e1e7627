//! The table of settings.

use super::{Config, EvictionPolicy, NotifyFlags, OutputLimit};

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The directive.
    pub name: &'static str,
    /// An older name of it.
    pub alias: Option<&'static str>,
    /// What it takes, for people.
    pub takes: &'static str,
    /// What it is for, in a line.
    pub doc: &'static str,
    /// It cannot be set at run time.
    pub fixed: bool,
    /// Its value as CONFIG GET shows it.
    pub get: fn(&Config) -> String,
    /// Reads and sets it; the error is Redis's text.
    pub set: fn(&mut Config, &str) -> Result<(), String>,
}

impl Setting {
    const fn new(
        name: &'static str,
        takes: &'static str,
        doc: &'static str,
        get: fn(&Config) -> String,
        set: fn(&mut Config, &str) -> Result<(), String>,
    ) -> Self {
        Setting { name, alias: None, takes, doc, fixed: false, get, set }
    }

    const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    const fn fixed(mut self) -> Self {
        self.fixed = true;
        self
    }

    /// Its name, and its older one.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.alias)
    }

    /// Whether it is a `yes` or `no`, so that its bare flag means `yes`.
    pub fn is_switch(&self) -> bool {
        self.takes == "yes|no"
    }
}

/// The setting of this lower-case name.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.names().any(|known| known == name))
}

/// The directive of this lower-case name that is Redis's and has no meaning here.
pub(super) fn inert(name: &str) -> Option<&'static str> {
    INERT.iter().map(|(known, _)| *known).find(|known| *known == name)
}

fn int<T: TryFrom<i64>>(text: &str, least: i64, most: i64) -> Result<T, String> {
    let value: i64 =
        text.parse().map_err(|_| "argument couldn't be parsed into an integer".to_owned())?;
    let outside = || format!("argument must be between {least} and {most} inclusive");
    if !(least..=most).contains(&value) {
        return Err(outside());
    }
    T::try_from(value).map_err(|_| outside())
}

fn yes_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("argument must be 'yes' or 'no'".to_owned()),
    }
}

fn show(switch: bool) -> String {
    if switch { "yes" } else { "no" }.to_owned()
}

/// Bytes with a unit: `k kb m mb g gb`, in any case.
pub(super) fn memory(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let unit: u64 = match &lower[digits..] {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return Err("argument must be a memory value".to_owned()),
    };
    let number: Option<u64> = lower[..digits].parse().ok();
    number
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| "argument must be a memory value".to_owned())
}

fn one_of(text: &str, names: &[&str]) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    if names.contains(&lower.as_str()) {
        Ok(lower)
    } else {
        Err(format!("argument(s) must be one of the following: {}", names.join(", ")))
    }
}

fn output_limits(config: &Config) -> String {
    let limits = &config.client_output_buffer_limit;
    [("normal", limits.normal), ("slave", limits.replica), ("pubsub", limits.pubsub)]
        .map(|(kind, limit)| format!("{kind} {} {} {}", limit.hard, limit.soft, limit.soft_seconds))
        .join(" ")
}

fn set_output_limits(config: &mut Config, text: &str) -> Result<(), String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
    }
    let mut limits = config.client_output_buffer_limit;
    for group in words.chunks(4) {
        let bad = |_| "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
        let limit = OutputLimit {
            hard: memory(group[1]).map_err(bad)?,
            soft: memory(group[2]).map_err(bad)?,
            soft_seconds: group[3].parse().map_err(|_| bad(String::new()))?,
        };
        match group[0].to_ascii_lowercase().as_str() {
            "normal" => limits.normal = limit,
            "slave" | "replica" => limits.replica = limit,
            "pubsub" => limits.pubsub = limit,
            _ => {
                let text = "Invalid client class specified in buffer limit configuration.";
                return Err(text.to_owned());
            }
        }
    }
    config.client_output_buffer_limit = limits;
    Ok(())
}

const LEVELS: &[&str] = &["debug", "verbose", "notice", "warning", "nothing"];

/// All settings that mean something here, one a row.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    Setting::new("port", "number", "TCP port; 0 picks a free one.",
        |c| c.port.to_string(), |c, v| { c.port = int(v, 0, 65_535)?; Ok(()) }).fixed(),
    Setting::new("bind", "address ...", "Addresses to listen at; a leading - makes one optional.",
        |c| c.bind.join(" "), |c, v| { c.bind = v.split_whitespace().map(str::to_owned).collect(); Ok(()) }).fixed(),
    Setting::new("unixsocket", "path", "A Unix socket to listen at as well.",
        |c| c.unixsocket.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        |c, v| { c.unixsocket = (!v.is_empty()).then(|| v.into()); Ok(()) }).fixed(),
    Setting::new("unixsocketperm", "octal", "Permissions of the Unix socket; 0 leaves them to the system.",
        |c| format!("{:o}", c.unixsocketperm),
        |c, v| { c.unixsocketperm = u32::from_str_radix(v, 8).map_err(|_| "argument must be an octal number".to_owned())?; Ok(()) }).fixed(),
    Setting::new("requirepass", "password", "The password that clients must give; empty asks for none.",
        |c| c.requirepass.clone(), |c, v| { c.requirepass = v.to_owned(); Ok(()) }),
    Setting::new("protected-mode", "yes|no", "Accepts connections from this machine only while no password is set.",
        |c| show(c.protected_mode), |c, v| { c.protected_mode = yes_no(v)?; Ok(()) }),
    Setting::new("databases", "number", "Numbered databases.",
        |c| c.databases.to_string(), |c, v| { c.databases = int(v, 1, i64::from(i32::MAX))?; Ok(()) }).fixed(),
    Setting::new("maxclients", "number", "Connections served at a time.",
        |c| c.maxclients.to_string(), |c, v| { c.maxclients = int(v, 1, i64::from(u32::MAX))?; Ok(()) }),
    Setting::new("timeout", "seconds", "Closes connections idle for so long; 0 never does.",
        |c| c.timeout.to_string(), |c, v| { c.timeout = int(v, 0, i64::from(i32::MAX))?; Ok(()) }),
    Setting::new("tcp-keepalive", "seconds", "Asks silent peers for a sign of life; 0 never does.",
        |c| c.tcp_keepalive.to_string(), |c, v| { c.tcp_keepalive = int(v, 0, i64::from(i32::MAX))?; Ok(()) }),
    Setting::new("tcp-backlog", "number", "Connections that may wait to be accepted.",
        |c| c.tcp_backlog.to_string(), |c, v| { c.tcp_backlog = int(v, 0, i64::from(i32::MAX))?; Ok(()) }).fixed(),
    Setting::new("io-threads", "number", "Threads that serve connections.",
        |c| c.io_threads.to_string(), |c, v| { c.io_threads = int(v, 1, 128)?; Ok(()) }).fixed(),
    Setting::new("loglevel", "level", "debug, verbose, notice, warning or nothing.",
        |c| c.loglevel.clone(), |c, v| { c.loglevel = one_of(v, LEVELS)?; Ok(()) }),
    Setting::new("logfile", "path", "Where logs go; empty means standard error.",
        |c| c.logfile.clone(), |c, v| { c.logfile = v.to_owned(); Ok(()) }).fixed(),
    Setting::new("log-format", "human|json", "The form of log lines.",
        |c| c.log_format.clone(), |c, v| { c.log_format = one_of(v, &["human", "json"])?; Ok(()) }).fixed(),
    Setting::new("dir", "path", "The working directory.",
        |c| match c.dir.as_str() {
            "" => std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default(),
            dir => dir.to_owned(),
        },
        |c, v| { c.dir = v.to_owned(); Ok(()) }),
    Setting::new("maxmemory", "bytes", "Memory at which eviction begins; 0 sets no limit.",
        |c| c.maxmemory.to_string(), |c, v| { c.maxmemory = memory(v)?; Ok(()) }),
    Setting::new("maxmemory-policy", "policy", "What is evicted: volatile-lru and its like, or noeviction.",
        |c| c.maxmemory_policy.name().to_owned(),
        |c, v| {
            let name = one_of(v, &EvictionPolicy::NAMES.map(|(name, _)| name))?;
            let found = EvictionPolicy::NAMES.iter().find(|(known, _)| *known == name);
            c.maxmemory_policy = found.map_or(c.maxmemory_policy, |(_, policy)| *policy);
            Ok(())
        }),
    Setting::new("maxmemory-samples", "number", "Keys looked at to find one to evict.",
        |c| c.maxmemory_samples.to_string(), |c, v| { c.maxmemory_samples = int(v, 1, i64::from(i32::MAX))?; Ok(()) }),
    Setting::new("lfu-log-factor", "number", "How slowly counters of use grow.",
        |c| c.lfu_log_factor.to_string(), |c, v| { c.lfu_log_factor = int(v, 0, i64::from(i32::MAX))?; Ok(()) }),
    Setting::new("lfu-decay-time", "minutes", "After how long without use counters shrink by one.",
        |c| c.lfu_decay_time.to_string(), |c, v| { c.lfu_decay_time = int(v, 0, i64::from(i32::MAX))?; Ok(()) }),
    Setting::new("notify-keyspace-events", "letters", "Events that are published, K and E for where.",
        |c| c.notify_keyspace_events.letters(),
        |c, v| {
            c.notify_keyspace_events = NotifyFlags::parse(v)
                .ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned())?;
            Ok(())
        }),
    Setting::new("client-output-buffer-limit", "class hard soft seconds ...", "How much may wait for a client.",
        output_limits, set_output_limits),
    Setting::new("client-query-buffer-limit", "bytes", "How much of a request may wait to be complete.",
        |c| c.client_query_buffer_limit.to_string(),
        |c, v| {
            let bytes = memory(v)?;
            if bytes < 1 << 20 {
                return Err(format!("argument must be between {} and {} inclusive", 1 << 20, i64::MAX));
            }
            c.client_query_buffer_limit = bytes;
            Ok(())
        }),
    Setting::new("proto-max-bulk-len", "bytes", "The longest argument.",
        |c| c.proto_max_bulk_len.to_string(),
        |c, v| {
            let bytes = memory(v)?;
            if bytes < 1 << 20 {
                return Err(format!("argument must be between {} and {} inclusive", 1 << 20, i64::MAX));
            }
            c.proto_max_bulk_len = bytes;
            Ok(())
        }),
    Setting::new("hash-max-listpack-entries", "number", "Fields up to which a hash is packed.",
        |c| c.hash_max_listpack_entries.to_string(),
        |c, v| { c.hash_max_listpack_entries = int(v, 0, i64::MAX)?; Ok(()) }).alias("hash-max-ziplist-entries"),
    Setting::new("hash-max-listpack-value", "bytes", "Bytes of a field or value up to which a hash is packed.",
        |c| c.hash_max_listpack_value.to_string(),
        |c, v| { c.hash_max_listpack_value = memory(v)?; Ok(()) }).alias("hash-max-ziplist-value"),
    Setting::new("set-max-intset-entries", "number", "Members up to which a set of integers is an array.",
        |c| c.set_max_intset_entries.to_string(),
        |c, v| { c.set_max_intset_entries = int(v, 0, i64::MAX)?; Ok(()) }),
    Setting::new("zset-max-listpack-entries", "number", "Members up to which a sorted set is small.",
        |c| c.zset_max_listpack_entries.to_string(),
        |c, v| { c.zset_max_listpack_entries = int(v, 0, i64::MAX)?; Ok(()) }).alias("zset-max-ziplist-entries"),
    Setting::new("zset-max-listpack-value", "bytes", "Bytes of a member up to which a sorted set is small.",
        |c| c.zset_max_listpack_value.to_string(),
        |c, v| { c.zset_max_listpack_value = memory(v)?; Ok(()) }).alias("zset-max-ziplist-value"),
    Setting::new("busy-reply-threshold", "milliseconds", "How long a script may run before others are told BUSY.",
        |c| c.busy_reply_threshold.to_string(),
        |c, v| { c.busy_reply_threshold = int(v, 0, i64::MAX)?; Ok(()) }).alias("lua-time-limit"),
    Setting::new("slowlog-log-slower-than", "microseconds", "Requests as slow as this are kept by SLOWLOG; -1 keeps none.",
        |c| c.slowlog_log_slower_than.to_string(),
        |c, v| { c.slowlog_log_slower_than = int(v, -1, i64::MAX)?; Ok(()) }),
    Setting::new("slowlog-max-len", "number", "Requests that SLOWLOG keeps.",
        |c| c.slowlog_max_len.to_string(), |c, v| { c.slowlog_max_len = int(v, 0, i64::MAX)?; Ok(()) }),
    Setting::new("latency-monitor-threshold", "milliseconds", "Events as slow as this are kept by LATENCY; 0 keeps none.",
        |c| c.latency_monitor_threshold.to_string(),
        |c, v| { c.latency_monitor_threshold = int(v, 0, i64::MAX)?; Ok(()) }),
    Setting::new("enable-debug-command", "no|yes|local", "Whether DEBUG is allowed.",
        |c| c.enable_debug_command.clone(),
        |c, v| { c.enable_debug_command = one_of(v, &["no", "yes", "local"])?; Ok(()) }).fixed(),
    Setting::new("test-control", "yes|no", "Whether CLOAKROOM may turn the clock.",
        |c| show(c.test_control), |c, v| { c.test_control = yes_no(v)?; Ok(()) }).fixed(),
    Setting::new("exit-with-parent", "yes|no", "Ends the server when its standard input closes.",
        |c| show(c.exit_with_parent), |c, v| { c.exit_with_parent = yes_no(v)?; Ok(()) }).fixed(),
];

/// Redis 7.0's directives that are accepted and shown, and mean nothing here, with its defaults.
pub(super) const INERT: &[(&str, &str)] = &[
    ("acl-pubsub-default", "resetchannels"),
    ("aclfile", ""),
    ("acllog-max-len", "128"),
    ("active-defrag-cycle-max", "25"),
    ("active-defrag-cycle-min", "1"),
    ("active-defrag-ignore-bytes", "104857600"),
    ("active-defrag-max-scan-fields", "1000"),
    ("active-defrag-threshold-lower", "10"),
    ("active-defrag-threshold-upper", "100"),
    ("active-expire-effort", "1"),
    ("activedefrag", "no"),
    ("activerehashing", "yes"),
    ("always-show-logo", "no"),
    ("aof-disable-auto-gc", "no"),
    ("aof-load-truncated", "yes"),
    ("aof-rewrite-incremental-fsync", "yes"),
    ("aof-timestamp-enabled", "no"),
    ("aof-use-rdb-preamble", "yes"),
    ("aof_rewrite_cpulist", ""),
    ("appenddirname", "appendonlydir"),
    ("appendfilename", "appendonly.aof"),
    ("appendfsync", "everysec"),
    ("appendonly", "no"),
    ("auto-aof-rewrite-min-size", "67108864"),
    ("auto-aof-rewrite-percentage", "100"),
    ("bgsave_cpulist", ""),
    ("bind-source-addr", ""),
    ("bio_cpulist", ""),
    ("cluster-allow-pubsubshard-when-down", "yes"),
    ("cluster-allow-reads-when-down", "no"),
    ("cluster-allow-replica-migration", "yes"),
    ("cluster-announce-bus-port", "0"),
    ("cluster-announce-hostname", ""),
    ("cluster-announce-ip", ""),
    ("cluster-announce-port", "0"),
    ("cluster-announce-tls-port", "0"),
    ("cluster-config-file", "nodes.conf"),
    ("cluster-enabled", "no"),
    ("cluster-link-sendbuf-limit", "0"),
    ("cluster-migration-barrier", "1"),
    ("cluster-node-timeout", "15000"),
    ("cluster-port", "0"),
    ("cluster-preferred-endpoint-type", "ip"),
    ("cluster-replica-no-failover", "no"),
    ("cluster-replica-validity-factor", "10"),
    ("cluster-require-full-coverage", "yes"),
    ("cluster-slave-no-failover", "no"),
    ("cluster-slave-validity-factor", "10"),
    ("crash-log-enabled", "yes"),
    ("crash-memcheck-enabled", "yes"),
    ("daemonize", "no"),
    ("dbfilename", "dump.rdb"),
    ("disable-thp", "yes"),
    ("dynamic-hz", "yes"),
    ("enable-module-command", "no"),
    ("enable-protected-configs", "no"),
    ("hll-sparse-max-bytes", "3000"),
    ("hz", "10"),
    ("ignore-warnings", ""),
    ("io-threads-do-reads", "no"),
    ("jemalloc-bg-thread", "yes"),
    ("latency-tracking", "yes"),
    ("latency-tracking-info-percentiles", "50 99 99.9"),
    ("lazyfree-lazy-eviction", "no"),
    ("lazyfree-lazy-expire", "no"),
    ("lazyfree-lazy-server-del", "no"),
    ("lazyfree-lazy-user-del", "no"),
    ("lazyfree-lazy-user-flush", "no"),
    ("list-compress-depth", "0"),
    ("list-max-listpack-size", "-2"),
    ("list-max-ziplist-size", "-2"),
    ("masterauth", ""),
    ("masteruser", ""),
    ("maxmemory-clients", "0"),
    ("maxmemory-eviction-tenacity", "10"),
    ("min-replicas-max-lag", "10"),
    ("min-replicas-to-write", "0"),
    ("min-slaves-max-lag", "10"),
    ("min-slaves-to-write", "0"),
    ("no-appendfsync-on-rewrite", "no"),
    ("oom-score-adj", "no"),
    ("oom-score-adj-values", "0 200 800"),
    ("pidfile", ""),
    ("proc-title-template", "{title} {listen-addr} {server-mode}"),
    ("propagation-error-behavior", "ignore"),
    ("rdb-del-sync-files", "no"),
    ("rdb-save-incremental-fsync", "yes"),
    ("rdbchecksum", "yes"),
    ("rdbcompression", "yes"),
    ("repl-backlog-size", "1048576"),
    ("repl-backlog-ttl", "3600"),
    ("repl-disable-tcp-nodelay", "no"),
    ("repl-diskless-load", "disabled"),
    ("repl-diskless-sync", "yes"),
    ("repl-diskless-sync-delay", "5"),
    ("repl-diskless-sync-max-replicas", "0"),
    ("repl-ping-replica-period", "10"),
    ("repl-ping-slave-period", "10"),
    ("repl-timeout", "60"),
    ("replica-announce-ip", ""),
    ("replica-announce-port", "0"),
    ("replica-announced", "yes"),
    ("replica-ignore-disk-write-errors", "no"),
    ("replica-ignore-maxmemory", "yes"),
    ("replica-lazy-flush", "no"),
    ("replica-priority", "100"),
    ("replica-read-only", "yes"),
    ("replica-serve-stale-data", "yes"),
    ("replicaof", ""),
    ("sanitize-dump-payload", "no"),
    ("save", "3600 1 300 100 60 10000"),
    ("server_cpulist", ""),
    ("set-proc-title", "yes"),
    ("shutdown-on-sigint", "default"),
    ("shutdown-on-sigterm", "default"),
    ("shutdown-timeout", "10"),
    ("slave-announce-ip", ""),
    ("slave-announce-port", "0"),
    ("slave-ignore-maxmemory", "yes"),
    ("slave-lazy-flush", "no"),
    ("slave-priority", "100"),
    ("slave-read-only", "yes"),
    ("slave-serve-stale-data", "yes"),
    ("slaveof", ""),
    ("socket-mark-id", "0"),
    ("stop-writes-on-bgsave-error", "yes"),
    ("stream-node-max-bytes", "4096"),
    ("stream-node-max-entries", "100"),
    ("supervised", "no"),
    ("syslog-enabled", "no"),
    ("syslog-facility", "local0"),
    ("syslog-ident", "redis"),
    ("tls-auth-clients", "yes"),
    ("tls-ca-cert-dir", ""),
    ("tls-ca-cert-file", ""),
    ("tls-cert-file", ""),
    ("tls-ciphers", ""),
    ("tls-ciphersuites", ""),
    ("tls-client-cert-file", ""),
    ("tls-client-key-file", ""),
    ("tls-client-key-file-pass", ""),
    ("tls-cluster", "no"),
    ("tls-dh-params-file", ""),
    ("tls-key-file", ""),
    ("tls-key-file-pass", ""),
    ("tls-port", "0"),
    ("tls-prefer-server-ciphers", "no"),
    ("tls-protocols", ""),
    ("tls-replication", "no"),
    ("tls-session-cache-size", "20480"),
    ("tls-session-cache-timeout", "300"),
    ("tls-session-caching", "yes"),
    ("tracking-table-max-keys", "1000000"),
];
