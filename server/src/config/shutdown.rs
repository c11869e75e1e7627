//! How a server is to end: what SHUTDOWN is given, and `shutdown-on-sigint` and its like say.

/// How a server is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShutdownFlags {
    /// Save first, whatever the save points say.
    pub save: bool,
    /// Do not save, whatever the save points say.
    pub nosave: bool,
    /// Do not wait for replicas.
    pub now: bool,
    /// End even if saving fails.
    pub force: bool,
}

impl ShutdownFlags {
    /// Neither saves nor waits, and nothing holds it up.
    pub const AT_ONCE: ShutdownFlags =
        ShutdownFlags { save: false, nosave: true, now: true, force: true };

    /// Takes a word in lower case; false: it is none of these.
    pub fn take(&mut self, word: &[u8]) -> bool {
        let flag = match word {
            b"save" => &mut self.save,
            b"nosave" => &mut self.nosave,
            b"now" => &mut self.now,
            b"force" => &mut self.force,
            _ => return false,
        };
        *flag = true;
        true
    }

    /// Whether it is to save and not to.
    pub fn contradict(self) -> bool {
        self.save && self.nosave
    }

    /// Whether it saves, where the save points say so or not.
    pub fn saves(self, by_default: bool) -> bool {
        self.save || (by_default && !self.nosave)
    }

    /// What a setting says: words, or `default` for none.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut flags = ShutdownFlags::default();
        for word in text.to_ascii_lowercase().split(' ') {
            if !flags.take(word.as_bytes()) {
                super::settings::one_of(word, &["default", "save", "nosave", "now", "force"])?;
            }
        }
        if flags.contradict() {
            return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".to_owned());
        }
        Ok(flags)
    }

    /// As CONFIG GET shows it.
    pub(super) fn words(self) -> String {
        let all = [
            ("save", self.save),
            ("nosave", self.nosave),
            ("now", self.now),
            ("force", self.force),
        ];
        let words: Vec<&str> = all.iter().filter(|(_, is)| *is).map(|(word, _)| *word).collect();
        if words.is_empty() { "default".to_owned() } else { words.join(" ") }
    }
}

/// A wish of the system that the server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: somebody at a terminal pressed Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl super::Config {
    /// How the server ends at this signal.
    pub fn on_signal(&self, signal: Signal) -> ShutdownFlags {
        match signal {
            Signal::Interrupt => self.shutdown_on_sigint,
            Signal::Terminate => self.shutdown_on_sigterm,
        }
    }
}
