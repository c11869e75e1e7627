//! MEMORY: what takes how much.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
