//! What Redis's directives that mean nothing here take at run time, so that a tool which sets them
//! hears of a mistake as it would from Redis.

/// What a directive takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Switch,
    /// From, to.
    Integer(i64, i64),
    /// The nearest that is permitted: from, to.
    Clamped(i64, i64),
    /// Bytes with a unit, from so many on.
    Memory(i64),
    OneOf(&'static [&'static str]),
    Text,
    /// It is not set at run time.
    Fixed,
}

use Takes::{Fixed, Integer, Memory, OneOf};

const MOST: i64 = i32::MAX as i64;
const PORT: Takes = Integer(0, u16::MAX as i64);
const COUNT: Takes = Integer(0, MOST);
const PERCENT: Takes = Integer(1, 99);

/// Those that are neither switches nor texts.
const TAKEN: &[(&str, Takes)] = &[
    ("acl-pubsub-default", OneOf(&["allchannels", "resetchannels"])),
    ("aclfile", Fixed),
    ("acllog-max-len", Integer(0, i64::MAX)),
    ("active-defrag-cycle-max", PERCENT),
    ("active-defrag-cycle-min", PERCENT),
    ("active-defrag-ignore-bytes", Memory(1)),
    ("active-defrag-max-scan-fields", Integer(1, i64::MAX)),
    ("active-defrag-threshold-lower", Integer(0, 1000)),
    ("active-defrag-threshold-upper", Integer(0, 1000)),
    ("active-expire-effort", Integer(1, 10)),
    ("always-show-logo", Fixed),
    ("aof_rewrite_cpulist", Fixed),
    ("appenddirname", Fixed),
    ("appendfilename", Fixed),
    ("appendfsync", OneOf(&["everysec", "always", "no"])),
    ("auto-aof-rewrite-min-size", Memory(0)),
    ("auto-aof-rewrite-percentage", COUNT),
    ("bgsave_cpulist", Fixed),
    ("bio_cpulist", Fixed),
    ("cluster-announce-bus-port", PORT),
    ("cluster-announce-port", PORT),
    ("cluster-announce-tls-port", PORT),
    ("cluster-config-file", Fixed),
    ("cluster-enabled", Fixed),
    ("cluster-link-sendbuf-limit", Memory(0)),
    ("cluster-migration-barrier", COUNT),
    ("cluster-node-timeout", Integer(0, i64::MAX)),
    ("cluster-port", Fixed),
    ("cluster-preferred-endpoint-type", OneOf(&["ip", "hostname", "unknown-endpoint"])),
    ("cluster-replica-validity-factor", COUNT),
    ("cluster-slave-validity-factor", COUNT),
    ("daemonize", Fixed),
    ("disable-thp", Fixed),
    ("enable-module-command", Fixed),
    ("hll-sparse-max-bytes", Memory(0)),
    ("hz", Takes::Clamped(1, 500)),
    ("io-threads-do-reads", Fixed),
    ("list-compress-depth", COUNT),
    ("list-max-listpack-size", Integer(i32::MIN as i64, MOST)),
    ("list-max-ziplist-size", Integer(i32::MIN as i64, MOST)),
    ("maxmemory-eviction-tenacity", Integer(0, 100)),
    ("min-replicas-max-lag", COUNT),
    ("min-replicas-to-write", COUNT),
    ("min-slaves-max-lag", COUNT),
    ("min-slaves-to-write", COUNT),
    ("oom-score-adj", OneOf(&["no", "yes", "relative", "absolute"])),
    ("pidfile", Fixed),
    ("propagation-error-behavior", OneOf(&["ignore", "panic", "panic-on-replicas"])),
    ("repl-backlog-size", Memory(1)),
    ("repl-backlog-ttl", Integer(0, i64::MAX)),
    ("repl-diskless-load", OneOf(&["disabled", "on-empty-db", "swapdb"])),
    ("repl-diskless-sync-delay", COUNT),
    ("repl-diskless-sync-max-replicas", COUNT),
    ("repl-ping-replica-period", Integer(1, MOST)),
    ("repl-ping-slave-period", Integer(1, MOST)),
    ("repl-timeout", Integer(1, MOST)),
    ("replica-announce-port", PORT),
    ("replica-priority", COUNT),
    ("replicaof", Fixed),
    ("sanitize-dump-payload", OneOf(&["no", "yes", "clients"])),
    ("server_cpulist", Fixed),
    ("set-proc-title", Fixed),
    ("slave-announce-port", PORT),
    ("slave-priority", COUNT),
    ("slaveof", Fixed),
    ("socket-mark-id", Fixed),
    ("stream-node-max-bytes", Memory(0)),
    ("stream-node-max-entries", Integer(0, i64::MAX)),
    ("supervised", Fixed),
    ("syslog-enabled", Fixed),
    ("syslog-facility", Fixed),
    ("syslog-ident", Fixed),
    ("tls-auth-clients", OneOf(&["no", "yes", "optional"])),
    ("tls-port", PORT),
    ("tls-session-cache-size", COUNT),
    ("tls-session-cache-timeout", COUNT),
    ("tracking-table-max-keys", Integer(0, i64::MAX)),
];

