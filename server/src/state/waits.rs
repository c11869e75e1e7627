//! Connections that wait: for a deadline, or for the end of CLIENT PAUSE.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Millis;
use crate::session::{Client, ClientId, Wake};

/// Who waits, and until when.
#[derive(Debug, Default)]
pub struct Waits {
    by_deadline: BTreeMap<(Millis, ClientId), Arc<Client>>,
    pause: Option<Pause>,
    paused: Vec<Arc<Client>>,
}

/// What CLIENT PAUSE holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// When it ends.
    pub until: Millis,
    /// All commands, or only those that write.
    pub all: bool,
}

impl Waits {
    /// Wakes `client` at `until`, unless [`Waits::cancel`] comes first.
    pub fn add(&mut self, client: &Arc<Client>, until: Millis) {
        self.by_deadline.insert((until, client.id), Arc::clone(client));
    }

    /// Forgets a client that waits no longer.
    pub fn cancel(&mut self, client: ClientId) {
        self.by_deadline.retain(|(_, id), _| *id != client);
        self.paused.retain(|paused| paused.id != client);
    }

    /// How many wait with a deadline.
    pub fn len(&self) -> usize {
        self.by_deadline.len()
    }

    /// Whether nobody waits with a deadline.
    pub fn is_empty(&self) -> bool {
        self.by_deadline.is_empty()
    }

    /// Begins, lengthens or sharpens a pause: the later end and the wider kind win, as in Redis.
    pub fn pause(&mut self, pause: Pause) {
        self.pause = Some(match self.pause {
            None => pause,
            Some(old) => Pause { until: old.until.max(pause.until), all: old.all || pause.all },
        });
    }

    /// The pause in force at `now`.
    pub fn paused(&self, now: Millis) -> Option<Pause> {
        self.pause.filter(|pause| pause.until > now)
    }

    /// Ends the pause; who was held back goes on.
    pub fn unpause(&mut self) {
        self.pause = None;
        for client in self.paused.drain(..) {
            client.wake(Wake::Resume);
        }
    }

    /// Holds a client back until the pause ends.
    pub fn hold(&mut self, client: &Arc<Client>) {
        self.paused.push(Arc::clone(client));
    }

    /// When somebody is to be woken next.
    pub fn next(&self) -> Option<Millis> {
        let first = self.by_deadline.first_key_value().map(|((at, _), _)| *at);
        let pause = self.pause.map(|pause| pause.until);
        first.into_iter().chain(pause).min()
    }

    /// Wakes all whose time has come.
    pub fn wake_due(&mut self, now: Millis) {
        while let Some(entry) = self.by_deadline.first_entry().filter(|entry| entry.key().0 <= now)
        {
            entry.remove().wake(Wake::Resume);
        }
        if self.pause.is_some_and(|pause| pause.until <= now) {
            self.unpause();
        }
    }
}
