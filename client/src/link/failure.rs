//! What a failed try means: whether the server may have acted, and what to do next.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::advice;
use crate::error::Error;

/// Whether the request may have been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Certainly not: it may be repeated whatever it is.
    None,
    /// Perhaps: only what may happen twice may be repeated.
    Unknown,
    /// The server decided against it: no use in repeating it.
    Refused,
}

/// What to do with the connection before another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mend {
    /// Keep it.
    Nothing,
    /// Wait, without blaming it.
    Wait,
    /// A timeout: blame it if it happens again.
    Suspect,
    /// Open another one.
    Reconnect,
    /// Send the script's text, not its name.
    SendScript,
    /// Ask the node that imports this slot.
    Ask,
}

/// One failed try.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) effect: Effect,
    pub(crate) mend: Mend,
    pub(crate) error: RedisError,
    /// Where a connection was opened in vain: whether with TLS.
    opening: Option<bool>,
}

impl Failure {
    /// A connection could not be opened, with TLS or without: nothing was sent.
    pub(crate) fn opening(error: RedisError, tls: bool) -> Failure {
        let refused = match error.kind() {
            ErrorKind::AuthenticationFailed
            | ErrorKind::InvalidClientConfig
            | ErrorKind::RESP3NotSupported
            | ErrorKind::EmptySentinelList => true,
            ErrorKind::Io => tells_of_refusal(&error),
            ErrorKind::Server(kind) => judge(kind).0 == Effect::Refused && !is_full(&error),
            ErrorKind::Extension => !is_temporary(&error),
            _ => false,
        };
        let effect = if refused { Effect::Refused } else { Effect::None };
        Failure { effect, mend: Mend::Reconnect, error, opening: Some(tls) }
    }

    /// A request failed that was sent, or was about to be.
    pub(crate) fn sent(error: RedisError, to_cluster: bool) -> Failure {
        let (effect, mend) = match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) if !to_cluster => {
                (Effect::Refused, Mend::Nothing)
            }
            ErrorKind::Server(kind) => judge(kind),
            ErrorKind::Extension if is_temporary(&error) => (Effect::None, Mend::Wait),
            ErrorKind::Io if error.is_timeout() => (Effect::Unknown, Mend::Suspect),
            ErrorKind::Io | ErrorKind::Parse => (Effect::Unknown, Mend::Reconnect),
            ErrorKind::ClusterConnectionNotFound => (Effect::None, Mend::Wait),
            _ => (Effect::Refused, Mend::Nothing),
        };
        Failure { effect, mend, error, opening: None }
    }

    /// What the caller is told when no further try is made.
    pub(crate) fn into_error(self, effect: Effect) -> Error {
        match effect {
            Effect::None => Error::Unreachable { cause: self.with_advice() },
            Effect::Unknown => Error::ConnectionLost { cause: self.with_advice() },
            Effect::Refused => refusal(&self.error),
        }
    }

    fn with_advice(&self) -> String {
        let said = said(&self.error);
        // Who speaks TLS answers without TLS in a way that is no answer of Redis, or not at all.
        let is_end = self.error.is_connection_dropped() && !self.error.is_connection_refusal()
            || self.error.kind() == ErrorKind::Parse;
        let on_opening = |tls| advice::on_opening(tls, &said, is_end);
        match advice::on_words(&said).or_else(|| self.opening.and_then(on_opening)) {
            Some(advice) => format!("{said}; {advice}"),
            None => said,
        }
    }
}

/// An error in words that may be shown and logged.
pub(crate) fn said(error: &RedisError) -> String {
    match (by_server(error), error.kind()) {
        (Some((code, message)), _) => format!("{code} {message}"),
        // What was read instead tells nobody anything.
        (None, ErrorKind::Parse) => "what answered does not speak Redis's protocol".to_owned(),
        (None, _) => discreet(&error.to_string()).to_owned(),
    }
}

/// The code and the words of a server's own error.
fn by_server(error: &RedisError) -> Option<(String, String)> {
    // The error of a pipeline has none of its own.
    let errors = error.clone().into_server_errors()?;
    let (_, first) = errors.first()?;
    let message = discreet(first.details().unwrap_or_default()).to_owned();
    Some((first.code().to_owned(), message))
}

/// Servers repeat the words of a command that they do not know: keys, which hold a token, and at a
/// login the password.
fn discreet(text: &str) -> &str {
    text.split_once(", with args beginning with").map_or(text, |(before, _)| before)
}

/// The server's own words where there are any, else the client's.
fn refusal(error: &RedisError) -> Error {
    let (code, message) = by_server(error).unwrap_or_else(|| {
        let code = match error.kind() {
            ErrorKind::AuthenticationFailed => "WRONGPASS",
            _ => error.code().unwrap_or("ERR"),
        };
        (code.to_owned(), said(error))
    });
    Error::Refused { code, message }
}

