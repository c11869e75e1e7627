//! Commands: one file a family, each begins with its table.
//!
//! A handler takes three visible steps: it reads all its arguments, touches data, writes the
//! reply; and it ends by stating its effect. What it wants from the layers above (close this
//! connection, wait, shut down) it returns.

pub mod acl;
pub mod args;
pub mod clients;
mod config;
mod connection;
mod context;
mod control;
mod debug;
mod decimal;
mod digest;
mod dump;
mod error;
pub mod eviction;
pub mod expiry;
mod field_deadlines;
mod foreign;
mod hashes;
pub mod info;
mod introspection;
mod key_deadlines;
mod keys;
mod lapsed;
pub mod latency;
mod lolwut;
mod memory;
pub mod monitor;
mod object;
mod pubsub;
pub mod replication;
pub mod saving;
mod scan;
mod scripts;
mod server;
mod sets;
pub mod shutdown;
pub mod slowlog;
mod sorted_sets;
pub mod spec;
mod strings;
mod syntax;
mod table;
mod transactions;

pub use connection::greet;
pub use context::{Ctx, Data, Door, Encodings, Statement, Usage, script_session};
pub use digest::digest;
pub use error::CommandError;
pub use scripts::{RestorePolicy, adopt_libraries, function_stats};
pub use spec::{Categories, Flags, KeyFlags, KeySpec, Spec};
pub use table::{Command, CommandTable};

use crate::clock::Millis;
use crate::config::ShutdownFlags;
use crate::resp::Args;
use crate::session::{End, Transport};

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
    /// Data changed, and the handler has stated how ([`Ctx::wrote_as`]): absolute deadlines, results
    /// instead of calculations, the thing chosen instead of a choice.
    WroteAs,
    /// No data changed, and the reply that the handler wrote is an error or holds one.
    Failed,
    /// No data changed, but replicas are to do the same.
    Told,
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
    /// Save the data before anything else happens, then reply.
    Save,
    /// Save the data before anything else happens, if that is still to be done. The reply was written.
    SaveScheduled,
    /// Save the data, load it again, then reply (DEBUG RELOAD).
    Reload {
        /// Save first; otherwise what was saved before is loaded.
        save: bool,
        /// Drop the data before loading.
        flush: bool,
        /// Keys of the file take the place of those that are there.
        merge: bool,
    },
    /// End the server. No reply was written.
    Shutdown(ShutdownFlags),
    /// The clock was turned: wake who looks at deadlines, and reply when everybody has listened to
    /// what that has brought about.
    ClockTurned,
}

/// A family: what the documentation calls it, and its table.
pub type Family = (&'static str, &'static [Spec]);

/// All tables: the families in the order of the documentation.
pub const FAMILIES: &[Family] = &[
    ("Hashes", hashes::COMMANDS),
    ("Deadlines of fields", field_deadlines::COMMANDS),
    ("Keys", keys::COMMANDS),
    ("Deadlines of keys", key_deadlines::COMMANDS),
    ("Dumped values", dump::COMMANDS),
    ("Strings", strings::COMMANDS),
    ("Sets", sets::COMMANDS),
    ("Sorted sets", sorted_sets::COMMANDS),
    ("Transactions", transactions::COMMANDS),
    ("Publish and subscribe", pubsub::COMMANDS),
    ("Scripts", scripts::COMMANDS),
    ("Connection", connection::COMMANDS),
    ("Clients", clients::COMMANDS),
    ("Users and their rights", acl::COMMANDS),
    ("Server", server::COMMANDS),
    ("Saving", saving::COMMANDS),
    ("Replication", replication::COMMANDS),
    ("Configuration", config::COMMANDS),
    ("Information", info::COMMANDS),
    ("The commands themselves", introspection::COMMANDS),
    ("Objects", object::COMMANDS),
    ("Memory", memory::COMMANDS),
    ("Slow requests", slowlog::COMMANDS),
    ("Latency", latency::COMMANDS),
    ("Pictures", lolwut::COMMANDS),
    ("Monitor", monitor::COMMANDS),
    ("Debugging", debug::COMMANDS),
    ("Test control", control::COMMANDS),
];

/// The handler of containers; one of their subcommands is found instead of them.
fn unreachable_container(_: &mut Ctx<'_>, args: Args<'_>) -> Done {
    Err(CommandError::wrong_arity(&String::from_utf8_lossy(&args[0]).to_lowercase()))
}

/// No later than this can a deadline be, in milliseconds: what fits a signed 64-bit integer.
pub const LAST_DEADLINE: Millis = i64::MAX as u64;

/// Forgets a connection that is over: all that [`end_session`] ends, and why it ended counts.
pub fn forget_session(ctx: &mut Ctx<'_>) {
    end_session(ctx);
    let client = &ctx.session.client;
    let stats = &mut ctx.server.stats;
    stats.past_traffic += client.pulse.traffic();
    stats.evicted_clients += u64::from(client.ends_for(End::Evicted));
    stats.over_query_limit += u64::from(client.ends_for(End::QueryLimit));
    stats.over_output_limit += u64::from(client.ends_for(End::OutputLimit));
}

/// Ends what a session has begun elsewhere: its subscriptions, watches, waits.
pub fn end_session(ctx: &mut Ctx<'_>) {
    let id = ctx.session.id();
    pubsub::forget(ctx);
    transactions::forget_watched(ctx);
    replication::forget(ctx);
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
    let before = "ERR unknown subcommand or wrong number of arguments for '";
    CommandError::quoting(before, &args[1], &format!("'. Try {container} HELP."))
}

/// Whether a setting of `no`, `yes` or `local` trusts this connection.
fn is_trusted(ctx: &Ctx<'_>, setting: &str) -> bool {
    let client = &ctx.session.client;
    let is_local = client.transport != Transport::Tcp || client.addr.starts_with("127.");
    setting == "yes" || (setting == "local" && is_local)
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
