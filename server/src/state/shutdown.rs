//! A shutdown that waits for replicas to have everything.

use super::Server;
use crate::clock::Millis;
use crate::config::ShutdownFlags;

/// What was asked for, and how long it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// It waits no longer than that.
    pub until: Millis,
    /// How it then ends.
    pub flags: ShutdownFlags,
}

impl Server {
    /// Whether a replica would miss something if the server ended now. What a replica passes on its
    /// own replicas get from elsewhere.
    pub fn replicas_lag(&self) -> bool {
        let replication = &self.replication;
        !replication.is_replica() && !replication.replicas.have_all(self.effects.stream.offset())
    }

    /// When the shutdown that waits is to go on, if there is one.
    #[inline]
    pub fn shutdown_due(&self) -> Option<Millis> {
        self.shutdown.map(|shutdown| if self.replicas_lag() { shutdown.until } else { 0 })
    }
}
