//! CLOAKROOM: the clock at a test's command.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
