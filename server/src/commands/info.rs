//! INFO: what the server says of itself.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
