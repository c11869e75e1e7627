//! Where a server listens can change while it runs: whoever does that stands above.

use std::fmt;

use crate::config::Config;

/// Who listens for connections.
pub trait Listen: fmt::Debug + Send + Sync {
    /// Listens from now on where `config` says and no more where `from` says; returns the port.
    ///
    /// # Errors
    ///
    /// Why it cannot. Then all is as it was.
    fn move_to(&self, config: &Config, from: &Config) -> Result<u16, String>;
}
