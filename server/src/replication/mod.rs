//! Replication without sockets: who a server is to others, the history of its data, the stream of
//! what changes and its recent past, and the handshake of a replica with its primary.
//!
//! An offset counts the bytes of the stream since its history began. A replica that has the first
//! `n` of them asks for byte `n + 1`; where the backlog still has that and the histories agree, the
//! stream goes on from there, and everywhere else the replica gets a copy of all data first.

mod backlog;
mod bell;
mod copy;
mod failover;
mod feed;
mod handshake;
mod history;
mod id;
mod payload;
mod replicas;
mod role;
mod spool;
mod stream;

pub use backlog::{Backlog, Reader};
pub use bell::Bell;
pub use copy::{Copy, CopyReader};
pub use failover::{Failover, Phase};
pub use feed::{AfterCopy, Fed, Feed, Form};
pub use handshake::{Answer, Handshake, Introduction, Refusal};
pub use history::History;
pub use id::ReplicationId;
pub use payload::{MARK, Payload, Taken};
pub use replicas::{Progress, Replica, Replicas, SharedProgress};
pub use role::{LinkStage, Role, Upstream};
pub use spool::Spool;
pub use stream::Stream;

use std::sync::Arc;

use crate::clock::Millis;

/// How many bytes of the stream there have been since its history began.
pub type Offset = u64;

/// What a replica says of itself before it asks for data, and what it is sent since it has.
#[derive(Debug, Default)]
pub struct Peer {
    /// The port at which it listens; 0 = it has not said.
    pub port: u16,
    /// Where it wants to be found; None: where its connection comes from.
    pub ip: Option<String>,
    /// It can take a copy of unknown size, up to a mark.
    pub takes_marked: bool,
    /// It understands that a primary's history goes on under another ID.
    pub takes_new_id: bool,
    /// It can take a copy that holds deadlines of fields as Valkey 9 writes it.
    pub takes_field_deadlines: bool,
    /// It asked by PSYNC, not by SYNC.
    pub speaks_psync: bool,
    /// It wants the data and no stream.
    pub wants_data_only: bool,
    /// What it wants of the data.
    pub parts: Parts,
    /// What it is sent.
    pub feed: Option<Feed>,
}

/// What a copy of the data holds (REPLCONF rdb-filter-only).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Keys.
    pub keys: bool,
    /// Libraries of functions.
    pub functions: bool,
}

impl Parts {
    /// All that there is.
    pub const ALL: Parts = Parts { keys: true, functions: true };
    /// A copy without anything in it.
    pub const NONE: Parts = Parts { keys: false, functions: false };
}

impl Default for Parts {
    fn default() -> Self {
        Parts::ALL
    }
}

/// Synchronizations since the start.
#[derive(Debug, Default, Clone, Copy)]
pub struct SyncCounts {
    /// Copies of all data sent.
    pub full: u64,
    /// Replicas that went on from where they stood.
    pub partial_ok: u64,
    /// Replicas that wanted to and could not.
    pub partial_err: u64,
}

/// Where a server stands in replication.
#[derive(Debug)]
pub struct Replication {
    /// The history that its data belong to.
    pub history: History,
    /// What it is to others.
    pub role: Role,
    /// Its replicas.
    pub replicas: Replicas,
    /// Since when it has had none.
    pub lonely_since: Millis,
    /// When replicas were pinged last.
    pub pinged_at: Millis,
    /// The stream's offset when replicas were last asked how far they are.
    pub asked_for_acks_at: Option<Offset>,
    /// A copy of all data that is being made for some of them.
    pub copy: Option<Copy>,
    /// FAILOVER under way.
    pub failover: Option<Failover>,
    /// Synchronizations.
    pub counts: SyncCounts,
    /// Rung when the link to the primary is to be another, or none: what the old one still brings is
    /// void.
    pub bell: Arc<Bell>,
    rng: fastrand::Rng,
}

impl Replication {
    /// A primary without replicas, with a new history.
    pub fn new(now: Millis) -> Self {
        let mut rng = fastrand::Rng::new();
        Replication {
            history: History::new(&mut rng),
            role: Role::Primary,
            replicas: Replicas::default(),
            lonely_since: now,
            pinged_at: now,
            asked_for_acks_at: None,
            copy: None,
            failover: None,
            counts: SyncCounts::default(),
            bell: Arc::default(),
            rng,
        }
    }

    /// Whether it is a replica.
    pub fn is_replica(&self) -> bool {
        self.role.is_replica()
    }

    /// Makes this server a replica of that one.
    pub fn follow(&mut self, host: String, port: u16, stream: &mut Stream, now: Millis) {
        // What was written while nobody listened is in no stream: without a backlog the offset does
        // not say what the data are.
        let mut upstream = Upstream::new(host, port);
        match &self.role {
            Role::Primary => upstream.can_resume = stream.backlog().is_some(),
            Role::Replica(old) => {
                (upstream.can_resume, upstream.db) = (old.can_resume, old.db);
                upstream.down_since = if old.is_connected() { Some(now) } else { old.down_since };
            }
        }
        self.role = Role::Replica(upstream);
        stream.pass_on_only(true);
        self.bell.ring();
    }

