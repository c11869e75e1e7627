//! Requests: a resumable parser whose arguments are ranges into the caller's buffer.
//!
//! The caller keeps the bytes; [`RequestParser::parse`] is called with everything unconsumed and
//! goes on where it stopped, so no byte is scanned twice however a request is split. Nothing is
//! allocated on the promise of a length: an argument exists when its bytes have arrived.

use std::fmt;
use std::ops::{Index, Range};

/// What a request may be at most. Redis's numbers; those for strangers are far smaller.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of an inline request, and of a length line.
    pub inline: usize,
    /// Arguments of one request.
    pub arguments: i64,
    /// Bytes of one argument (`proto-max-bulk-len`).
    pub bulk: i64,
    /// The client has still to authenticate: it gets [`Limits::STRANGER_ARGUMENTS`] of at most
    /// [`Limits::STRANGER_BULK`] bytes.
    pub stranger: bool,
}

impl Limits {
    /// Bytes of an inline request (`PROTO_INLINE_MAX_SIZE`).
    pub const INLINE: usize = 64 * 1024;
    /// Arguments of one request.
    pub const ARGUMENTS: i64 = 1024 * 1024;
    /// Bytes of one argument by default.
    pub const BULK: i64 = 512 * 1024 * 1024;
    /// Arguments of one request before AUTH.
    pub const STRANGER_ARGUMENTS: i64 = 10;
    /// Bytes of one argument before AUTH.
    pub const STRANGER_BULK: i64 = 16 * 1024;
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            inline: Limits::INLINE,
            arguments: Limits::ARGUMENTS,
            bulk: Limits::BULK,
            stranger: false,
        }
    }
}

/// The bytes are no RESP, or too big. The connection is answered with this text and closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    /// An inline request of more than 64 KiB.
    TooBigInline,
    /// A `*` line of more than 64 KiB.
    TooBigCountLine,
    /// A `*` line that holds no permitted number.
    InvalidMultibulkLength,
    /// More arguments than a stranger may send.
    StrangerMultibulkLength,
    /// A `$` line of more than 64 KiB.
    TooBigBulkLine,
    /// Something other than `$` where an argument begins.
    ExpectedBulk(u8),
    /// A `$` line that holds no permitted number.
    InvalidBulkLength,
    /// A longer argument than a stranger may send.
    StrangerBulkLength,
    /// An inline request whose quotes do not close.
    UnbalancedQuotes,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        match self {
            ProtocolError::TooBigInline => f.write_str("too big inline request"),
            ProtocolError::TooBigCountLine => f.write_str("too big mbulk count string"),
            ProtocolError::InvalidMultibulkLength => f.write_str("invalid multibulk length"),
            ProtocolError::StrangerMultibulkLength => {
                f.write_str("unauthenticated multibulk length")
            }
            ProtocolError::TooBigBulkLine => f.write_str("too big bulk count string"),
            ProtocolError::ExpectedBulk(got) => {
                write!(f, "expected '$', got '{}'", char::from(*got))
            }
            ProtocolError::InvalidBulkLength => f.write_str("invalid bulk length"),
            ProtocolError::StrangerBulkLength => f.write_str("unauthenticated bulk length"),
            ProtocolError::UnbalancedQuotes => f.write_str("unbalanced quotes in request"),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// The arguments of one request, the command's name first; borrowed, cheap to copy.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    data: &'a [u8],
    ranges: &'a [Range<usize>],
}

