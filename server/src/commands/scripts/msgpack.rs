//! `cmsgpack`: MessagePack for scripts.

use mlua::{Lua, MultiValue, Table, Value};

/// How deep values may nest; deeper ones are packed as nil, as in Redis.
const DEEPEST: usize = 16;

/// `pack`, `unpack`, `unpack_one` and `unpack_limit`.
pub(super) fn library(lua: &Lua, failure: &Table) -> mlua::Result<Table> {
    let library = lua.create_table()?;
    let failed = failure.clone();
    library.set(
        "pack",
        lua.create_function(move |lua, values: MultiValue| {
            if values.is_empty() {
                let why = "bad argument #0 to 'pack' (MessagePack pack needs input.)";
                return Ok((Value::Table(failed.clone()), Some(why.to_owned())));
            }
            let mut out = Vec::new();
            for value in &values {
                let packed = pack(value, 0);
                rmpv::encode::write_value(&mut out, &packed).map_err(mlua::Error::external)?;
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

fn pack(value: &Value, depth: usize) -> rmpv::Value {
    match value {
        _ if depth > DEEPEST => rmpv::Value::Nil,
        Value::Boolean(value) => rmpv::Value::Boolean(*value),
        Value::Integer(number) => rmpv::Value::from(*number),
        Value::Number(number) if *number == number.trunc() && number.abs() < 9e18 => {
            rmpv::Value::from(*number as i64)
        }
        Value::Number(number) if f64::from(*number as f32) == *number => {
            rmpv::Value::F32(*number as f32)
        }
        Value::Number(number) => rmpv::Value::F64(*number),
        Value::String(text) => {
            let bytes = text.as_bytes().to_vec();
            match String::from_utf8(bytes) {
                Ok(text) => rmpv::Value::from(text),
                // The string type carries any bytes in Redis, but rmpv keeps it for text.
                Err(other) => rmpv::Value::Binary(other.into_bytes()),
            }
        }
        Value::Table(table) => pack_table(table, depth),
        _ => rmpv::Value::Nil,
    }
}

fn pack_table(table: &Table, depth: usize) -> rmpv::Value {
    let pairs: Vec<(Value, Value)> = table.pairs().filter_map(Result::ok).collect();
    let length = table.raw_len();
    if length == pairs.len() {
        let element = |at| table.raw_get::<Value>(at).unwrap_or(Value::Nil);
        return rmpv::Value::Array((1..=length).map(|at| pack(&element(at), depth + 1)).collect());
    }
    let pair = |(key, value): &(Value, Value)| (pack(key, depth + 1), pack(value, depth + 1));
    rmpv::Value::Map(pairs.iter().map(pair).collect())
}

fn unpack(lua: &Lua, value: &rmpv::Value) -> mlua::Result<Value> {
    Ok(match value {
        rmpv::Value::Nil | rmpv::Value::Ext(..) => Value::Nil,
        rmpv::Value::Boolean(value) => Value::Boolean(*value),
        rmpv::Value::Integer(number) => Value::Number(number.as_f64().unwrap_or(0.0)),
        rmpv::Value::F32(number) => Value::Number(f64::from(*number)),
        rmpv::Value::F64(number) => Value::Number(*number),
        rmpv::Value::String(text) => Value::String(lua.create_string(text.as_bytes())?),
        rmpv::Value::Binary(bytes) => Value::String(lua.create_string(bytes)?),
        rmpv::Value::Array(elements) => {
            let table = lua.create_table()?;
            for (at, element) in elements.iter().enumerate() {
                table.raw_set(at + 1, unpack(lua, element)?)?;
            }
            Value::Table(table)
        }
        rmpv::Value::Map(pairs) => {
            let table = lua.create_table()?;
            for (key, value) in pairs {
                table.raw_set(unpack(lua, key)?, unpack(lua, value)?)?;
            }
            Value::Table(table)
        }
    })
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
        match rmpv::decode::read_value(&mut rest) {
            Ok(value) => values.push(unpack(lua, &value)?),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return fail("Missing bytes in input.");
            }
            Err(_) => return fail("Bad data format in input."),
        }
    }
    if limit.is_some() {
        let next = if rest.is_empty() { -1 } else { (bytes.len() - rest.len()) as i64 };
        values.insert(0, Value::Number(next as f64));
    }
    Ok(values.into_iter().collect())
}
