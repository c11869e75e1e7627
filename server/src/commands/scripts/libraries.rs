//! Libraries for scripts: `redis`, `cjson`, `bit` and what they need of Rust.

use mlua::{LightUserData, Lua, MultiValue, Table, Value};
use sha1_smol::Sha1;

/// All libraries by name. `raw` gets the functions that the prelude builds on.
pub(super) fn all(lua: &Lua, raw: &Table) -> mlua::Result<Table> {
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
    raw.set("acl_check_cmd", lua.create_function(|_, _: MultiValue| Ok(true))?)?;
    let all = lua.create_table()?;
    all.set("redis", redis(lua)?)?;
    all.set("cjson", cjson(lua, &failure)?)?;
    all.set("cmsgpack", super::msgpack::library(lua, &failure)?)?;
    all.set("struct", lua.create_table()?)?;
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

/// How deep JSON may nest, as in Redis.
const DEEPEST_JSON: usize = 1000;

fn cjson(lua: &Lua, failure: &Table) -> mlua::Result<Table> {
    let cjson = lua.create_table()?;
    cjson.set("null", Value::LightUserData(LightUserData(std::ptr::null_mut())))?;
    let failed = failure.clone();
    cjson.set(
        "encode",
        lua.create_function(move |lua, value: Value| {
            let mut out = Vec::new();
            match encode(&value, &mut out, 0) {
                Ok(()) => Ok((Value::String(lua.create_string(out)?), None)),
                Err(why) => Ok((Value::Table(failed.clone()), Some(why))),
            }
        })?,
    )?;
    let failed = failure.clone();
    cjson.set(
        "decode",
        lua.create_function(move |lua, text: mlua::LuaString| {
            let bytes = text.as_bytes().to_vec();
            match serde_json::from_slice::<serde_json::Value>(&bytes) {
                Ok(value) => Ok((decode(lua, &value)?, None)),
                Err(why) => Ok((Value::Table(failed.clone()), Some(explain(&bytes, &why)))),
            }
        })?,
    )?;
    Ok(cjson)
}

/// What cjson says of text that is no JSON.
fn explain(text: &[u8], why: &serde_json::Error) -> String {
    if why.is_eof() {
        let expected = match text.iter().rev().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') | Some(b',') if text.starts_with(b"{") => "object key string",
            Some(b'"') | None | Some(_) => "value",
        };
        return format!("Expected {expected} but found T_END at character {}", text.len() + 1);
    }
    format!("Expected value but found invalid token at character {}", why.column().max(1))
}

/// A number as cjson writes it: 14 significant digits.
fn json_number(number: f64) -> Result<String, String> {
    if !number.is_finite() {
        return Err("Cannot serialise number: must not be NaN or Inf".to_owned());
    }
    let rounded: f64 = format!("{number:.13e}").parse().unwrap_or(number);
    let digits = crate::resp::format_double(rounded);
    let shortest = format!("{rounded}");
    // A fraction is shown without the noise that 17 digits bring.
    Ok(if rounded != rounded.trunc() && rounded.abs() >= 1e-4 { shortest } else { trim(digits) })
}

fn trim(digits: String) -> String {
    match digits.find('e') {
        None => match digits.parse::<f64>() {
            Ok(value) if value.abs() >= 1e14 => {
                let scientific = format!("{value:e}");
                let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&digits, "0"));
                format!("{mantissa}e+{exponent:0>2}")
            }
            _ => digits,
        },
        Some(_) => digits,
    }
}

fn encode(value: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
    if depth > DEEPEST_JSON {
        return Err("Cannot serialise, excessive depth (1001)".to_owned());
    }
    match value {
        Value::Nil => out.extend_from_slice(b"null"),
        Value::LightUserData(_) => out.extend_from_slice(b"null"),
        Value::Boolean(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Integer(number) => out.extend_from_slice(json_number(*number as f64)?.as_bytes()),
        Value::Number(number) => out.extend_from_slice(json_number(*number)?.as_bytes()),
        Value::String(text) => encode_text(&text.as_bytes(), out),
        Value::Table(table) => encode_table(table, out, depth)?,
        other => return Err(format!("Cannot serialise {}: type not supported", other.type_name())),
    }
    Ok(())
}

fn encode_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'/' => out.extend_from_slice(b"\\/"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f | 0x7f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(*byte),
        }
    }
    out.push(b'"');
}

/// The length of a table that is an array: its keys are positive integers and not too sparse.
fn array_length(table: &Table) -> Result<Option<usize>, String> {
    let (mut most, mut count) = (0.0f64, 0usize);
    for pair in table.pairs::<Value, Value>() {
        let key = pair.map_err(|error| error.to_string())?.0;
        match key.as_f64().or(key.as_integer().map(|key| key as f64)) {
            Some(at) if at >= 1.0 && at == at.trunc() && !key.is_string() => {
                most = most.max(at);
                count += 1;
            }
            _ => return Ok(None),
        }
    }
    if most > 10.0 && most > count as f64 * 2.0 {
        return Err("Cannot serialise table: excessively sparse array".to_owned());
    }
    Ok((count > 0).then_some(most as usize))
}

fn encode_table(table: &Table, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
    if let Some(length) = array_length(table)? {
        out.push(b'[');
        for at in 1..=length {
            if at > 1 {
                out.push(b',');
            }
            encode(&table.raw_get::<Value>(at).unwrap_or(Value::Nil), out, depth + 1)?;
        }
        out.push(b']');
        return Ok(());
    }
    out.push(b'{');
    let mut first = true;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|error| error.to_string())?;
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        match &key {
            Value::String(text) => encode_text(&text.as_bytes(), out),
            Value::Integer(number) => encode_text(json_number(*number as f64)?.as_bytes(), out),
            Value::Number(number) => encode_text(json_number(*number)?.as_bytes(), out),
            _ => {
                return Err(
                    "Cannot serialise table: table key must be a number or string".to_owned()
                );
            }
        }
        out.push(b':');
        encode(&value, out, depth + 1)?;
    }
    out.push(b'}');
    Ok(())
}

fn decode(lua: &Lua, value: &serde_json::Value) -> mlua::Result<Value> {
    Ok(match value {
        serde_json::Value::Null => Value::LightUserData(LightUserData(std::ptr::null_mut())),
        serde_json::Value::Bool(value) => Value::Boolean(*value),
        serde_json::Value::Number(number) => Value::Number(number.as_f64().unwrap_or(0.0)),
        serde_json::Value::String(text) => Value::String(lua.create_string(text)?),
        serde_json::Value::Array(elements) => {
            let table = lua.create_table()?;
            for (at, element) in elements.iter().enumerate() {
                table.raw_set(at + 1, decode(lua, element)?)?;
            }
            Value::Table(table)
        }
        serde_json::Value::Object(fields) => {
            let table = lua.create_table()?;
            for (name, value) in fields {
                table.raw_set(name.as_str(), decode(lua, value)?)?;
            }
            Value::Table(table)
        }
    })
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
