//! Listpacks: small collections in one string, since Redis 5 (of hashes and sorted sets since 7.0).
//!
//! Four bytes say how long the whole is, two how many entries there are (65,535: unknown), then come
//! the entries, then 0xff. An entry is its encoding, its bytes, and how long these two were, so that
//! it can be read backwards.

use std::borrow::Cow;

use super::cursor::decimal;
use crate::store::canonical_int;

/// Bytes before the first entry.
const HEAD: usize = 6;
const END: u8 = 0xff;
/// The count that stands for every count that does not fit.
const UNKNOWN: u16 = u16::MAX;

/// An entry: bytes, or an integer that stands for its decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    Bytes(&'a [u8]),
    Int(i64),
}

impl<'a> Entry<'a> {
    /// The bytes; an integer's decimal is written to `buffer`.
    #[inline]
    pub(super) fn bytes<'b>(self, buffer: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Entry::Bytes(bytes) => bytes,
            Entry::Int(value) => buffer.format(value).as_bytes(),
        }
    }

    pub(super) fn into_bytes(self) -> Cow<'a, [u8]> {
        match self {
            Entry::Bytes(bytes) => Cow::Borrowed(bytes),
            Entry::Int(value) => decimal(value),
        }
    }
}

/// Why a packed collection is damaged.
pub(super) type Unpacked<T> = Result<T, &'static str>;

/// Calls `visit` with each entry.
pub(super) fn each<'a>(
    listpack: &'a [u8],
    mut visit: impl FnMut(Entry<'a>) -> Unpacked<()>,
) -> Unpacked<()> {
    let (head, mut rest) = listpack.split_first_chunk::<HEAD>().ok_or("a listpack is too short")?;
    let (total, told) = head.split_at(4);
    if u32_of(total) as usize != listpack.len() {
        return Err("a listpack has another length than it says");
    }
    let mut count = 0usize;
    loop {
        match rest {
            [END] => break,
            [END, ..] => return Err("a listpack goes on behind its end"),
            _ => {
                let (entry, after) = entry(rest).ok_or("a listpack's entry is damaged")?;
                visit(entry)?;
                (count, rest) = (count + 1, after);
            }
        }
    }
    let told = u16::from_le_bytes([told[0], told[1]]);
    if told != UNKNOWN && usize::from(told) != count {
        return Err("a listpack has another number of entries than it says");
    }
    Ok(())
}

fn u32_of(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

/// The entry at the start of `bytes`, and what comes after it.
fn entry<'a>(bytes: &'a [u8]) -> Option<(Entry<'a>, &'a [u8])> {
    let (first, after) = bytes.split_first()?;
    let signed = |count: usize| {
        let (number, rest) = after.split_at_checked(count)?;
        let mut wide = [if number[count - 1] & 0x80 == 0 { 0 } else { 0xff }; 8];
        wide[..count].copy_from_slice(number);
        Some((Entry::Int(i64::from_le_bytes(wide)), rest))
    };
    let string = |size: usize, from: &'a [u8]| {
        let (string, rest) = from.split_at_checked(size)?;
        Some((Entry::Bytes(string), rest))
    };
    let (entry, rest) = match first {
        0x00..=0x7f => (Entry::Int((*first).into()), after),
        0x80..=0xbf => string(usize::from(first & 0x3f), after)?,
        0xc0..=0xdf => {
            let (low, rest) = after.split_first()?;
            let wide = i64::from(first & 0x1f) << 8 | i64::from(*low);
            // Thirteen bits, the highest of them the sign.
            (Entry::Int((wide << 51) >> 51), rest)
        }
        0xe0..=0xef => {
            let (low, rest) = after.split_first()?;
            string(usize::from(first & 0x0f) << 8 | usize::from(*low), rest)?
        }
        0xf0 => {
            let (size, rest) = after.split_at_checked(4)?;
            string(u32_of(size) as usize, rest)?
        }
        0xf1 => signed(2)?,
        0xf2 => signed(3)?,
        0xf3 => signed(4)?,
        0xf4 => signed(8)?,
        _ => return None,
    };
    let used = bytes.len() - rest.len();
    let mut backwards = [0; 5];
    let length = backward_length(used, &mut backwards);
    Some((entry, rest.strip_prefix(&backwards[..length])?))
}

