//! The replicas of this server: who they are, how far they have come.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use super::{Offset, Parts};
use crate::clock::Millis;

/// How far a replica has come with its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Progress {
    /// It waits until a copy of the data can be made for it.
    Waiting = 0,
    /// A copy of the data is sent.
    Copying = 1,
    /// The copy is sent; the stream begins when the replica says that it has taken it in.
    Copied = 2,
    /// The stream is sent.
    Online = 3,
}

/// A replica's progress, shared between its connection, which makes it, and the table.
#[derive(Debug, Clone, Default)]
pub struct SharedProgress(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    progress: AtomicU8,
    /// Bytes that it was sent.
    moved: AtomicU64,
    /// It is to get a sign of life.
    keep_alive: AtomicBool,
}

impl SharedProgress {
    /// How far the replica is.
    pub fn get(&self) -> Progress {
        match self.0.progress.load(Ordering::Acquire) {
            0 => Progress::Waiting,
            1 => Progress::Copying,
            2 => Progress::Copied,
            _ => Progress::Online,
        }
    }

    /// The replica has come so far.
    pub fn set(&self, progress: Progress) {
        self.0.progress.store(progress as u8, Ordering::Release);
    }

    /// The replica was sent so many bytes more.
    pub fn moved(&self, bytes: usize) {
        self.0.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// How many bytes it was sent so far.
    pub fn sent(&self) -> u64 {
        self.0.moved.load(Ordering::Relaxed)
    }

    /// The replica is to get a sign of life while it waits.
    pub fn keep_alive(&self) {
        self.0.keep_alive.store(true, Ordering::Release);
    }

    /// Whether it is to get one; once.
    pub fn take_keepalive(&self) -> bool {
        self.0.keep_alive.swap(false, Ordering::AcqRel)
    }
}

/// One replica.
#[derive(Debug)]
pub struct Replica {
    /// The address at which it says, or is seen, to be.
    pub ip: String,
    /// The port at which it listens.
    pub port: u16,
    /// How far it is with its data.
    pub progress: SharedProgress,
    /// Up to where it has taken the stream in.
    pub acked: Offset,
    /// When it said so.
    pub acked_at: Millis,
    /// It speaks no PSYNC, so it never says how far it is.
    pub is_silent: bool,
    /// It can take a copy that holds deadlines of fields.
    pub takes_field_deadlines: bool,
    /// What it wants of the data.
    pub parts: Parts,
    /// How many bytes it had been sent when that was looked at last.
    pub seen_sent: u64,
}

impl Replica {
    /// Whether it is sent the stream.
    pub fn is_online(&self) -> bool {
        self.progress.get() == Progress::Online
    }

    /// Whether it has had its copy: INFO and FAILOVER call it online from then on, as Redis does.
    pub fn has_copy(&self) -> bool {
        matches!(self.progress.get(), Progress::Copied | Progress::Online)
    }

    /// Whether it has been heard of within `millis`.
    pub fn is_fresh(&self, millis: Millis, now: Millis) -> bool {
        now.saturating_sub(self.acked_at) <= millis
    }
}

/// All replicas, by the number of their connections.
#[derive(Debug, Default)]
pub struct Replicas {
    by_id: BTreeMap<u64, Replica>,
    /// Where those listen that hung up on a copy of the data.
    hung_up: VecDeque<(String, u16)>,
}

/// So many replicas that hung up are remembered.
const REMEMBERED: usize = 64;

impl Replicas {
    /// Adds a replica, or puts it in the place of the one of this number.
    pub fn add(&mut self, id: u64, replica: Replica) {
        self.by_id.insert(id, replica);
    }

    /// Removes a replica, if it is one.
    pub fn remove(&mut self, id: u64) -> Option<Replica> {
        let replica = self.by_id.remove(&id)?;
        let in_copy = matches!(replica.progress.get(), Progress::Copying | Progress::Copied);
        // Who does not say where it listens is no server: it wanted a copy for a file.
        if in_copy && replica.port != 0 && !self.has_hung_up(&replica.ip, replica.port) {
            self.hung_up.push_front((replica.ip.clone(), replica.port));
            self.hung_up.truncate(REMEMBERED);
        }
        Some(replica)
    }

    /// Whether the replica that listens there has hung up on a copy of the data: it may be too old
    /// for the form in which the copy came.
    pub fn has_hung_up(&self, ip: &str, port: u16) -> bool {
        self.hung_up.iter().any(|(host, known)| host == ip && *known == port)
    }

    /// The replica of this number.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut Replica> {
        self.by_id.get_mut(&id)
    }

    /// All of them with their numbers, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Replica)> {
        self.by_id.iter().map(|(id, replica)| (*id, replica))
    }

    /// Does something to each.
    pub fn each(&mut self, act: impl FnMut(&mut Replica)) {
        self.by_id.values_mut().for_each(act);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// How many have the stream up to `offset`.
    pub fn acked(&self, offset: Offset) -> usize {
        let has = |replica: &&Replica| replica.is_online() && replica.acked >= offset;
        self.by_id.values().filter(has).count()
    }

    /// Whether each has the stream up to `offset`.
    pub fn have_all(&self, offset: Offset) -> bool {
        self.by_id.values().all(|replica| replica.acked >= offset)
    }

    /// How many are online and were heard of within `max_lag` milliseconds.
    pub fn good(&self, max_lag: Millis, now: Millis) -> usize {
        let good = |replica: &&Replica| replica.is_online() && replica.is_fresh(max_lag, now);
        self.by_id.values().filter(good).count()
    }

    /// The replica that listens there.
    pub fn at(&self, ip: &str, port: u16) -> Option<&Replica> {
        self.by_id.values().find(|replica| replica.ip == ip && replica.port == port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(progress: Progress, acked: Offset, acked_at: Millis) -> Replica {
        let shared = SharedProgress::default();
        shared.set(progress);
        Replica {
            ip: "::1".into(),
            port: 1,
            progress: shared,
            acked,
            acked_at,
            is_silent: false,
            takes_field_deadlines: false,
            parts: Parts::ALL,
            seen_sent: 0,
        }
    }

    #[test]
    fn only_who_is_online_counts() {
        let mut replicas = Replicas::default();
        replicas.add(1, replica(Progress::Online, 100, 5_000));
        replicas.add(2, replica(Progress::Online, 50, 9_000));
        replicas.add(3, replica(Progress::Copied, 100, 9_000));
        assert_eq!((replicas.acked(50), replicas.acked(100), replicas.acked(101)), (2, 1, 0));
        assert_eq!((replicas.good(1_000, 10_000), replicas.good(5_000, 10_000)), (1, 2));
        replicas.iter().for_each(|(_, replica)| replica.progress.set(Progress::Online));
        assert_eq!(replicas.acked(100), 2);
        assert!(replicas.at("::1", 1).is_some() && replicas.at("::1", 2).is_none());
    }

    #[test]
    fn who_hangs_up_on_a_copy_is_remembered() {
        let mut replicas = Replicas::default();
        for port in 0..100 {
            replicas.add(1, Replica { port, ..replica(Progress::Copied, 0, 0) });
            replicas.remove(1);
            replicas.add(1, Replica { port: port + 1000, ..replica(Progress::Online, 0, 0) });
            replicas.remove(1);
        }
        replicas.add(1, Replica { port: 0, ..replica(Progress::Copied, 0, 0) });
        replicas.remove(1);
        let is_known = |port: &u16| replicas.has_hung_up("::1", *port);
        assert_eq!((0..2000).filter(is_known).collect::<Vec<_>>(), (36..100).collect::<Vec<_>>());
    }
}
