//! What can go wrong, told apart by what the caller should do about it.

use std::fmt;
use std::time::Duration;

use crate::advice;

/// Why an operation on a session did not succeed.
///
/// Three answers matter to a request handler: there is no such session ([`Error::NoSuchSession`],
/// normal: send the visitor to the login page), the server said no ([`Error::Refused`]: mend the
/// configuration), and the server could not be asked ([`Error::is_unavailable`]: answer 503).
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The session has expired, was destroyed, or never was.
    NoSuchSession,
    /// The server understood and refused.
    Refused {
        /// The first word of its answer: `NOPERM`, `WRONGTYPE`, `OOM`, `WRONGPASS`.
        code: String,
        /// The rest of it.
        message: String,
    },
    /// No server took the request before the deadline. Nothing was changed.
    Unreachable {
        /// What happened at the last try.
        cause: String,
    },
    /// The request was sent and its answer never came: it may have been carried out or not.
    ConnectionLost {
        /// What happened at the last try.
        cause: String,
    },
    /// Too many operations in a row found no server; this one was not tried.
    CircuitOpen {
        /// When the next one will be.
        retry_after: Duration,
    },
    /// More operations than `max_in_flight` are waiting for the server; this one was not tried.
    Overloaded,
    /// Others kept changing the fields that an `update` had read.
    Conflict,
    /// A value cannot be written in the store's codec.
    Encode {
        /// The field.
        field: String,
        /// What the codec said.
        cause: String,
    },
    /// A field does not hold what was asked for.
    Decode {
        /// The field.
        field: String,
        /// What the codec said.
        cause: String,
    },
    /// Names of fields that begin with `_` are kept for the store's own use.
    ReservedName(String),
    /// The URL or a setting cannot be used.
    Config(String),
    /// The operating system gave no random bytes.
    NoRandomness(String),
    /// The server answered in a shape that none of its commands has.
    Unexpected(String),
}

impl Error {
    /// Nobody could be asked, or the answer never came: worth another try later, and a 503 now.
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Error::Unreachable { .. }
                | Error::ConnectionLost { .. }
                | Error::CircuitOpen { .. }
                | Error::Overloaded
        )
    }

    /// Whether the change may have been made although this error came back.
    pub fn may_have_been_applied(&self) -> bool {
        matches!(self, Error::ConnectionLost { .. })
    }

    pub(crate) fn unexpected(what: impl fmt::Debug) -> Error {
        Error::Unexpected(format!("{what:?}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoSuchSession => f.write_str("no such session"),
            Error::Refused { code, message } => {
                write!(f, "the server refused: {code} {message}")?;
                let advice = advice::on_words(code).or_else(|| advice::on_words(message));
                advice.map_or(Ok(()), |advice| write!(f, "; {advice}"))
            }
            Error::Unreachable { cause } => write!(f, "no server could be reached: {cause}"),
            Error::ConnectionLost { cause } => {
                write!(f, "the connection was lost before the answer came: {cause}")
            }
            Error::CircuitOpen { retry_after } => {
                write!(f, "the session server is away; next try in {retry_after:?}")
            }
            Error::Overloaded => f.write_str("too many operations wait for the session server"),
            Error::Conflict => f.write_str("others kept changing the same fields"),
            Error::Encode { field, cause } => {
                write!(f, "field {field:?} cannot be written: {cause}")
            }
            Error::Decode { field, cause } => write!(f, "field {field:?} cannot be read: {cause}"),
            Error::ReservedName(name) => {
                write!(f, "field names that begin with '_' are reserved: {name:?}")
            }
            Error::Config(text) => f.write_str(text),
            Error::NoRandomness(cause) => write!(f, "no random bytes for a token: {cause}"),
            Error::Unexpected(reply) => write!(f, "unexpected reply: {reply}"),
        }
    }
}

impl std::error::Error for Error {}
