//! Sorted set commands: ZADD, ZRANGE and friends.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
