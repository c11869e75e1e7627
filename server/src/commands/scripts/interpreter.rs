//! The interpreter: one Lua state a server, made at its first script; what a script may do.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use mlua::{
    Function, HookTriggers, IntoLua, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState,
};

use super::super::{CommandError, Ctx, script_session};
use super::frames::keep_frames;
use super::libraries::REPL_REPLICA;
use super::shebang::{self, Broken, Shebang};
use super::{convert, libraries};
use crate::resp::{Args, OwnedRequest, Protocol};
use crate::state::{KeptInterpreter, Running, ScriptFlags, ScriptWatch};

/// A Lua state, its libraries set up.
#[derive(Debug)]
pub(super) struct Interpreter {
    lua: Lua,
    /// Functions that work on the server while a script runs; filled for each run.
    raw: Table,
    compile: Function,
    /// The digests of the scripts that are compiled.
    compiled: RefCell<HashSet<String>>,
    forget: Function,
    run: Function,
    load_library: Function,
    keep_function: Function,
    call_function: Function,
}

/// What an interpreter is for: scripts and functions do not see each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// EVAL's.
    Scripts,
    /// The libraries' functions.
    Functions,
}

impl Kind {
    /// What a chunk of code is called in errors.
    fn chunk(self) -> &'static str {
        match self {
            Kind::Scripts => "user_script",
            Kind::Functions => "user_function",
        }
    }
}

/// What is run, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'c> {
    /// By which interpreter.
    pub(super) kind: Kind,
    /// The script's digest, or the function's name.
    pub(super) name: &'c str,
    /// Its keys and its arguments.
    pub(super) keys: Args<'c>,
    pub(super) args: Args<'c>,
    /// It may not write.
    pub(super) read_only: bool,
    /// It may take memory beyond `maxmemory`.
    pub(super) may_exceed_memory: bool,
}

/// A function that a library has registered.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) about: crate::state::Function,
    callback: Function,
}

/// With more than this in use after a script, what it left behind is collected at once.
const KEPT_MEMORY: usize = 32 << 20;

/// How many instructions a script executes before its time is looked at.
const LOOK_EVERY: u32 = 20_000;

impl Interpreter {
    fn new(kind: Kind, watch: &Arc<ScriptWatch>) -> mlua::Result<Self> {
        let libs = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
        let lua = Lua::new_with(libs, LuaOptions::default())?;
        let raw = lua.create_table()?;
        let libraries = libraries::all(&lua, &raw, watch)?;
        let parts: Table = lua.load(include_str!("prelude.lua")).set_name("@prelude").call((
            raw.clone(),
            libraries,
            kind.chunk(),
        ))?;
        look_now_and_then(&lua, watch)?;
        Ok(Interpreter {
            raw,
            compile: parts.get("compile")?,
            compiled: RefCell::default(),
            forget: parts.get("forget")?,
            run: parts.get("run")?,
            load_library: parts.get("load_library")?,
            keep_function: parts.get("keep_function")?,
            call_function: parts.get("call_function")?,
            lua,
        })
    }
}

/// Has the script's time looked at, and the script ended when it is to end.
fn look_now_and_then(lua: &Lua, watch: &Arc<ScriptWatch>) -> mlua::Result<()> {
    let watch = Arc::clone(watch);
    lua.set_hook(HookTriggers::new().every_nth_instruction(LOOK_EVERY), move |lua, _| {
        watch.look();
        if !watch.is_killed() {
            return Ok(VmState::Continue);
        }
        // From now on every line fails, so that no `pcall` of the script's own keeps it going.
        lua.set_hook(HookTriggers::EVERY_LINE, |_, _| Err(kill_error()))?;
        Err(kill_error())
    })
}

fn kill_error() -> mlua::Error {
    mlua::Error::runtime("Script killed by user with SCRIPT KILL.")
}

/// Where the server keeps an interpreter.
fn kept<'c>(ctx: &'c mut Ctx<'_>, kind: Kind) -> &'c mut KeptInterpreter {
    match kind {
        Kind::Scripts => &mut ctx.server.scripts.interpreter,
        Kind::Functions => &mut ctx.server.functions.interpreter,
    }
}

