//! SLOWLOG: requests that took long.

use super::args::{is, parse_int};
use super::spec::{Flags, Handler};
use super::{Command, CommandError, Ctx, Done, Outcome, Spec};
use crate::clock::Micros;
use crate::resp::Args;
use crate::state::SlowRequest;

const fn sub(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler).admin().always().since("2.2.12")
}

pub(super) const COMMANDS: &[Spec] = &[Spec::container(
    "SLOWLOG",
    &[
        sub("GET", -2, get)
            .tips(&["request_policy:all_nodes", "nondeterministic_output"])
            .doc("[count]", "Returns the slow log's entries."),
        sub("LEN", 2, len)
            .tips(&[
                "request_policy:all_nodes",
                "response_policy:agg_sum",
                "nondeterministic_output",
            ])
            .doc("", "Returns the number of entries in the slow log."),
        sub("RESET", 2, reset)
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .doc("", "Clears all entries from the slow log."),
        Spec::new("HELP", 2, help)
            .always()
            .since("6.2.0")
            .doc("", "Returns helpful text about the subcommands."),
    ],
)
.since("2.2.12")
.doc("subcommand", "A container for slow log commands.")];

/// Arguments and bytes of each that are kept, as in Redis.
const KEPT_ARGUMENTS: usize = 32;
const KEPT_BYTES: usize = 128;

/// GET without a count.
const DEFAULT_COUNT: i64 = 10;

/// Notes a request that took at least `slowlog-log-slower-than`.
#[inline]
pub fn note(ctx: &mut Ctx<'_>, command: Command, args: Args<'_>, took: Micros) {
    let slow = ctx.server.config.slowlog_log_slower_than;
    if slow >= 0 && took >= slow as u64 && !command.spec.flags.has(Flags::SKIP_SLOWLOG) {
        keep(ctx, command, args, took);
    }
}

#[cold]
fn keep(ctx: &mut Ctx<'_>, command: Command, args: Args<'_>, took: Micros) {
    let most = ctx.server.config.slowlog_max_len as usize;
    let request = SlowRequest {
        id: 0,
        at: ctx.now / 1000,
        took,
        args: shorten(command, args),
        addr: ctx.session.client.addr.clone(),
        name: ctx.session.name.clone(),
    };
    ctx.server.slowlog.add(request, most);
}

fn shorten(command: Command, args: Args<'_>) -> Vec<Vec<u8>> {
    let shown = if args.len() > KEPT_ARGUMENTS { KEPT_ARGUMENTS - 1 } else { args.len() };
    let mut kept: Vec<Vec<u8>> = args.first(shown).iter().map(shorten_one).collect();
    for (at, arg) in kept.iter_mut().enumerate() {
        if is_secret(command, args, at) {
            *arg = REDACTED.to_vec();
        }
    }
    if shown < args.len() {
        kept.push(format!("... ({} more arguments)", args.len() - shown).into_bytes());
    }
    kept
}

/// Settings whose values are passwords.
const SECRET_SETTINGS: &[&str] = &["requirepass", "masterauth", "masteruser", "tls-key-file-pass"];

/// What stands for a password.
pub(super) const REDACTED: &[u8] = b"(redacted)";

/// Whether an argument tells a password: it is neither kept nor shown.
pub(super) fn is_secret(command: Command, args: Args<'_>, at: usize) -> bool {
    let is_at = |at: usize, word: &str| args.get(at).is_some_and(|arg| is(arg, word));
    if is_at(0, "ACL") {
        return is_at(1, "SETUSER") && at >= 2;
    }
    if is_at(0, "CONFIG") && is_at(1, "SET") {
        return at >= 3 && at % 2 == 1 && SECRET_SETTINGS.iter().any(|name| is_at(at - 1, name));
    }
    let follows = |back: usize| at >= back && is_at(at - back, "AUTH");
    match command.spec.name {
        "AUTH" => at > 0,
        "HELLO" => at > 2 && (follows(1) || follows(2)),
        _ => false,
    }
}

fn shorten_one(arg: &[u8]) -> Vec<u8> {
    if arg.len() <= KEPT_BYTES {
        return arg.to_vec();
    }
    let more = format!("... ({} more bytes)", arg.len() - KEPT_BYTES);
    [&arg[..KEPT_BYTES], more.as_bytes()].concat()
}

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let count = match args.len() {
        2 => DEFAULT_COUNT,
        3 => parse_int(&args[2])
            .filter(|count| *count >= -1)
            .ok_or(CommandError::new("ERR count should be greater than or equal to -1"))?,
        _ => return Err(super::wrong_subcommand(ctx, args)),
    };
    let wanted = if count < 0 { usize::MAX } else { count as usize };
    let entries: Vec<_> = ctx.server.slowlog.newest().take(wanted).collect();
    ctx.reply.array(entries.len());
    for entry in entries {
        ctx.reply.array(6);
        ctx.reply.int(entry.id as i64);
        ctx.reply.int(entry.at as i64);
        ctx.reply.int(entry.took as i64);
        ctx.reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| ctx.reply.bulk(arg));
        ctx.reply.text(&entry.addr);
        ctx.reply.bulk(&entry.name);
    }
    Ok(Outcome::Unchanged)
}

fn len(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.reply.len(ctx.server.slowlog.len());
    Ok(Outcome::Unchanged)
}

fn reset(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.server.slowlog.trim(0);
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    super::help(
        ctx,
        &[
            "GET [<count>]",
            "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
            "    Entries are made of:",
            "    id, timestamp, time in microseconds, arguments array, client IP and port,",
            "    client name",
            "LEN",
            "    Return the length of the slowlog.",
            "RESET",
            "    Reset the slowlog.",
        ],
    )
}