impl<'a> Args<'a> {
    /// How many there are, the command's name included.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether the request was empty (a bare line end, `*0`).
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Argument `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.ranges.get(index).map(|range| &self.data[range.clone()])
    }

    /// Argument `index`. Panics past the end, as indexing does.
    pub fn at(&self, index: usize) -> &'a [u8] {
        &self.data[self.ranges[index].clone()]
    }

    /// The arguments from `from` on (all consumed: empty).
    pub fn from(&self, from: usize) -> Args<'a> {
        Args { data: self.data, ranges: &self.ranges[from.min(self.ranges.len())..] }
    }

    /// The first `count` arguments.
    pub fn first(&self, count: usize) -> Args<'a> {
        Args { data: self.data, ranges: &self.ranges[..count.min(self.ranges.len())] }
    }

    /// All arguments in order.
    pub fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + Clone + use<'a> {
        let data = self.data;
        self.ranges.iter().map(move |range| &data[range.clone()])
    }

    /// Bytes of all arguments together.
    pub fn bytes(&self) -> usize {
        self.ranges.iter().map(ExactSizeIterator::len).sum()
    }

    /// A copy that outlives the buffer.
    pub fn to_owned(&self) -> OwnedRequest {
        OwnedRequest::new(self.iter())
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    fn index(&self, index: usize) -> &[u8] {
        self.at(index)
    }
}

impl fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(String::from_utf8_lossy)).finish()
    }
}

/// A request that owns its bytes: queued by MULTI, made by a script, stated as an effect.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedRequest {
    data: Box<[u8]>,
    ranges: Box<[Range<usize>]>,
}

impl OwnedRequest {
    /// A request of these arguments, the command's name first.
    pub fn new<A: AsRef<[u8]>>(args: impl IntoIterator<Item = A>) -> Self {
        let mut data = Vec::new();
        let mut ranges = Vec::new();
        for arg in args {
            let start = data.len();
            data.extend_from_slice(arg.as_ref());
            ranges.push(start..data.len());
        }
        OwnedRequest { data: data.into(), ranges: ranges.into() }
    }

    /// The arguments, borrowed.
    pub fn args(&self) -> Args<'_> {
        Args { data: &self.data, ranges: &self.ranges }
    }

    /// Bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.data.len() + self.ranges.len() * size_of::<Range<usize>>()
    }

    /// Appends the request in RESP, as a client or a replication stream sends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        out.push(b'*');
        out.extend_from_slice(digits.format(self.ranges.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
        for arg in self.args().iter() {
            out.push(b'$');
            out.extend_from_slice(digits.format(arg.len()).as_bytes());
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(arg);
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl fmt::Debug for OwnedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.args().fmt(f)
    }
}

/// What [`RequestParser::parse`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// A whole request in the first so many bytes; [`RequestParser::args`] shows it.
    Complete(usize),
    /// More bytes are needed.
    Incomplete,
}

/// Parses one connection's requests, each from the start of the unconsumed bytes.
#[derive(Debug, Default)]
pub struct RequestParser {
    /// Arguments found so far, relative to the request's first byte (or to `unquoted`).
    ranges: Vec<Range<usize>>,
    /// The arguments of an inline request, which quoting keeps from being plain ranges.
    unquoted: Vec<u8>,
    /// Where to go on.
    position: usize,
    /// Up to where a line end has been looked for in vain.
    searched: usize,
    stage: Stage,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Before the first byte of a request.
    #[default]
    Start,
    /// In an inline request.
    Inline,
    /// In the `*` line.
    Count,
    /// So many arguments are missing; the next thing is a `$` line.
    Header { missing: i64 },
    /// So many arguments are missing, the one at hand has so many bytes.
    Body { missing: i64, len: usize },
    /// Complete; `unquoted` tells whether it was inline.
    Done { inline: bool },
}

/// What is kept of the argument table after an unusually long request.
const KEPT_RANGES: usize = 1024;

impl RequestParser {
    /// A parser before its first request.
    pub fn new() -> Self {
        RequestParser::default()
    }

    /// Goes on parsing the request that begins at `buf[0]`.
    pub fn parse(&mut self, buf: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        if let Stage::Done { .. } = self.stage {
            self.reset();
        }
        if self.stage == Stage::Start
            && let Some(length) = self.whole(buf, limits)
        {
            self.position = length;
            self.stage = Stage::Done { inline: false };
            return Ok(Parsed::Complete(length));
        }
        loop {
            let more = match self.stage {
                Stage::Start => match buf.first() {
                    None => return Ok(Parsed::Incomplete),
                    Some(b'*') => {
                        self.position = 1;
                        self.searched = 1;
                        self.stage = Stage::Count;
                        true
                    }
                    Some(_) => {
                        self.stage = Stage::Inline;
                        true
                    }
                },
                Stage::Inline => self.inline(buf, limits)?,
                Stage::Count => self.count(buf, limits)?,
                Stage::Header { missing } => self.header(buf, missing, limits)?,
                Stage::Body { missing, len } => self.body(buf, missing, len),
                Stage::Done { .. } => return Ok(Parsed::Complete(self.position)),
            };
            if !more {
                return Ok(Parsed::Incomplete);
            }
        }
    }

    /// The usual case in one go: a request that is there as a whole and is as it should be. None:
    /// it is not, and what is wrong or missing shows when it is parsed step by step.
    #[inline]
    fn whole(&mut self, buf: &[u8], limits: &Limits) -> Option<usize> {
        if limits.stranger {
            return None;
        }
        let (count, mut at) = short_length(buf, 0, b'*')?;
        for _ in 0..count {
            let Some((length, start)) = short_length(buf, at, b'$') else { break };
            if length as i64 > limits.bulk || buf.len() < start + length + 2 {
                break;
            }
            self.ranges.push(start..start + length);
            at = start + length + 2;
        }
        if self.ranges.len() == count {
            return Some(at);
        }
        self.ranges.clear();
        None
    }

    /// The arguments of the request that `parse` found complete in this very `buf`.
    pub fn args<'a>(&'a self, buf: &'a [u8]) -> Args<'a> {
        let data = match self.stage {
            Stage::Done { inline: true } => self.unquoted.as_slice(),
            _ => buf,
        };
        Args { data, ranges: &self.ranges }
    }

    /// How many bytes the request at hand needs at least, counted from its start, as far as
    /// that is known: a hint for reading, never for reserving.
    pub fn needs(&self) -> usize {
        match self.stage {
            Stage::Body { len, .. } => self.position + len + 2,
            _ => 0,
        }
    }

    /// Whether a request has begun and is not complete.
    pub fn is_mid_request(&self) -> bool {
        !matches!(self.stage, Stage::Start | Stage::Done { .. })
    }

    /// Bytes held on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.ranges.capacity() * size_of::<Range<usize>>() + self.unquoted.capacity()
    }

    fn reset(&mut self) {
        self.ranges.clear();
        self.unquoted.clear();
        if self.ranges.capacity() > KEPT_RANGES {
            self.ranges.shrink_to(KEPT_RANGES);
        }
        if self.unquoted.capacity() > KEPT_RANGES {
            self.unquoted.shrink_to(0);
        }
        self.position = 0;
        self.searched = 0;
        self.stage = Stage::Start;
    }

    fn inline(&mut self, buf: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        // Redis looks for the line's end as in a C string: a zero byte hides all behind it.
        let found = memchr::memchr2(b'\n', 0, &buf[self.searched..]);
        let end = found.filter(|at| buf[self.searched + at] == b'\n');
        let Some(end) = end else {
            self.searched = found.map_or(buf.len(), |at| self.searched + at);
            return if buf.len() > limits.inline {
                Err(ProtocolError::TooBigInline)
            } else {
                Ok(false)
            };
        };
        let end = self.searched + end;
        let line = buf[..end].strip_suffix(b"\r").unwrap_or(&buf[..end]);
        split_quoted(line, &mut self.unquoted, &mut self.ranges)
            .ok_or(ProtocolError::UnbalancedQuotes)?;
        self.position = end + 1;
        self.stage = Stage::Done { inline: true };
        Ok(true)
    }

    fn count(&mut self, buf: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        let Some(line) = self.line(buf, limits, ProtocolError::TooBigCountLine)? else {
            return Ok(false);
        };
        let count = parse_length(&buf[line])
            .filter(|count| *count <= limits.arguments)
            .ok_or(ProtocolError::InvalidMultibulkLength)?;
        if limits.stranger && count > Limits::STRANGER_ARGUMENTS {
            return Err(ProtocolError::StrangerMultibulkLength);
        }
        self.stage = if count <= 0 {
            Stage::Done { inline: false }
        } else {
            Stage::Header { missing: count }
        };
        Ok(true)
    }

    fn header(&mut self, buf: &[u8], missing: i64, limits: &Limits) -> Result<bool, ProtocolError> {
        match buf.get(self.position) {
            None => return Ok(false),
            Some(b'$') => {}
            Some(other) => {
                // Redis looks for the line end first, so a lone wrong byte is not yet an error.
                return match self.line(buf, limits, ProtocolError::TooBigBulkLine)? {
                    None => Ok(false),
                    Some(_) => Err(ProtocolError::ExpectedBulk(*other)),
                };
            }
        }
        let Some(line) = self.line(buf, limits, ProtocolError::TooBigBulkLine)? else {
            return Ok(false);
        };
        let len = parse_length(&buf[line.start + 1..line.end])
            .filter(|len| (0..=limits.bulk).contains(len))
            .ok_or(ProtocolError::InvalidBulkLength)?;
        if limits.stranger && len > Limits::STRANGER_BULK {
            return Err(ProtocolError::StrangerBulkLength);
        }
        self.stage = Stage::Body { missing, len: len as usize };
        Ok(true)
    }

    fn body(&mut self, buf: &[u8], missing: i64, len: usize) -> bool {
        // The two bytes behind an argument are skipped unseen, as Redis does.
        if buf.len() - self.position < len + 2 {
            return false;
        }
        self.ranges.push(self.position..self.position + len);
        self.position += len + 2;
        self.searched = self.position;
        self.stage = match missing - 1 {
            0 => Stage::Done { inline: false },
            missing => Stage::Header { missing },
        };
        true
    }

    /// The line at `position` without its end, when its end is there; moves behind it.
    #[inline]
    fn line(
        &mut self,
        buf: &[u8],
        limits: &Limits,
        too_big: ProtocolError,
    ) -> Result<Option<Range<usize>>, ProtocolError> {
        let start = self.position;
        let from = self.searched.max(start).min(buf.len());
        // Length lines have a handful of bytes: a plain loop beats a vectorised search.
        match buf[from..].iter().position(|byte| *byte == b'\r') {
            Some(offset) if from + offset + 1 < buf.len() => {
                let end = from + offset;
                self.position = end + 2;
                self.searched = self.position;
                Ok(Some(start..end))
            }
            found => {
                self.searched = found.map_or(buf.len(), |offset| from + offset);
                if buf.len() - start > limits.inline { Err(too_big) } else { Ok(None) }
            }
        }
    }
}

/// A length of at most five digits behind `kind` at `at`, and where its line ends.
#[inline(always)]
pub(super) fn short_length(buf: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let line = buf.get(at..)?;
    let digit = |byte: &u8| (byte - b'0') as usize;
    match line {
        [mark, _, ..] if *mark != kind => None,
        [_, one @ b'0'..=b'9', b'\r', b'\n', ..] => Some((digit(one), at + 4)),
        [_, ten @ b'1'..=b'9', one @ b'0'..=b'9', b'\r', b'\n', ..] => {
            Some((digit(ten) * 10 + digit(one), at + 5))
        }
        _ => longer_length(line, at),
    }
}

/// [`short_length`] of three to five digits.
fn longer_length(line: &[u8], at: usize) -> Option<(usize, usize)> {
    // Another form of 0 is no length.
    let digits = line.get(1..)?.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
    if !(3..=5).contains(&digits) || line[1] == b'0' {
        return None;
    }
    let end = 1 + digits;
    let length = line[1..end].iter().fold(0, |sum, byte| sum * 10 + (byte - b'0') as usize);
    line[end..].starts_with(b"\r\n").then_some((length, at + end + 2))
}

/// A decimal as Redis's `string2ll` takes it: no sign but `-`, no leading zero, nothing else.
fn parse_length(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [] => return None,
        [b'0'] if !negative => return Some(0),
        [b'0', ..] => return None,
        _ if digits.len() > 18 => return None,
        _ => {}
    }
    let mut value = 0i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    Some(if negative { -value } else { value })
}

/// Splits a line into arguments by Redis's quoting rules (`sdssplitargs`): blanks separate, `"..."`
/// knows `\n \r \t \b \a \xHH`, `'...'` knows only `\'`, and a closing quote ends its argument.
/// None: the quotes do not close.
fn split_quoted(line: &[u8], data: &mut Vec<u8>, ranges: &mut Vec<Range<usize>>) -> Option<()> {
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|byte| is_blank(*byte)) {
            at += 1;
        }
        if at >= line.len() {
            return Some(());
        }
        let start = data.len();
        at = one_quoted(line, at, data)?;
        ranges.push(start..data.len());
    }
}

