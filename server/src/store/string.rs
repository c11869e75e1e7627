//! Strings: bytes; which of them Redis would keep as numbers shows in their encoding's name.

use std::borrow::Cow;

use super::allocated;
use super::dictionaries::Compressed;

/// From where on strings are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StrLimits {
    /// Bytes (`string-compression-threshold`); 0 = none is.
    pub compress_from: usize,
}

impl StrLimits {
    /// Whether a string is to be compressed if that makes it shorter.
    #[inline]
    pub fn allow_compression(self, text: &[u8]) -> bool {
        self.compress_from != 0 && text.len() >= self.compress_from
    }
}

/// How a string came to be what it is: its encoding's name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// It was given as it is, and is a number if it reads like one.
    #[default]
    Given,
    /// INCRBYFLOAT's result: text, even where it reads like an integer.
    Computed,
    /// APPEND or SETRANGE has changed it: its encoding stays `raw`.
    Changed,
}

/// A string value of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Str {
    pub(super) bytes: Vec<u8>,
    pub(super) origin: Origin,
}

/// A string where it lies.
#[derive(Debug, Clone, Copy)]
pub struct StrRef<'a> {
    text: Text<'a>,
    origin: Origin,
}

#[derive(Debug, Clone, Copy)]
enum Text<'a> {
    Plain(&'a [u8]),
    Compressed(Compressed<'a>),
}

/// Up to this length Redis keeps a string within its object (`embstr`).
const EMBEDDED: usize = 44;

impl Str {
    /// A string of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Str { bytes: bytes.into(), origin: Origin::Given }
    }

    /// The result of INCRBYFLOAT.
    pub fn computed(bytes: &[u8]) -> Self {
        Str { bytes: bytes.into(), origin: Origin::Computed }
    }

    /// The string where it lies.
    pub fn as_ref(&self) -> StrRef<'_> {
        StrRef::new(&self.bytes, self.origin)
    }

    /// Adds bytes at the end.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.origin = Origin::Changed;
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes bytes from `offset` on; a gap is filled with zeros.
    pub(super) fn set_range(&mut self, offset: usize, bytes: &[u8]) {
        self.origin = Origin::Changed;
        let end = offset + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(bytes);
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        allocated(self.bytes.capacity())
    }
}

impl<'a> StrRef<'a> {
    pub(super) fn new(bytes: &'a [u8], origin: Origin) -> Self {
        StrRef { text: Text::Plain(bytes), origin }
    }

    /// The bytes: of a compressed string, a copy.
    #[inline]
    pub fn bytes(self) -> Cow<'a, [u8]> {
        match self.text {
            Text::Plain(bytes) => Cow::Borrowed(bytes),
            Text::Compressed(text) => Cow::Owned(text.bytes()),
        }
    }

    /// How many bytes it has.
    pub fn len(self) -> usize {
        match self.text {
            Text::Plain(bytes) => bytes.len(),
            Text::Compressed(text) => text.len(),
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether it consists of these bytes and came to be in this way.
    pub(super) fn is(self, bytes: &[u8], origin: Origin) -> bool {
        self.origin == origin && self.len() == bytes.len() && *self.bytes() == *bytes
    }

    /// `int`, `embstr` or `raw`, as Redis tells them apart.
    pub fn encoding(self) -> &'static str {
        match (self.origin, self.text) {
            (Origin::Changed, _) => "raw",
            // Numbers are too short to be compressed.
            (Origin::Given, Text::Plain(bytes)) if canonical_int(bytes).is_some() => "int",
            _ if self.len() <= EMBEDDED => "embstr",
            _ => "raw",
        }
    }

    /// A copy of its own.
    pub fn to_str(self) -> Str {
        Str { bytes: self.bytes().into_owned(), origin: self.origin }
    }
}

impl<'a> From<Compressed<'a>> for StrRef<'a> {
    fn from(text: Compressed<'a>) -> Self {
        StrRef { text: Text::Compressed(text), origin: Origin::Given }
    }
}

/// The number whose canonical decimal these bytes are.
pub(crate) fn canonical_int(bytes: &[u8]) -> Option<i64> {
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
        let encoding = |bytes: &[u8]| StrRef::new(bytes, Origin::Given).encoding();
        assert_eq!(encoding(b"12"), "int");
        assert_eq!(encoding(b"-9223372036854775808"), "int");
        for text in ["", "012", "-0", "+1", "9223372036854775808", " 1"] {
            assert_eq!(encoding(text.as_bytes()), "embstr", "{text:?}");
        }
        assert_eq!(encoding(&[b'x'; 45]), "raw");
        assert_eq!(Str::computed(b"12").as_ref().encoding(), "embstr");
        let mut number = Str::new(b"12");
        number.append(b"3");
        assert_eq!((number.as_ref().encoding(), &*number.as_ref().bytes()), ("raw", &b"123"[..]));
    }

    #[test]
    fn a_range_beyond_the_end_is_filled_with_zeros() {
        let mut value = Str::new(b"ab");
        value.set_range(4, b"z");
        assert_eq!(value.bytes, b"ab\0\0z");
        value.set_range(0, b"XY");
        assert_eq!(value.bytes, b"XY\0\0z");
    }
}
