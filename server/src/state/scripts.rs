//! The script cache.

use std::collections::HashMap;
use std::sync::Arc;

use super::KeptInterpreter;

/// Scripts that only EVAL has brought: of more than these the one unused for longest goes, so that
/// texts with values written into them do not pile up. Those of SCRIPT LOAD stay.
const MOST_PASSING: usize = 500;

/// A script that is kept.
#[derive(Debug)]
struct Script {
    text: Arc<[u8]>,
    /// When it was used last, by the count of uses.
    used: u64,
    /// Only EVAL has brought it.
    is_passing: bool,
}

/// Scripts by the hexadecimal SHA-1 of their text.
#[derive(Debug, Default)]
pub struct Scripts {
    by_digest: HashMap<String, Script>,
    /// Scripts that only EVAL has brought.
    passing: usize,
    /// Counts uses.
    clock: u64,
    /// The interpreter with their compiled code.
    pub interpreter: KeptInterpreter,
}

impl Scripts {
    /// How many are kept.
    pub fn len(&self) -> usize {
        self.by_digest.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.by_digest.is_empty()
    }

    /// Bytes of all texts and digests.
    pub fn bytes(&self) -> usize {
        self.by_digest.iter().map(|(digest, script)| digest.len() + script.text.len()).sum()
    }

    /// Keeps a script for good (SCRIPT LOAD).
    pub fn load(&mut self, digest: String, text: &[u8]) {
        if let Some(script) = self.by_digest.get_mut(&digest) {
            self.passing -= usize::from(std::mem::take(&mut script.is_passing));
        } else {
            self.add(digest, text, false);
        }
    }

    /// Keeps a script that is new for a while (EVAL); returns the digest of the one that goes for
    /// it.
    pub fn pass(&mut self, digest: String, text: &[u8]) -> Option<String> {
        self.add(digest, text, true);
        if self.passing <= MOST_PASSING {
            return None;
        }
        let passing = self.by_digest.iter().filter(|(_, script)| script.is_passing);
        let oldest =
            passing.min_by_key(|(_, script)| script.used).map(|(digest, _)| digest.clone());
        if let Some(oldest) = &oldest {
            self.by_digest.remove(oldest);
            self.passing -= 1;
        }
        oldest
    }

    fn add(&mut self, digest: String, text: &[u8], is_passing: bool) {
        self.clock += 1;
        self.passing += usize::from(is_passing);
        self.by_digest.insert(digest, Script { text: text.into(), used: self.clock, is_passing });
    }

    /// Whether there is a script of this lower-case digest.
    pub fn contains(&self, digest: &str) -> bool {
        self.by_digest.contains_key(digest)
    }

    /// The script of this lower-case digest, which is a use of it.
    pub fn get(&mut self, digest: &str) -> Option<Arc<[u8]>> {
        self.clock += 1;
        let script = self.by_digest.get_mut(digest)?;
        script.used = self.clock;
        Some(Arc::clone(&script.text))
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Scripts::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_eval_brings_goes_when_there_is_too_much_of_it() {
        let mut scripts = Scripts::default();
        scripts.load("loaded".to_owned(), b"return 1");
        assert_eq!(scripts.pass("first".to_owned(), b"return 2"), None);
        for n in 0..MOST_PASSING - 1 {
            assert_eq!(scripts.pass(n.to_string(), b"return 3"), None);
        }
        assert!(scripts.get("first").is_some(), "a use that keeps it");
        assert_eq!(scripts.pass("last".to_owned(), b"return 4"), Some("0".to_owned()));
        assert_eq!(scripts.len(), MOST_PASSING + 1);
        scripts.load("1".to_owned(), b"return 3");
        assert_eq!(scripts.pass("more".to_owned(), b"return 5"), None);
        assert!(scripts.contains("loaded") && scripts.contains("1") && !scripts.contains("0"));
    }
}
