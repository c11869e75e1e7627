//! Connections that wait: for a deadline, for replicas, or for the end of a pause.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Millis;
use crate::replication::{Offset, Replicas};
use crate::session::{Client, ClientId, Wake};

/// Who waits, and until when.
#[derive(Debug, Default)]
pub struct Waits {
    by_deadline: BTreeMap<(Millis, ClientId), Arc<Client>>,
    for_replicas: BTreeMap<ClientId, ForReplicas>,
    for_shutdown: Vec<Arc<Client>>,
    pause: Option<Pause>,
    /// What holds writes back, whatever CLIENT PAUSE and UNPAUSE say.
    holds: Vec<Hold>,
    paused: Vec<Arc<Client>>,
}

/// A client in WAIT.
#[derive(Debug)]
struct ForReplicas {
    client: Arc<Client>,
    /// How many replicas are to have the stream up to where.
    wanted: usize,
    offset: Offset,
}

/// What holds writes back until replicas have everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// FAILOVER.
    Failover,
    /// SHUTDOWN.
    Shutdown,
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
        self.for_replicas.remove(&client);
        self.for_shutdown.retain(|waiting| waiting.id != client);
        self.paused.retain(|paused| paused.id != client);
    }

    /// Wakes `client` when `wanted` replicas have the stream up to `offset`.
    pub fn add_for_replicas(&mut self, client: &Arc<Client>, wanted: usize, offset: Offset) {
        let waiting = ForReplicas { client: Arc::clone(client), wanted, offset };
        self.for_replicas.insert(client.id, waiting);
    }

    /// Wakes those for whom enough replicas have come far enough.
    pub fn wake_for_replicas(&mut self, replicas: &Replicas) {
        self.for_replicas.retain(|_, ForReplicas { client, wanted, offset }| {
            let is_over = replicas.acked(*offset) >= *wanted;
            if is_over {
                client.wake(Wake::Resume);
            }
            !is_over
        });
    }

    /// Ends all waits for replicas: this server became one itself.
    pub fn demote(&mut self) {
        for waiting in std::mem::take(&mut self.for_replicas).into_values() {
            waiting.client.wake(Wake::Demoted);
        }
    }

    /// `client` waits for the server's end.
    pub fn add_for_shutdown(&mut self, client: &Arc<Client>) {
        self.for_shutdown.push(Arc::clone(client));
    }

    /// Ends all waits for the server's end: it will not come.
    pub fn end_shutdown(&mut self) {
        self.for_shutdown.drain(..).for_each(|client| client.wake(Wake::Error));
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
        let by_client = self.pause.filter(|pause| pause.until > now);
        match (by_client, self.holds.is_empty()) {
            (None, false) => Some(Pause { until: Millis::MAX, all: false }),
            (by_client, _) => by_client,
        }
    }

    /// Ends the pause; who was held back goes on.
    pub fn unpause(&mut self) {
        self.pause = None;
        self.let_go();
    }

    /// Holds writes back, or does so no more.
    pub fn hold_writes(&mut self, why: Hold, is_on: bool) {
        self.holds.retain(|hold| *hold != why);
        if is_on {
            self.holds.push(why);
        }
        self.let_go();
    }

    /// Lets all who were held back try again.
    fn let_go(&mut self) {
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