/// How long an entry was, in groups of seven bits, to be read from the end; returns how many bytes
/// that takes.
fn backward_length(entry: usize, out: &mut [u8; 5]) -> usize {
    // Redis begins a further byte one entry earlier than seven more bits would need.
    let size = match entry {
        0..128 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    for (place, byte) in out[..size].iter_mut().enumerate() {
        let group = (entry >> (7 * (size - 1 - place)) & 0x7f) as u8;
        *byte = if place == 0 { group } else { group | 0x80 };
    }
    size
}

/// Writes a listpack at the end of a buffer.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    count: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; HEAD]);
        Builder { out, start, count: 0 }
    }

    /// Adds bytes, as an integer if they are one's decimal.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        match canonical_int(bytes) {
            Some(value) => self.push_int(value),
            None => self.push_bytes(bytes),
        }
    }

    pub(super) fn push_int(&mut self, value: i64) {
        let start = self.out.len();
        let wide = value.to_le_bytes();
        let (first, bytes) = match value {
            0..=127 => (value as u8, 0),
            -4096..=4095 => {
                self.out.push(0xc0 | (value >> 8) as u8 & 0x1f);
                (value as u8, 0)
            }
            -0x8000..=0x7fff => (0xf1, 2),
            -0x80_0000..=0x7f_ffff => (0xf2, 3),
            -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
            _ => (0xf4, 8),
        };
        self.out.push(first);
        self.out.extend_from_slice(&wide[..bytes]);
        self.close(start);
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        let (start, size) = (self.out.len(), bytes.len());
        match size {
            0..64 => self.out.push(0x80 | size as u8),
            64..4096 => self.out.extend_from_slice(&[0xe0 | (size >> 8) as u8, size as u8]),
            _ => {
                self.out.push(0xf0);
                self.out.extend_from_slice(&(size as u32).to_le_bytes());
            }
        }
        self.out.extend_from_slice(bytes);
        self.close(start);
    }

    fn close(&mut self, start: usize) {
        let mut backwards = [0; 5];
        let length = backward_length(self.out.len() - start, &mut backwards);
        self.out.extend_from_slice(&backwards[..length]);
        self.count += 1;
    }

    pub(super) fn finish(self) {
        self.out.push(END);
        let total = (self.out.len() - self.start) as u32;
        let count = u16::try_from(self.count).unwrap_or(UNKNOWN);
        let head = &mut self.out[self.start..self.start + HEAD];
        head[..4].copy_from_slice(&total.to_le_bytes());
        head[4..].copy_from_slice(&count.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn built(entries: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut builder = Builder::new(&mut out);
        entries.iter().for_each(|entry| builder.push(entry));
        builder.finish();
        out
    }

    fn unpacked(listpack: &[u8]) -> Unpacked<Vec<Vec<u8>>> {
        let mut entries = Vec::new();
        each(listpack, |entry| {
            entries.push(entry.into_bytes().into_owned());
            Ok(())
        })?;
        Ok(entries)
    }

    #[test]
    fn entries_are_encoded_as_redis_encodes_them() {
        // As redis-server 8.2 wrote `HSET small a 1 b 2`.
        let real = b"\x11\x00\x00\x00\x04\x00\x81a\x02\x01\x01\x81b\x02\x02\x01\xff";
        assert_eq!(built(&[b"a", b"1", b"b", b"2"]), real);
        for (value, encoded) in [
            (127, &[0x7f, 1][..]),
            (128, &[0xc0, 0x80, 2]),
            (-1, &[0xdf, 0xff, 2]),
            (-4096, &[0xd0, 0x00, 2]),
            (4096, &[0xf1, 0x00, 0x10, 3]),
            (-32_769, &[0xf2, 0xff, 0x7f, 0xff, 4]),
            (1 << 30, &[0xf3, 0, 0, 0, 0x40, 5]),
            (i64::MIN, &[0xf4, 0, 0, 0, 0, 0, 0, 0, 0x80, 9]),
        ] {
            let listpack = built(&[value.to_string().as_bytes()]);
            assert_eq!(&listpack[HEAD..listpack.len() - 1], encoded, "{value}");
        }
    }

    #[test]
    fn damage_is_named() {
        let good = built(&[b"field", b"value"]);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                // A changed letter is another listpack; everything else is told.
                let letter = |at| (7..12).contains(&at) || (14..19).contains(&at);
                assert_eq!(unpacked(&bad).is_ok(), letter(at), "byte {at} bit {bit}");
            }
            assert!(unpacked(&good[..at]).is_err());
        }
        assert_eq!(unpacked(b"\x07\0\0\0\xff\xff\xff"), Ok(vec![]), "an unknown count");
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(entries in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..90),
                prop::collection::vec(any::<u8>(), 4090..4100),
                any::<i64>().prop_map(|value| value.to_string().into_bytes()),
                (-5000..5000i64).prop_map(|value| value.to_string().into_bytes()),
            ],
            0..20,
        )) {
            let listpack = built(&entries.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(unpacked(&listpack), Ok(entries));
        }

        #[test]
        fn noise_is_never_more_than_an_error(noise in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut listpack = noise;
            if listpack.len() >= 4 {
                let length = listpack.len() as u32;
                listpack[..4].copy_from_slice(&length.to_le_bytes());
            }
            let _ = unpacked(&listpack);
        }
    }
}
