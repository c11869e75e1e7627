//! The registry of connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;

use crate::session::{Client, ClientId};

/// All connections by number. Connections come and go without asking for the data's gate, which
/// is why this is a concurrent map of its own.
#[derive(Debug, Default)]
pub struct Clients {
    by_id: DashMap<ClientId, Arc<Client>>,
    last: AtomicU64,
    count: AtomicUsize,
    accepted: AtomicU64,
    rejected: AtomicU64,
}

impl Clients {
    /// A number for a new connection.
    pub fn next_id(&self) -> ClientId {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts a connection that was accepted, or turned away for `maxclients`.
    pub fn count_arrival(&self, accepted: bool) {
        let counter = if accepted { &self.accepted } else { &self.rejected };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections accepted, and turned away, since the start.
    pub fn arrivals(&self) -> (u64, u64) {
        (self.accepted.load(Ordering::Relaxed), self.rejected.load(Ordering::Relaxed))
    }

    /// Adds a connection.
    pub fn add(&self, client: Arc<Client>) {
        if self.by_id.insert(client.id, client).is_none() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Removes a connection.
    pub fn remove(&self, id: ClientId) {
        if self.by_id.remove(&id).is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The connection of this number.
    pub fn get(&self, id: ClientId) -> Option<Arc<Client>> {
        self.by_id.get(&id).map(|client| Arc::clone(&client))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that wait in all connections' buffers.
    pub fn buffered(&self) -> usize {
        let waiting = |client: &Arc<Client>| {
            let view = client.view.lock();
            view.query.0 + view.output + view.queued_bytes
        };
        self.by_id.iter().map(|client| waiting(&client)).sum()
    }

    /// All connections, oldest first.
    pub fn all(&self) -> Vec<Arc<Client>> {
        let mut all: Vec<_> = self.by_id.iter().map(|client| Arc::clone(&client)).collect();
        all.sort_by_key(|client| client.id);
        all
    }
}
