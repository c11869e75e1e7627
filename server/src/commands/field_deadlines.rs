//! Deadlines of hash fields: HEXPIRE, HTTL, HGETEX, HSETEX and friends.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
