//! String commands: SET, GET, INCR and friends.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
