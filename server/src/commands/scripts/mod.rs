//! Lua scripts: EVAL, EVALSHA, SCRIPT; functions: FCALL, FUNCTION.

mod convert;
mod frames;
mod function_libraries;
mod functions;
mod interpreter;
mod json;
mod json_decode;
mod json_encode;
mod libraries;
mod msgpack;
mod msgpack_decode;
mod nest;
mod shebang;
mod structs;

pub use function_libraries::{RestorePolicy, adopt as adopt_libraries};
pub use functions::write_stats as function_stats;
use interpreter::{Call, Kind};
use sha1_smol::Sha1;

use super::args::{is, parse_int};
use super::spec::{Categories, Flags, Handler, KeyFlags, KeySpec};
use super::{CommandError, Ctx, Done, Outcome, Spec, monitor};
use crate::resp::Args;
use crate::state::{Running, ScriptFlags};

const KEYS: &[KeySpec] =
    &[KeySpec::counted(2, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE))];
const READ_KEYS: &[KeySpec] = &[KeySpec::counted(2, KeyFlags::RO.with(KeyFlags::ACCESS))];

const fn eval(name: &'static str, handler: Handler, keys: &'static [KeySpec]) -> Spec {
    Spec::new(name, -3, handler)
        .no_script()
        .flags(Flags::STALE.with(Flags::NO_MANDATORY_KEYS).with(Flags::MOVABLE_KEYS))
        .flags(Flags::SKIP_MONITOR)
        .of(Categories::SCRIPTING)
        .key_specs(keys)
        .since("2.6.0")
        .cost("Depends on the script that is executed.")
}

const fn sub(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler).no_script().of(Categories::SCRIPTING).since("2.6.0")
}

pub(super) const COMMANDS: &[Spec] = &[
    eval("EVAL", run_text, KEYS).flags(Flags::MAY_REPLICATE).doc(
        "script numkeys [key [key ...]] [arg [arg ...]]",
        "Executes a server-side Lua script.",
    ),
    eval("EVALSHA", run_digest, KEYS).flags(Flags::MAY_REPLICATE).doc(
        "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        "Executes a script by its SHA1 digest.",
    ),
    eval("EVAL_RO", run_text, READ_KEYS)
        .read()
        .since("7.0.0")
        .doc("script numkeys [key [key ...]] [arg [arg ...]]", "Executes a read-only Lua script."),
    eval("EVALSHA_RO", run_digest, READ_KEYS).read().since("7.0.0").doc(
        "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        "Executes a read-only script by digest.",
    ),
    Spec::container(
        "SCRIPT",
        &[
            sub("LOAD", 3, load)
                .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
                .flags(Flags::STALE)
                .doc("script", "Loads a Lua script to the cache."),
            sub("EXISTS", -3, exists)
                .tips(&["request_policy:all_shards", "response_policy:agg_logical_and"])
                .doc("sha1 [sha1 ...]", "Determines whether scripts exist in the cache."),
            sub("FLUSH", -2, flush)
                .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
                .doc("[ASYNC | SYNC]", "Removes all scripts from the cache."),
            sub("KILL", 2, kill)
                .tips(&["request_policy:all_shards", "response_policy:one_succeeded"])
                .flags(Flags::ALLOW_BUSY)
                .doc("", "Terminates the script that runs."),
            Spec::new("HELP", 2, help)
                .always()
                .of(Categories::SCRIPTING)
                .since("5.0.0")
                .doc("", "Returns helpful text."),
        ],
    )
    .since("2.6.0")
    .doc("subcommand", "A container for Lua scripts management commands."),
    functions::FCALL,
    functions::FCALL_RO,
    functions::COMMAND,
];

fn digest_of(text: &[u8]) -> String {
    Sha1::from(text).digest().to_string()
}

/// The keys and arguments behind a script: `numkeys key ... arg ...`.
fn keys_and_args<'a>(args: Args<'a>) -> Result<(Args<'a>, Args<'a>), CommandError> {
    counted_keys(args, CommandError::NOT_AN_INTEGER)
}

/// [`keys_and_args`] where a count that is none is this error.
fn counted_keys<'a>(
    args: Args<'a>,
    no_count: CommandError,
) -> Result<(Args<'a>, Args<'a>), CommandError> {
    let count = parse_int(&args[2]).ok_or(no_count)?;
    let room = args.len() - 3;
    if count > room as i64 {
        return Err(CommandError::new("ERR Number of keys can't be greater than number of args"));
    }
    let count = usize::try_from(count)
        .map_err(|_| CommandError::new("ERR Number of keys can't be negative"))?;
    Ok((args.first(3 + count).from(3), args.from(3 + count)))
}

fn run_text(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    monitor::feed_first(ctx, args);
    keys_and_args(args)?;
    let digest = digest_of(&args[1]);
    if !ctx.server.scripts.contains(&digest) {
        interpreter::compile(ctx, &digest, &args[1])?;
        if let Some(gone) = ctx.server.scripts.pass(digest.clone(), &args[1]) {
            interpreter::forget(ctx, &gone)?;
        }
    }
    run(ctx, &digest, args)
}

