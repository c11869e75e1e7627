//! Publish/subscribe: SUBSCRIBE, PUBLISH, PUBSUB and friends.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
