//! Functions: FCALL and FCALL_RO, and FUNCTION for the libraries they are in.

use super::super::args::is;
use super::super::spec::{Categories, Flags, Handler, KeySpec};
use super::super::{CommandError, Ctx, Done, Outcome, Spec, monitor};
use super::function_libraries::{self as libraries, RestorePolicy};
use super::interpreter::{Call, Kind};
use super::{KEYS, READ_KEYS, counted_keys};
use crate::rdb::{DumpError, Timed, Writer, read_libraries, version_for};
use crate::resp::{Args, Reply};
use crate::state::{Library, Running, ScriptWatch};
use crate::store::glob;

const fn fcall(name: &'static str, keys: &'static [KeySpec]) -> Spec {
    Spec::new(name, -3, call)
        .no_script()
        .flags(Flags::STALE.with(Flags::NO_MANDATORY_KEYS).with(Flags::MOVABLE_KEYS))
        .flags(Flags::SKIP_MONITOR)
        .of(Categories::SCRIPTING)
        .key_specs(keys)
        .since("7.0.0")
        .cost("Depends on the function that is executed.")
}

pub(super) const FCALL: Spec = fcall("FCALL", KEYS)
    .flags(Flags::MAY_REPLICATE)
    .doc("function numkeys [key [key ...]] [arg [arg ...]]", "Invokes a function.");

pub(super) const FCALL_RO: Spec = fcall("FCALL_RO", READ_KEYS)
    .read()
    .doc("function numkeys [key [key ...]] [arg [arg ...]]", "Invokes a read-only function.");

const fn sub(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler).no_script().of(Categories::SCRIPTING).since("7.0.0")
}

const ALL_SHARDS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

pub(super) const COMMAND: Spec = Spec::container(
    "FUNCTION",
    &[
        sub("LOAD", -3, load)
            .write()
            .deny_oom()
            .tips(ALL_SHARDS)
            .doc("[REPLACE] function-code", "Creates a library."),
        sub("DELETE", 3, delete)
            .write()
            .tips(ALL_SHARDS)
            .doc("library-name", "Deletes a library and its functions."),
        sub("DUMP", 2, dump).cost("O(N)").doc("", "Returns all libraries as a serialized value."),
        sub("RESTORE", -3, restore)
            .write()
            .deny_oom()
            .tips(ALL_SHARDS)
            .cost("O(N)")
            .doc("serialized-value [FLUSH | APPEND | REPLACE]", "Restores libraries from a dump."),
        sub("FLUSH", -2, flush)
            .write()
            .tips(ALL_SHARDS)
            .doc("[ASYNC | SYNC]", "Deletes all libraries and functions."),
        sub("KILL", 2, kill)
            .flags(Flags::ALLOW_BUSY)
            .tips(&["request_policy:all_shards", "response_policy:one_succeeded"])
            .doc("", "Terminates the function that runs."),
        sub("LIST", -2, list)
            .tips(&["nondeterministic_output_order"])
            .doc("[LIBRARYNAME library-name-pattern] [WITHCODE]", "Returns the libraries."),
        sub("STATS", 2, stats)
            .flags(Flags::ALLOW_BUSY)
            .tips(&[
                "nondeterministic_output",
                "request_policy:all_shards",
                "response_policy:special",
            ])
            .doc("", "Returns what is known of the function that runs, and of the engines."),
        Spec::new("HELP", 2, help)
            .flags(Flags::LOADING.with(Flags::STALE))
            .of(Categories::SCRIPTING)
            .since("7.0.0")
            .doc("", "Returns helpful text."),
    ],
)
.since("7.0.0")
.doc("subcommand", "A container for function commands.");

fn call(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    monitor::feed_first(ctx, args);
    let name = String::from_utf8_lossy(&args[1]).into_owned();
    let unknown = || CommandError::new("ERR Function not found");
    let function = ctx.server.functions.find(&name).ok_or_else(unknown)?;
    let (name, flags) = (function.name.clone(), function.flags);
    let no_count = CommandError::new("ERR Bad number of keys provided");
    let (keys, behind) = counted_keys(args, no_count)?;
    let command = args.iter().map(<[u8]>::to_vec).collect();
    let running = Running::Function { name: name.clone(), command };
    super::call(ctx, Some(flags), running, |read_only, may_exceed_memory| Call {
        kind: Kind::Functions,
        name: &name,
        keys,
        args: behind,
        read_only,
        may_exceed_memory,
    })
}

fn load(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let last = args.len() - 1;
    let options: Vec<&[u8]> = args.first(last).from(2).iter().collect();
    if let Some(option) = options.iter().find(|option| !is(option, "REPLACE")) {
        return Err(CommandError::quoting("ERR Unknown option given: ", option, ""));
    }
    let name = libraries::load(ctx, &args[last], !options.is_empty())?;
    ctx.reply.text(&name);
    Ok(Outcome::Wrote)
}

fn delete(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if !libraries::delete(ctx, &String::from_utf8_lossy(&args[2]))? {
        return Err(CommandError::new("ERR Library not found"));
    }
    ctx.reply.ok();
    Ok(Outcome::Wrote)
}

fn dump(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    let version =
        version_for(&ctx.server.config, Timed::Fields(0)).map_err(super::super::saving::refused)?;
    let mut writer = Writer::new(version, ctx.server.config.rdbcompression);
    let mut payload = Vec::new();
    for library in ctx.server.functions.libraries() {
        writer.library(&mut payload, &library.code);
    }
    writer.end_dump(&mut payload, 0);
    ctx.reply.bulk(&payload);
    Ok(Outcome::Unchanged)
}

