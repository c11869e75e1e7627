//! The backlog: the recent past of the stream, by offset, for replicas that lag or come back.
//!
//! It is a ring of blocks. Blocks go when they are older than the backlog's size and no reader
//! still needs them; a reader that lags beyond its limit is cut off, so that what waits for it
//! does not grow without end. Readers take bytes out without the gate over the data.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;

use super::Offset;
use crate::clock::Millis;
use crate::config::OutputLimit;

/// Bytes of one block.
const BLOCK: usize = 16 * 1024;

/// The recent past of a stream.
#[derive(Debug)]
pub struct Backlog {
    ring: Mutex<Ring>,
}

#[derive(Debug)]
struct Ring {
    /// The offset of the first block's first byte.
    start: Offset,
    /// The offset behind the last byte.
    end: Offset,
    /// All but the last are full.
    blocks: VecDeque<Vec<u8>>,
    /// An empty block, so that a steady stream allocates nothing.
    spare: Option<Vec<u8>>,
    /// How many bytes are kept whether somebody reads them or not.
    size: u64,
    /// What may wait for a reader.
    limit: OutputLimit,
    readers: BTreeMap<u64, Place>,
    next_reader: u64,
}

/// How far a reader has come.
#[derive(Debug)]
struct Place {
    at: Offset,
    /// Since when it has been over the soft limit.
    over_soft: Option<Millis>,
    /// It lagged too far: nothing is kept for it any more.
    is_cut: bool,
    /// Called at the next bytes, and at the cut.
    waker: Option<Waker>,
    /// Called at the cut: who waits for its socket does not care for more bytes.
    cut_waker: Option<Waker>,
}

impl Place {
    /// Keeps nothing for this reader any more, and tells it.
    fn cut(&mut self) {
        self.is_cut = true;
        [self.waker.take(), self.cut_waker.take()].into_iter().flatten().for_each(Waker::wake);
    }
}

impl Backlog {
    /// An empty backlog of a stream that has come to `start`.
    pub fn new(start: Offset, size: u64, limit: OutputLimit) -> Arc<Self> {
        let ring = Ring {
            start,
            end: start,
            blocks: VecDeque::new(),
            spare: None,
            size,
            limit: limit_for(limit, size),
            readers: BTreeMap::new(),
            next_reader: 0,
        };
        Arc::new(Backlog { ring: Mutex::new(ring) })
    }

    /// Adds bytes to the end and wakes all readers.
    pub fn append(&self, bytes: &[u8], now: Millis) {
        let mut ring = self.ring.lock();
        ring.append(bytes);
        ring.check_readers(now);
        ring.trim();
    }

    /// Other sizes from now on: what is kept anyway, and what may wait for a reader.
    pub fn resize(&self, size: u64, limit: OutputLimit) {
        let mut ring = self.ring.lock();
        ring.size = size;
        ring.limit = limit_for(limit, size);
        ring.trim();
    }

    /// The offsets of what is there.
    pub fn range(&self) -> std::ops::Range<Offset> {
        let ring = self.ring.lock();
        ring.start..ring.end
    }

    /// How many readers there are.
    pub fn readers(&self) -> usize {
        self.ring.lock().readers.len()
    }

    /// How many bytes its slowest reader has still to read.
    pub fn most_lag(&self) -> u64 {
        let ring = self.ring.lock();
        ring.readers.values().map(|place| ring.end - place.at).max().unwrap_or(0)
    }

    /// Cuts all readers off: what they read will never be whole.
    pub fn cut_all(&self) {
        let mut ring = self.ring.lock();
        for place in ring.readers.values_mut() {
            place.cut();
        }
        ring.trim();
    }

    /// Bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        let ring = self.ring.lock();
        (ring.blocks.len() + usize::from(ring.spare.is_some())) * BLOCK
    }

    /// A reader of all that follows `from`; None if a part of that is gone, or has never been.
    pub fn read_from(self: &Arc<Self>, from: Offset) -> Option<Reader> {
        let mut ring = self.ring.lock();
        if !(ring.start..=ring.end).contains(&from) {
            return None;
        }
        let id = ring.next_reader;
        ring.next_reader += 1;
        let place =
            Place { at: from, over_soft: None, is_cut: false, waker: None, cut_waker: None };
        ring.readers.insert(id, place);
        Some(Reader { backlog: Arc::clone(self), id })
    }
}

