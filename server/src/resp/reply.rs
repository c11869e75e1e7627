//! Replies: written straight into the connection's output buffer, in RESP2 or RESP3.

/// The protocol that a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// Arrays, strings, integers; what a connection speaks until HELLO 3.
    #[default]
    Resp2,
    /// Also maps, sets, doubles, booleans, nulls and pushes.
    Resp3,
}

/// Writes replies to the end of a buffer.
///
/// What RESP2 lacks is written as Redis does for it: a map as a flat array, a set as an array, a
/// double as a bulk string, a boolean as 1 or 0, a null as a null bulk.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
    most: usize,
}

/// Bytes of a header and a line end at most.
const LONGEST_HEADER: usize = 26;

/// Where an aggregate whose length is not yet known began; see [`Reply::array_later`].
#[derive(Debug)]
#[must_use = "its length has to be written"]
pub struct Later {
    position: usize,
}

impl<'a> Reply<'a> {
    /// Replies go to the end of `out`.
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Reply { out, protocol, most: usize::MAX }
    }

    /// With more than `most` bytes in the buffer a reply is too long. Whoever can be asked for more
    /// than lies in the data looks at [`Reply::is_too_long`] now and then.
    pub fn limited(mut self, most: u64) -> Self {
        self.most = most as usize;
        self
    }

    /// Whether nobody will be sent what was written: its writing may end here.
    pub fn is_too_long(&self) -> bool {
        self.out.len() > self.most
    }

    /// The protocol in which is written.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Changes the protocol of what follows (HELLO, RESET, `redis.setresp`).
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Whether RESP3 is spoken.
    pub fn is_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    /// Bytes in the buffer now: a mark for [`Reply::rollback`].
    pub fn mark(&self) -> usize {
        self.out.len()
    }

    /// Takes back what was written since `mark`.
    pub fn rollback(&mut self, mark: usize) {
        self.out.truncate(mark);
    }

    /// What was written since `mark`.
    pub fn since(&self, mark: usize) -> &[u8] {
        &self.out[mark..]
    }

    /// Another writer to the same place, for a callee.
    pub fn again(&mut self) -> Reply<'_> {
        Reply { out: self.out, protocol: self.protocol, most: self.most }
    }

    /// Bytes that are RESP already.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// `+OK`
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// `+text`; the text has no line ends.
    pub fn simple(&mut self, text: &str) {
        self.out.push(b'+');
        self.raw(text.as_bytes());
        self.raw(b"\r\n");
    }

    /// `+text` of any bytes; line ends become blanks.
    pub fn status(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'+', text.as_ref());
    }

    /// `-text`, the code first (`ERR ...`). Line ends become blanks, as in Redis.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'-', text.as_ref());
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.push(kind);
        let line_ends = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
        self.out.extend(text.iter().map(line_ends));
        self.raw(b"\r\n");
    }

    /// `:value`
    pub fn int(&mut self, value: i64) {
        self.header(b':', value);
    }

    /// `:len`
    pub fn len(&mut self, value: usize) {
        self.int(value as i64);
    }

    /// `:1` or `:0`, in both protocols: what most commands answer.
    pub fn one_or_zero(&mut self, value: bool) {
        self.raw(if value { b":1\r\n" } else { b":0\r\n" });
    }

    /// A RESP3 boolean; `:1` or `:0` in RESP2.
    pub fn bool(&mut self, value: bool) {
        match (self.protocol, value) {
            (Protocol::Resp2, _) => self.one_or_zero(value),
            (Protocol::Resp3, true) => self.raw(b"#t\r\n"),
            (Protocol::Resp3, false) => self.raw(b"#f\r\n"),
        }
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + LONGEST_HEADER);
        self.header(b'$', bytes.len() as i64);
        self.raw(bytes);
        self.raw(b"\r\n");
    }

    /// A bulk string of text.
    pub fn text(&mut self, text: &str) {
        self.bulk(text.as_bytes());
    }

    /// A bulk string that holds a decimal.
    pub fn bulk_int(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A bulk string, or null for none.
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// A verbatim string (`txt`) in RESP3, a bulk string in RESP2.
    pub fn verbatim(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.header(b'=', text.len() as i64 + 4);
                self.raw(b"txt:");
                self.raw(text);
                self.raw(b"\r\n");
            }
        }
    }

    /// Nothing where a value would be.
    pub fn null(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Nothing where an array would be.
    pub fn null_array(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// A double; a bulk string of the same digits in RESP2.
    pub fn double(&mut self, value: f64) {
        let text = format_double(value);
        match self.protocol {
            Protocol::Resp2 => self.text(&text),
            Protocol::Resp3 => {
                self.out.push(b',');
                self.raw(text.as_bytes());
                self.raw(b"\r\n");
            }
        }
    }

    /// The head of an array of `len` elements, which follow.
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len as i64);
    }

    /// The head of a map of `len` pairs, which follow key by key.
    pub fn map(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len as i64 * 2),
            Protocol::Resp3 => self.header(b'%', len as i64),
        }
    }

    /// The head of a set of `len` elements.
    pub fn set(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len as i64),
            Protocol::Resp3 => self.header(b'~', len as i64),
        }
    }

    /// The head of a push of `len` elements (an array in RESP2).
    pub fn push(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len as i64),
            Protocol::Resp3 => self.header(b'>', len as i64),
        }
    }

    /// Begins an aggregate whose length is found while its elements are written.
    pub fn array_later(&mut self) -> Later {
        Later { position: self.out.len() }
    }

    /// Ends what [`Reply::array_later`] began: an array of `len` elements.
    pub fn end_array(&mut self, later: Later, len: usize) {
        self.end(later, |head| head.array(len));
    }

    /// Ends what [`Reply::array_later`] began: a set of `len` elements.
    pub fn end_set(&mut self, later: Later, len: usize) {
        self.end(later, |head| head.set(len));
    }

    /// Ends what [`Reply::array_later`] began: a map of `len` pairs.
    pub fn end_map(&mut self, later: Later, len: usize) {
        self.end(later, |head| head.map(len));
    }

    fn end(&mut self, later: Later, write: impl FnOnce(&mut Reply<'_>)) {
        let mut head = Vec::with_capacity(16);
        write(&mut Reply::new(&mut head, self.protocol));
        self.out.splice(later.position..later.position, head);
    }

    #[inline]
    fn header(&mut self, kind: u8, value: i64) {
        // Most are lengths of one or two digits.
        match value {
            0..10 => self.raw(&[kind, b'0' + value as u8, b'\r', b'\n']),
            10..100 => {
                let (tens, ones) = (b'0' + (value / 10) as u8, b'0' + (value % 10) as u8);
                self.raw(&[kind, tens, ones, b'\r', b'\n']);
            }
            _ => {
                self.out.push(kind);
                self.raw(itoa::Buffer::new().format(value).as_bytes());
                self.raw(b"\r\n");
            }
        }
    }
}

