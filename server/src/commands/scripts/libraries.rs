//! Libraries for scripts: `redis`, `cjson`, `bit` and what they need of Rust.

use std::sync::Arc;

use mlua::{Lua, Table};
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
    all.set("bit", bit(lua)?)?;
    Ok(all)
}

fn redis(lua: &Lua) -> mlua::Result<Table> {
    let redis = lua.create_table()?;
    for (at, level) in ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"].iter().enumerate()
    {
        redis.set(*level, at)?;
    }
    for (name, value) in
        [("REPL_NONE", 0), ("REPL_AOF", 1), ("REPL_SLAVE", 2), ("REPL_REPLICA", 2), ("REPL_ALL", 3)]
    {
        redis.set(name, value)?;
    }
    redis.set("REDIS_VERSION", super::super::info::REDIS_VERSION)?;
    redis.set("REDIS_VERSION_NUM", 0x0007_000f)?;
    Ok(redis)
}

/// `bit`: operations on 32-bit integers, as BitOp has them.
fn bit(lua: &Lua) -> mlua::Result<Table> {
    fn word(value: f64) -> i32 {
        (value.round() as i64) as i32
    }
    let bit = lua.create_table()?;
    let fold = |name: &str, op: fn(i32, i32) -> i32| -> mlua::Result<()> {
        bit.set(
            name,
            lua.create_function(move |_, (first, rest): (f64, mlua::Variadic<f64>)| {
                Ok(rest.iter().fold(word(first), |all, next| op(all, word(*next))))
            })?,
        )
    };
    fold("band", |a, b| a & b)?;
    fold("bor", |a, b| a | b)?;
    fold("bxor", |a, b| a ^ b)?;
    let shift = |name: &str, op: fn(i32, u32) -> i32| -> mlua::Result<()> {
        bit.set(
            name,
            lua.create_function(move |_, (value, by): (f64, f64)| {
                Ok(op(word(value), word(by) as u32 & 31))
            })?,
        )
    };
    shift("lshift", |value, by| value << by)?;
    shift("rshift", |value, by| ((value as u32) >> by) as i32)?;
    shift("arshift", |value, by| value >> by)?;
    shift("rol", i32::rotate_left)?;
    shift("ror", i32::rotate_right)?;
    bit.set("tobit", lua.create_function(|_, value: f64| Ok(word(value)))?)?;
    bit.set("bnot", lua.create_function(|_, value: f64| Ok(!word(value)))?)?;
    bit.set("bswap", lua.create_function(|_, value: f64| Ok(word(value).swap_bytes()))?)?;
    bit.set(
        "tohex",
        lua.create_function(|_, (value, digits): (f64, Option<f64>)| {
            let digits = digits.map_or(8, |digits| word(digits).clamp(-8, 8));
            let text = format!("{:08x}", word(value) as u32);
            let text = text[8 - digits.unsigned_abs() as usize..].to_owned();
            Ok(if digits < 0 { text.to_uppercase() } else { text })
        })?,
    )?;
    Ok(bit)
}
