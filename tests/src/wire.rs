//! A small blocking client for RESP2 and RESP3 that keeps every type apart, over any stream.

use std::fmt;
use std::io::{self, Read, Write};

/// One reply exactly as it stood on the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// `+OK`
    Status(Vec<u8>),
    /// `-ERR ...`, or RESP3's blob error.
    Error(Vec<u8>),
    /// `:1`
    Integer(i64),
    /// `$3 foo`
    Bulk(Vec<u8>),
    /// `$-1`
    NullBulk,
    /// `*-1`
    NullArray,
    /// `_`, RESP3 only.
    Null,
    /// `*2 ...`
    Array(Vec<Value>),
    /// `%1 ...`, RESP3 only.
    Map(Vec<(Value, Value)>),
    /// `~2 ...`, RESP3 only.
    Set(Vec<Value>),
    /// `>3 ...`, RESP3 only.
    Push(Vec<Value>),
    /// `,1.5` with the digits that the server chose, RESP3 only.
    Double(String),
    /// `#t`, RESP3 only.
    Boolean(bool),
    /// `=7 txt:foo`, RESP3 only.
    Verbatim(String, Vec<u8>),
    /// `(123`, RESP3 only.
    BigNumber(String),
}

impl Value {
    /// Its elements (those of the second element, in the reply of a SCAN) in groups of this size,
    /// sorted: what may come in any order is then equal.
    pub fn sorted(&self, group: usize) -> Value {
        let sort = |items: &[Value]| {
            let mut groups: Vec<&[Value]> = items.chunks(group).collect();
            groups.sort();
            groups.concat()
        };
        match self {
            Value::Array(items) => match &items[..] {
                [cursor, Value::Array(page)] => {
                    Value::Array(vec![cursor.clone(), Value::Array(sort(page))])
                }
                _ => Value::Array(sort(items)),
            },
            Value::Set(items) => Value::Set(sort(items)),
            Value::Map(pairs) => {
                let mut pairs = pairs.clone();
                pairs.sort();
                Value::Map(pairs)
            }
            other => other.clone(),
        }
    }

    /// Whether this is an error reply.
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }

    /// The elements of an array, a set or a push.
    pub fn items(&self) -> Option<&[Value]> {
        match self {
            Value::Array(items) | Value::Set(items) | Value::Push(items) => Some(items),
            _ => None,
        }
    }

    /// The bytes of a scalar as a client would hand them to its user.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Value::Status(b) | Value::Error(b) | Value::Bulk(b) | Value::Verbatim(_, b) => {
                Some(b.clone())
            }
            Value::Integer(n) => Some(n.to_string().into_bytes()),
            Value::Double(d) | Value::BigNumber(d) => Some(d.clone().into_bytes()),
            _ => None,
        }
    }

    /// The texts of a list that was asked for; what is none is empty.
    ///
    /// # Panics
    ///
    /// If it is no list.
    pub fn list(&self) -> Vec<Vec<u8>> {
        let items = self.items().expect("a list was asked for");
        items.iter().map(|item| item.bytes().unwrap_or_default()).collect()
    }

    /// What RESP2 would have said: maps flattened, doubles as strings, one kind of null.
    pub fn as_resp2(self) -> Value {
        let all = |items: Vec<Value>| items.into_iter().map(Value::as_resp2).collect();
        match self {
            Value::NullBulk | Value::NullArray | Value::Null => Value::Null,
            Value::Array(items) | Value::Set(items) | Value::Push(items) => {
                Value::Array(all(items))
            }
            Value::Map(pairs) => Value::Array(
                pairs.into_iter().flat_map(|(k, v)| [k.as_resp2(), v.as_resp2()]).collect(),
            ),
            Value::Double(d) | Value::BigNumber(d) => Value::Bulk(d.into_bytes()),
            Value::Boolean(b) => Value::Integer(i64::from(b)),
            Value::Verbatim(_, bytes) => Value::Bulk(bytes),
            scalar => scalar,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::text::format(self))
    }
}

/// Which protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// What every client understands.
    Resp2,
    /// Negotiated with `HELLO 3`.
    Resp3,
}

/// A stream that transcripts and tests can talk over.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One connection.
pub struct Wire {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    at: usize,
    skips_messages: bool,
}

impl Wire {
    /// Talks over a stream that is connected already.
    pub fn new(stream: impl Stream + 'static) -> Wire {
        Wire { stream: Box::new(stream), buffer: Vec::new(), at: 0, skips_messages: false }
    }

    /// Connects over TCP. A reply that takes longer than a minute is an error: no machine is so busy.
    pub fn connect(address: std::net::SocketAddr) -> io::Result<Wire> {
        let stream = std::net::TcpStream::connect(address)?;
        let patience = Some(std::time::Duration::from_secs(60));
        stream.set_nodelay(true)?;
        stream.set_read_timeout(patience)?;
        stream.set_write_timeout(patience)?;
        Ok(Wire::new(stream))
    }

    /// Leaves messages to a subscriber out, also those in the middle of a reply: Redis 7.0 writes a
    /// keyspace event to whoever causes it at once, wherever its reply stands just then.
    pub fn skip_messages(&mut self) {
        self.skips_messages = true;
    }