/// One of the server's interpreters, taken out of it so that a script can work on the server.
fn take(ctx: &mut Ctx<'_>, kind: Kind) -> Result<Interpreter, CommandError> {
    match kept(ctx, kind).take() {
        Some(interpreter) => Ok(interpreter),
        None => Interpreter::new(kind, &ctx.server.script).map_err(internal),
    }
}

fn internal(error: mlua::Error) -> CommandError {
    CommandError::new(format!("ERR the interpreter failed: {error}"))
}

/// Does something with an interpreter; afterwards it is clean for the next script.
fn with<R>(
    ctx: &mut Ctx<'_>,
    kind: Kind,
    act: impl FnOnce(&mut Ctx<'_>, &Interpreter) -> mlua::Result<R>,
) -> Result<R, CommandError> {
    let interpreter = take(ctx, kind)?;
    let memory = ctx.server.config.lua_memory_limit as usize;
    let done = interpreter.lua.set_memory_limit(memory).and_then(|_| act(ctx, &interpreter));
    let tidied = tidy(&interpreter.lua, memory, &ctx.server.script);
    let bytes = interpreter.lua.used_memory();
    kept(ctx, kind).put(interpreter, bytes);
    tidied.and(done).map_err(internal)
}

/// Leaves nothing of a script that used much memory or had to be killed.
fn tidy(lua: &Lua, memory: usize, watch: &Arc<ScriptWatch>) -> mlua::Result<()> {
    if watch.is_killed() {
        look_now_and_then(lua, watch)?;
    }
    if lua.used_memory() > KEPT_MEMORY.min(memory / 4) {
        lua.gc_collect()?;
    }
    Ok(())
}

/// Makes values for a script outside the limit of its memory, which takes a fraction of the time:
/// what they are made of is in memory already, and has limits of its own.
fn freely<R>(lua: &Lua, limit: usize, make: impl FnOnce() -> mlua::Result<R>) -> mlua::Result<R> {
    lua.set_memory_limit(0)?;
    let made = make();
    lua.set_memory_limit(limit)?;
    made
}

/// Compiles a script under its digest.
pub(super) fn compile(ctx: &mut Ctx<'_>, digest: &str, text: &[u8]) -> Result<(), CommandError> {
    let (_, body) = declared(text).map_err(CommandError::new)?;
    let why = with(ctx, Kind::Scripts, |_, interpreter| {
        let text = interpreter.lua.create_string(keep_frames(body))?;
        let why: Option<mlua::LuaString> = interpreter.compile.call((digest, text))?;
        if why.is_none() {
            interpreter.compiled.borrow_mut().insert(digest.to_owned());
        }
        Ok(why)
    })?;
    match why {
        None => Ok(()),
        Some(why) => {
            let before: &[u8] = b"ERR Error compiling script (new function): ";
            Err(CommandError::of(&[before, &why.as_bytes()]))
        }
    }
}

/// Forgets a compiled script.
pub(super) fn forget(ctx: &mut Ctx<'_>, digest: &str) -> Result<(), CommandError> {
    with(ctx, Kind::Scripts, |_, interpreter| {
        interpreter.compiled.borrow_mut().remove(digest);
        interpreter.forget.call(digest)
    })
}

/// What a script declares in its first line, `#!lua flags=...`, and its Lua, in which that line stays
/// as an empty one. None: it declares nothing.
type Declared<'t> = (Option<ScriptFlags>, &'t [u8]);

fn declared(text: &[u8]) -> Result<Declared<'_>, String> {
    let Shebang { engine, options, body } = match shebang::read(text) {
        Ok(shebang) => shebang,
        Err(Broken::Missing) => return Ok((None, text)),
        Err(Broken::Endless) => return Err("ERR Invalid script shebang".to_owned()),
        Err(Broken::Unquoted) => return Err("ERR Invalid engine in script shebang".to_owned()),
    };
    if engine != "#!lua" {
        return Err(format!("ERR Unexpected engine in script shebang: {engine}"));
    }
    let mut all = ScriptFlags::default();
    for word in &options {
        let Some(flags) = word.strip_prefix("flags=") else {
            return Err(format!("ERR Unknown lua shebang option: {word}"));
        };
        for flag in flags.split(',').filter(|_| !flags.is_empty()) {
            // Here, other than where functions are registered, capitals are another flag.
            let known = ScriptFlags::named(flag).filter(|_| flag == flag.to_ascii_lowercase());
            let unknown = || format!("ERR Unexpected flag in script shebang: {flag}");
            all = all.with(known.ok_or_else(unknown)?);
        }
    }
    Ok((Some(all), body))
}

