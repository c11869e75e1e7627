//! The numbers of the format: versions, opcodes, types and their names.

/// A version of the format that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Redis 5's and 6's, which know no listpacks: nothing is packed.
    V9,
    /// Redis 7.0's.
    V10,
    /// Redis 7.2's and Valkey 7.2's and 8's.
    V11,
    /// Redis 7.4's to 8.4's: the first that has a place for deadlines of fields.
    V12,
    /// Valkey 9's: has a place for deadlines of fields too, another one.
    Valkey80,
}

impl Version {
    /// Its number.
    pub fn number(self) -> u16 {
        match self {
            Version::V9 => 9,
            Version::V10 => 10,
            Version::V11 => 11,
            Version::V12 => 12,
            Version::Valkey80 => 80,
        }
    }

    /// The version of this number, if it can be written.
    pub fn from_number(number: u16) -> Option<Self> {
        let all = [Version::V9, Version::V10, Version::V11, Version::V12, Version::Valkey80];
        all.into_iter().find(|version| version.number() == number)
    }

    /// The nine bytes with which a file begins.
    pub fn magic(self) -> &'static [u8; 9] {
        match self {
            Version::V9 => b"REDIS0009",
            Version::V10 => b"REDIS0010",
            Version::V11 => b"REDIS0011",
            Version::V12 => b"REDIS0012",
            Version::Valkey80 => b"VALKEY080",
        }
    }

    /// Whether its readers know listpacks.
    pub fn packs(self) -> bool {
        self != Version::V9
    }

    /// Whether it has a place for deadlines of fields.
    pub fn holds_field_deadlines(self) -> bool {
        matches!(self, Version::V12 | Version::Valkey80)
    }
}

/// What a file that is read is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// The version's number.
    pub version: u16,
    /// Valkey's own numbering, in which type 22 is another one than in Redis's.
    pub valkey: bool,
}

/// The last version of Redis's that is read (Redis 8.6's).
const LAST_REDIS: u16 = 13;
/// The versions of Valkey's that are read.
const FIRST_VALKEY: u16 = 80;
const LAST_VALKEY: u16 = 80;

impl Dialect {
    /// The dialect that a file's first nine bytes name; the error is a reason.
    pub fn of_magic(magic: &[u8; 9]) -> Result<Dialect, String> {
        let (valkey, digits) = match magic {
            [b'R', b'E', b'D', b'I', b'S', digits @ ..] => (false, &digits[..]),
            [b'V', b'A', b'L', b'K', b'E', b'Y', digits @ ..] => (true, &digits[..]),
            _ => return Err("this is no RDB file: it begins with neither REDIS nor VALKEY".into()),
        };
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        let version = number.ok_or("the version is no number")?;
        let known = if valkey { FIRST_VALKEY..=LAST_VALKEY } else { 1..=LAST_REDIS };
        if !known.contains(&version) {
            let (first, last) = (known.start(), known.end());
            return Err(format!("version {version} is not known here ({first} to {last} are)"));
        }
        Ok(Dialect { version, valkey })
    }

    /// The dialect of a DUMP payload with this version number, if it is known.
    pub fn of_dump(version: u16) -> Option<Dialect> {
        let valkey = version >= FIRST_VALKEY;
        let last = if valkey { LAST_VALKEY } else { LAST_REDIS };
        (1..=last).contains(&version).then_some(Dialect { version, valkey })
    }
}

/// What is no value begins with one of these.
pub(super) mod opcode {
    /// The state of a slot's import (Valkey 9, cluster).
    pub(crate) const SLOT_IMPORT: u8 = 243;
    /// A slot's size (cluster).
    pub(crate) const SLOT_INFO: u8 = 244;
    /// A library of functions.
    pub(crate) const FUNCTION: u8 = 245;
    /// The same in a form that no release wrote.
    pub(crate) const FUNCTION_PRE_GA: u8 = 246;
    /// What a module keeps beside the data.
    pub(crate) const MODULE_AUX: u8 = 247;
    /// Seconds since the next key was used.
    pub(crate) const IDLE: u8 = 248;
    /// How often the next key was used.
    pub(crate) const FREQ: u8 = 249;
    /// A named note.
    pub(crate) const AUX: u8 = 250;
    /// How many keys a database has.
    pub(crate) const RESIZE: u8 = 251;
    /// The next key's deadline in milliseconds.
    pub(crate) const DEADLINE_MILLIS: u8 = 252;
    /// The next key's deadline in seconds.
    pub(crate) const DEADLINE_SECONDS: u8 = 253;
    /// The database of what follows.
    pub(crate) const SELECT: u8 = 254;
    /// The end.
    pub(crate) const END: u8 = 255;
}

/// Types of values.
pub(super) mod kind {
    pub(crate) const STRING: u8 = 0;
    pub(crate) const LIST: u8 = 1;
    pub(crate) const SET: u8 = 2;
    pub(crate) const SORTED_SET_TEXT: u8 = 3;
    pub(crate) const HASH: u8 = 4;
    pub(crate) const SORTED_SET: u8 = 5;
    pub(crate) const MODULE_PRE_GA: u8 = 6;
    pub(crate) const MODULE: u8 = 7;
    pub(crate) const HASH_ZIPMAP: u8 = 9;
    pub(crate) const LIST_ZIPLIST: u8 = 10;
    pub(crate) const SET_INTSET: u8 = 11;
    pub(crate) const SORTED_SET_ZIPLIST: u8 = 12;
    pub(crate) const HASH_ZIPLIST: u8 = 13;
    pub(crate) const LIST_QUICKLIST: u8 = 14;
    pub(crate) const STREAM: u8 = 15;
    pub(crate) const HASH_LISTPACK: u8 = 16;
    pub(crate) const SORTED_SET_LISTPACK: u8 = 17;
    pub(crate) const LIST_QUICKLIST_2: u8 = 18;
    pub(crate) const STREAM_2: u8 = 19;
    pub(crate) const SET_LISTPACK: u8 = 20;
    pub(crate) const STREAM_3: u8 = 21;
    /// Valkey 9's hash with deadlines of fields.
    pub(crate) const VALKEY_HASH_2: u8 = 22;
    /// The same number in Redis 7.4's release candidates.
    pub(crate) const HASH_METADATA_PRE_GA: u8 = 22;
    pub(crate) const HASH_LISTPACK_EX_PRE_GA: u8 = 23;
    pub(crate) const HASH_METADATA: u8 = 24;
    pub(crate) const HASH_LISTPACK_EX: u8 = 25;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_name_the_dialect() {
        let valkey = Dialect { version: 80, valkey: true };
        assert_eq!(Dialect::of_magic(b"VALKEY080"), Ok(valkey));
        assert_eq!(Dialect::of_magic(b"REDIS0003"), Ok(Dialect { version: 3, valkey: false }));
        assert_eq!(Dialect::of_dump(80), Some(valkey));
        for (magic, why) in [
            (b"VALKEY081", "version 81 is not known here (80 to 80 are)"),
            (b"REDIS0014", "version 14 is not known here (1 to 13 are)"),
            (b"REDIS0000", "version 0 is not known here (1 to 13 are)"),
            (b"REDIS00x1", "the version is no number"),
            (b"MariaDB 1", "this is no RDB file: it begins with neither REDIS nor VALKEY"),
        ] {
            assert_eq!(Dialect::of_magic(magic), Err(why.to_owned()));
        }
        assert_eq!((Dialect::of_dump(0), Dialect::of_dump(14)), (None, None));
    }
}
