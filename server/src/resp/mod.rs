//! The wire, bytes only: requests in, replies out. Knows nothing of commands, data or sockets.

mod ahead;
mod reply;
mod request;

pub use ahead::Glance;
pub use reply::{Protocol, Reply, format_double};
pub(crate) use request::is_blank;
pub use request::{Args, Limits, OwnedRequest, Parsed, ProtocolError, RequestParser};
