//! Lua scripts: EVAL, EVALSHA, SCRIPT.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
