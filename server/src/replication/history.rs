//! The history that a server's data belong to, and the one it came from by a promotion.

use super::{Offset, ReplicationId};

/// Which writes a server's data are the outcome of: a replication ID names them, an offset counts
/// the bytes of the stream that carried them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    id: ReplicationId,
    /// An older history that this one goes on from, and where it ended.
    former: Option<(ReplicationId, Offset)>,
}

impl History {
    /// A new one, without a past.
    pub fn new(rng: &mut fastrand::Rng) -> Self {
        History { id: ReplicationId::random(rng), former: None }
    }

    /// That of a primary whose data were just copied.
    pub fn of(id: ReplicationId) -> Self {
        History { id, former: None }
    }

    /// Its ID.
    pub fn id(&self) -> ReplicationId {
        self.id
    }

    /// The history that this one goes on from, and the offset at which that ended.
    pub fn former(&self) -> Option<(ReplicationId, Offset)> {
        self.former
    }

    /// A replica becomes a primary at `offset`: a new history begins, and whoever has the old one
    /// up to here can go on from it.
    pub fn promote(&mut self, offset: Offset, rng: &mut fastrand::Rng) {
        *self = History { id: ReplicationId::random(rng), former: Some((self.id, offset)) };
    }

    /// The primary goes on under another ID from `offset` on, because it was promoted.
    pub fn rename(&mut self, id: ReplicationId, offset: Offset) {
        if id != self.id {
            *self = History { id, former: Some((self.id, offset)) };
        }
    }

    /// Whether the first `offset` bytes of the history `id` are also the first ones of this.
    pub fn shares(&self, id: ReplicationId, offset: Offset) -> bool {
        id == self.id || self.former.is_some_and(|(former, end)| id == former && offset <= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promoted_replica_shares_the_past_and_not_what_follows() {
        let mut rng = fastrand::Rng::with_seed(1);
        let primary = History::new(&mut rng);
        let mut replica = History::of(primary.id());
        replica.promote(100, &mut rng);
        assert!(replica.shares(primary.id(), 100) && replica.shares(replica.id(), 5_000));
        assert!(!replica.shares(primary.id(), 101), "the old primary went on alone");
        assert!(!replica.shares(ReplicationId::NONE, 0));
        assert_eq!(replica.former(), Some((primary.id(), 100)));
    }

    #[test]
    fn following_a_promoted_primary_keeps_the_past() {
        let mut rng = fastrand::Rng::with_seed(2);
        let mut follower = History::new(&mut rng);
        let (old, new) = (follower.id(), ReplicationId::random(&mut rng));
        follower.rename(old, 10);
        assert_eq!(follower.former(), None, "the same ID is no news");
        follower.rename(new, 70);
        assert!(follower.id() == new && follower.shares(old, 70) && !follower.shares(old, 71));
    }
}
