//! The smallest pieces of the format, read from what has arrived so far.

use std::borrow::Cow;

use crate::lzf;

/// Why a piece cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It has not arrived as a whole: the cursor's bytes must be at least this many.
    More(u64),
    /// It cannot be right, whatever comes after.
    Damaged(Cow<'static, str>),
}

/// A piece, or why there is none.
pub(super) type Taken<T> = Result<T, Stop>;

/// Says that what was read cannot be right.
pub(super) fn damaged<T>(why: impl Into<Cow<'static, str>>) -> Taken<T> {
    Err(Stop::Damaged(why.into()))
}

/// A place in what has arrived.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Up to here everything has been made use of and need not be read again.
    done: usize,
    /// No string may be longer.
    longest: u64,
}

/// A length, or the number of a special encoding of a string.
enum Length {
    Plain(u64),
    Encoded(u8),
}

const ENCODED_I8: u8 = 0;
const ENCODED_I16: u8 = 1;
const ENCODED_I32: u8 = 2;
const ENCODED_LZF: u8 = 3;

impl<'a> Cursor<'a> {
    /// At the start of `bytes`, in which no string may be longer than `longest`.
    pub(super) fn new(bytes: &'a [u8], longest: u64) -> Self {
        Cursor { bytes, at: 0, done: 0, longest }
    }

    /// What was read so far has been made use of.
    pub(super) fn commit(&mut self) {
        self.done = self.at;
    }

    /// How many bytes have been made use of.
    pub(super) fn committed(&self) -> usize {
        self.done
    }

    /// How many bytes have been read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left of those that have arrived.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn take(&mut self, count: u64) -> Taken<&'a [u8]> {
        let end = (self.at as u64).saturating_add(count);
        let taken = usize::try_from(end).ok().and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(Stop::More(end))?;
        self.at += taken.len();
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Taken<[u8; N]> {
        let taken = self.take(N as u64)?;
        Ok(taken.try_into().expect("as many as were asked for"))
    }

    pub(super) fn byte(&mut self) -> Taken<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn length_or_encoding(&mut self) -> Taken<Length> {
        let first = self.byte()?;
        Ok(match (first >> 6, first & 0x3f) {
            (0, length) => Length::Plain(length.into()),
            (1, high) => Length::Plain(u64::from(high) << 8 | u64::from(self.byte()?)),
            (3, encoding) => Length::Encoded(encoding),
            (_, 0) => Length::Plain(u32::from_be_bytes(self.array()?).into()),
            (_, 1) => Length::Plain(u64::from_be_bytes(self.array()?)),
            _ => return damaged(format!("no length begins with {first:#04x}")),
        })
    }

    /// A number of things, or another number that is written like one.
    pub(super) fn length(&mut self) -> Taken<u64> {
        match self.length_or_encoding()? {
            Length::Plain(length) => Ok(length),
            Length::Encoded(_) => damaged("a length is expected here and not an encoded string"),
        }
    }

