//! Who watches which keys of a database (WATCH).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Somebody who watches one key.
#[derive(Debug)]
pub struct Watcher {
    /// Set when the key is touched; all of one client's watchers share it.
    dirty: Arc<AtomicBool>,
    /// The key was past its deadline, but not yet taken out, when it was last looked at. To this
    /// client it does not exist: that it is taken out changes nothing.
    was_due: AtomicBool,
}

impl Watcher {
    /// Watches for a client whose flag this is; the key may be past its deadline already.
    pub fn new(dirty: &Arc<AtomicBool>, is_due: bool) -> Arc<Self> {
        Arc::new(Watcher { dirty: Arc::clone(dirty), was_due: AtomicBool::new(is_due) })
    }

    /// Whether the key was past its deadline when it was last looked at.
    pub fn was_due(&self) -> bool {
        self.was_due.load(Ordering::Relaxed)
    }

    fn touched(&self, becomes: State) {
        let existed_not = self.was_due();
        self.was_due.store(becomes == State::Due, Ordering::Relaxed);
        if !existed_not || becomes == State::Live {
            self.dirty.store(true, Ordering::Relaxed);
        }
    }
}

/// How a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Absent,
    /// There, but past its deadline.
    Due,
    Live,
}

/// The watchers of all keys of a database that have any.
#[derive(Debug, Default)]
pub(super) struct Watchers(HashMap<Box<[u8]>, Vec<Arc<Watcher>>>);

impl Watchers {
    pub(super) fn add(&mut self, key: &[u8], watcher: &Arc<Watcher>) {
        self.0.entry(key.into()).or_default().push(Arc::clone(watcher));
    }

    pub(super) fn remove(&mut self, key: &[u8], watcher: &Arc<Watcher>) {
        if let Some(watchers) = self.0.get_mut(key) {
            watchers.retain(|other| !Arc::ptr_eq(other, watcher));
            if watchers.is_empty() {
                self.0.remove(key);
            }
        }
    }

    /// Keys that somebody watches.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells who watches `key` that it was touched, and is now as `becomes` says.
    #[inline]
    pub(super) fn touch(&self, key: &[u8], becomes: impl FnOnce() -> State) {
        if !self.0.is_empty()
            && let Some(watchers) = self.0.get(key)
        {
            let becomes = becomes();
            watchers.iter().for_each(|watcher| watcher.touched(becomes));
        }
    }

    /// Tells who watches any key that other data have taken the place of the old: what `was` says
    /// of a key is what `becomes` says now. A key that is not there to anybody, before and after,
    /// has not changed.
    pub(super) fn replaced(&self, was: impl Fn(&[u8]) -> State, becomes: impl Fn(&[u8]) -> State) {
        for (key, watchers) in &self.0 {
            let (was, becomes) = (was(key), becomes(key));
            for watcher in watchers {
                if was == State::Absent && becomes != State::Live {
                    watcher.was_due.store(becomes == State::Due, Ordering::Relaxed);
                } else {
                    watcher.touched(becomes);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a client that watches a key finds it touched after its database was replaced.
    fn is_dirty_after(was: State, becomes: State) -> bool {
        let dirty = Arc::new(AtomicBool::new(false));
        let mut watchers = Watchers::default();
        watchers.add(b"k", &Watcher::new(&dirty, was == State::Due));
        watchers.replaced(|_| was, |_| becomes);
        dirty.load(Ordering::Relaxed)
    }

    #[test]
    fn only_what_somebody_could_see_changes_by_a_swap() {
        use State::{Absent, Due, Live};
        for was in [Absent, Due] {
            assert!(!is_dirty_after(was, Absent) && !is_dirty_after(was, Due), "{was:?}");
            assert!(is_dirty_after(was, Live), "{was:?}");
        }
        for becomes in [Absent, Due, Live] {
            assert!(is_dirty_after(Live, becomes), "{becomes:?}");
        }
    }

    #[test]
    fn what_was_past_its_deadline_may_go_but_not_come_again() {
        let dirty = Arc::new(AtomicBool::new(false));
        let mut watchers = Watchers::default();
        let watcher = Watcher::new(&dirty, true);
        watchers.add(b"k", &watcher);
        watchers.touch(b"k", || State::Absent);
        assert!(!dirty.load(Ordering::Relaxed) && !watcher.was_due());
        watchers.touch(b"k", || State::Live);
        assert!(dirty.load(Ordering::Relaxed));
        watchers.remove(b"k", &watcher);
        assert_eq!(watchers.len(), 0);
    }
}
