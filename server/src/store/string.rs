//! Strings: integers as numbers, everything else as bytes.

use std::borrow::Cow;

use super::allocated;

/// A string value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Str {
    /// The canonical decimal of this number.
    Int(i64),
    /// Bytes that were set as a whole.
    Whole(Box<[u8]>),
    /// Bytes that APPEND or SETRANGE has changed: with room to grow.
    Grown(Vec<u8>),
}

/// Up to this length Redis keeps a string within its object (`embstr`).
const EMBEDDED: usize = 44;

impl Str {
    /// A string of these bytes; a number if they are one's canonical decimal.
    pub fn new(bytes: &[u8]) -> Self {
        match canonical_int(bytes) {
            Some(value) => Str::Int(value),
            None => Str::Whole(bytes.into()),
        }
    }

    /// The decimal of a number.
    pub fn from_int(value: i64) -> Self {
        Str::Int(value)
    }

    /// The bytes.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Str::Int(value) => Cow::Owned(itoa::Buffer::new().format(*value).as_bytes().to_vec()),
            Str::Whole(bytes) => Cow::Borrowed(bytes),
            Str::Grown(bytes) => Cow::Borrowed(bytes),
        }
    }

    /// The number, if it is kept as one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Str::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        match self {
            Str::Int(value) => itoa::Buffer::new().format(*value).len(),
            Str::Whole(bytes) => bytes.len(),
            Str::Grown(bytes) => bytes.len(),
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, bytes: &[u8]) {
        self.grow().extend_from_slice(bytes);
    }

    /// Writes bytes from `offset` on; a gap is filled with zeros.
    pub fn set_range(&mut self, offset: usize, bytes: &[u8]) {
        let grown = self.grow();
        let end = offset + bytes.len();
        if grown.len() < end {
            grown.resize(end, 0);
        }
        grown[offset..end].copy_from_slice(bytes);
    }

    /// `int`, `embstr` or `raw`, as Redis tells them apart.
    pub fn encoding(&self) -> &'static str {
        match self {
            Str::Int(_) => "int",
            Str::Whole(bytes) if bytes.len() <= EMBEDDED => "embstr",
            Str::Whole(_) | Str::Grown(_) => "raw",
        }
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Str::Int(_) => 0,
            Str::Whole(bytes) => allocated(bytes.len()),
            Str::Grown(bytes) => allocated(bytes.capacity()),
        }
    }

    fn grow(&mut self) -> &mut Vec<u8> {
        if !matches!(self, Str::Grown(_)) {
            *self = Str::Grown(self.bytes().into_owned());
        }
        match self {
            Str::Grown(bytes) => bytes,
            _ => unreachable!("it was just made one that grows"),
        }
    }
}

/// The number whose canonical decimal these bytes are.
pub(super) fn canonical_int(bytes: &[u8]) -> Option<i64> {
    // 20 bytes hold the longest.
    if bytes.is_empty() || bytes.len() > 20 || !(bytes[0] == b'-' || bytes[0].is_ascii_digit()) {
        return None;
    }
    let value: i64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
    (itoa::Buffer::new().format(value).as_bytes() == bytes).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_those_of_redis() {
        assert_eq!(Str::new(b"12").encoding(), "int");
        assert_eq!(Str::new(b"-9223372036854775808").as_int(), Some(i64::MIN));
        for text in ["", "012", "-0", "+1", "9223372036854775808", " 1"] {
            assert_eq!(Str::new(text.as_bytes()).encoding(), "embstr", "{text:?}");
        }
        assert_eq!(Str::new(&[b'x'; 45]).encoding(), "raw");
        let mut number = Str::new(b"12");
        number.append(b"3");
        assert_eq!((number.encoding(), &*number.bytes()), ("raw", &b"123"[..]));
    }

    #[test]
    fn a_range_beyond_the_end_is_filled_with_zeros() {
        let mut value = Str::new(b"ab");
        value.set_range(4, b"z");
        assert_eq!(&*value.bytes(), b"ab\0\0z");
        value.set_range(0, b"XY");
        assert_eq!(&*value.bytes(), b"XY\0\0z");
    }
}