/// A limit below the backlog's own size makes no sense: a replica would be let in again, and cut
/// off again.
fn limit_for(limit: OutputLimit, size: u64) -> OutputLimit {
    let at_least = |bytes: u64| if bytes == 0 { 0 } else { bytes.max(size) };
    OutputLimit { hard: at_least(limit.hard), soft: at_least(limit.soft), ..limit }
}

impl Ring {
    fn append(&mut self, mut bytes: &[u8]) {
        self.end += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.blocks.back().is_none_or(|block| block.len() == BLOCK) {
                let block = self.spare.take().unwrap_or_else(|| Vec::with_capacity(BLOCK));
                self.blocks.push_back(block);
            }
            let Some(block) = self.blocks.back_mut() else { return };
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - block.len()));
            block.extend_from_slice(now);
            bytes = later;
        }
    }

    fn check_readers(&mut self, now: Millis) {
        for place in self.readers.values_mut() {
            let lag = self.end - place.at;
            if !place.is_cut && self.limit.is_over(&mut place.over_soft, lag, now) {
                place.cut();
            }
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }

    /// Lets go of blocks that are too old and that nobody needs.
    fn trim(&mut self) {
        let needed = self.readers.values().filter(|place| !place.is_cut).map(|place| place.at);
        let needed = needed.min().unwrap_or(self.end);
        while self.blocks.len() > 1 {
            let second = self.start + BLOCK as u64;
            if second > needed || self.end - second < self.size {
                return;
            }
            self.start = second;
            self.spare = self.blocks.pop_front().map(|mut block| {
                block.clear();
                block
            });
        }
    }

    /// The bytes from `at` on that lie in one block.
    fn slice(&self, at: Offset) -> &[u8] {
        let index = (at - self.start) as usize;
        self.blocks.get(index / BLOCK).map_or(&[], |block| &block[index % BLOCK..])
    }
}

/// Reads a backlog from some offset on; what it has still to read stays there.
#[derive(Debug)]
pub struct Reader {
    backlog: Arc<Backlog>,
    id: u64,
}

impl Reader {
    /// Appends up to about `most` bytes to `into`. False: it lagged too far and was cut off.
    #[must_use]
    pub fn read(&mut self, into: &mut Vec<u8>, most: usize) -> bool {
        let mut ring = self.backlog.ring.lock();
        let Some(place) = ring.readers.get(&self.id) else { return false };
        if place.is_cut {
            return false;
        }
        let (start, end) = (place.at, ring.end);
        let mut at = start;
        while at < end && ((at - start) as usize) < most {
            let bytes = ring.slice(at);
            into.extend_from_slice(bytes);
            at += bytes.len() as u64;
        }
        if let Some(place) = ring.readers.get_mut(&self.id) {
            place.at = at;
        }
        // Blocks kept for a slow reader go as soon as it has caught up.
        if at != start && ring.blocks.len() as u64 * BLOCK as u64 > ring.size + BLOCK as u64 {
            ring.trim();
        }
        true
    }

