//! Deadlines of keys: EXPIRE, TTL, PERSIST and friends.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
