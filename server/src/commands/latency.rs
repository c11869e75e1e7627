//! LATENCY: events that took long, and histograms by command.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
