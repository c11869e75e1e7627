//! How long a session lives: from its last use, from its beginning, or both.

use std::time::Duration;

use crate::error::Error;

/// How long a session lives.
///
/// A *fixed* session ends a set time after it began. A *sliding* one ends when it has not been used
/// for a while, and at its cap in any case. Each session remembers its own lifetime, so that a
/// change of this setting holds for sessions that begin later.
///
/// ```
/// use cloakroom_client::Lifetime;
/// use std::time::Duration;
///
/// let bank = Lifetime::sliding(Duration::from_secs(5 * 60)).capped_at(Duration::from_secs(8 * 3600));
/// let download = Lifetime::fixed(Duration::from_secs(60));
/// # let _ = (bank, download);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// How long it may go unused; None for a fixed lifetime.
    idle: Option<Duration>,
    /// How long it may live at most.
    cap: Duration,
}

impl Lifetime {
    /// The cap of a sliding session that names none: 30 days.
    pub const DEFAULT_CAP: Duration = Duration::from_secs(30 * 24 * 3600);
    /// Nothing lives longer: no centuries.
    pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
    /// The idle time of a store that names none: 30 minutes.
    pub const DEFAULT_IDLE: Duration = Duration::from_secs(30 * 60);

    /// Ends `after` its beginning, used or not.
    pub const fn fixed(after: Duration) -> Lifetime {
        Lifetime { idle: None, cap: after }
    }

    /// Ends when it was not used for `idle`, and after [`Lifetime::DEFAULT_CAP`] in any case.
    pub const fn sliding(idle: Duration) -> Lifetime {
        Lifetime { idle: Some(idle), cap: Lifetime::DEFAULT_CAP }
    }

    /// Ends `cap` after its beginning, however much it is used.
    pub const fn capped_at(self, cap: Duration) -> Lifetime {
        Lifetime { cap, ..self }
    }

    /// How long it may go unused; None for a fixed lifetime.
    pub const fn idle(&self) -> Option<Duration> {
        self.idle
    }

    /// How long it may live at most.
    pub const fn cap(&self) -> Duration {
        self.cap
    }

    /// Refuses times that the server cannot keep: nothing below a millisecond, no centuries.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for time in self.idle.iter().chain([&self.cap]) {
            if time.as_millis() == 0 || *time > Lifetime::LONGEST {
                return Err(Error::Config(format!("a session cannot live for {time:?}")));
            }
        }
        Ok(())
    }
}

impl Default for Lifetime {
    /// Sliding, 30 minutes, 30 days at most.
    fn default() -> Self {
        Lifetime::sliding(Lifetime::DEFAULT_IDLE)
    }
}
