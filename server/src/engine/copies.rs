//! Copies of all data for replicas, made in small parts of a turn.

use super::Turn;
use crate::commands::Session;
use crate::commands::replication as commands;
use crate::rdb::warn_of_dropped;
use crate::store::Walked;

/// Objects after which it is looked at how long they are.
const AT_ONCE: usize = 32;

/// Bytes that end a part.
const WORTH_SENDING: usize = 64 * 1024;

impl Turn<'_> {
    /// Goes on with the copy that is being made, if there is one, by about `most` objects. True:
    /// there is more to do at once.
    pub fn copy_some(&mut self, most: usize) -> bool {
        let Some(copy) = &self.state.server.replication.copy else { return false };
        if !copy.is_wanted() {
            self.state.keyspace.give_up_snapshot();
            self.state.server.replication.give_up_copy();
            return false;
        }
        copy.can_go_on() && self.walk(most)
    }

    /// Takes the objects of one part.
    fn walk(&mut self, most: usize) -> bool {
        let state = &mut *self.state;
        let Some(copy) = &mut state.server.replication.copy else { return false };
        for _ in 0..most.div_ceil(AT_ONCE) {
            if let Walked::All(garbage) = state.keyspace.take_some(most.min(AT_ONCE)) {
                copy.end();
                let dropped = copy.recording.lock().dropped_deadlines();
                warn_of_dropped("a replica's copy", dropped);
                state.server.replication.copy = None;
                super::free(garbage);
                return false;
            }
            if copy.recording.lock().waiting() >= WORTH_SENDING {
                break;
            }
        }
        copy.hand_on();
        true
    }

    /// A replica that waits for a copy of the data gets one, if its turn has come.
    pub fn join_copy(&mut self, session: &mut Session) {
        let mut out = Vec::new();
        let mut ctx = self.context(session, &mut out);
        commands::join_copy(&mut ctx);
    }
}

impl super::State {
    /// Whether a copy is to be gone on with.
    pub(super) fn has_to_copy(&self) -> bool {
        let copy = self.server.replication.copy.as_ref();
        copy.is_some_and(|copy| copy.can_go_on() || !copy.is_wanted())
    }
}
