//! The registry of connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;

use crate::session::{Client, ClientId, End, Traffic};

/// All connections by number. Connections come and go without asking for the data's gate, which
/// is why this is a concurrent map of its own.
#[derive(Debug)]
pub struct Clients {
    by_id: DashMap<ClientId, Arc<Client>>,
    last: AtomicU64,
    count: AtomicUsize,
    accepted: AtomicU64,
    rejected: AtomicU64,
    /// What all take of `maxmemory-clients`, in bytes.
    memory: AtomicUsize,
    /// Held while connections are chosen to end, so that two threads do not end one each.
    evicting: Mutex<()>,
}

/// Parts of the registry that are locked apart. Without this number the crate asks the system for its
/// cores, which takes a dozen files to find out.
const SHARDS: usize = 16;

impl Default for Clients {
    fn default() -> Self {
        Clients {
            by_id: DashMap::with_shard_amount(SHARDS),
            last: AtomicU64::default(),
            count: AtomicUsize::default(),
            accepted: AtomicU64::default(),
            rejected: AtomicU64::default(),
            memory: AtomicUsize::default(),
            evicting: Mutex::default(),
        }
    }
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

    /// Connections accepted, and turned away, since the start or CONFIG RESETSTAT.
    pub fn arrivals(&self) -> (u64, u64) {
        (self.accepted.load(Ordering::Relaxed), self.rejected.load(Ordering::Relaxed))
    }

    /// Counts arrivals anew.
    pub fn forget_arrivals(&self) {
        self.accepted.store(0, Ordering::Relaxed);
        self.rejected.store(0, Ordering::Relaxed);
    }

    /// Adds a connection.
    pub fn add(&self, client: Arc<Client>) {
        self.set_memory(&client, client.view.lock().memory());
        if self.by_id.insert(client.id, client).is_none() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Removes a connection.
    pub fn remove(&self, client: &Client) {
        if self.by_id.remove(&client.id).is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        self.exchange_memory(client, 0);
    }

    /// Ends a connection from outside. For everybody else it is gone at once.
    pub fn end(&self, client: &Client, why: End) {
        client.kill(why);
        self.remove(client);
    }

    /// Says what a connection takes of `maxmemory-clients` now; returns what all take.
    pub fn set_memory(&self, client: &Client, bytes: usize) -> usize {
        let all = self.exchange_memory(client, bytes);
        // What is being closed takes nothing any more; it may have been ended just now.
        if client.is_ending() { self.exchange_memory(client, 0) } else { all }
    }

    /// In one step, so that nobody sees what the connection took before and takes now together.
    fn exchange_memory(&self, client: &Client, bytes: usize) -> usize {
        let change = bytes.wrapping_sub(client.set_memory(bytes));
        self.memory.fetch_add(change, Ordering::Relaxed).wrapping_add(change)
    }

    /// Ends the connections that take most, until all together take no more than `limit`. Those
    /// with CLIENT NO-EVICT stay.
    pub fn evict(&self, limit: usize) {
        if self.memory() <= limit {
            return;
        }
        let _alone = self.evicting.lock();
        // What each takes counts, not the common sum: another thread may just be about to take from
        // it what a connection has given back.
        let mut all: Vec<_> = self.all().into_iter().map(|it| (it.memory(), it)).collect();
        all.sort_by_key(|(memory, _)| std::cmp::Reverse(*memory));
        let mut sum: usize = all.iter().map(|(memory, _)| memory).sum();
        for (memory, client) in all {
            if sum <= limit {
                break;
            }
            if memory > 0 && !client.view.lock().flags.no_evict {
                tracing::info!(client = client.id, memory, "client evicted");
                self.end(&client, End::Evicted);
                sum -= memory;
            }
        }
    }

    /// Whether every other connection has listened to all that it was told.
    pub fn have_heard(&self, but: ClientId) -> bool {
        self.by_id.iter().all(|client| client.id == but || client.has_heard())
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

    /// What all take of `maxmemory-clients`, in bytes.
    pub fn memory(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// What has gone through all.
    pub fn traffic(&self) -> Traffic {
        let mut all = Traffic::default();
        self.by_id.iter().for_each(|client| all += client.pulse.traffic());
        all
    }

    /// All connections, oldest first.
    pub fn all(&self) -> Vec<Arc<Client>> {
        let mut all: Vec<_> = self.by_id.iter().map(|client| Arc::clone(&client)).collect();
        all.sort_by_key(|client| client.id);
        all
    }
}