/// Why those have no effect of which one might expect it, for docs/config.md.
pub const REASONS: &[(&str, &str)] = &[
    (
        "rdb-del-sync-files",
        "A full synchronization leaves no file that could be deleted: neither a primary nor a replica \
         writes one.",
    ),
    (
        "repl-diskless-sync",
        "A copy of the data always goes from memory to the socket, a MiB ahead of it at most; no disk \
         stands between. It comes with an end mark where the replica says that it understands that \
         (all since Redis 2.8.18 do), and by its size otherwise: for such a replica the whole copy is \
         held in memory, since the size stands before it.",
    ),
    (
        "repl-diskless-sync-delay",
        "A copy begins at once, so a replica is not kept waiting. Redis waits because a fork is \
         expensive; a snapshot is not, and a replica that comes too late for one gets the next.",
    ),
    (
        "repl-diskless-sync-max-replicas",
        "It would end that delay early, and there is none. All replicas that wait for the same form \
         share a copy, however many they are.",
    ),
];

/// The value as it is kept, or why it cannot be set at run time: Redis's text.
pub(super) fn check(name: &str, value: &str) -> Result<String, String> {
    let default = super::settings::INERT.iter().find(|(known, _)| *known == name);
    let is_switch = matches!(default, Some((_, "yes" | "no")));
    let takes = TAKEN.iter().find(|(known, _)| *known == name).map(|(_, takes)| *takes);
    match takes.unwrap_or(if is_switch { Takes::Switch } else { Takes::Text }) {
        Fixed => Err("can't set immutable config".to_owned()),
        Takes::Switch => super::settings::yes_no(value).map(super::settings::show),
        Integer(from, to) => super::settings::int::<i64>(value, from, to).map(|n| n.to_string()),
        Takes::Clamped(from, to) => super::settings::int::<i64>(value, 0, MOST)
            .map(|number| number.clamp(from, to).to_string()),
        Memory(from) => memory(value, from),
        OneOf(words) => super::settings::one_of(value, words),
        Takes::Text => Ok(value.to_owned()),
    }
}

fn memory(value: &str, from: i64) -> Result<String, String> {
    let bytes = match value {
        // As Redis reads it.
        "" => 0,
        value => super::settings::memory(value)?,
    };
    match i64::try_from(bytes) {
        Ok(bytes) if bytes >= from => Ok(bytes.to_string()),
        _ => Err(format!("argument must be between {from} and {} inclusive", i64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_as_redis_checks_them() {
        for (name, value, kept) in [
            ("hz", "100", Ok("100")),
            ("hz", "1000", Ok("500")),
            ("hz", "abc", Err("argument couldn't be parsed into an integer")),
            ("activerehashing", "YES", Ok("yes")),
            ("activerehashing", "1", Err("argument must be 'yes' or 'no'")),
            ("stream-node-max-bytes", "1kb", Ok("1024")),
            ("stream-node-max-bytes", "x", Err("argument must be a memory value")),
            ("acl-pubsub-default", "AllChannels", Ok("allchannels")),
            ("daemonize", "yes", Err("can't set immutable config")),
            ("ignore-warnings", "no", Ok("no")),
        ] {
            let found = check(name, value);
            assert_eq!(found.as_deref().map_err(String::as_str), kept, "{name} {value}");
        }
    }

    #[test]
    fn reasons_are_given_of_what_has_no_effect() {
        for (name, _) in REASONS {
            assert!(super::super::settings::inert(name).is_some(), "{name} has one");
        }
    }

    #[test]
    fn each_is_a_directive() {
        for (name, _) in TAKEN {
            let is_known = super::super::settings::inert(name).is_some()
                || super::super::settings::find(name).is_some();
            assert!(is_known, "{name}");
        }
    }
}
