//! Writing a file, a piece at a time: each function appends to a buffer of the caller's.
//!
//! Values are written as Redis 7.0 writes them, small collections packed into one string. What a
//! version has no place for, deadlines of fields, is left out and counted; whether that is wanted
//! is for the caller to decide before.

use super::checksum::Checksum;
use super::format::{Version, kind, opcode};
use super::{listpack, ziplist};
use crate::clock::Millis;
use crate::lzf;
use crate::resp::format_double;
use crate::store::canonical_int;

/// Where a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// In a file, under a key that ends at `deadline`, if ever.
    Key {
        /// The key.
        key: &'a [u8],
        /// When it ends.
        deadline: Option<Millis>,
    },
    /// In a DUMP payload, which [`Writer::end_dump`] ends.
    Dump,
}

/// Whether a collection is packed into one string, as loaders keep small ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Packed.
    Packed,
    /// One element after the other.
    Plain,
}

/// A field, its value, and when it ends, if ever.
pub type FieldRef<'a> = (&'a [u8], &'a [u8], Option<Millis>);

/// Writes a file or DUMP payloads of one version.
#[derive(Debug)]
pub struct Writer {
    version: Version,
    /// None: strings are not compressed (`rdbcompression no`).
    compressor: Option<lzf::Compressor>,
    /// Where collections are packed before it is known how long that gets.
    packed: Vec<u8>,
    dropped: u64,
}

/// Strings up to this length are never compressed.
const NEVER_COMPRESSED: usize = 20;
/// What compression must save.
const WORTH_IT: usize = 4;
/// The longest decimal that is written as an integer.
const LONGEST_INTEGER: usize = 11;

impl Writer {
    /// A writer of this version; `compress`: strings are compressed where that makes them shorter.
    pub fn new(version: Version, compress: bool) -> Self {
        let compressor = compress.then(lzf::Compressor::new);
        Writer { version, compressor, packed: Vec::new(), dropped: 0 }
    }

    /// The version that it writes.
    pub fn version(&self) -> Version {
        self.version
    }

    /// How many deadlines of fields were left out, for which the version has no place.
    pub fn dropped_deadlines(&self) -> u64 {
        self.dropped
    }

