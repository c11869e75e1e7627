//! Commands on the server as a whole: TIME, DBSIZE, FLUSHALL, SHUTDOWN and friends.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