    /// A string, in whatever encoding.
    pub(super) fn string(&mut self) -> Taken<Cow<'a, [u8]>> {
        Ok(match self.length_or_encoding()? {
            Length::Plain(length) => {
                self.check_length(length)?;
                Cow::Borrowed(self.take(length)?)
            }
            Length::Encoded(ENCODED_I8) => decimal(i8::from_le_bytes(self.array()?).into()),
            Length::Encoded(ENCODED_I16) => decimal(i16::from_le_bytes(self.array()?).into()),
            Length::Encoded(ENCODED_I32) => decimal(i32::from_le_bytes(self.array()?).into()),
            Length::Encoded(ENCODED_LZF) => Cow::Owned(self.compressed()?),
            Length::Encoded(other) => {
                return damaged(format!("a string has no encoding {other}"));
            }
        })
    }

    /// A string, in whatever encoding; one that does not lie here as it is, is written to `scratch`.
    pub(super) fn string_in<'s>(&mut self, scratch: &'s mut Vec<u8>) -> Taken<&'s [u8]>
    where
        'a: 's,
    {
        let start = self.at;
        match self.length_or_encoding()? {
            Length::Plain(length) => {
                self.check_length(length)?;
                self.take(length)
            }
            Length::Encoded(ENCODED_LZF) => {
                self.decompress(scratch)?;
                Ok(scratch)
            }
            Length::Encoded(_) => {
                self.at = start;
                *scratch = self.string()?.into_owned();
                Ok(scratch)
            }
        }
    }

    /// How many bytes of a string are to be passed over, its own head being read here; an encoded
    /// integer has none left.
    pub(super) fn string_to_skip(&mut self) -> Taken<u64> {
        match self.length_or_encoding()? {
            Length::Plain(length) => Ok(length),
            Length::Encoded(ENCODED_I8) => Ok(1),
            Length::Encoded(ENCODED_I16) => Ok(2),
            Length::Encoded(ENCODED_I32) => Ok(4),
            Length::Encoded(ENCODED_LZF) => {
                let length = self.length()?;
                self.length()?;
                Ok(length)
            }
            Length::Encoded(other) => damaged(format!("a string has no encoding {other}")),
        }
    }

    fn compressed(&mut self) -> Taken<Vec<u8>> {
        let mut bytes = Vec::new();
        self.decompress(&mut bytes)?;
        Ok(bytes)
    }

    fn decompress(&mut self, into: &mut Vec<u8>) -> Taken<()> {
        let (packed, length) = (self.length()?, self.length()?);
        self.check_length(packed)?;
        self.check_length(length)?;
        if length > packed.saturating_mul(lzf::MOST_EXPANSION) {
            return damaged(format!(
                "a compressed string of {packed} bytes cannot have had {length}"
            ));
        }
        let taken = self.take(packed)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match lzf::decompress(taken, length, into) {
            true => Ok(()),
            false => damaged("a compressed string cannot be decompressed"),
        }
    }

    fn check_length(&self, length: u64) -> Taken<()> {
        if length > self.longest {
            let longest = self.longest;
            return damaged(format!("a string of {length} bytes: more than {longest}"));
        }
        Ok(())
    }
}

/// The decimal of an integer.
pub(super) fn decimal<'a>(value: i64) -> Cow<'a, [u8]> {
    Cow::Owned(itoa::Buffer::new().format(value).as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(bytes: &[u8]) -> Taken<Vec<u8>> {
        Cursor::new(bytes, 100).string().map(Cow::into_owned)
    }

    #[test]
    fn lengths_take_as_many_bytes_as_they_need() {
        for (bytes, length) in [
            (&[0x3f][..], 63),
            (&[0x7f, 0xfe], 0x3ffe),
            (&[0x80, 1, 2, 3, 4], 0x0102_0304),
            (&[0x81, 1, 2, 3, 4, 5, 6, 7, 8], 0x0102_0304_0506_0708),
        ] {
            assert_eq!(Cursor::new(bytes, 0).length(), Ok(length));
            let cut = Cursor::new(&bytes[..bytes.len() - 1], 0).length();
            assert_eq!(cut, Err(Stop::More(bytes.len() as u64)));
        }
        assert!(matches!(Cursor::new(&[0x82], 0).length(), Err(Stop::Damaged(_))));
        assert!(matches!(Cursor::new(&[0xc0], 0).length(), Err(Stop::Damaged(_))));
    }

    #[test]
    fn strings_come_in_four_encodings_and_plain() {
        assert_eq!(string(b"\x03abc"), Ok(b"abc".to_vec()));
        assert_eq!(string(b"\xc0\xff"), Ok(b"-1".to_vec()));
        assert_eq!(string(b"\xc1\x00\x80"), Ok(b"-32768".to_vec()));
        assert_eq!(string(b"\xc2\x00\x00\x00\x80"), Ok(b"-2147483648".to_vec()));
        assert_eq!(string(b"\xc3\x05\x14\x00x\xe0\x0a\x00"), Ok(vec![b'x'; 20]));
        assert!(matches!(string(b"\xc4"), Err(Stop::Damaged(_))));
    }

    #[test]
    fn nothing_is_allocated_on_the_promise_of_a_length() {
        // 64-bit lengths: of a plain string, and of a compressed one of few bytes.
        for promise in [&b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff"[..], b"\xc3\x05\x40\x64\x00x"] {
            let refused = Cursor::new(promise, u64::MAX).string();
            assert!(matches!(refused, Err(Stop::More(_))), "{refused:?}");
        }
        assert!(matches!(string(b"\x40\x65"), Err(Stop::Damaged(_))), "longer than 100");
        let bomb = Cursor::new(b"\xc3\x03\x80\x40\x00\x00\x00\xff\xff\xff", u64::MAX).string();
        assert!(matches!(bomb, Err(Stop::Damaged(_))), "{bomb:?}");
    }
}
