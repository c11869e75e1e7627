//! `cjson`: JSON to Lua's values and back, with the settings of lua-cjson.

use std::sync::Arc;

use mlua::{LightUserData, Lua, MultiValue, Table, Value};
use parking_lot::Mutex;

use super::decode::{Nothing, to_lua};
use crate::state::ScriptWatch;

/// What a script may set; each `cjson.new()` has its own.
#[derive(Debug, Clone)]
struct Settings {
    /// An array with gaps that are too large becomes an object instead of an error.
    converts_sparse: bool,
    /// An array is too sparse with more than so many places for an element; 0: none is.
    sparse_ratio: u32,
    /// Up to this length none is.
    sparse_safe: u32,
    /// How deep what is written may nest.
    encode_depth: u32,
    /// How deep what is read may nest.
    decode_depth: u32,
    /// What becomes of numbers for which JSON has no form.
    invalid: Invalid,
    /// Significant digits of a number.
    precision: u32,
    /// No buffer is kept from one call to the next here; what was asked for is answered all the same.
    keeps_buffer: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Invalid {
    Refuse,
    Null,
    Write,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            converts_sparse: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth: 1000,
            decode_depth: 1000,
            invalid: Invalid::Refuse,
            precision: 14,
            keeps_buffer: true,
        }
    }
}

type Shared = Arc<Mutex<Settings>>;

/// Why a call fails, as its caller is told.
type Refused<T> = Result<T, String>;

/// What the library's functions need.
#[derive(Clone)]
struct Maker {
    /// What a function returns before the text of its error.
    failure: Table,
    watch: Arc<ScriptWatch>,
}

/// The library. Functions that fail return `failure` and a text.
pub(super) fn library(lua: &Lua, failure: &Table, watch: &Arc<ScriptWatch>) -> mlua::Result<Table> {
    Maker { failure: failure.clone(), watch: Arc::clone(watch) }.library(lua)
}

impl Maker {
    fn library(&self, lua: &Lua) -> mlua::Result<Table> {
        let cjson = lua.create_table()?;
        let settings = Shared::default();
        cjson.set("null", Value::LightUserData(LightUserData(std::ptr::null_mut())))?;
        cjson.set("_NAME", "cjson")?;
        cjson.set("_VERSION", "2.1.0")?;
        let maker = self.clone();
        cjson.set("new", lua.create_function(move |lua, ()| maker.library(lua))?)?;
        self.coding(lua, &cjson, &settings)?;
        self.set(lua, &cjson, "encode_sparse_array", &settings, |settings, given| {
            settings.converts_sparse = given.flag(0, settings.converts_sparse)?;
            settings.sparse_ratio = given.integer(1, settings.sparse_ratio, 0, MOST)?;
            settings.sparse_safe = given.integer(2, settings.sparse_safe, 0, MOST)?;
            given.end(3)?;
            let whole = |value: u32| Value::Integer(i64::from(value));
            let converts = Value::Boolean(settings.converts_sparse);
            Ok(vec![converts, whole(settings.sparse_ratio), whole(settings.sparse_safe)])
        })?;
        self.set(lua, &cjson, "encode_max_depth", &settings, |settings, given| {
            given.one(&mut settings.encode_depth, 1, MOST)
        })?;
        self.set(lua, &cjson, "decode_max_depth", &settings, |settings, given| {
            given.one(&mut settings.decode_depth, 1, MOST)
        })?;
        self.set(lua, &cjson, "encode_number_precision", &settings, |settings, given| {
            given.one(&mut settings.precision, 1, 14)
        })?;
        self.set(lua, &cjson, "encode_keep_buffer", &settings, |settings, given| {
            settings.keeps_buffer = given.flag(0, settings.keeps_buffer)?;
            given.end(1)?;
            Ok(vec![Value::Boolean(settings.keeps_buffer)])
        })?;
        let invalid = |settings: &mut Settings, given: &Given| -> Refused<Invalid> {
            if given.word(0).as_deref() == Some("null") {
                settings.invalid = Invalid::Null;
            } else if given.has(0) {
                let writes = given.flag(0, false)?;
                settings.invalid = if writes { Invalid::Write } else { Invalid::Refuse };
            }
            given.end(1)?;
            Ok(settings.invalid)
        };
        let (shared, failure) = (settings, self.failure.clone());
        cjson.set(
            "encode_invalid_numbers",
            lua.create_function(move |lua, args: MultiValue| {
                let given = Given { function: "encode_invalid_numbers", args };
                match invalid(&mut shared.lock(), &given) {
                    Ok(Invalid::Null) => Ok((Value::String(lua.create_string("null")?), None)),
                    Ok(set) => Ok((Value::Boolean(set == Invalid::Write), None)),
                    Err(why) => Ok((Value::Table(failure.clone()), Some(why))),
                }
            })?,
        )?;
        Ok(cjson)
    }

