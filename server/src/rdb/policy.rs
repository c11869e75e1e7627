//! Which version is written, as the settings have it.

use std::fmt;

use super::format::Version;
use crate::config::Config;
use crate::store::Keyspace;

/// What has fields with deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timed {
    /// So many hashes of those that are to be written.
    Hashes(usize),
    /// So many fields of the one that is.
    Fields(usize),
}

impl Timed {
    /// Of all data.
    pub fn hashes(keyspace: &Keyspace) -> Timed {
        let databases = 0..keyspace.databases();
        Timed::Hashes(databases.map(|db| keyspace.db(db).figures(0).volatile_fields).sum())
    }

    /// Whether there is none.
    pub fn is_none(self) -> bool {
        matches!(self, Timed::Hashes(0) | Timed::Fields(0))
    }
}

impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Timed::Hashes(1) => f.write_str("fields of 1 hash have deadlines"),
            Timed::Hashes(count) => write!(f, "fields of {count} hashes have deadlines"),
            Timed::Fields(1) => f.write_str("1 field has a deadline"),
            Timed::Fields(count) => write!(f, "{count} fields have deadlines"),
        }
    }
}

/// The version that is written.
///
/// # Errors
///
/// The settings ask for a version that has no place for deadlines of fields, and do not let them be
/// dropped: why, how many there are, and what can be done about it.
pub fn version_for(config: &Config, timed: Timed) -> Result<Version, String> {
    let asked = config.rdb_version.parse().ok().and_then(Version::from_number);
    let Some(version) = asked else {
        // The oldest that will do is understood by most.
        return Ok(if timed.is_none() { Version::V10 } else { Version::Valkey80 });
    };
    if !timed.is_none() && !version.holds_field_deadlines() && !config.rdb_drop_field_deadlines {
        return Err(format!(
            "{timed}, for which RDB version {} has no place; set rdb-version to auto, \
             or rdb-drop-field-deadlines to yes",
            version.number()
        ));
    }
    Ok(version)
}

/// Says how many deadlines of fields were left out of what was written, if any were.
pub fn warn_of_dropped(what: &str, deadlines: u64) {
    match deadlines {
        0 => {}
        1 => {
            tracing::warn!("1 deadline of a field was left out of {what}: no place in its version")
        }
        _ => tracing::warn!(
            "{deadlines} deadlines of fields were left out of {what}: no place in its version"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_will_do_is_written_unless_asked_otherwise() {
        let of = |version: &str, drop, field_deadlines| {
            let config = Config {
                rdb_version: version.to_owned(),
                rdb_drop_field_deadlines: drop,
                ..Config::default()
            };
            version_for(&config, Timed::Hashes(if field_deadlines { 3 } else { 0 }))
                .map_err(|why| why.starts_with("fields of 3 hashes have deadlines, for which"))
        };
        assert_eq!(of("auto", false, false), Ok(Version::V10));
        assert_eq!(of("auto", false, true), Ok(Version::Valkey80));
        assert_eq!(of("11", false, false), Ok(Version::V11));
        assert_eq!(of("11", false, true), Err(true));
        assert_eq!(of("10", true, true), Ok(Version::V10));
        assert_eq!(of("12", false, true), Ok(Version::V12));
        assert_eq!(of("80", false, false), Ok(Version::Valkey80));
    }
}