fn restore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if args.len() > 4 {
        return Err(super::super::wrong_subcommand(ctx, args));
    }
    let policy = match args.get(3) {
        None => RestorePolicy::Append,
        Some(word) if is(word, "APPEND") => RestorePolicy::Append,
        Some(word) if is(word, "REPLACE") => RestorePolicy::Replace,
        Some(word) if is(word, "FLUSH") => RestorePolicy::Flush,
        Some(_) => {
            return Err(CommandError::new(
                "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
            ));
        }
    };
    let codes = read_libraries(&args[2], ctx.server.dump_options()).map_err(|why| match why {
        DumpError::Footer => CommandError::BAD_PAYLOAD,
        DumpError::Kind => CommandError::new("ERR given type is not a function"),
        DumpError::Data => CommandError::new("ERR failed loading the given functions payload"),
    })?;
    libraries::adopt(ctx, codes, policy)?;
    ctx.reply.ok();
    Ok(Outcome::Wrote)
}

fn flush(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    match args.get(2) {
        _ if args.len() > 3 => return Err(super::super::wrong_subcommand(ctx, args)),
        Some(mode) if !is(mode, "SYNC") && !is(mode, "ASYNC") => {
            return Err(CommandError::new("ERR FUNCTION FLUSH only supports SYNC|ASYNC option"));
        }
        _ => {}
    }
    libraries::clear(ctx);
    ctx.reply.ok();
    Ok(Outcome::Wrote)
}

/// Whoever gets here holds the gate, so nothing runs; see `Engine::end_script` for the other case.
fn kill(_: &mut Ctx<'_>, _: Args<'_>) -> Done {
    Err(CommandError::NOT_BUSY)
}

fn list(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (mut with_code, mut pattern, mut at) = (false, None, 2);
    while let Some(option) = args.get(at) {
        if !with_code && is(option, "WITHCODE") {
            with_code = true;
        } else if pattern.is_none() && is(option, "LIBRARYNAME") {
            at += 1;
            let given = args.get(at);
            let missing = || CommandError::new("ERR library name argument was not given");
            pattern = Some(given.ok_or_else(missing)?);
        } else {
            return Err(CommandError::quoting("ERR Unknown argument ", option, ""));
        }
        at += 1;
    }
    let is_wanted = |library: &&Library| {
        pattern.is_none_or(|pattern| glob::matches(pattern, library.name.as_bytes(), true))
    };
    let wanted: Vec<&Library> = ctx.server.functions.libraries().filter(is_wanted).collect();
    ctx.reply.array(wanted.len());
    for library in wanted {
        show(&mut ctx.reply, library, with_code);
    }
    Ok(Outcome::Unchanged)
}

fn show(reply: &mut Reply<'_>, library: &Library, with_code: bool) {
    reply.map(if with_code { 4 } else { 3 });
    for (name, value) in [("library_name", library.name.as_str()), ("engine", "LUA")] {
        reply.text(name);
        reply.text(value);
    }
    reply.text("functions");
    reply.array(library.functions.len());
    for function in &library.functions {
        reply.map(3);
        reply.text("name");
        reply.text(&function.name);
        reply.text("description");
        reply.bulk_or_null(function.description.as_deref());
        reply.text("flags");
        let flags: Vec<&str> = function.flags.names().collect();
        reply.set(flags.len());
        flags.iter().for_each(|flag| reply.status(flag));
    }
    if with_code {
        reply.text("library_code");
        reply.bulk(&library.code);
    }
}

fn stats(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    write_stats(&mut ctx.reply, &ctx.server.script, false);
    Ok(Outcome::Unchanged)
}

/// Writes what is known of functions; `is_busy`: of the one that runs, too.
pub fn write_stats(reply: &mut Reply<'_>, watch: &ScriptWatch, is_busy: bool) {
    reply.map(2);
    reply.text("running_script");
    match watch.running() {
        Running::Function { name, command } if is_busy => {
            reply.map(3);
            reply.text("name");
            reply.text(&name);
            reply.text("command");
            reply.array(command.len());
            command.iter().for_each(|word| reply.bulk(word));
            reply.text("duration_ms");
            reply.int((watch.took() / 1000) as i64);
        }
        _ => reply.null(),
    }
    reply.text("engines");
    reply.map(1);
    reply.text("LUA");
    reply.map(2);
    let (libraries, functions) = watch.functions();
    for (name, count) in [("libraries_count", libraries), ("functions_count", functions)] {
        reply.text(name);
        reply.len(count);
    }
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    super::super::help(
        ctx,
        &[
            "LOAD [REPLACE] <FUNCTION CODE>",
            "    Create a new library; its name stands in the first line of its code.",
            "DELETE <LIBRARY NAME>",
            "    Delete the given library.",
            "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
            "    Return general information on all the libraries.",
            "STATS",
            "    Return information about the current function running and the engines.",
            "KILL",
            "    Kill the current running function.",
            "FLUSH [ASYNC|SYNC]",
            "    Delete all the libraries.",
            "DUMP",
            "    Return a serialized payload of all the libraries, for FUNCTION RESTORE.",
            "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
            "    Restore the libraries of the payload; the default is APPEND.",
        ],
    )
}
