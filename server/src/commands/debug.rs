//! DEBUG: for tests of the server itself.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