    /// Begins a file.
    pub fn begin(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.version.magic());
    }

    /// A named note.
    pub fn aux(&mut self, out: &mut Vec<u8>, name: &str, value: &[u8]) {
        out.push(opcode::AUX);
        self.text(out, name.as_bytes());
        self.text(out, value);
    }

    /// A library of functions: its code.
    pub fn library(&mut self, out: &mut Vec<u8>, code: &[u8]) {
        out.push(opcode::FUNCTION);
        self.text(out, code);
    }

    /// The database of what follows.
    pub fn select(&self, out: &mut Vec<u8>, db: u64) {
        out.push(opcode::SELECT);
        length(out, db);
    }

    /// How many keys this database has, and how many of them a deadline, so that a loader can make
    /// room.
    pub fn resize(&self, out: &mut Vec<u8>, keys: u64, volatile: u64) {
        out.push(opcode::RESIZE);
        length(out, keys);
        length(out, volatile);
    }

    /// Ends a file, but for its checksum: that is [`trailer`]'s.
    pub fn end(&self, out: &mut Vec<u8>) {
        out.push(opcode::END);
    }

    /// A string.
    pub fn string(&mut self, out: &mut Vec<u8>, place: Place<'_>, value: &[u8]) {
        self.head(out, place, kind::STRING);
        self.text(out, value);
    }

    /// A hash of `len` fields. `first` is the first deadline of any of them, if they have any.
    pub fn hash<'a>(
        &mut self,
        out: &mut Vec<u8>,
        place: Place<'_>,
        (layout, len): (Layout, usize),
        first: Option<Millis>,
        fields: impl Iterator<Item = FieldRef<'a>>,
    ) {
        match (self.version, first, layout) {
            (Version::Valkey80, Some(_), _) => {
                self.head(out, place, kind::VALKEY_HASH_2);
                length(out, len as u64);
                for (field, value, deadline) in fields {
                    self.text(out, field);
                    self.text(out, value);
                    let at = deadline.map_or(-1, |at| at as i64);
                    out.extend_from_slice(&at.to_le_bytes());
                }
            }
            (Version::V12, Some(first), _) => {
                self.head(out, place, kind::HASH_METADATA);
                out.extend_from_slice(&first.to_le_bytes());
                length(out, len as u64);
                for (field, value, deadline) in fields {
                    length(out, deadline.map_or(0, |at| at.saturating_sub(first) + 1));
                    self.text(out, field);
                    self.text(out, value);
                }
            }
            (version, _, layout) => {
                let layout = if version.packs() { layout } else { Layout::Plain };
                self.plain_hash(out, place, (layout, len), fields);
            }
        }
    }

    /// A hash without deadlines of fields.
    fn plain_hash<'a>(
        &mut self,
        out: &mut Vec<u8>,
        place: Place<'_>,
        (layout, len): (Layout, usize),
        fields: impl Iterator<Item = FieldRef<'a>>,
    ) {
        let mut dropped = 0;
        let fields = fields.map(|(field, value, deadline)| {
            dropped += u64::from(deadline.is_some());
            (field, value)
        });
        match layout {
            Layout::Packed => {
                self.head(out, place, kind::HASH_LISTPACK);
                self.pack(out, |listpack| {
                    for (field, value) in fields {
                        listpack.push(field);
                        listpack.push(value);
                    }
                });
            }
            Layout::Plain => {
                self.head(out, place, kind::HASH);
                length(out, len as u64);
                for (field, value) in fields {
                    self.text(out, field);
                    self.text(out, value);
                }
            }
        }
        self.dropped += dropped;
    }

    /// A set of `len` members.
    pub fn set<M: AsRef<[u8]>>(
        &mut self,
        out: &mut Vec<u8>,
        place: Place<'_>,
        len: usize,
        members: impl Iterator<Item = M>,
    ) {
        self.head(out, place, kind::SET);
        length(out, len as u64);
        for member in members {
            self.text(out, member.as_ref());
        }
    }

    /// A set of integers, which are in ascending order.
    pub fn int_set(&mut self, out: &mut Vec<u8>, place: Place<'_>, members: &[i64]) {
        self.head(out, place, kind::SET_INTSET);
        let mut packed = std::mem::take(&mut self.packed);
        packed.clear();
        ziplist::write_intset(members, &mut packed);
        self.text(out, &packed);
        self.packed = packed;
    }

    /// A sorted set of `len` members, which are in the order of their scores.
    pub fn sorted_set<'a>(
        &mut self,
        out: &mut Vec<u8>,
        place: Place<'_>,
        (layout, len): (Layout, usize),
        members: impl DoubleEndedIterator<Item = (&'a [u8], f64)>,
    ) {
        match layout {
            Layout::Packed if self.version.packs() => {
                self.head(out, place, kind::SORTED_SET_LISTPACK);
                self.pack(out, |listpack| {
                    for (member, score) in members {
                        listpack.push(member);
                        match whole(score) {
                            Some(score) => listpack.push_int(score),
                            None => listpack.push(format_double(score).as_bytes()),
                        }
                    }
                });
            }
            _ => {
                self.head(out, place, kind::SORTED_SET);
                length(out, len as u64);
                // From the last to the first: a loader then always inserts at the front.
                for (member, score) in members.rev() {
                    self.text(out, member);
                    out.extend_from_slice(&score.to_le_bytes());
                }
            }
        }
    }

    /// Ends a DUMP payload that begins at `start`: its version and checksum.
    pub fn end_dump(&self, out: &mut Vec<u8>, start: usize) {
        out.extend_from_slice(&self.version.number().to_le_bytes());
        let checksum = Checksum::of(&out[start..]);
        out.extend_from_slice(&checksum.to_le_bytes());
    }

    fn head(&mut self, out: &mut Vec<u8>, place: Place<'_>, kind: u8) {
        match place {
            Place::Key { key, deadline } => {
                if let Some(at) = deadline {
                    out.push(opcode::DEADLINE_MILLIS);
                    out.extend_from_slice(&at.to_le_bytes());
                }
                out.push(kind);
                self.text(out, key);
            }
            Place::Dump => out.push(kind),
        }
    }

    /// Writes a listpack as one string.
    fn pack(&mut self, out: &mut Vec<u8>, fill: impl FnOnce(&mut listpack::Builder<'_>)) {
        let mut packed = std::mem::take(&mut self.packed);
        packed.clear();
        let mut builder = listpack::Builder::new(&mut packed);
        fill(&mut builder);
        builder.finish();
        self.text(out, &packed);
        self.packed = packed;
    }

    /// A string as such: an integer, compressed, or as it is.
    fn text(&mut self, out: &mut Vec<u8>, bytes: &[u8]) {
        if bytes.len() <= LONGEST_INTEGER
            && let Some(value) = canonical_int(bytes).and_then(|value| i32::try_from(value).ok())
        {
            return integer(out, value);
        }
        if bytes.len() > NEVER_COMPRESSED && self.compressed(out, bytes) {
            return;
        }
        length(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }

    fn compressed(&mut self, out: &mut Vec<u8>, bytes: &[u8]) -> bool {
        let Some(compressor) = &mut self.compressor else { return false };
        // How long it gets is known only afterwards, and stands before it: room for the longest
        // head, which the compressed bytes are moved up to.
        const ROOM: usize = 1 + 9 + 9;
        let start = out.len();
        out.extend_from_slice(&[0; ROOM]);
        if !compressor.compress(None, bytes, WORTH_IT, out) {
            out.truncate(start);
            return false;
        }
        let packed = out.len() - start - ROOM;
        let mut head = Vec::with_capacity(ROOM);
        head.push(0xc3);
        length(&mut head, packed as u64);
        length(&mut head, bytes.len() as u64);
        out[start..start + head.len()].copy_from_slice(&head);
        out.copy_within(start + ROOM.., start + head.len());
        out.truncate(start + head.len() + packed);
        true
    }
}

/// What ends a file after [`Writer::end`]: its checksum, or zeros if it goes without
/// (`rdbchecksum no`).
pub fn trailer(checksum: Option<&Checksum>) -> [u8; 8] {
    checksum.map_or(0, Checksum::value).to_le_bytes()
}

/// The integer that a score is, if it is one within what every double can tell apart. Minus zero
/// is none.
fn whole(score: f64) -> Option<i64> {
    const EXACT: f64 = (1u64 << 52) as f64;
    let is_whole = score.fract() == 0.0 && score.abs() < EXACT;
    (is_whole && !(score == 0.0 && score.is_sign_negative())).then_some(score as i64)
}

fn length(out: &mut Vec<u8>, length: u64) {
    match length {
        0..64 => out.push(length as u8),
        64..0x4000 => out.extend_from_slice(&[0x40 | (length >> 8) as u8, length as u8]),
        0x4000..=0xffff_ffff => {
            out.push(0x80);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

fn integer(out: &mut Vec<u8>, value: i32) {
    let bytes = value.to_le_bytes();
    let (encoding, used) = if i8::try_from(value).is_ok() {
        (0xc0, 1)
    } else if i16::try_from(value).is_ok() {
        (0xc1, 2)
    } else {
        (0xc2, 4)
    };
    out.push(encoding);
    out.extend_from_slice(&bytes[..used]);
}
