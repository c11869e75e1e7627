//! Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
