//! `cmsgpack`: MessagePack for scripts.

use std::sync::Arc;

use mlua::{Lua, MultiValue, Table, Value};
use rmp::encode;

use super::msgpack_decode::{Failure, decode};
use crate::state::ScriptWatch;

/// How deep tables may nest; deeper ones are packed as nil, as in Redis.
const DEEPEST: usize = 16;

/// So many values a call takes or returns: Lua's functions hold but some thousand.
const MOST_VALUES: usize = 7900;

/// `pack`, `unpack`, `unpack_one` and `unpack_limit`.
pub(super) fn library(lua: &Lua, failure: &Table, watch: &Arc<ScriptWatch>) -> mlua::Result<Table> {
    let library = lua.create_table()?;
    library.set("_NAME", "cmsgpack")?;
    library.set("_VERSION", "lua-cmsgpack 0.4.0")?;
    let (failed, watch) = (failure.clone(), Arc::clone(watch));
    library.set(
        "pack",
        lua.create_function(move |lua, values: MultiValue| {
            if values.is_empty() {
                let why = "bad argument #0 to 'pack' (MessagePack pack needs input.)";
                return Ok((Value::Table(failed.clone()), Some(why.to_owned())));
            }
            if values.len() > MOST_VALUES / 2 {
                let why = "bad argument #0 to 'pack' (Too many arguments for MessagePack pack.)";
                return Ok((Value::Table(failed.clone()), Some(why.to_owned())));
            }
            let mut out = Vec::new();
            values.iter().for_each(|value| pack(value, &mut out, 0, &watch));
            if out.len() > watch.memory() {
                let why = "the result of 'pack' is too long";
                return Ok((Value::Table(failed.clone()), Some(why.to_owned())));
            }
            Ok((Value::String(lua.create_string(out)?), None))
        })?,
    )?;
    let unpacker = |limited: bool| {
        let failed = failure.clone();
        lua.create_function(
            move |lua, (text, limit, offset): (mlua::LuaString, Option<i64>, Option<i64>)| {
                let (limit, offset) = if limited { (limit, offset) } else { (None, None) };
                unpack_all(lua, &text.as_bytes(), limit, offset.unwrap_or(0), &failed)
            },
        )
    };
    library.set("unpack", unpacker(false)?)?;
    library.set("unpack_limit", unpacker(true)?)?;
    let failed = failure.clone();
    library.set(
        "unpack_one",
        lua.create_function(move |lua, (text, offset): (mlua::LuaString, Option<i64>)| {
            unpack_all(lua, &text.as_bytes(), Some(1), offset.unwrap_or(0), &failed)
        })?,
    )?;
    Ok(library)
}

/// Writes to a buffer in memory do not fail.
fn pack(value: &Value, out: &mut Vec<u8>, depth: usize, watch: &ScriptWatch) {
    let _ = match value {
        Value::Table(_) if depth >= DEEPEST => encode::write_nil(out),
        _ if out.len() > watch.memory() || !watch.step() => Ok(()),
        Value::Boolean(value) => encode::write_bool(out, *value),
        Value::Integer(number) => return pack_integer(*number, out),
        Value::Number(number) if *number == number.trunc() && number.abs() < 9e18 => {
            return pack_integer(*number as i64, out);
        }
        Value::Number(number) if f64::from(*number as f32) == *number => {
            return drop(encode::write_f32(out, *number as f32));
        }
        Value::Number(number) => return drop(encode::write_f64(out, *number)),
        Value::String(text) => {
            // The type of text carries any bytes here, as it does in Redis.
            let bytes = text.as_bytes();
            let head = encode::write_str_len(out, bytes.len() as u32);
            out.extend_from_slice(&bytes);
            return drop(head);
        }
        Value::Table(table) => return pack_table(table, out, depth, watch),
        _ => encode::write_nil(out),
    };
}

fn pack_integer(number: i64, out: &mut Vec<u8>) {
    let _ = encode::write_sint(out, number);
}

fn pack_table(table: &Table, out: &mut Vec<u8>, depth: usize, watch: &ScriptWatch) {
    let pairs = table.pairs::<Value, Value>().filter_map(Result::ok);
    let (length, count) = (table.raw_len(), pairs.count());
    if length == count {
        let _ = encode::write_array_len(out, length as u32);
        for at in 1..=length {
            pack(&table.raw_get::<Value>(at).unwrap_or(Value::Nil), out, depth + 1, watch);
        }
        return;
    }
    let _ = encode::write_map_len(out, count as u32);
    for (key, value) in table.pairs::<Value, Value>().filter_map(Result::ok) {
        pack(&key, out, depth + 1, watch);
        pack(&value, out, depth + 1, watch);
    }
}

/// All values, or, with a limit, where to go on (-1 at the end) and so many values.
fn unpack_all(
    lua: &Lua,
    bytes: &[u8],
    limit: Option<i64>,
    offset: i64,
    failed: &Table,
) -> mlua::Result<MultiValue> {
    let fail = |why: &str| -> mlua::Result<MultiValue> {
        let why = Value::String(lua.create_string(why)?);
        Ok([Value::Table(failed.clone()), why].into_iter().collect())
    };
    let start = usize::try_from(offset).ok().filter(|start| *start <= bytes.len());
    let Some(start) = start else {
        return fail("Start offset greater than input length.");
    };
    let mut rest = &bytes[start..];
    let mut values = Vec::new();
    while !rest.is_empty() && limit.is_none_or(|limit| (values.len() as i64) < limit) {
        if values.len() == MOST_VALUES {
            return fail(
                "stack overflow (too many return values at once; use unpack_one or unpack_limit \
                 instead.)",
            );
        }
        match decode(lua, &mut rest) {
            Ok(value) => values.push(value),
            Err(Failure::Text(why)) => return fail(why),
            Err(Failure::Lua(error)) => return Err(error),
        }
    }
    if limit.is_some() {
        let next = if rest.is_empty() { -1 } else { (bytes.len() - rest.len()) as i64 };
        values.insert(0, Value::Number(next as f64));
    }
    Ok(values.into_iter().collect())
}