fn run_digest(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    const DIGITS: usize = 40;
    monitor::feed_first(ctx, args);
    let unknown = CommandError::new("NOSCRIPT No matching script. Please use EVAL.");
    if args.at(1).len() != DIGITS {
        return Err(unknown);
    }
    keys_and_args(args)?;
    let digest = String::from_utf8_lossy(&args[1]).to_ascii_lowercase();
    if !ctx.server.scripts.contains(&digest) {
        return Err(unknown);
    }
    run(ctx, &digest, args)
}

fn run(ctx: &mut Ctx<'_>, digest: &str, args: Args<'_>) -> Done {
    let text = ctx.server.scripts.get(digest).unwrap_or_default();
    interpreter::prepare(ctx, digest, &text)?;
    let flags = interpreter::flags_of(&text);
    let (keys, args_behind) = keys_and_args(args)?;
    call(ctx, flags, Running::Script, |read_only, may_exceed_memory| Call {
        kind: Kind::Scripts,
        name: digest,
        keys,
        args: args_behind,
        read_only,
        may_exceed_memory,
    })
}

/// Runs a script or a function that declares `flags`, or nothing, if it may be run now.
fn call<'c>(
    ctx: &mut Ctx<'_>,
    flags: Option<ScriptFlags>,
    running: Running,
    call: impl FnOnce(bool, bool) -> Call<'c>,
) -> Done {
    let is_read_only = ctx.command.spec.name.ends_with("_RO");
    let has_room = has_room(ctx);
    check(ctx, flags, is_read_only, has_room)?;
    let declares = |flag| flags.is_some_and(|flags| flags.has(flag));
    let read_only = is_read_only || declares(ScriptFlags::NO_WRITES);
    let may_exceed_memory = has_room || declares(ScriptFlags::ALLOW_OOM);
    ctx.server.effects.begin_group();
    let done = interpreter::run(ctx, call(read_only, may_exceed_memory), running);
    ctx.server.effects.withhold(false);
    ctx.server.effects.end_group();
    Ok(if done? { Outcome::Unchanged } else { Outcome::Failed })
}

/// Whether memory is within its limit where a script begins.
fn has_room(ctx: &mut Ctx<'_>) -> bool {
    ctx.server.config.maxmemory == 0
        || ctx.leaves_eviction_to_primary()
        || super::eviction::make_room(ctx)
}

/// Whether a script may be run now. One that declares what it does is judged before it begins.
fn check(
    ctx: &Ctx<'_>,
    flags: Option<ScriptFlags>,
    is_read_only: bool,
    has_room: bool,
) -> Result<(), CommandError> {
    let Some(declared) = flags else { return super::replication::check_script(ctx, None) };
    let may_write = !declared.has(ScriptFlags::NO_WRITES);
    if !has_room && may_write && !declared.has(ScriptFlags::ALLOW_OOM) {
        return Err(CommandError::OUT_OF_MEMORY);
    }
    let cannot_save = ctx.server.persistence.refuses_writes(&ctx.server.config);
    if may_write && cannot_save && !ctx.session.is_primary_link {
        return Err(CommandError::CANNOT_SAVE);
    }
    super::replication::check_script(ctx, flags)?;
    if may_write && is_read_only && !ctx.session.is_primary_link {
        return Err(CommandError::WRITE_FLAG_READ_ONLY);
    }
    Ok(())
}

fn load(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let digest = digest_of(&args[2]);
    if !ctx.server.scripts.contains(&digest) {
        interpreter::compile(ctx, &digest, &args[2])?;
    }
    ctx.server.scripts.load(digest.clone(), &args[2]);
    ctx.reply.text(&digest);
    Ok(Outcome::Unchanged)
}

fn exists(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    ctx.reply.array(args.len() - 2);
    for digest in args.from(2).iter() {
        let digest = String::from_utf8_lossy(digest).to_ascii_lowercase();
        ctx.reply.one_or_zero(ctx.server.scripts.contains(&digest));
    }
    Ok(Outcome::Unchanged)
}

fn flush(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let allowed = match args.get(2) {
        None => true,
        Some(mode) => args.len() == 3 && (is(mode, "ASYNC") || is(mode, "SYNC")),
    };
    if !allowed {
        return Err(CommandError::new("ERR SCRIPT FLUSH only support SYNC|ASYNC option"));
    }
    ctx.server.scripts.clear();
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

/// Whoever gets here holds the gate, so no script runs; see `Engine::end_script` for the other case.
fn kill(_: &mut Ctx<'_>, _: Args<'_>) -> Done {
    Err(CommandError::NOT_BUSY)
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    super::help(
        ctx,
        &[
            "EXISTS <sha1> [<sha1> ...]",
            "    Return information about the existence of the scripts in the script cache.",
            "FLUSH [ASYNC|SYNC]",
            "    Flush the Lua scripts cache. Very dangerous on replicas.",
            "KILL",
            "    Kill the currently executing Lua script.",
            "LOAD <script>",
            "    Load a script into the scripts cache without executing it.",
        ],
    )
}
