//! The interpreter: one Lua state a server, made at its first script; what a script may do.

use std::cell::RefCell;
use std::sync::Arc;

use mlua::{Function, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState};

use super::super::{CommandError, Ctx, Flags, script_session};
use super::{convert, libraries};
use crate::resp::{Args, OwnedRequest, Protocol};
use crate::state::ScriptWatch;

/// A Lua state, its libraries set up.
#[derive(Debug)]
pub(super) struct Interpreter {
    lua: Lua,
    /// Functions that work on the server while a script runs; filled for each run.
    raw: Table,
    compile: Function,
    has: Function,
    run: Function,
}

/// How many instructions a script executes before its time is looked at.
const LOOK_EVERY: u32 = 20_000;

impl Interpreter {
    fn new(watch: &Arc<ScriptWatch>) -> mlua::Result<Self> {
        let libs = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
        let lua = Lua::new_with(libs, LuaOptions::default())?;
        let raw = lua.create_table()?;
        let libraries = libraries::all(&lua, &raw)?;
        let parts: Table = lua
            .load(include_str!("prelude.lua"))
            .set_name("@prelude")
            .call((raw.clone(), libraries))?;
        let watch = Arc::clone(watch);
        lua.set_hook(HookTriggers::new().every_nth_instruction(LOOK_EVERY), move |_, _| {
            watch.look();
            if watch.is_killed() {
                return Err(mlua::Error::runtime("Script killed by user with SCRIPT KILL."));
            }
            Ok(VmState::Continue)
        })?;
        Ok(Interpreter {
            raw,
            compile: parts.get("compile")?,
            has: parts.get("has")?,
            run: parts.get("run")?,
            lua,
        })
    }
}

/// The server's interpreter, taken out of it so that a script can work on the server.
fn take(ctx: &mut Ctx<'_>) -> Result<Interpreter, CommandError> {
    match ctx.server.scripts.take_interpreter() {
        Some(interpreter) => Ok(interpreter),
        None => Interpreter::new(&ctx.server.script).map_err(internal),
    }
}

fn internal(error: mlua::Error) -> CommandError {
    CommandError::new(format!("ERR the interpreter failed: {error}"))
}

/// Compiles a script under its digest.
pub(super) fn compile(ctx: &mut Ctx<'_>, digest: &str, text: &[u8]) -> Result<(), CommandError> {
    let interpreter = take(ctx)?;
    let body = body_of(text).map_err(CommandError::new).and_then(|body| {
        let text = interpreter.lua.create_string(body).map_err(internal)?;
        let why: Option<String> = interpreter.compile.call((digest, text)).map_err(internal)?;
        match why {
            None => Ok(()),
            Some(why) => {
                Err(CommandError::new(format!("ERR Error compiling script (new function): {why}")))
            }
        }
    });
    ctx.server.scripts.put_interpreter(interpreter);
    body
}

/// The Lua of a script: its first line may be `#!lua flags=...`, which stays as an empty line.
fn body_of(text: &[u8]) -> Result<Vec<u8>, String> {
    if !text.starts_with(b"#!") {
        return Ok(text.to_vec());
    }
    let end = text.iter().position(|byte| *byte == b'\n').ok_or("ERR Invalid script shebang")?;
    let line = String::from_utf8_lossy(&text[2..end]).into_owned();
    let mut words = line.split_whitespace();
    let engine = words.next().unwrap_or_default();
    if engine != "lua" {
        return Err(format!("ERR Unexpected engine in script shebang: {engine}"));
    }
    for word in words {
        let Some(flags) = word.strip_prefix("flags=") else {
            return Err(format!("ERR Unknown lua shebang option: {word}"));
        };
        for flag in flags.split(',').filter(|flag| !flag.is_empty()) {
            let known =
                ["no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys"];
            if !known.contains(&flag) {
                return Err(format!("ERR Unexpected flag in script shebang: {flag}"));
            }
        }
    }
    Ok(text[end..].to_vec())
}

fn has_flag(text: &[u8], flag: &str) -> bool {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    text.starts_with(b"#!") && String::from_utf8_lossy(line).contains(flag)
}

/// Runs a compiled script and writes its reply.
pub(super) fn run(
    ctx: &mut Ctx<'_>,
    digest: &str,
    keys: Args<'_>,
    args: Args<'_>,
    read_only: bool,
) -> Result<(), CommandError> {
    let text = ctx.server.scripts.get(digest).map(<[u8]>::to_vec).unwrap_or_default();
    let interpreter = take(ctx)?;
    let compiled: bool = interpreter.has.call(digest).map_err(internal)?;
    ctx.server.scripts.put_interpreter(interpreter);
    if !compiled {
        compile(ctx, digest, &text)?;
    }
    let interpreter = take(ctx)?;
    let read_only = read_only || has_flag(&text, "no-writes");
    let threshold = ctx.server.config.busy_reply_threshold.max(0) as u64 * 1000;
    ctx.server.script.begin(threshold);
    let result = execute(&interpreter, ctx, digest, keys, args, read_only);
    ctx.server.script.end();
    ctx.server.scripts.put_interpreter(interpreter);
    match result {
        Ok(result) => result,
        Err(error) => Err(internal(error)),
    }
}