/// Unquotes the argument at `at` into `data`; returns where it ends.
fn one_quoted(line: &[u8], mut at: usize, data: &mut Vec<u8>) -> Option<usize> {
    loop {
        match line.get(at) {
            None => return Some(at),
            Some(byte) if is_blank(*byte) => return Some(at),
            Some(b'"') => return double_quoted(line, at + 1, data),
            Some(b'\'') => return single_quoted(line, at + 1, data),
            Some(byte) => data.push(*byte),
        }
        at += 1;
    }
}

fn double_quoted(line: &[u8], mut at: usize, data: &mut Vec<u8>) -> Option<usize> {
    loop {
        match line.get(at..)? {
            [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                data.push(hex(*high) << 4 | hex(*low));
                at += 4;
            }
            [b'\\', escaped, ..] => {
                data.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                at += 2;
            }
            [b'"', rest @ ..] => return closed(rest, at + 1),
            [byte, ..] => {
                data.push(*byte);
                at += 1;
            }
            [] => return None,
        }
    }
}

fn single_quoted(line: &[u8], mut at: usize, data: &mut Vec<u8>) -> Option<usize> {
    loop {
        match line.get(at..)? {
            [b'\\', b'\'', ..] => {
                data.push(b'\'');
                at += 2;
            }
            [b'\'', rest @ ..] => return closed(rest, at + 1),
            [byte, ..] => {
                data.push(*byte);
                at += 1;
            }
            [] => return None,
        }
    }
}

