//! FAILOVER: a primary that gives up in favour of a replica without losing a write.
//!
//! Writes are held back until the replica has all of them; then the two change roles.

use crate::clock::Millis;

/// A failover under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    /// The replica that takes over; None: the first that has everything.
    pub target: Option<(String, u16)>,
    /// How long it may take to have everything.
    pub until: Option<Millis>,
    /// Go on even if it has not everything by then.
    pub force: bool,
    /// How far things are.
    pub phase: Phase,
}

/// How far a failover is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Writes are held back; a replica catches up.
    WaitForSync,
    /// This server is the replica already; the other is asked to take over.
    InProgress,
}

impl Failover {
    /// Its name in INFO.
    pub fn name(of: Option<&Failover>) -> &'static str {
        match of.map(|failover| failover.phase) {
            None => "no-failover",
            Some(Phase::WaitForSync) => "waiting-for-sync",
            Some(Phase::InProgress) => "failover-in-progress",
        }
    }
}