    /// Makes this server a primary. Its replicas go on from where they stand, but have to ask.
    pub fn promote(&mut self, stream: &mut Stream, now: Millis) {
        self.history.promote(stream.offset(), &mut self.rng);
        self.role = Role::Primary;
        self.lonely_since = now;
        stream.pass_on_only(false);
        self.bell.ring();
    }

    /// A primary's first replica asks for data: the stream begins, with a history that has no past.
    pub fn begin_history(&mut self) {
        self.history = History::new(&mut self.rng);
    }

    /// Gives up the copy that is being made, if one is: who reads it is cut off.
    pub fn give_up_copy(&mut self) {
        if let Some(copy) = self.copy.take() {
            copy.give_up();
        }
    }

    /// A mark for the end of a copy of the data.
    pub fn mark(&mut self) -> [u8; MARK] {
        let id = ReplicationId::random(&mut self.rng);
        std::array::from_fn(|at| id.as_bytes()[at])
    }

    /// The stream from byte `next` (counted from 1) of history `id` on, if it is there.
    pub fn resume(&self, id: &[u8], next: i64, stream: &Stream) -> Option<Reader> {
        let id = ReplicationId::parse(id)?;
        let offset = u64::try_from(next.checked_sub(1)?).ok()?;
        if !self.history.shares(id, offset) {
            return None;
        }
        stream.backlog()?.read_from(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OutputLimit;

    const FREE: OutputLimit = OutputLimit { hard: 0, soft: 0, soft_seconds: 0 };

    fn primary() -> (Replication, Stream) {
        let mut stream = Stream::default();
        stream.open(1 << 20, FREE);
        (Replication::new(0), stream)
    }

    fn write(stream: &mut Stream) {
        stream.write(0, [b"SET".as_slice(), b"key", b"value"]);
        stream.flush(0);
    }

    /// A replica that has all that `of` has written.
    fn copy(of: &Replication, stream: &Stream) -> (Replication, Stream) {
        let (mut replica, mut own) = (Replication::new(0), Stream::default());
        replica.follow("primary".into(), 1, &mut own, 0);
        replica.history = History::of(of.history.id());
        own.restart(stream.offset());
        own.open(1 << 20, FREE);
        (replica, own)
    }

    fn asks(replica: &Replication, stream: &Stream, of: &(Replication, Stream)) -> bool {
        let id = replica.history.id().to_string();
        of.0.resume(id.as_bytes(), stream.offset() as i64 + 1, &of.1).is_some()
    }

    #[test]
    fn a_replica_goes_on_where_the_histories_agree() {
        let mut primary = primary();
        write(&mut primary.1);
        let replica = copy(&primary.0, &primary.1);
        write(&mut primary.1);
        assert!(asks(&replica.0, &replica.1, &primary));
        let other = (Replication::new(0), Stream::default());
        assert!(!asks(&replica.0, &replica.1, &other));
        for (id, next) in [(&b"?"[..], -1), (b"", 1), (&[b'0'; 40], 1), (&[b'0'; 40], i64::MIN)] {
            assert!(primary.0.resume(id, next, &primary.1).is_none());
        }
        let id = primary.0.history.id().to_string();
        for (next, is_there) in [(0, false), (1, true), (primary.1.offset() as i64 + 1, true)] {
            assert_eq!(primary.0.resume(id.as_bytes(), next, &primary.1).is_some(), is_there);
        }
        let beyond = primary.1.offset() as i64 + 2;
        assert!(primary.0.resume(id.as_bytes(), beyond, &primary.1).is_none());
    }

    #[test]
    fn after_a_promotion_the_others_go_on_unless_they_went_on_alone() {
        let mut primary = primary();
        write(&mut primary.1);
        let (mut first, second) = (copy(&primary.0, &primary.1), copy(&primary.0, &primary.1));
        first.0.promote(&mut first.1, 0);
        write(&mut first.1);
        assert!(asks(&second.0, &second.1, &first), "the other replica goes on");
        assert!(asks(&primary.0, &primary.1, &first), "and so does the old primary");
        write(&mut primary.1);
        assert!(!asks(&primary.0, &primary.1, &first), "unless it wrote alone");
    }

    #[test]
    fn what_nobody_listened_to_cannot_be_gone_on_from() {
        let (mut alone, mut stream) = (Replication::new(0), Stream::default());
        alone.follow("primary".into(), 1, &mut stream, 0);
        assert!(alone.role.upstream().is_some_and(|upstream| !upstream.can_resume));
        let (mut primary, mut stream) = primary();
        let rung = primary.bell.count();
        primary.follow("primary".into(), 1, &mut stream, 0);
        assert!(primary.role.upstream().is_some_and(|upstream| upstream.can_resume));
        assert!(primary.bell.count() > rung);
    }
}