    /// Sends one request and reads one reply.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Value> {
        self.send(args)?;
        self.read()
    }

    /// Sends one request and reads one reply, which must be no error.
    ///
    /// # Panics
    ///
    /// If it is one, or none comes.
    pub fn ask(&mut self, args: &[&[u8]]) -> Value {
        let reply = self.call(args).expect("the server answers");
        assert!(!reply.is_error(), "{:?}: {reply}", args[0].escape_ascii().to_string());
        reply
    }

    /// Sends one request.
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<()> {
        self.send_raw(&encode(args))
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Reads one reply or push, whichever comes first.
    pub fn read(&mut self) -> io::Result<Value> {
        loop {
            let value = self.read_any()?;
            if !(self.skips_messages && is_message(&value)) {
                return Ok(value);
            }
        }
    }

    fn read_any(&mut self) -> io::Result<Value> {
        let line = self.line()?;
        let Some((&kind, rest)) = line.split_first() else {
            return Err(garbled(&line));
        };
        let text = || String::from_utf8_lossy(rest).into_owned();
        match kind {
            b'+' => Ok(Value::Status(rest.to_vec())),
            b'-' => Ok(Value::Error(rest.to_vec())),
            b':' => text().parse().map(Value::Integer).map_err(|_| garbled(&line)),
            b',' => Ok(Value::Double(text())),
            b'(' => Ok(Value::BigNumber(text())),
            b'#' => Ok(Value::Boolean(rest == b"t")),
            b'_' => Ok(Value::Null),
            b'$' if rest == b"-1" => Ok(Value::NullBulk),
            b'*' if rest == b"-1" => Ok(Value::NullArray),
            b'$' => Ok(Value::Bulk(self.blob(length(&line)?)?)),
            b'!' => Ok(Value::Error(self.blob(length(&line)?)?)),
            b'=' => self.verbatim(length(&line)?),
            b'*' => Ok(Value::Array(self.many(length(&line)?)?)),
            b'~' => Ok(Value::Set(self.many(length(&line)?)?)),
            b'>' => Ok(Value::Push(self.many(length(&line)?)?)),
            b'%' => Ok(Value::Map(self.pairs(length(&line)?)?)),
            b'|' => {
                self.pairs(length(&line)?)?;
                self.read()
            }
            _ => Err(garbled(&line)),
        }
    }

    /// Whether anything is left to read; waits for it or for the end.
    pub fn has_more(&mut self) -> io::Result<bool> {
        match self.at < self.buffer.len() {
            true => Ok(true),
            false => match self.fill() {
                Ok(()) => Ok(true),
                Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
                Err(error) => Err(error),
            },
        }
    }

    fn many(&mut self, count: usize) -> io::Result<Vec<Value>> {
        (0..count).map(|_| self.read()).collect()
    }

    fn pairs(&mut self, count: usize) -> io::Result<Vec<(Value, Value)>> {
        (0..count).map(|_| Ok((self.read()?, self.read()?))).collect()
    }

    fn verbatim(&mut self, length: usize) -> io::Result<Value> {
        let bytes = self.blob(length)?;
        if bytes.len() < 4 {
            return Err(garbled(&bytes));
        }
        Ok(Value::Verbatim(String::from_utf8_lossy(&bytes[..3]).into_owned(), bytes[4..].to_vec()))
    }

    fn blob(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() - self.at < length + 2 {
            self.fill()?;
        }
        let bytes = self.buffer[self.at..self.at + length].to_vec();
        self.at += length + 2;
        Ok(bytes)
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut searched = self.at;
        loop {
            if let Some(n) = self.buffer[searched..].iter().position(|&b| b == b'\n') {
                let end = searched + n;
                let line = self.buffer[self.at..end].to_vec();
                self.at = end + 1;
                return match line.strip_suffix(b"\r") {
                    Some(line) => Ok(line.to_vec()),
                    None => Err(garbled(&line)),
                };
            }
            let pending = self.buffer.len() - self.at;
            self.fill()?;
            searched = self.at + pending;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk)? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed")),
            n => {
                self.buffer.extend_from_slice(&chunk[..n]);
                Ok(())
            }
        }
    }
}

/// Whether this is what a subscriber receives, not the reply to a command.
fn is_message(value: &Value) -> bool {
    let first = match value {
        Value::Push(items) | Value::Array(items) => items.first(),
        _ => None,
    };
    matches!(first, Some(Value::Bulk(kind))
        if [&b"message"[..], b"pmessage", b"smessage"].contains(&&kind[..]))
}

/// A request as every client sends it: an array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn length(line: &[u8]) -> io::Result<usize> {
    std::str::from_utf8(&line[1..]).ok().and_then(|t| t.parse().ok()).ok_or_else(|| garbled(line))
}

fn garbled(line: &[u8]) -> io::Error {
    let shown = String::from_utf8_lossy(line).into_owned();
    io::Error::new(io::ErrorKind::InvalidData, format!("no RESP: {shown:?}"))
}

/// Whether an error says that the other side has closed.
pub fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe | ConnectionAborted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &'static [u8]) -> Value {
        Wire::new(io::Cursor::new(bytes.to_vec())).read().expect("a whole reply")
    }

    #[test]
    fn every_type_is_kept_apart() {
        assert_eq!(read_all(b"$-1\r\n"), Value::NullBulk);
        assert_eq!(read_all(b"*-1\r\n"), Value::NullArray);
        assert_eq!(read_all(b"_\r\n"), Value::Null);
        assert_eq!(read_all(b",inf\r\n"), Value::Double("inf".into()));
        assert_eq!(
            read_all(b"%1\r\n+a\r\n~1\r\n:1\r\n"),
            Value::Map(vec![(Value::Status(b"a".to_vec()), Value::Set(vec![Value::Integer(1)]))])
        );
        assert_eq!(read_all(b"=6\r\ntxt:hi\r\n"), Value::Verbatim("txt".into(), b"hi".to_vec()));
    }

    #[test]
    fn a_truncated_reply_is_an_error() {
        assert!(Wire::new(io::Cursor::new(b"$3\r\nab".to_vec())).read().is_err());
    }
}
