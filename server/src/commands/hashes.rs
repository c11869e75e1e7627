//! Hash commands: HSET, HGET and friends.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
