//! Who was refused what: what ACL LOG shows.

use std::collections::VecDeque;

use crate::clock::Millis;

/// Why something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A wrong password, or no such user.
    Auth,
    /// The command is not allowed.
    Command,
    /// A key is not allowed.
    Key,
    /// A channel is not allowed.
    Channel,
}

impl Reason {
    /// As ACL LOG shows it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Auth => "auth",
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
        }
    }
}

/// Where something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// In a request by itself.
    TopLevel,
    /// Between MULTI and EXEC.
    Multi,
    /// In a script.
    Lua,
}

impl Context {
    /// As ACL LOG shows it.
    pub fn name(self) -> &'static str {
        match self {
            Context::TopLevel => "toplevel",
            Context::Multi => "multi",
            Context::Lua => "lua",
        }
    }
}

/// Something that was refused, perhaps several times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// Where.
    pub context: Context,
    /// The command, key or channel.
    pub object: Vec<u8>,
    /// The user who asked, or whose name was given.
    pub user: Vec<u8>,
    /// The connection, as CLIENT INFO shows it.
    pub client: String,
    /// When it happened last.
    pub at: Millis,
    /// How often.
    pub count: u64,
}

/// The latest denials.
#[derive(Debug, Default)]
pub struct DenialLog {
    entries: VecDeque<Denial>,
}

/// Within so many milliseconds the same denial counts up instead of making another entry.
const SAME_WITHIN: Millis = 60_000;

/// So many entries are looked through for the same denial.
const LOOKED_THROUGH: usize = 10;

/// So many bytes of an object or a name are kept.
const KEPT: usize = 1024;

impl DenialLog {
    /// Adds a denial; the oldest ones beyond `most` go.
    pub fn add(&mut self, mut denial: Denial, most: usize) {
        denial.object.truncate(KEPT);
        denial.user.truncate(KEPT);
        let is_same = |known: &Denial| {
            (known.reason, known.context, &known.object, &known.user)
                == (denial.reason, denial.context, &denial.object, &denial.user)
                && denial.at.saturating_sub(known.at) <= SAME_WITHIN
        };
        let same = self.entries.iter().take(LOOKED_THROUGH).position(is_same);
        if let Some(known) = same.and_then(|at| self.entries.remove(at)) {
            denial.count += known.count;
        }
        self.entries.push_front(denial);
        self.entries.truncate(most);
    }

    /// All, the latest first.
    pub fn latest(&self) -> impl ExactSizeIterator<Item = &Denial> {
        self.entries.iter()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(object: &str, at: Millis) -> Denial {
        Denial {
            reason: Reason::Key,
            context: Context::TopLevel,
            object: object.into(),
            user: b"ann".to_vec(),
            client: String::new(),
            at,
            count: 1,
        }
    }

    #[test]
    fn the_same_denial_counts_up_for_a_minute() {
        let mut log = DenialLog::default();
        log.add(denial("a", 0), 10);
        log.add(denial("b", 1), 10);
        log.add(denial("a", 60_000), 10);
        let shown: Vec<_> = log.latest().map(|d| (d.object.clone(), d.count)).collect();
        assert_eq!(shown, [(b"a".to_vec(), 2), (b"b".to_vec(), 1)]);
        log.add(denial("a", 120_001), 10);
        assert_eq!(log.latest().map(|d| d.count).collect::<Vec<_>>(), [1, 2, 1]);
    }

    #[test]
    fn it_stays_within_its_length() {
        let mut log = DenialLog::default();
        for at in 0..5 {
            log.add(denial(&format!("{at}{}", "x".repeat(2 * KEPT)), at), 2);
        }
        assert_eq!(log.latest().len(), 2);
        assert!(log.latest().all(|d| d.object.len() == KEPT));
        log.add(denial("a", 9), 0);
        assert_eq!(log.latest().len(), 0);
    }
}
