//! Fields that have ended and are still there when a command overwrites them.

use super::Ctx;
use crate::clock::Millis;
use crate::config::NotifyFlags;
use crate::store::{Hash, Write};

/// What a command finds of them. That comes about where nothing ends by itself (DEBUG SET-ACTIVE-EXPIRE 0);
/// everywhere else the door has ended them before. Valkey 9 tells of them as this does.
pub(super) struct Lapsed {
    /// When they are to have ended by; None: none is left to be found.
    by: Option<Millis>,
    found: u64,
}

impl Lapsed {
    pub(super) fn new(ctx: &Ctx<'_>) -> Self {
        Lapsed { by: ctx.ends_lazily().then_some(ctx.data.now), found: 0 }
    }

    /// Takes a field that is about to be set out of its hash, if it has ended.
    #[inline]
    pub(super) fn make_way(&mut self, hash: &mut Write<'_, Hash>, field: &[u8]) {
        if let Some(now) = self.by {
            self.found += u64::from(hash.remove_ended(field, now));
        }
    }

    /// Tells of them, before what overwrote them is told. True: there were some.
    pub(super) fn tell(self, ctx: &mut Ctx<'_>, key: &[u8]) -> bool {
        if self.found > 0 {
            ctx.server.stats.expired_fields += self.found;
            ctx.changed(NotifyFlags::HASH, "hexpired", key);
        }
        self.found > 0
    }
}