    /// encode and decode.
    fn coding(&self, lua: &Lua, cjson: &Table, settings: &Shared) -> mlua::Result<()> {
        let (failed, watch, shared) =
            (self.failure.clone(), Arc::clone(&self.watch), Arc::clone(settings));
        cjson.set(
            "encode",
            lua.create_function(move |lua, value: Value| {
                let settings = shared.lock().clone();
                let mut encoder = Encoder { out: Vec::new(), watch: &watch, settings };
                match encoder.encode(&value, 0) {
                    Ok(()) => Ok((Value::String(lua.create_string(encoder.out)?), None)),
                    Err(why) => Ok((Value::Table(failed.clone()), Some(why))),
                }
            })?,
        )?;
        let (failed, shared) = (self.failure.clone(), Arc::clone(settings));
        cjson.set(
            "decode",
            lua.create_function(move |lua, text: mlua::LuaString| {
                let text = text.as_bytes();
                if let Some((depth, at)) = too_deep(&text, shared.lock().decode_depth) {
                    let why = format!(
                        "Found too many nested data structures ({depth}) at character {at}"
                    );
                    return Ok((Value::Table(failed.clone()), Some(why)));
                }
                let mut from = serde_json::Deserializer::from_slice(&text);
                let read = to_lua(lua, Nothing::JsonNull, &mut from)?;
                match read.and_then(|value| from.end().map(|()| value)) {
                    Ok(value) => Ok((value, None)),
                    Err(why) => Ok((Value::Table(failed.clone()), Some(explain(&text, &why)))),
                }
            })?,
        )
    }

    /// A function that shows settings, and sets those that it is given.
    fn set(
        &self,
        lua: &Lua,
        cjson: &Table,
        function: &'static str,
        settings: &Shared,
        act: fn(&mut Settings, &Given) -> Refused<Vec<Value>>,
    ) -> mlua::Result<()> {
        let (failure, shared) = (self.failure.clone(), Arc::clone(settings));
        let set = lua.create_function(move |lua, args: MultiValue| {
            match act(&mut shared.lock(), &Given { function, args }) {
                Ok(values) => Ok(MultiValue::from_iter(values)),
                Err(why) => Ok(MultiValue::from_iter([
                    Value::Table(failure.clone()),
                    Value::String(lua.create_string(why)?),
                ])),
            }
        })?;
        cjson.set(function, set)
    }
}

/// The largest number that a setting takes.
const MOST: u32 = i32::MAX as u32;

/// What a function of the settings was given.
struct Given {
    function: &'static str,
    args: MultiValue,
}

impl Given {
    fn bad<T>(&self, at: usize, why: impl std::fmt::Display) -> Refused<T> {
        Err(format!("bad argument #{} to '{}' ({why})", at + 1, self.function))
    }

    /// Whether there is an argument at this place. nil is none.
    fn has(&self, at: usize) -> bool {
        self.args.get(at).is_some_and(|value| !value.is_nil())
    }

    /// No argument stands at this place or behind it.
    fn end(&self, at: usize) -> Refused<()> {
        if self.args.len() > at { self.bad(at, "found too many arguments") } else { Ok(()) }
    }

    /// The text at this place, if there is one.
    fn word(&self, at: usize) -> Option<String> {
        match self.args.get(at)? {
            Value::String(text) => Some(text.to_string_lossy()),
            _ => None,
        }
    }

    /// A boolean, also as `on` or `off`.
    fn flag(&self, at: usize, otherwise: bool) -> Refused<bool> {
        let invalid = |shown: &str| self.bad(at, format_args!("invalid option '{shown}'"));
        match self.args.get(at) {
            None | Some(Value::Nil) => Ok(otherwise),
            Some(Value::Boolean(value)) => Ok(*value),
            Some(Value::String(_)) => match self.word(at).unwrap_or_default().as_str() {
                "on" => Ok(true),
                "off" => Ok(false),
                other => invalid(other),
            },
            Some(Value::Integer(number)) => invalid(&number.to_string()),
            Some(Value::Number(number)) => invalid(&super::convert::number(*number)),
            Some(other) => self.bad(at, format_args!("string expected, got {}", other.type_name())),
        }
    }

    /// An integer between these bounds.
    fn integer(&self, at: usize, otherwise: u32, least: u32, most: u32) -> Refused<u32> {
        let number = match self.args.get(at) {
            None | Some(Value::Nil) => return Ok(otherwise),
            Some(Value::Integer(number)) => *number as f64,
            Some(Value::Number(number)) => *number,
            Some(Value::String(_)) => match self.word(at).unwrap_or_default().trim().parse() {
                Ok(number) => number,
                Err(_) => return self.bad(at, "number expected, got string"),
            },
            Some(other) => {
                return self.bad(at, format_args!("number expected, got {}", other.type_name()));
            }
        };
        let whole = number.trunc();
        if !(f64::from(least)..=f64::from(most)).contains(&whole) {
            // lua-cjson names the first argument, whichever it is.
            return self.bad(0, format_args!("expected integer between {least} and {most}"));
        }
        Ok(whole as u32)
    }

