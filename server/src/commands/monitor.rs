//! MONITOR: shows every request to whoever asked for it.

use std::sync::Arc;

use super::slowlog::{REDACTED, is_secret};
use super::spec::Flags;
use super::{Command, Ctx, Done, Outcome, Spec};
use crate::resp::Args;

pub(super) const COMMANDS: &[Spec] = &[Spec::new("MONITOR", 1, monitor)
    .admin()
    .no_script()
    .always()
    .doc("", "Listens for all requests received by the server in real-time.")];

fn monitor(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    if !ctx.session.monitor {
        ctx.session.monitor = true;
        ctx.server.monitors.push(Arc::clone(&ctx.session.client));
    }
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

/// Shows a request to all monitors once it was executed, as Redis does.
#[inline]
pub fn feed(ctx: &mut Ctx<'_>, command: Command, args: Args<'_>) {
    if !ctx.server.monitors.is_empty() {
        show(ctx, command, args);
    }
}

#[cold]
fn show(ctx: &mut Ctx<'_>, command: Command, args: Args<'_>) {
    let flags = command.spec.flags;
    if !flags.has(Flags::SKIP_MONITOR) && !flags.has(Flags::ADMIN) {
        feed_now(ctx, command, args);
    }
}

/// Shows the request that runs a script, whether there is one or not, before what the script calls.
pub(super) fn feed_first(ctx: &mut Ctx<'_>, args: Args<'_>) {
    if !ctx.server.monitors.is_empty() {
        feed_now(ctx, ctx.command, args);
    }
}

fn feed_now(ctx: &mut Ctx<'_>, command: Command, args: Args<'_>) {
    let now = ctx.clock.now_micros();
    let from = if ctx.session.in_script { "lua" } else { ctx.session.client.addr.as_str() };
    let mut line =
        format!("+{}.{:06} [{} {from}]", now / 1_000_000, now % 1_000_000, ctx.session.db);
    for (at, arg) in args.iter().enumerate() {
        line.push(' ');
        quote(if is_secret(command, args, at) { REDACTED } else { arg }, &mut line);
    }
    line.push_str("\r\n");
    // Redis counts monitors as normal clients, which by default may fall behind without end; here
    // replicas' limit holds where those have none.
    let limits = ctx.server.config.client_output_buffer_limit;
    let is_limited = limits.normal.hard > 0 || limits.normal.soft > 0;
    let limit = if is_limited { limits.normal } else { limits.replica };
    for client in &ctx.server.monitors {
        client.push(line.as_bytes(), limit, ctx.now);
    }
}

/// An argument as redis-cli shows it.
pub(super) fn quote(bytes: &[u8], out: &mut String) {
    out.push('"');
    for byte in bytes {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(*byte));
            }
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x07 => out.push_str("\\a"),
            0x08 => out.push_str("\\b"),
            0x20..=0x7e => out.push(char::from(*byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
}
