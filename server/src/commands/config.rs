//! CONFIG GET, SET, RESETSTAT, REWRITE.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
