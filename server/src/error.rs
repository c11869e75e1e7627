//! The library's own errors: what an operator has to act on, each in one line that says how.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::config::ConfigError;

/// Why a server could not start or go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An address cannot be listened at.
    Listen {
        /// The address or path.
        at: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The server's threads cannot be started.
    Threads(io::Error),
    /// The settings cannot be used.
    Config(String),
    /// What was saved cannot be loaded.
    Load {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        why: String,
    },
    /// It was stopped before its data were loaded.
    Stopped,
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Error::Config(error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Listen { at, cause } if at.contains('/') => {
                write!(f, "cannot listen at {at}: {cause}; choose another path with --unixsocket")
            }
            Error::Listen { at, cause } if cause.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "cannot listen at {at}: something else does already; stop it, or choose another \
                 port with --port (0 picks a free one)"
            ),
            Error::Listen { at, cause } if cause.kind() == io::ErrorKind::PermissionDenied => {
                write!(
                    f,
                    "cannot listen at {at}: not permitted; choose a port above 1023 with --port"
                )
            }
            Error::Listen { at, cause } => {
                write!(f, "cannot listen at {at}: {cause}; choose an address with --bind")
            }
            Error::Threads(cause) => write!(
                f,
                "cannot start threads: {cause}; raise the limit of processes, or lower io-threads"
            ),
            Error::Config(text) => f.write_str(text),
            Error::Load { path, why } => write!(
                f,
                "cannot load {}: {why}; move the file away to start without its data",
                path.display()
            ),
            Error::Stopped => f.write_str(
                "the server was stopped before its data were loaded; start it again to load them",
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Listen { cause, .. } | Error::Threads(cause) => Some(cause),
            Error::Config(_) | Error::Load { .. } | Error::Stopped => None,
        }
    }
}
