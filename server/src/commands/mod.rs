//! Commands: one file a family, each begins with its table.
//!
//! A handler takes three visible steps: it reads all its arguments, touches data, writes the
//! reply; and it ends by stating its effect. What it wants from the layers above (close this
//! connection, wait, shut down) it returns.

pub mod args;
pub mod clients;
mod config;
mod connection;
mod context;
mod control;
mod debug;
mod decimal;
mod error;
pub mod eviction;
pub mod expiry;
mod field_deadlines;
mod hashes;
mod info;
mod introspection;
mod key_deadlines;
mod keys;
mod latency;
mod memory;
pub mod monitor;
mod object;
mod pubsub;
mod scan;
mod scripts;
mod server;
mod sets;
pub mod slowlog;
mod sorted_sets;
pub mod spec;
mod strings;
mod syntax;
mod table;
mod transactions;

pub use connection::greet;
pub use context::{Ctx, Data, Door, Encodings, Usage, script_session};
pub use error::CommandError;
pub use spec::{Categories, Flags, KeyFlags, KeySpec, Spec};
pub use table::{Command, CommandTable};

use std::time::Duration;

use crate::clock::Millis;
use crate::resp::{Args, OwnedRequest};

/// A connection's private state.
pub type Session = crate::session::Session<Command>;

/// What a handler ends with.
pub type Done = Result<Outcome, CommandError>;

/// What a command did, for the layers above.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// No data changed.
    Unchanged,
    /// Data changed as the request itself says.
    Wrote,
    /// Data changed as these requests say: absolute deadlines, results instead of calculations,
    /// the thing chosen instead of a choice.
    WroteAs(Vec<OwnedRequest>),
    /// No data changed; the layer above is to act.
    Then(Action),
}

/// What a command wants done by the layers above, after its reply (if it wrote one).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Close the connection once the reply is sent.
    Close,
    /// The connection waits (`session.waiting` says for what); no reply was written.
    Wait,
    /// End the server. `save`: None = as the save points say.
    Shutdown {
        /// Save first.
        save: Option<bool>,
        /// Do not wait for replicas.
        now: bool,
        /// Go on even if saving fails.
        force: bool,
    },
    /// Let the whole server sleep (DEBUG SLEEP).
    Sleep(Duration),
}

/// All tables: the families in the order of the documentation.
pub const FAMILIES: &[&[Spec]] = &[
    hashes::COMMANDS,
    field_deadlines::COMMANDS,
    keys::COMMANDS,
    key_deadlines::COMMANDS,
    strings::COMMANDS,
    sets::COMMANDS,
    sorted_sets::COMMANDS,
    transactions::COMMANDS,
    pubsub::COMMANDS,
    scripts::COMMANDS,
    connection::COMMANDS,
    clients::COMMANDS,
    server::COMMANDS,
    config::COMMANDS,
    info::COMMANDS,
    introspection::COMMANDS,
    object::COMMANDS,
    memory::COMMANDS,
    slowlog::COMMANDS,
    latency::COMMANDS,
    monitor::COMMANDS,
    debug::COMMANDS,
    control::COMMANDS,
];

/// The handler of containers; one of their subcommands is found instead of them.
fn unreachable_container(_: &mut Ctx<'_>, args: Args<'_>) -> Done {
    Err(CommandError::wrong_arity(&String::from_utf8_lossy(&args[0]).to_lowercase()))
}

/// No later than this can a deadline be, in milliseconds: what fits a signed 64-bit integer.
pub const LAST_DEADLINE: Millis = i64::MAX as u64;

/// Forgets a connection that has ended: its subscriptions, watches, waits.
pub fn end_session(ctx: &mut Ctx<'_>) {
    let id = ctx.session.id();
    pubsub::forget(ctx);
    transactions::forget_watched(ctx);
    ctx.server.waits.cancel(id);
    ctx.server.monitors.retain(|client| client.id != id);
}

/// Ends a transaction that cannot be executed.
pub fn abort_transaction(ctx: &mut Ctx<'_>) {
    ctx.session.transaction = None;
    transactions::forget_watched(ctx);
}

/// The error of a subcommand that was given too much or too little.
fn wrong_subcommand(ctx: &Ctx<'_>, args: Args<'_>) -> CommandError {
    let container = ctx.name().split('|').next().unwrap_or_default().to_uppercase();
    let given = String::from_utf8_lossy(&args[1]);
    CommandError::new(format!(
        "ERR unknown subcommand or wrong number of arguments for '{given}'. Try {container} HELP."
    ))
}

/// Writes a container's help: its lines between Redis's usual first and last ones.
fn help(ctx: &mut Ctx<'_>, lines: &[&str]) -> Done {
    let name = ctx.name().split('|').next().unwrap_or_default().to_uppercase();
    let first = format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    let last = ["HELP", "    Prints this help."];
    ctx.reply.array(lines.len() + 3);
    ctx.reply.simple(&first);
    for line in lines.iter().chain(&last) {
        ctx.reply.simple(line);
    }
    Ok(Outcome::Unchanged)
}