    /// Has `waker` called at the next bytes, unless some are there already: then it says so.
    pub fn wait(&self, waker: &Waker) -> bool {
        let mut ring = self.backlog.ring.lock();
        let end = ring.end;
        let Some(place) = ring.readers.get_mut(&self.id) else { return true };
        if place.at < end || place.is_cut {
            return true;
        }
        if !place.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            place.waker = Some(waker.clone());
        }
        false
    }

    /// Whether it lagged too far and was cut off; if not, `waker` is called when it is.
    pub fn is_cut_off(&self, waker: &Waker) -> bool {
        let mut ring = self.backlog.ring.lock();
        let Some(place) = ring.readers.get_mut(&self.id) else { return true };
        if !place.is_cut && !place.cut_waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            place.cut_waker = Some(waker.clone());
        }
        place.is_cut
    }

    /// How many bytes it has still to read.
    pub fn lag(&self) -> u64 {
        let ring = self.backlog.ring.lock();
        ring.readers.get(&self.id).map_or(0, |place| ring.end - place.at)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut ring = self.backlog.ring.lock();
        ring.readers.remove(&self.id);
        ring.trim();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use super::*;

    /// Whether a waker was called.
    #[derive(Default)]
    struct Told(AtomicBool);

    impl Wake for Told {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    const FREE: OutputLimit = OutputLimit { hard: 0, soft: 0, soft_seconds: 0 };

    /// Bytes that tell where they stand.
    fn bytes(from: Offset, count: usize) -> Vec<u8> {
        (from..from + count as u64).map(|at| (at % 251) as u8).collect()
    }

    fn read_all(reader: &mut Reader) -> Vec<u8> {
        let mut out = Vec::new();
        while reader.lag() > 0 {
            assert!(reader.read(&mut out, 1000));
        }
        out
    }

    #[test]
    fn a_reader_gets_every_byte_from_its_offset_on() {
        let backlog = Backlog::new(7, 1 << 20, FREE);
        let mut rng = fastrand::Rng::with_seed(1);
        let mut at = 7;
        let mut readers = Vec::new();
        for _ in 0..60 {
            let count = rng.usize(1..2 * BLOCK);
            backlog.append(&bytes(at, count), 0);
            at += count as u64;
            let range = backlog.range();
            let from = rng.u64(range.start..=range.end);
            readers.push((from, backlog.read_from(from).expect("it is there")));
        }
        for (from, mut reader) in readers {
            assert!(read_all(&mut reader) == bytes(from, (at - from) as usize), "from {from}");
        }
    }

    #[test]
    fn what_is_older_than_its_size_goes_by_blocks() {
        let (size, total) = (3 * BLOCK as u64, 10 * BLOCK);
        let backlog = Backlog::new(0, size, FREE);
        for at in (0..total).step_by(100) {
            backlog.append(&bytes(at as u64, 100), 0);
            let range = backlog.range();
            let kept = range.end - range.start;
            assert!(kept >= size.min(range.end) && kept < size + 2 * BLOCK as u64);
        }
        assert!(backlog.read_from(0).is_none(), "it is gone");
        assert!(backlog.read_from(backlog.range().end + 1).is_none(), "it has never been");
        assert!(backlog.heap_bytes() <= size as usize + 2 * BLOCK);
    }

    #[test]
    fn a_slow_reader_keeps_what_it_needs_until_its_limit() {
        let limit = OutputLimit { hard: 8 * BLOCK as u64, soft: 0, soft_seconds: 0 };
        let backlog = Backlog::new(0, BLOCK as u64, limit);
        let mut slow = backlog.read_from(0).expect("it is there");
        backlog.append(&bytes(0, 8 * BLOCK), 0);
        assert_eq!(backlog.range().start, 0, "all is kept for it");
        let mut first = Vec::new();
        assert!(slow.read(&mut first, 1) && first == bytes(0, BLOCK));
        let told = Arc::new(Told::default());
        assert!(!slow.is_cut_off(&Waker::from(Arc::clone(&told))));
        backlog.append(b"", 0);
        assert!(!told.0.load(Ordering::Relaxed), "more bytes are none of its business");
        backlog.append(&bytes(8 * BLOCK as u64, BLOCK + 1), 0);
        assert!(!slow.read(&mut first, 1), "it is cut off");
        assert!(told.0.load(Ordering::Relaxed) && slow.is_cut_off(Waker::noop()));
        assert!(backlog.range().start >= 7 * BLOCK as u64, "and nothing is kept for it");
    }

    #[test]
    fn the_soft_limit_gives_time_and_is_never_below_the_backlogs_own_size() {
        let limit = OutputLimit { hard: 0, soft: 10, soft_seconds: 2 };
        let backlog = Backlog::new(0, 100, limit);
        let mut slow = backlog.read_from(0).expect("it is there");
        backlog.append(&bytes(0, 100), 1_000);
        backlog.append(&bytes(100, 1), 2_000);
        backlog.append(&bytes(101, 1), 4_999);
        assert!(slow.read(&mut Vec::new(), 0));
        backlog.append(&bytes(102, 1), 5_000);
        assert!(!slow.read(&mut Vec::new(), 0));
    }

    #[test]
    fn waiting_ends_with_the_next_bytes() {
        let backlog = Backlog::new(0, 100, FREE);
        let mut reader = backlog.read_from(0).expect("it is there");
        assert!(!reader.wait(Waker::noop()));
        backlog.append(b"x", 0);
        assert!(reader.wait(Waker::noop()));
        assert!(reader.read(&mut Vec::new(), 10) && !reader.wait(Waker::noop()));
    }
}