/// A closing quote must be followed by a blank or by nothing.
fn closed(rest: &[u8], at: usize) -> Option<usize> {
    rest.first().is_none_or(|byte| is_blank(*byte)).then_some(at)
}

/// A blank as C's `isspace` has it.
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input` in pieces of `step` bytes; returns all requests, and the error that ended it.
    fn feed(input: &[u8], step: usize) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
        let (mut parser, mut buf, mut found) = (RequestParser::new(), Vec::new(), Vec::new());
        for piece in input.chunks(step) {
            buf.extend_from_slice(piece);
            loop {
                match parser.parse(&buf, &Limits::default()) {
                    Ok(Parsed::Incomplete) => break,
                    Ok(Parsed::Complete(used)) => {
                        found.push(parser.args(&buf).iter().map(<[u8]>::to_vec).collect());
                        buf.drain(..used);
                    }
                    Err(error) => return (found, Some(error)),
                }
            }
        }
        (found, None)
    }

    #[test]
    fn requests_are_found_however_they_are_split() {
        let input = b"*2\r\n$3\r\nGET\r\n$4\r\nk\r\n1\r\nPING\r\n\r\n*1\r\n$0\r\n\r\n*0\r\nset 'a b' \"\\x41\\n\"\r\n";
        let whole = feed(input, input.len());
        assert_eq!(whole.1, None);
        assert_eq!(whole.0[0], [b"GET".to_vec(), b"k\r\n1".to_vec()]);
        assert_eq!(whole.0[5], [b"set".to_vec(), b"a b".to_vec(), b"A\n".to_vec()]);
        for step in 1..20 {
            assert_eq!(feed(input, step), whole, "in pieces of {step}");
        }
    }

    #[test]
    fn what_is_no_request_has_a_name() {
        let cases: &[(&[u8], ProtocolError)] = &[
            (b"*a\r\n", ProtocolError::InvalidMultibulkLength),
            (b"*1048577\r\n", ProtocolError::InvalidMultibulkLength),
            (b"*1\r\n:1\r\n", ProtocolError::ExpectedBulk(b':')),
            (b"*1\r\n$-1\r\n", ProtocolError::InvalidBulkLength),
            (b"*1\r\n$536870913\r\n", ProtocolError::InvalidBulkLength),
            (b"set \"a\r\n", ProtocolError::UnbalancedQuotes),
            (b"set 'a'b\r\n", ProtocolError::UnbalancedQuotes),
        ];
        for (input, error) in cases {
            assert_eq!(feed(input, 3).1, Some(*error), "{:?}", String::from_utf8_lossy(input));
        }
        assert_eq!(feed(&[b'x'; 70_000], 7_000).1, Some(ProtocolError::TooBigInline));
        let long_count = [b"*".to_vec(), vec![b'1'; 70_000]].concat();
        assert_eq!(feed(&long_count, 7_000).1, Some(ProtocolError::TooBigCountLine));
        let long_bulk = [b"*1\r\n$".to_vec(), vec![b'1'; 70_000]].concat();
        assert_eq!(feed(&long_bulk, 7_000).1, Some(ProtocolError::TooBigBulkLine));
    }

    #[test]
    fn a_zero_byte_hides_the_line_end_behind_it() {
        assert_eq!(feed(b"PING\r\nPING \0\r\nPING\r\n", 4), (vec![vec![b"PING".to_vec()]], None));
        let endless = [b"PING \0\r\n".as_slice(), &[b'x'; 70_000]].concat();
        assert_eq!(feed(&endless, 7_000).1, Some(ProtocolError::TooBigInline));
    }

    #[test]
    fn a_stranger_gets_less() {
        let limits = Limits { stranger: true, ..Limits::default() };
        let parse = |input: &[u8]| RequestParser::new().parse(input, &limits);
        assert_eq!(parse(b"*11\r\n"), Err(ProtocolError::StrangerMultibulkLength));
        assert_eq!(parse(b"*1\r\n$16385\r\n"), Err(ProtocolError::StrangerBulkLength));
        assert_eq!(parse(b"*10\r\n$16384\r\n"), Ok(Parsed::Incomplete));
    }

    #[test]
    fn a_promised_length_reserves_nothing() {
        let mut parser = RequestParser::new();
        let input = b"*1000000\r\n$536870912\r\n";
        assert_eq!(parser.parse(input, &Limits::default()), Ok(Parsed::Incomplete));
        assert!(parser.heap_bytes() < 1024);
    }
}