/// What a script declares; None: nothing.
pub(super) fn flags_of(text: &[u8]) -> Option<ScriptFlags> {
    declared(text).ok().and_then(|(flags, _)| flags)
}

/// Sees to it that a script is compiled: the interpreter may be a new one.
pub(super) fn prepare(ctx: &mut Ctx<'_>, digest: &str, text: &[u8]) -> Result<(), CommandError> {
    let is_compiled = |interpreter: &Interpreter| interpreter.compiled.borrow().contains(digest);
    match with(ctx, Kind::Scripts, |_, interpreter| Ok(is_compiled(interpreter)))? {
        true => Ok(()),
        false => compile(ctx, digest, text),
    }
}

/// Loading a library may take so long, in microseconds.
const LOADING_LIMIT: u64 = 500_000;

/// Runs the code of a library, which registers functions; none is kept yet.
pub(super) fn load_library(
    ctx: &mut Ctx<'_>,
    code: &[u8],
) -> Result<Vec<Registered>, CommandError> {
    let loaded = with(ctx, Kind::Functions, |ctx, interpreter| {
        let memory = ctx.server.config.lua_memory_limit as usize;
        ctx.server.script.begin_loading(LOADING_LIMIT, memory);
        let loaded = load_into(interpreter, code);
        ctx.server.script.end();
        if ctx.server.script.is_killed() {
            return Ok(Err(b"Error registering functions: ERR FUNCTION LOAD timeout".to_vec()));
        }
        loaded
    })?;
    loaded.map_err(|why| CommandError::of(&[b"ERR ", &why]))
}

type LoadedInto = mlua::Result<Result<Vec<Registered>, Vec<u8>>>;

fn load_into(interpreter: &Interpreter, code: &[u8]) -> LoadedInto {
    let code = interpreter.lua.create_string(keep_frames(code))?;
    let (made, why): (Option<Vec<Table>>, Option<mlua::LuaString>) =
        interpreter.load_library.call(code)?;
    let Some(made) = made else {
        return Ok(Err(why.map(|why| why.as_bytes().to_vec()).unwrap_or_default()));
    };
    let registered = made.iter().map(|made| {
        let names: Vec<String> = made.get("flags")?;
        let flags = names.iter().filter_map(|name| ScriptFlags::named(name));
        let description: Option<mlua::LuaString> = made.get("description")?;
        let about = crate::state::Function {
            name: made.get("function_name")?,
            description: description.map(|text| text.as_bytes().to_vec()),
            flags: flags.fold(ScriptFlags::default(), ScriptFlags::with),
        };
        Ok(Registered { about, callback: made.get("callback")? })
    });
    registered.collect::<mlua::Result<Vec<_>>>().map(Ok)
}

/// Keeps functions under their names.
pub(super) fn keep(ctx: &mut Ctx<'_>, functions: Vec<Registered>) -> Result<(), CommandError> {
    with(ctx, Kind::Functions, |_, interpreter| {
        functions.into_iter().try_for_each(|function| {
            let name = function.about.name.to_ascii_lowercase();
            interpreter.keep_function.call((name, function.callback))
        })
    })
}

/// Forgets the functions of these names.
pub(super) fn forget_functions<'n>(
    ctx: &mut Ctx<'_>,
    mut names: impl Iterator<Item = &'n str>,
) -> Result<(), CommandError> {
    with(ctx, Kind::Functions, |_, interpreter| {
        names.try_for_each(|name| {
            interpreter.keep_function.call((name.to_ascii_lowercase(), Value::Nil))
        })
    })
}

/// Runs a compiled script, or a function, and writes its reply. False: that is an error.
pub(super) fn run(
    ctx: &mut Ctx<'_>,
    call: Call<'_>,
    running: Running,
) -> Result<bool, CommandError> {
    let threshold = ctx.server.config.busy_reply_threshold.max(0) as u64 * 1000;
    with(ctx, call.kind, |ctx, interpreter| {
        let memory = ctx.server.config.lua_memory_limit as usize;
        ctx.server.script.begin(running, threshold, memory);
        let result = execute(interpreter, ctx, call);
        ctx.server.script.end();
        result
    })?
}

type Ran = Result<bool, CommandError>;

