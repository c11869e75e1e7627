//! Libraries for scripts: `redis`, `cjson`, `bit` and what they need of Rust.

use std::sync::Arc;

use mlua::{IntoLua, Lua, MultiValue, Table, Value};
use sha1_smol::Sha1;

use crate::state::ScriptWatch;

/// All libraries by name. `raw` gets the functions that the prelude builds on.
pub(super) fn all(lua: &Lua, raw: &Table, watch: &Arc<ScriptWatch>) -> mlua::Result<Table> {
    let failure = lua.create_table()?;
    raw.set("failure", failure.clone())?;
    raw.set(
        "sha1hex",
        lua.create_function(|_, text: mlua::LuaString| {
            Ok(Sha1::from(&*text.as_bytes()).digest().to_string())
        })?,
    )?;
    raw.set(
        "log",
        lua.create_function(|_, (level, text): (i64, String)| {
            match level {
                0 => tracing::trace!("{text}"),
                1 => tracing::debug!("{text}"),
                2 => tracing::info!("{text}"),
                _ => tracing::warn!("{text}"),
            }
            Ok(())
        })?,
    )?;
    let all = lua.create_table()?;
    all.set("redis", redis(lua)?)?;
    all.set("cjson", super::json::library(lua, &failure, watch)?)?;
    all.set("cmsgpack", super::msgpack::library(lua, &failure, watch)?)?;
    all.set("struct", super::structs::library(lua, &failure, watch)?)?;
    all.set("bit", bit(lua, &failure)?)?;
    Ok(all)
}

/// Flags of `redis.set_repl`: whether a file gets what is written, and whether replicas do.
const REPL_AOF: i64 = 1;
pub(super) const REPL_REPLICA: i64 = 2;

fn redis(lua: &Lua) -> mlua::Result<Table> {
    let redis = lua.create_table()?;
    for (at, level) in ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"].iter().enumerate()
    {
        redis.set(*level, at)?;
    }
    let flags = [
        ("REPL_NONE", 0),
        ("REPL_AOF", REPL_AOF),
        ("REPL_SLAVE", REPL_REPLICA),
        ("REPL_REPLICA", REPL_REPLICA),
        ("REPL_ALL", REPL_AOF | REPL_REPLICA),
    ];
    for (name, value) in flags {
        redis.set(name, value)?;
    }
    redis.set("REDIS_VERSION", super::super::info::REDIS_VERSION)?;
    redis.set("REDIS_VERSION_NUM", 0x0007_000f)?;
    Ok(redis)
}

/// `bit`: operations on 32-bit integers, as BitOp has them.
fn bit(lua: &Lua, failure: &Table) -> mlua::Result<Table> {
    fn word(value: f64) -> i32 {
        (value.round_ties_even() as i64) as i32
    }
    let bit = Bit { lua, failure, table: lua.create_table()? };
    for (name, op) in [
        ("band", (|a, b| a & b) as fn(i32, i32) -> i32),
        ("bor", |a, b| a | b),
        ("bxor", |a, b| a ^ b),
    ] {
        bit.add(name, 1, move |numbers| {
            numbers.iter().copied().map(word).reduce(op).unwrap_or_default()
        })?;
    }
    for (name, op) in [
        ("lshift", (|value, by| value << by) as fn(i32, u32) -> i32),
        ("rshift", |value, by| ((value as u32) >> by) as i32),
        ("arshift", |value, by| value >> by),
        ("rol", i32::rotate_left),
        ("ror", i32::rotate_right),
    ] {
        bit.add(name, 2, move |numbers| op(word(numbers[0]), word(numbers[1]) as u32 & 31))?;
    }
    bit.add("tobit", 1, |numbers| word(numbers[0]))?;
    bit.add("bnot", 1, |numbers| !word(numbers[0]))?;
    bit.add("bswap", 1, |numbers| word(numbers[0]).swap_bytes())?;
    bit.add("tohex", 1, |numbers| {
        let digits = numbers.get(1).map_or(8, |digits| word(*digits).clamp(-8, 8));
        let text = format!("{:08x}", word(numbers[0]) as u32);
        let text = text[8 - digits.unsigned_abs() as usize..].to_owned();
        if digits < 0 { text.to_uppercase() } else { text }
    })?;
    Ok(bit.table)
}

/// The library while its functions are added.
struct Bit<'l> {
    lua: &'l Lua,
    failure: &'l Table,
    table: Table,
}

impl Bit<'_> {
    /// A function of at least so many numbers.
    fn add<R: IntoLua>(
        &self,
        name: &'static str,
        least: usize,
        act: impl Fn(&[f64]) -> R + Send + 'static,
    ) -> mlua::Result<()> {
        let failure = self.failure.clone();
        let function = self.lua.create_function(move |lua, args: MultiValue| {
            Ok(match numbers(lua, name, &args, least)? {
                Ok(numbers) => (act(&numbers).into_lua(lua)?, None),
                Err(why) => (Value::Table(failure.clone()), Some(why)),
            })
        })?;
        self.table.set(name, function)
    }
}

/// All arguments as numbers, or what Lua says of one that is none.
fn numbers(
    lua: &Lua,
    function: &str,
    args: &MultiValue,
    least: usize,
) -> mlua::Result<Result<Vec<f64>, String>> {
    let mut numbers = Vec::with_capacity(args.len());
    for at in 0..args.len().max(least) {
        let value = args.get(at);
        match lua.coerce_number(value.cloned().unwrap_or(Value::Nil))? {
            Some(number) => numbers.push(number),
            None => {
                let found = value.map_or("no value", Value::type_name);
                return Ok(Err(format!(
                    "bad argument #{} to '{function}' (number expected, got {found})",
                    at + 1
                )));
            }
        }
    }
    Ok(Ok(numbers))
}
