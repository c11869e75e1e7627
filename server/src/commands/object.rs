//! OBJECT: encodings, idle times and counters of keys.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