/// Bytes that become a string of Lua where they go.
struct Bytes<'b>(&'b [u8]);

impl IntoLua for Bytes<'_> {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        lua.create_string(self.0).map(Value::String)
    }
}

/// What the prelude asks the server for beside `redis.call`, which is 1.
const CHECK: u8 = 2;
const SET_PROTOCOL: u8 = 3;
const SET_REPLICATION: u8 = 4;

fn execute(interpreter: &Interpreter, ctx: &mut Ctx<'_>, what: Call<'_>) -> mlua::Result<Ran> {
    let Interpreter { lua, raw, .. } = interpreter;
    let Call { kind, name, keys, args, read_only, .. } = what;
    // One at a time: Lua lends but some thousand values at once.
    let list = |args: Args<'_>| lua.create_sequence_from(args.iter().map(Bytes));
    let memory = ctx.server.config.lua_memory_limit as usize;
    let (keys, args) = freely(lua, memory, || Ok((list(keys)?, list(args)?)))?;
    let mut session = script_session(ctx.session);
    session.may_exceed_memory = what.may_exceed_memory;
    let shared = RefCell::new((ctx, session));
    let outcome = lua.scope(|scope| {
        // One function for all: each that is made costs every script.
        let serve = |lua: &Lua, (asked, args): (u8, MultiValue)| {
            let (ctx, session) = &mut *shared.borrow_mut();
            let served = match asked {
                CHECK => may_call(ctx, args).map(Value::Boolean).map_err(Failed::from),
                SET_PROTOCOL => Ok(Value::Boolean(set_protocol(session, &args))),
                SET_REPLICATION => {
                    let flags = first_integer(&args).unwrap_or_default();
                    ctx.server.effects.withhold(flags & REPL_REPLICA == 0);
                    Ok(Value::Nil)
                }
                _ => call(lua, ctx, session, args, read_only)?,
            };
            Ok(match served {
                Ok(value) => (value, false, false),
                Err(Failed { error, is_counted }) => {
                    (Value::String(lua.create_string(error.text())?), true, is_counted)
                }
            })
        };
        freely(lua, memory, || raw.raw_set("serve", scope.create_function(serve)?))?;
        let run = match kind {
            Kind::Scripts => &interpreter.run,
            Kind::Functions => &interpreter.call_function,
        };
        let (ok, value): (bool, Value) = run.call((name.to_ascii_lowercase(), keys, args))?;
        Ok((ok, value))
    });
    let (ctx, session) = shared.into_inner();
    let protocol = session.protocol;
    let (ok, value) = match outcome {
        Ok(found) => found,
        Err(_) if ctx.server.script.is_killed() => return Ok(Err(killed(kind, name))),
        Err(error) => return Err(error),
    };
    if ok && !ctx.server.script.is_killed() {
        let errors = freely(lua, memory, || {
            Ok(convert::to_reply(&value, &mut ctx.reply, protocol, &ctx.server.script))
        })?;
        errors.counted.iter().for_each(|text| ctx.server.stats.error(text));
        if !ctx.server.script.is_killed() {
            return Ok(Ok(errors.all == 0));
        }
    }
    if ctx.server.script.is_killed() {
        return Ok(Err(killed(kind, name)));
    }
    let failure = failure(&value)?;
    let line = failure.line.unwrap_or_else(|| "1".to_owned());
    let place = format!(" script: {name}, on @{}:{line}.", kind.chunk());
    let error = CommandError::of(&[&failure.text, place.as_bytes()]);
    if !failure.is_counted {
        return Ok(Err(error));
    }
    ctx.reply.error(error.text());
    Ok(Ok(false))
}

/// An error that has ended a script.
struct Failure {
    text: Vec<u8>,
    line: Option<String>,
    /// It is a command's, and was counted there.
    is_counted: bool,
}

fn failure(value: &Value) -> mlua::Result<Failure> {
    let Value::Table(table) = value else {
        let text = format!("ERR {}", value.to_string()?).into_bytes();
        return Ok(Failure { text, line: None, is_counted: false });
    };
    let text: Option<mlua::LuaString> = table.get("err")?;
    let text = text.map(|text| text.as_bytes().to_vec());
    Ok(Failure {
        text: text.unwrap_or_else(|| b"ERR unknown error".to_vec()),
        line: table.get("line")?,
        is_counted: convert::is_counted(table),
    })
}