fn judge(kind: ServerErrorKind) -> (Effect, Mend) {
    match kind {
        // The server has become a replica: the primary is elsewhere, perhaps under the same name.
        ServerErrorKind::ReadOnly => (Effect::None, Mend::Reconnect),
        ServerErrorKind::BusyLoading
        | ServerErrorKind::MasterDown
        | ServerErrorKind::ClusterDown
        | ServerErrorKind::TryAgain
        // The cluster connection reads its map of slots anew by itself.
        | ServerErrorKind::Moved => (Effect::None, Mend::Wait),
        ServerErrorKind::Ask => (Effect::None, Mend::Ask),
        ServerErrorKind::NoScript => (Effect::None, Mend::SendScript),
        _ => (Effect::Refused, Mend::Nothing),
    }
}

/// Answers that will be others in a while, though the crate knows no kind for them.
fn is_temporary(error: &RedisError) -> bool {
    let code = by_server(error).map(|(code, _)| code);
    matches!(code.as_deref(), Some("BUSY" | "NOREPLICAS"))
}

/// The server has as many clients as it takes: others will leave.
fn is_full(error: &RedisError) -> bool {
    error.to_string().contains("max number of clients")
}

/// Some refusals come as failures of input and output: a certificate that is not trusted, on either
/// side, and what the first nodes of a cluster said.
fn tells_of_refusal(error: &RedisError) -> bool {
    let text = error.to_string();
    let certificates = ["invalid peer certificate", "received fatal alert"];
    let logins = ["authentication failed", "NOAUTH", "WRONGPASS", "NOPERM"];
    certificates.iter().chain(&logins).any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn server(text: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).expect("RESP");
        value.extract_error().expect_err("it is an error")
    }

    #[test]
    fn what_the_server_did_not_do_may_be_repeated() {
        for (text, mend) in [
            ("READONLY You can't write against a read only replica.", Mend::Reconnect),
            ("LOADING Redis is loading the dataset in memory", Mend::Wait),
            ("MASTERDOWN Link with MASTER is down", Mend::Wait),
            ("CLUSTERDOWN The cluster is down", Mend::Wait),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Mend::Wait),
            ("MOVED 12182 127.0.0.1:7001", Mend::Wait),
            ("ASK 12182 127.0.0.1:7001", Mend::Ask),
            ("NOSCRIPT No matching script.", Mend::SendScript),
            ("BUSY Redis is busy running a script.", Mend::Wait),
            ("NOREPLICAS Not enough good replicas to write.", Mend::Wait),
        ] {
            let failure = Failure::sent(server(text), true);
            assert_eq!((failure.effect, failure.mend), (Effect::None, mend), "{text}");
        }
    }

    #[test]
    fn what_may_have_been_done_is_not_known() {
        for (kind, mend) in [
            (io::ErrorKind::BrokenPipe, Mend::Reconnect),
            (io::ErrorKind::ConnectionReset, Mend::Reconnect),
            (io::ErrorKind::UnexpectedEof, Mend::Reconnect),
            (io::ErrorKind::TimedOut, Mend::Suspect),
        ] {
            let failure = Failure::sent(io::Error::from(kind).into(), false);
            assert_eq!((failure.effect, failure.mend), (Effect::Unknown, mend), "{kind:?}");
            let opening = Failure::opening(io::Error::from(kind).into(), false);
            assert_eq!(opening.effect, Effect::None, "{kind:?} before anything was sent");
        }
    }

    #[test]
    fn a_refusal_is_final_and_keeps_its_words() {
        for (text, code) in [
            ("NOPERM this user has no permissions", "NOPERM"),
            ("WRONGTYPE Operation against a key", "WRONGTYPE"),
            ("OOM command not allowed", "OOM"),
            ("ERR hash value is not an integer", "ERR"),
        ] {
            let failure = Failure::sent(server(text), true);
            assert_eq!(failure.effect, Effect::Refused, "{text}");
            let Error::Refused { code: told, message } = failure.into_error(Effect::Refused) else {
                panic!("{text}");
            };
            assert_eq!(told, code);
            assert!(text.ends_with(&message) && !message.is_empty(), "{message}");
        }
        for text in [
            "invalid peer certificate: UnknownIssuer",
            "received fatal alert: CertificateRequired",
            "Failed to create initial connections - Io: \"NOAUTH\": HELLO must be called",
        ] {
            let bad = io::Error::new(io::ErrorKind::InvalidData, text);
            assert_eq!(Failure::opening(bad.into(), false).effect, Effect::Refused, "{text}");
        }
        let wrong = server("WRONGPASS invalid username-password pair");
        assert_eq!(Failure::opening(wrong, false).effect, Effect::Refused);
        let loading = server("LOADING Redis is loading the dataset in memory");
        assert_eq!(Failure::opening(loading, false).effect, Effect::None);
    }
}
