//! The table of settings.

use super::{
    AuthClients, ClientMemory, Config, EvictionPolicy, NotifyFlags, OutputLimit, SavePoint,
    ShutdownFlags,
};

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
    /// It can be set at run time only where `enable-protected-configs` allows it.
    pub protected: bool,
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
        Setting { name, alias: None, takes, doc, fixed: false, protected: false, get, set }
    }

    const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    const fn fixed(mut self) -> Self {
        self.fixed = true;
        self
    }

    const fn protected(mut self) -> Self {
        self.protected = true;
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

pub(super) fn int<T: TryFrom<i64>>(text: &str, least: i64, most: i64) -> Result<T, String> {
    let value: i64 =
        text.parse().map_err(|_| "argument couldn't be parsed into an integer".to_owned())?;
    let outside = || format!("argument must be between {least} and {most} inclusive");
    if !(least..=most).contains(&value) {
        return Err(outside());
    }
    T::try_from(value).map_err(|_| outside())
}

pub(super) fn yes_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("argument must be 'yes' or 'no'".to_owned()),
    }
}

pub(super) fn show(switch: bool) -> String {
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

fn percentiles(text: &str) -> Result<Vec<f64>, String> {
    let invalid = |_| "Invalid latency-tracking-info-percentiles parameters".to_owned();
    let found: Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
    let found = found.map_err(invalid)?;
    if found.iter().all(|percent| (0.0..=100.0).contains(percent)) {
        return Ok(found);
    }
    let outside = "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";
    Err(outside.to_owned())
}

/// Bytes with a unit, or a share like `5%`.
fn client_memory(text: &str) -> Result<ClientMemory, String> {
    let neither = |_| "argument must be a memory or percent value".to_owned();
    let Some(share) = text.strip_suffix('%') else {
        return memory(text).map(ClientMemory::Bytes).map_err(neither);
    };
    match share.parse::<u64>() {
        Ok(share @ 0..=100) => Ok(ClientMemory::Percent(share as u8)),
        Ok(_) => Err("percentage argument must be less or equal to 100".to_owned()),
        Err(_) => Err(neither(String::new())),
    }
}

/// Bytes with a unit, at least a mebibyte.
fn mebibytes(text: &str) -> Result<u64, String> {
    const LEAST: u64 = 1 << 20;
    let bytes = memory(text)?;
    if bytes < LEAST {
        return Err(format!("argument must be between {LEAST} and {} inclusive", i64::MAX));
    }
    Ok(bytes)
}

pub(super) fn one_of(text: &str, names: &[&str]) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    if names.contains(&lower.as_str()) {
        Ok(lower)
    } else {
        Err(format!("argument(s) must be one of the following: {}", names.join(", ")))
    }
}

/// A primary's host and port; `no one` and nothing are none.
fn primary(text: &str) -> Result<Option<(String, u16)>, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        [] => Ok(None),
        [no, one] if no.eq_ignore_ascii_case("no") && one.eq_ignore_ascii_case("one") => Ok(None),
        [host, port] => Ok(Some((host.to_owned(), int(port, 0, 65_535)?))),
        _ => Err("wrong number of arguments".to_owned()),
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

/// `save`: seconds and changes in turns; nothing at all ends saving by itself.
fn save_points(text: &str) -> Result<Vec<SavePoint>, String> {
    let bad = || "Invalid save parameters".to_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    if !words.len().is_multiple_of(2) {
        return Err(bad());
    }
    let point = |pair: &[&str]| {
        let (seconds, changes) = (pair[0].parse().ok()?, pair[1].parse().ok()?);
        (seconds >= 1).then_some(SavePoint { seconds, changes })
    };
    words.chunks(2).map(|pair| point(pair).ok_or_else(bad)).collect()
}

fn show_save_points(points: &[SavePoint]) -> String {
    let shown = points.iter().map(|point| format!("{} {}", point.seconds, point.changes));
    shown.collect::<Vec<_>>().join(" ")
}

const LEVELS: &[&str] = &["debug", "verbose", "notice", "warning", "nothing"];