fn killed(kind: Kind, name: &str) -> CommandError {
    CommandError::new(format!(
        "ERR Script killed by user with SCRIPT KILL. script: {name}, on @{}:1.",
        kind.chunk()
    ))
}

/// Why a redis.call has failed; whether that was counted as the command's.
struct Failed {
    error: CommandError,
    is_counted: bool,
}

impl From<CommandError> for Failed {
    fn from(error: CommandError) -> Self {
        Failed { error, is_counted: false }
    }
}

/// One redis.call: through the same door as every request.
fn call(
    lua: &Lua,
    ctx: &mut Ctx<'_>,
    session: &mut super::super::Session,
    args: MultiValue,
    read_only: bool,
) -> mlua::Result<Result<Value, Failed>> {
    let request = match request(args) {
        Ok(request) => request,
        Err(error) => return Ok(Err(error.into())),
    };
    let mut out = Vec::new();
    let door = ctx.door;
    let protocol = session.protocol;
    let mut nested = ctx.nested(session, &mut out);
    let admitted = door.admit(&mut nested, request.args());
    let command = match admitted {
        Ok(command) => command,
        Err(error) => return Ok(Err(in_script(error).into())),
    };
    let writes = command.spec.is_write();
    if writes && read_only {
        return Ok(Err(CommandError::new(
            "ERR Write commands are not allowed from read-only scripts.",
        )
        .into()));
    }
    if writes {
        nested.server.script.set_wrote();
    }
    door.call(&mut nested, command, request.args());
    let is_too_long = nested.reply.is_too_long();
    session.protocol = protocol;
    // What has begun to write goes on: it can no longer be stopped without leaving a half.
    session.may_exceed_memory |= writes;
    if is_too_long {
        let error = CommandError::new("ERR the reply is longer than proto-max-reply-len");
        return Ok(Err(error.into()));
    }
    let memory = ctx.server.config.lua_memory_limit as usize;
    let read = freely(lua, memory, || convert::from_reply(lua, &out))?;
    Ok(read.map_err(|error| Failed { error, is_counted: true }))
}

/// The request that a script's arguments make.
fn request(args: MultiValue) -> Result<OwnedRequest, CommandError> {
    if args.is_empty() {
        return Err(CommandError::new(
            "ERR Please specify at least one argument for this redis lib call",
        ));
    }
    let word = |arg| match arg {
        Value::String(text) => Ok(text.as_bytes().to_vec()),
        Value::Integer(number) => Ok(number.to_string().into_bytes()),
        Value::Number(number) => Ok(convert::number(number).into_bytes()),
        _ => Err(CommandError::new(
            "ERR Lua redis lib command arguments must be strings or integers",
        )),
    };
    let words: Result<Vec<Vec<u8>>, CommandError> = args.into_iter().map(word).collect();
    Ok(OwnedRequest::new(words?))
}

/// redis.setresp. False: there is no such version.
fn set_protocol(session: &mut super::super::Session, args: &MultiValue) -> bool {
    session.protocol = match first_integer(args) {
        Some(2) => Protocol::Resp2,
        Some(3) => Protocol::Resp3,
        _ => return false,
    };
    true
}

/// The whole number that the first argument is, or what is left of it without its fraction.
fn first_integer(args: &MultiValue) -> Option<i64> {
    let number = args.front()?;
    number.as_integer().or(number.as_f64().map(|number| number as i64))
}

/// redis.acl_check_cmd: whether the script's caller may execute a request.
fn may_call(ctx: &Ctx<'_>, args: MultiValue) -> Result<bool, CommandError> {
    let request = request(args)?;
    let command = ctx
        .table
        .find(request.args())
        .map_err(|_| CommandError::new("ERR Invalid command passed to redis.acl_check_cmd()"))?;
    Ok(super::super::acl::allows(ctx, command, request.args()))
}

/// Some errors read differently inside scripts.
fn in_script(error: CommandError) -> CommandError {
    let text = error.text();
    if text.starts_with(b"ERR unknown command") || text.starts_with(b"ERR unknown subcommand") {
        return CommandError::new("ERR Unknown Redis command called from script");
    }
    if text.starts_with(b"ERR wrong number of arguments") {
        return CommandError::new("ERR Wrong number of args calling Redis command from script");
    }
    error
}
