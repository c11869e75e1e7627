//! Commands on keys of any type: DEL, RENAME, COPY, SCAN and friends.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