/// A double as Redis 7.0 writes it: 17 significant digits (`%.17g`), `inf`, `-inf`, `nan`.
pub fn format_double(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if value == value.trunc() && value.abs() < 1e17 && (value != 0.0 || value.is_sign_positive()) {
        return itoa::Buffer::new().format(value as i64).to_owned();
    }
    let scientific = format!("{value:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..17).contains(&exponent) {
        let decimals = (16 - exponent).max(0) as usize;
        return trim_zeros(&format!("{value:.decimals$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trim_zeros(mantissa), exponent.abs())
}

fn trim_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_written_as_redis_writes_them() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (0.1, "0.10000000000000001"),
            (1.5, "1.5"),
            (-1.25, "-1.25"),
            (1e20, "1e+20"),
            (1e-7, "9.9999999999999995e-08"),
            (123456789.125, "123456789.125"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (value, text) in cases {
            assert_eq!(format_double(value), text);
        }
    }

    #[test]
    fn each_protocol_has_its_shapes() {
        let write = |protocol| {
            let mut out = Vec::new();
            let mut reply = Reply::new(&mut out, protocol);
            reply.map(1);
            reply.double(1.5);
            reply.bool(true);
            let later = reply.array_later();
            reply.null();
            reply.end_set(later, 1);
            String::from_utf8(out).expect("replies here are text")
        };
        assert_eq!(write(Protocol::Resp2), "*2\r\n$3\r\n1.5\r\n:1\r\n*1\r\n$-1\r\n");
        assert_eq!(write(Protocol::Resp3), "%1\r\n,1.5\r\n#t\r\n~1\r\n_\r\n");
    }

    #[test]
    fn an_error_stays_on_its_line() {
        let mut out = Vec::new();
        Reply::new(&mut out, Protocol::Resp2).error("ERR a\r\nb");
        assert_eq!(out, b"-ERR a  b\r\n");
    }
}
