//! Reads the server's replies, and trusts none of them.

use std::time::Duration;

use redis::Value;

use crate::error::Error;

/// Exactly so many replies.
pub(crate) fn exactly<const N: usize>(replies: Vec<Value>) -> Result<[Value; N], Error> {
    replies.try_into().map_err(|replies: Vec<Value>| Error::unexpected(replies.len()))
}

/// A reply that is not nil; our scripts answer nil if there is no session.
pub(crate) fn some(reply: Value) -> Result<Value, Error> {
    match reply {
        Value::Nil => Err(Error::NoSuchSession),
        reply => Ok(reply),
    }
}

pub(crate) fn integer(reply: Value) -> Result<i64, Error> {
    match reply {
        Value::Int(number) => Ok(number),
        other => Err(Error::unexpected(kind(&other))),
    }
}

pub(crate) fn array(reply: Value) -> Result<Vec<Value>, Error> {
    match reply {
        Value::Array(items) | Value::Set(items) => Ok(items),
        other => Err(Error::unexpected(kind(&other))),
    }
}

pub(crate) fn bytes(reply: Value) -> Result<Vec<u8>, Error> {
    match reply {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        Value::Okay => Ok(b"OK".to_vec()),
        other => Err(Error::unexpected(kind(&other))),
    }
}

/// A field's name and its value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// Names and values in turn, as RESP2 and RESP3 write a hash.
pub(crate) fn pairs(reply: Value) -> Result<Vec<Pair>, Error> {
    if let Value::Map(pairs) = reply {
        let read = |(name, value)| Ok((bytes(name)?, bytes(value)?));
        return pairs.into_iter().map(read).collect();
    }
    let mut items = array(reply)?.into_iter();
    let mut read = Vec::with_capacity(items.len() / 2);
    while let Some(name) = items.next() {
        let value = items.next().ok_or_else(|| Error::unexpected("a name without a value"))?;
        read.push((bytes(name)?, bytes(value)?));
    }
    Ok(read)
}

/// Milliseconds left and the server's time, in milliseconds since the Unix epoch; nil is no session.
pub(crate) fn life(reply: Value) -> Result<(Duration, u64), Error> {
    let [left, now] = exactly(array(some(reply)?)?)?;
    let milliseconds = |reply| Ok::<_, Error>(u64::try_from(integer(reply)?).unwrap_or(0));
    Ok((Duration::from_millis(milliseconds(left)?), milliseconds(now)?))
}

/// What came, without what it holds: that may be a visitor's secret.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Int(_) => "an integer",
        Value::BulkString(_) => "a string",
        Value::Array(_) => "an array",
        Value::SimpleString(_) | Value::Okay => "a status",
        Value::Map(_) => "a map",
        Value::ServerError(_) => "an error",
        _ => "something else",
    }
}
