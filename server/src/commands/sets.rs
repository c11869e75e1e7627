//! Set commands: SADD, SMEMBERS, SINTER and friends.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
