//! COMMAND and its subcommands: what clients may know of the table.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
