//! CLIENT and its subcommands, and what is done to connections from outside.

use super::{Ctx, Spec};

pub(super) const COMMANDS: &[Spec] = &[];

/// Closes connections that have been idle for longer than `timeout`, subscribers and waiting
/// ones excepted.
pub fn close_idle(ctx: &mut Ctx<'_>) {
    let timeout = ctx.server.config.timeout as u64 * 1000;
    if timeout == 0 {
        return;
    }
    for client in ctx.server.clients.all() {
        let view = client.view.lock();
        let is_listening = view.subscriptions + view.patterns > 0 || view.flags.monitor;
        let is_idle = ctx.now.saturating_sub(view.active) > timeout;
        if is_idle && !is_listening && !view.flags.blocked {
            drop(view);
            client.kill();
        }
    }
}