type Ran = Result<(), CommandError>;

fn execute(
    interpreter: &Interpreter,
    ctx: &mut Ctx<'_>,
    digest: &str,
    keys: Args<'_>,
    args: Args<'_>,
    read_only: bool,
) -> mlua::Result<Ran> {
    let Interpreter { lua, raw, run, .. } = interpreter;
    let list = |args: Args<'_>| -> mlua::Result<Table> {
        let strings: mlua::Result<Vec<_>> = args.iter().map(|arg| lua.create_string(arg)).collect();
        lua.create_sequence_from(strings?)
    };
    let (keys, args) = (list(keys)?, list(args)?);
    let session = script_session(ctx.session);
    let shared = RefCell::new((ctx, session));
    let outcome = lua.scope(|scope| {
        let call = scope.create_function(|lua, args: MultiValue| {
            let (ctx, session) = &mut *shared.borrow_mut();
            Ok(match call(lua, ctx, session, args, read_only)? {
                Ok(value) => (value, false),
                Err(error) => (Value::String(lua.create_string(error.text())?), true),
            })
        })?;
        raw.set("call", call)?;
        let setresp = scope.create_function(|_, version: Value| {
            let protocol = match version.as_integer().or(version.as_f64().map(|v| v as i64)) {
                Some(2) => Protocol::Resp2,
                Some(3) => Protocol::Resp3,
                _ => return Ok(false),
            };
            shared.borrow_mut().1.protocol = protocol;
            Ok(true)
        })?;
        raw.set("setresp", setresp)?;
        let (ok, value): (bool, Value) = run.call((digest, keys, args))?;
        Ok((ok, value))
    });
    let (ctx, session) = shared.into_inner();
    let protocol = session.protocol;
    let (ok, value) = match outcome {
        Ok(found) => found,
        Err(_) if ctx.server.script.is_killed() => return Ok(Err(killed(digest))),
        Err(error) => return Err(error),
    };
    if ok {
        convert::to_reply(&value, &mut ctx.reply, protocol);
        return Ok(Ok(()));
    }
    if ctx.server.script.is_killed() {
        return Ok(Err(killed(digest)));
    }
    let (text, line) = match &value {
        Value::Table(table) => {
            let text: Option<mlua::LuaString> = table.get("err")?;
            let line: Option<String> = table.get("line")?;
            let text = text.map(|text| String::from_utf8_lossy(&text.as_bytes()).into_owned());
            (text.unwrap_or_else(|| "ERR unknown error".to_owned()), line)
        }
        other => (format!("ERR {}", other.to_string()?), None),
    };
    let line = line.unwrap_or_else(|| "1".to_owned());
    Ok(Err(CommandError::new(format!("{text} script: {digest}, on @user_script:{line}."))))
}

fn killed(digest: &str) -> CommandError {
    CommandError::new(format!(
        "ERR Script killed by user with SCRIPT KILL. script: {digest}, on @user_script:1."
    ))
}

/// One redis.call: through the same door as every request.
fn call(
    lua: &Lua,
    ctx: &mut Ctx<'_>,
    session: &mut super::super::Session,
    args: MultiValue,
    read_only: bool,
) -> mlua::Result<Result<Value, CommandError>> {
    if args.is_empty() {
        return Ok(Err(CommandError::new(
            "ERR Please specify at least one argument for this redis lib call",
        )));
    }
    let mut words: Vec<Vec<u8>> = Vec::with_capacity(args.len());
    for arg in args {
        match arg {
            Value::String(text) => words.push(text.as_bytes().to_vec()),
            Value::Integer(number) => words.push(number.to_string().into_bytes()),
            Value::Number(number) => words.push(convert::number(number).into_bytes()),
            _ => {
                return Ok(Err(CommandError::new(
                    "ERR Lua redis lib command arguments must be strings or integers",
                )));
            }
        }
    }
    let request = OwnedRequest::new(&words);
    let mut out = Vec::new();
    let door = ctx.door;
    let protocol = session.protocol;
    let mut nested = ctx.nested(session, &mut out);
    let admitted = door.admit(&mut nested, request.args());
    let command = match admitted {
        Ok(command) => command,
        Err(error) => return Ok(Err(in_script(error))),
    };
    if command.spec.flags.has(Flags::NO_SCRIPT) {
        return Ok(Err(CommandError::NOT_FROM_SCRIPT));
    }
    let writes = command.spec.is_write();
    if writes && read_only {
        return Ok(Err(CommandError::new(
            "ERR Write commands are not allowed from read-only scripts.",
        )));
    }
    if writes {
        nested.server.script.set_wrote();
    }
    door.call(&mut nested, command, request.args());
    session.protocol = protocol;
    convert::from_reply(lua, &out)
}

/// Some errors read differently inside scripts.
fn in_script(error: CommandError) -> CommandError {
    let text = error.text();
    if text.starts_with("ERR unknown command") || text.starts_with("ERR unknown subcommand") {
        return CommandError::new("ERR Unknown Redis command called from script");
    }
    if text.starts_with("ERR wrong number of arguments") {
        return CommandError::new("ERR Wrong number of args calling Redis command from script");
    }
    error
}