    /// The one argument that sets this number, which is shown.
    fn one(&self, number: &mut u32, least: u32, most: u32) -> Refused<Vec<Value>> {
        self.end(1)?;
        *number = self.integer(0, *number, least, most)?;
        Ok(vec![Value::Integer(i64::from(*number))])
    }
}

/// Where JSON nests deeper than it may: how deep, and the character. What stands in strings does not.
fn too_deep(text: &[u8], most: u32) -> Option<(u32, usize)> {
    let (mut depth, mut in_string, mut escaped) = (0u32, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > most {
                    return Some((depth, at + 1));
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
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

/// A number as cjson writes it, with so many significant digits.
fn json_number(number: f64, settings: &Settings) -> Result<String, String> {
    if !number.is_finite() {
        return match settings.invalid {
            Invalid::Refuse => Err("Cannot serialise number: must not be NaN or Inf".to_owned()),
            Invalid::Null => Ok("null".to_owned()),
            Invalid::Write if number.is_nan() => Ok("nan".to_owned()),
            Invalid::Write => Ok(if number > 0.0 { "inf" } else { "-inf" }.to_owned()),
        };
    }
    Ok(significant(number, settings.precision as i32))
}

/// A number with so many significant digits, as C's `%g` writes it.
fn significant(number: f64, digits: i32) -> String {
    let scientific = format!("{number:.*e}", digits as usize - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if (-4..digits).contains(&exponent) {
        return trim(&format!("{number:.*}", (digits - 1 - exponent) as usize));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trim(mantissa), exponent.abs())
}

/// Writes JSON.
struct Encoder<'w> {
    out: Vec<u8>,
    watch: &'w ScriptWatch,
    settings: Settings,
}

impl Encoder<'_> {
    fn encode(&mut self, value: &Value, depth: u32) -> Result<(), String> {
        let out = &mut self.out;
        // A small table may unfold to much, since the same part can stand in it many times.
        if out.len() > self.watch.memory() {
            return Err("Cannot serialise, the result is too long".to_owned());
        }
        if !self.watch.step() {
            return Err("Script killed by user with SCRIPT KILL.".to_owned());
        }
        match value {
            Value::Nil => out.extend_from_slice(b"null"),
            Value::LightUserData(_) => out.extend_from_slice(b"null"),
            Value::Boolean(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Value::Integer(number) => {
                out.extend_from_slice(json_number(*number as f64, &self.settings)?.as_bytes())
            }
            Value::Number(number) => {
                out.extend_from_slice(json_number(*number, &self.settings)?.as_bytes())
            }
            Value::String(text) => encode_text(&text.as_bytes(), out),
            Value::Table(table) => self.encode_table(table, depth)?,
            other => {
                return Err(format!("Cannot serialise {}: type not supported", other.type_name()));
            }
        }
        Ok(())
    }

    fn encode_table(&mut self, table: &Table, depth: u32) -> Result<(), String> {
        let depth = depth + 1;
        if depth > self.settings.encode_depth {
            return Err(format!("Cannot serialise, excessive nesting ({depth})"));
        }
        if let Some(length) = array_length(table, &self.settings)? {
            self.out.push(b'[');
            for at in 1..=length {
                if at > 1 {
                    self.out.push(b',');
                }
                self.encode(&table.raw_get::<Value>(at).unwrap_or(Value::Nil), depth)?;
            }
            self.out.push(b']');
            return Ok(());
        }
        self.out.push(b'{');
        let mut first = true;
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair.map_err(|error| error.to_string())?;
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            match &key {
                Value::String(text) => encode_text(&text.as_bytes(), &mut self.out),
                Value::Integer(number) => encode_text(
                    json_number(*number as f64, &self.settings)?.as_bytes(),
                    &mut self.out,
                ),
                Value::Number(number) => {
                    encode_text(json_number(*number, &self.settings)?.as_bytes(), &mut self.out)
                }
                _ => {
                    return Err(
                        "Cannot serialise table: table key must be a number or string".to_owned()
                    );
                }
            }
            self.out.push(b':');
            self.encode(&value, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }
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
fn array_length(table: &Table, settings: &Settings) -> Result<Option<usize>, String> {
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
    let Settings { sparse_ratio, sparse_safe, converts_sparse, .. } = settings;
    let is_long = most > f64::from(*sparse_safe);
    if *sparse_ratio > 0 && is_long && most > count as f64 * f64::from(*sparse_ratio) {
        if *converts_sparse {
            return Ok(None);
        }
        return Err("Cannot serialise table: excessively sparse array".to_owned());
    }
    Ok((count > 0).then_some(most as usize))
}