/// All settings that mean something here, one a row.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    Setting::new("port", "number", "TCP port; 0 picks a free one.",
        |c| c.port.to_string(), |c, v| { c.port = int(v, 0, 65_535)?; Ok(()) }),
    Setting::new("bind", "address ...", "Addresses to listen at; a leading - makes one optional.",
        |c| c.bind.join(" "), |c, v| { c.bind = v.split_whitespace().map(str::to_owned).collect(); Ok(()) }),
    Setting::new("tls-port", "number|auto", "TCP port for TLS; 0 opens none, auto picks a free one.",
        |c| match c.tls_port { None => "0".to_owned(), Some(0) => "auto".to_owned(), Some(port) => port.to_string() },
        |c, v| {
            c.tls_port = match v {
                "auto" => Some(0),
                number => Some(int(number, 0, 65_535)?).filter(|port| *port != 0),
            };
            Ok(())
        }).fixed(),
    Setting::new("tls-only", "yes|no", "Opens no TCP port without TLS.",
        |c| show(c.tls_only), |c, v| { c.tls_only = yes_no(v)?; Ok(()) }).fixed(),
    Setting::new("tls-dev", "yes|no", "Speaks TLS with a certificate for localhost made on the spot, and tells where its authority stands.",
        |c| show(c.tls_dev), |c, v| { c.tls_dev = yes_no(v)?; Ok(()) }).fixed(),
    Setting::new("tls-cert-file", "path", "The server's certificate and those between it and the authority, PEM.",
        |c| c.tls_cert_file.clone(), |c, v| { c.tls_cert_file = v.to_owned(); Ok(()) }),
    Setting::new("tls-key-file", "path", "The key of the server's certificate, PEM.",
        |c| c.tls_key_file.clone(), |c, v| { c.tls_key_file = v.to_owned(); Ok(()) }),
    Setting::new("tls-ca-cert-file", "path", "The authorities whose certificates are believed, PEM.",
        |c| c.tls_ca_cert_file.clone(), |c, v| { c.tls_ca_cert_file = v.to_owned(); Ok(()) }),
    Setting::new("tls-auth-clients", "yes|no|optional", "Whether clients must show certificates; with tls-dev not unless this is set.",
        |c| c.auth_clients().name().to_owned(),
        |c, v| {
            let name = one_of(v, &AuthClients::NAMES.map(|(name, _)| name))?;
            let found = AuthClients::NAMES.iter().find(|(known, _)| *known == name);
            c.tls_auth_clients = found.map(|(_, clients)| *clients);
            Ok(())
        }),
    Setting::new("tls-protocols", "versions", "Versions of TLS: TLSv1.2, TLSv1.3; empty means both.",
        |c| c.tls_protocols.clone(), |c, v| { c.tls_protocols = v.to_owned(); Ok(()) }),
    Setting::new("tls-replication", "yes|no", "Whether a replica goes to its primary over TLS; the primary's certificate must name where it goes.",
        |c| show(c.tls_replication), |c, v| { c.tls_replication = yes_no(v)?; Ok(()) }),
    Setting::new("tls-handshake-timeout", "milliseconds", "How long a TLS handshake may take.",
        |c| c.tls_handshake_timeout.to_string(),
        |c, v| { c.tls_handshake_timeout = int(v, 1, i64::from(i32::MAX))?; Ok(()) }),
    Setting::new("unixsocket", "path", "A Unix socket to listen at as well.",
        |c| c.unixsocket.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        |c, v| { c.unixsocket = (!v.is_empty()).then(|| v.into()); Ok(()) }).fixed(),
    Setting::new("unixsocketperm", "octal", "Permissions of the Unix socket; 0 leaves them to the system.",
        |c| format!("{:o}", c.unixsocketperm),
        |c, v| { c.unixsocketperm = u32::from_str_radix(v, 8).map_err(|_| "argument must be an octal number".to_owned())?; Ok(()) }).fixed(),
    Setting::new("requirepass", "password", "The password that clients must give; empty asks for none.",
        |c| c.requirepass.clone(), |c, v| { c.requirepass = v.to_owned(); Ok(()) }),
    Setting::new("aclfile", "path", "The file of users, instead of user lines in the config file.",
        |c| c.aclfile.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        |c, v| { c.aclfile = (!v.is_empty()).then(|| v.into()); Ok(()) }).fixed(),
    Setting::new("acl-pubsub-default", "allchannels|resetchannels", "The channels that new users may use.",
        |c| c.acl_pubsub_default.clone(),
        |c, v| { c.acl_pubsub_default = one_of(v, &["allchannels", "resetchannels"])?; Ok(()) }),
    Setting::new("acllog-max-len", "number", "Denials that ACL LOG keeps.",
        |c| c.acllog_max_len.to_string(), |c, v| { c.acllog_max_len = int(v, 0, i64::MAX)?; Ok(()) }),
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
        |c, v| { c.dir = v.to_owned(); Ok(()) }).protected(),
    Setting::new("dbfilename", "name", "The file in the working directory that holds the data between runs.",
        |c| c.dbfilename.clone(),
        |c, v| {
            if v.contains(['/', '\\']) {
                return Err("dbfilename can't be a path, just a filename".to_owned());
            }
            c.dbfilename = v.to_owned();
            Ok(())
        }).protected(),
    Setting::new("save", "seconds changes ...", "Saves after so many seconds if there were so many changes; \"\" never does.",
        |c| show_save_points(&c.save), |c, v| { c.save = save_points(v)?; Ok(()) }),
    Setting::new("stop-writes-on-bgsave-error", "yes|no", "Refuses writes while the data cannot be saved.",
        |c| show(c.stop_writes_on_bgsave_error), |c, v| { c.stop_writes_on_bgsave_error = yes_no(v)?; Ok(()) }),
    Setting::new("rdbcompression", "yes|no", "Compresses strings in RDB files.",
        |c| show(c.rdbcompression), |c, v| { c.rdbcompression = yes_no(v)?; Ok(()) }),
    Setting::new("rdbchecksum", "yes|no", "Writes a checksum at the end of RDB files, and compares it when one is read.",
        |c| show(c.rdbchecksum), |c, v| { c.rdbchecksum = yes_no(v)?; Ok(()) }).fixed(),
    Setting::new("rdb-save-incremental-fsync", "yes|no", "Has RDB files reach the disk bit by bit while they are written.",
        |c| show(c.rdb_save_incremental_fsync), |c, v| { c.rdb_save_incremental_fsync = yes_no(v)?; Ok(()) }),
    Setting::new("rdb-version", "auto|10|11|12|80", "The version of RDB files and DUMP payloads that are written; auto: 10, and Valkey's 80 where fields have deadlines.",
        |c| c.rdb_version.clone(), |c, v| { c.rdb_version = one_of(v, &["auto", "10", "11", "12", "80"])?; Ok(()) }),
    Setting::new("rdb-drop-field-deadlines", "yes|no", "Where rdb-version has no place for deadlines of fields: drops them with a warning instead of refusing to save.",
        |c| show(c.rdb_drop_field_deadlines), |c, v| { c.rdb_drop_field_deadlines = yes_no(v)?; Ok(()) }),
    Setting::new("rdb-skip-unknown-types", "yes|no", "Leaves out keys of types that are not known here, instead of refusing the file.",
        |c| show(c.rdb_skip_unknown_types), |c, v| { c.rdb_skip_unknown_types = yes_no(v)?; Ok(()) }),
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
    Setting::new("maxmemory-clients", "bytes|share%", "Memory of all connections together, at which the biggest are closed; 0 sets no limit.",
        |c| match c.maxmemory_clients {
            ClientMemory::Bytes(bytes) => bytes.to_string(),
            ClientMemory::Percent(share) => format!("{share}%"),
        },
        |c, v| { c.maxmemory_clients = client_memory(v)?; Ok(()) }),
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
        |c, v| { c.client_query_buffer_limit = mebibytes(v)?; Ok(()) }),
    Setting::new("proto-max-bulk-len", "bytes", "The longest argument.",
        |c| c.proto_max_bulk_len.to_string(),
        |c, v| { c.proto_max_bulk_len = mebibytes(v)?; Ok(()) }),
    Setting::new("proto-max-reply-len", "bytes", "The longest reply to one request; whoever asks for more is closed.",
        |c| c.proto_max_reply_len.to_string(), |c, v| { c.proto_max_reply_len = mebibytes(v)?; Ok(()) }),
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
    Setting::new("string-compression-threshold", "bytes", "Bytes from which on strings are compressed in memory; 0 = none is.",
        |c| c.string_compression_threshold.to_string(),
        |c, v| { c.string_compression_threshold = memory(v)?; Ok(()) }),
    Setting::new("replicaof", "host port", "The primary whose replica this server is; CONFIG REWRITE keeps what REPLICAOF set.",
        |c| c.replicaof.as_ref().map(|(host, port)| format!("{host} {port}")).unwrap_or_default(),
        |c, v| { c.replicaof = primary(v)?; Ok(()) }).alias("slaveof").fixed(),
    Setting::new("masteruser", "name", "The user as whom a replica authenticates; empty is the default one.",
        |c| c.masteruser.clone(), |c, v| { c.masteruser = v.to_owned(); Ok(()) }),
    Setting::new("masterauth", "password", "The password that a replica gives its primary; empty gives none.",
        |c| c.masterauth.clone(), |c, v| { c.masterauth = v.to_owned(); Ok(()) }),
    Setting::new("replica-read-only", "yes|no", "Whether a replica refuses writes of its clients.",
        |c| show(c.replica_read_only), |c, v| { c.replica_read_only = yes_no(v)?; Ok(()) }).alias("slave-read-only"),
    Setting::new("replica-serve-stale-data", "yes|no", "Whether a replica answers while the link to its primary is down.",
        |c| show(c.replica_serve_stale_data), |c, v| { c.replica_serve_stale_data = yes_no(v)?; Ok(()) }).alias("slave-serve-stale-data"),
    Setting::new("replica-ignore-maxmemory", "yes|no", "Leaves eviction on a replica to its primary.",
        |c| show(c.replica_ignore_maxmemory), |c, v| { c.replica_ignore_maxmemory = yes_no(v)?; Ok(()) }).alias("slave-ignore-maxmemory"),
    Setting::new("replica-lazy-flush", "yes|no", "Whether the old data are freed on a thread of their own when new ones replace them.",
        |c| show(c.replica_lazy_flush), |c, v| { c.replica_lazy_flush = yes_no(v)?; Ok(()) }).alias("slave-lazy-flush"),
    Setting::new("replica-priority", "number", "Which replica Sentinel promotes first: the lowest; 0 never.",
        |c| c.replica_priority.to_string(), |c, v| { c.replica_priority = int(v, 0, i64::from(i32::MAX))?; Ok(()) }).alias("slave-priority"),
    Setting::new("replica-announced", "yes|no", "Whether Sentinel shows this replica to clients.",
        |c| show(c.replica_announced), |c, v| { c.replica_announced = yes_no(v)?; Ok(()) }),
    Setting::new("replica-announce-ip", "address", "Where a replica says it is; empty: where its connection comes from.",
        |c| c.replica_announce_ip.clone(), |c, v| { c.replica_announce_ip = v.to_owned(); Ok(()) }).alias("slave-announce-ip"),
    Setting::new("replica-announce-port", "number", "The port at which a replica says it listens; 0: its own.",
        |c| c.replica_announce_port.to_string(), |c, v| { c.replica_announce_port = int(v, 0, 65_535)?; Ok(()) }).alias("slave-announce-port"),
    Setting::new("bind-source-addr", "address", "The address that the link to a primary comes from; empty: the system's choice.",
        |c| c.bind_source_addr.clone(), |c, v| { c.bind_source_addr = v.to_owned(); Ok(()) }),
    Setting::new("repl-backlog-size", "bytes", "How much of the stream's past is kept for replicas that come back.",
        |c| c.repl_backlog_size.to_string(),
        |c, v| {
            let bytes = memory(v)?;
            if bytes < 1 {
                return Err(format!("argument must be between 1 and {} inclusive", i64::MAX));
            }
            c.repl_backlog_size = bytes;
            Ok(())
        }),
    Setting::new("repl-backlog-ttl", "seconds", "How long it is kept without any replica; 0 keeps it for good.",
        |c| c.repl_backlog_ttl.to_string(), |c, v| { c.repl_backlog_ttl = int(v, 0, i64::MAX / 1000)?; Ok(()) }),
    Setting::new("repl-diskless-load", "disabled|on-empty-db|swapdb", "swapdb serves the old data until the new are whole; the others drop them as soon as a copy is announced, which takes less memory. A copy is never written to a file first.",
        |c| c.repl_diskless_load.clone(),
        |c, v| { c.repl_diskless_load = one_of(v, &["disabled", "on-empty-db", "swapdb"])?; Ok(()) }),
    Setting::new("repl-ping-replica-period", "seconds", "How often a primary pings its replicas.",
        |c| c.repl_ping_replica_period.to_string(),
        |c, v| { c.repl_ping_replica_period = int(v, 1, i64::from(i32::MAX))?; Ok(()) }).alias("repl-ping-slave-period"),
    Setting::new("repl-timeout", "seconds", "After how long without a sign of life a link is given up.",
        |c| c.repl_timeout.to_string(), |c, v| { c.repl_timeout = int(v, 1, i64::from(i32::MAX))?; Ok(()) }),
    Setting::new("shutdown-timeout", "seconds", "How long a shutdown waits for replicas to have everything; 0: not at all.",
        |c| c.shutdown_timeout.to_string(), |c, v| { c.shutdown_timeout = int(v, 0, i64::from(i32::MAX))?; Ok(()) }),
    Setting::new("shutdown-on-sigint", "word ...", "How SIGINT (Ctrl-C) ends the server: default, or what SHUTDOWN takes (save, nosave, now, force).",
        |c| c.shutdown_on_sigint.words(), |c, v| { c.shutdown_on_sigint = ShutdownFlags::parse(v)?; Ok(()) }),
    Setting::new("shutdown-on-sigterm", "word ...", "How SIGTERM ends the server, likewise.",
        |c| c.shutdown_on_sigterm.words(), |c, v| { c.shutdown_on_sigterm = ShutdownFlags::parse(v)?; Ok(()) }),
    Setting::new("min-replicas-to-write", "number", "Refuses writes with fewer good replicas; 0 asks for none.",
        |c| c.min_replicas_to_write.to_string(),
        |c, v| { c.min_replicas_to_write = int(v, 0, i64::from(i32::MAX))?; Ok(()) }).alias("min-slaves-to-write"),
    Setting::new("min-replicas-max-lag", "seconds", "A good replica was heard of within so long.",
        |c| c.min_replicas_max_lag.to_string(),
        |c, v| { c.min_replicas_max_lag = int(v, 0, i64::from(i32::MAX))?; Ok(()) }).alias("min-slaves-max-lag"),
    Setting::new("busy-reply-threshold", "milliseconds", "How long a script may run before others are told BUSY.",
        |c| c.busy_reply_threshold.to_string(),
        |c, v| { c.busy_reply_threshold = int(v, 0, i64::MAX)?; Ok(()) }).alias("lua-time-limit"),
    Setting::new("lua-memory-limit", "bytes", "Memory of the script that runs; one that needs more fails.",
        |c| c.lua_memory_limit.to_string(), |c, v| { c.lua_memory_limit = mebibytes(v)?; Ok(()) }),
    Setting::new("slowlog-log-slower-than", "microseconds", "Requests as slow as this are kept by SLOWLOG; -1 keeps none.",
        |c| c.slowlog_log_slower_than.to_string(),
        |c, v| { c.slowlog_log_slower_than = int(v, -1, i64::MAX)?; Ok(()) }),
    Setting::new("slowlog-max-len", "number", "Requests that SLOWLOG keeps.",
        |c| c.slowlog_max_len.to_string(), |c, v| { c.slowlog_max_len = int(v, 0, i64::MAX)?; Ok(()) }),
    Setting::new("latency-monitor-threshold", "milliseconds", "Events as slow as this are kept by LATENCY; 0 keeps none.",
        |c| c.latency_monitor_threshold.to_string(),
        |c, v| { c.latency_monitor_threshold = int(v, 0, i64::MAX)?; Ok(()) }),
    Setting::new("enable-protected-configs", "no|yes|local", "Whether CONFIG SET may change dir and dbfilename.",
        |c| c.enable_protected_configs.clone(),
        |c, v| { c.enable_protected_configs = one_of(v, &["no", "yes", "local"])?; Ok(()) }).fixed(),
    Setting::new("latency-tracking", "yes|no", "Whether INFO latencystats and LATENCY HISTOGRAM count commands.",
        |c| show(c.latency_tracking),
        |c, v| { c.latency_tracking = yes_no(v)?; Ok(()) }),
    Setting::new("latency-tracking-info-percentiles", "percent ...", "What INFO latencystats shows of each command.",
        |c| c.latency_tracking_info_percentiles.iter().map(f64::to_string).collect::<Vec<_>>().join(" "),
        |c, v| { c.latency_tracking_info_percentiles = percentiles(v)?; Ok(()) }),
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
    ("disable-thp", "yes"),
    ("dynamic-hz", "yes"),
    ("enable-module-command", "no"),
    ("hll-sparse-max-bytes", "3000"),
    ("hz", "10"),
    ("ignore-warnings", ""),
    ("io-threads-do-reads", "no"),
    ("jemalloc-bg-thread", "yes"),
    ("lazyfree-lazy-eviction", "no"),
    ("lazyfree-lazy-expire", "no"),
    ("lazyfree-lazy-server-del", "no"),
    ("lazyfree-lazy-user-del", "no"),
    ("lazyfree-lazy-user-flush", "no"),
    ("list-compress-depth", "0"),
    ("list-max-listpack-size", "-2"),
    ("list-max-ziplist-size", "-2"),
    ("maxmemory-eviction-tenacity", "10"),
    ("no-appendfsync-on-rewrite", "no"),
    ("oom-score-adj", "no"),
    ("oom-score-adj-values", "0 200 800"),
    ("pidfile", ""),
    ("proc-title-template", "{title} {listen-addr} {server-mode}"),
    ("propagation-error-behavior", "ignore"),
    ("rdb-del-sync-files", "no"),
    ("repl-disable-tcp-nodelay", "no"),
    ("repl-diskless-sync", "yes"),
    ("repl-diskless-sync-delay", "5"),
    ("repl-diskless-sync-max-replicas", "0"),
    ("replica-ignore-disk-write-errors", "no"),
    ("sanitize-dump-payload", "no"),
    ("server_cpulist", ""),
    ("set-proc-title", "yes"),
    ("socket-mark-id", "0"),
    ("stream-node-max-bytes", "4096"),
    ("stream-node-max-entries", "100"),
    ("supervised", "no"),
    ("syslog-enabled", "no"),
    ("syslog-facility", "local0"),
    ("syslog-ident", "redis"),
    ("tls-ca-cert-dir", ""),
    ("tls-ciphers", ""),
    ("tls-ciphersuites", ""),
    ("tls-client-cert-file", ""),
    ("tls-client-key-file", ""),
    ("tls-client-key-file-pass", ""),
    ("tls-cluster", "no"),
    ("tls-dh-params-file", ""),
    ("tls-key-file-pass", ""),
    ("tls-prefer-server-ciphers", "no"),
    ("tls-session-cache-size", "20480"),
    ("tls-session-cache-timeout", "300"),
    ("tls-session-caching", "yes"),
    ("tracking-table-max-keys", "1000000"),
];
