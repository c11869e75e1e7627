//! Between replies and Lua's values.

use mlua::{Lua, Table, Value};

use super::super::CommandError;
use crate::resp::{Protocol, Reply};
use crate::state::ScriptWatch;

/// A number as Lua writes it (`%.17g`), integers without a point.
pub(super) fn number(number: f64) -> String {
    crate::resp::format_double(number)
}

/// Writes a script's value as its reply, by Redis's rules.
///
/// Whether `false` is a null or a boolean goes by the protocol that the script has set for itself.
pub(super) fn to_reply(
    value: &Value,
    reply: &mut Reply<'_>,
    script: Protocol,
    watch: &ScriptWatch,
) -> Errors {
    let mut writer = Writer { reply, script, watch, errors: Errors::default() };
    writer.write(value, 0);
    writer.errors
}

/// The errors in a reply.
#[derive(Debug, Default)]
pub(super) struct Errors {
    /// How many there are.
    pub(super) all: usize,
    /// Those that are still to be counted.
    pub(super) counted: Vec<Vec<u8>>,
}

/// Whether an error in a script is a command's, and was counted there.
pub(super) fn is_counted(table: &Table) -> bool {
    matches!(table.raw_get("ignore_error_stats_update"), Ok(Value::Boolean(true)))
}

struct Writer<'w, 'r> {
    reply: &'w mut Reply<'r>,
    script: Protocol,
    watch: &'w ScriptWatch,
    errors: Errors,
}

/// How deep tables may nest.
const DEEPEST: usize = 200;

/// So many errors of one reply are counted.
const MOST_COUNTED: usize = 128;

fn text_field(table: &Table, name: &str) -> Option<Vec<u8>> {
    match table.raw_get::<Value>(name) {
        Ok(Value::String(text)) => Some(text.as_bytes().to_vec()),
        _ => None,
    }
}

impl Writer<'_, '_> {
    fn write(&mut self, value: &Value, depth: usize) {
        let (reply, script) = (&mut *self.reply, self.script);
        match value {
            _ if reply.is_too_long() || !self.watch.step() => {}
            Value::String(text) => reply.bulk(&text.as_bytes()),
            Value::Integer(number) => reply.int(*number),
            // What does not fit is the smallest integer, as x86's conversion makes it in Redis.
            Value::Number(number)
                if number.abs() >= 9_223_372_036_854_775_808.0 || number.is_nan() =>
            {
                reply.int(i64::MIN)
            }
            Value::Number(number) => reply.int(*number as i64),
            Value::Boolean(true) if script == Protocol::Resp2 => reply.int(1),
            Value::Boolean(false) if script == Protocol::Resp2 => reply.null(),
            Value::Boolean(value) => reply.bool(*value),
            Value::Table(_) if depth > DEEPEST => {
                reply.error("ERR reached lua stack limit");
            }
            Value::Table(table) => self.write_table(table, depth),
            _ => reply.null(),
        }
    }

    fn write_table(&mut self, table: &Table, depth: usize) {
        let reply = &mut *self.reply;
        if let Some(text) = text_field(table, "err") {
            reply.error(&text);
            self.errors.all += 1;
            if !is_counted(table) && self.errors.counted.len() < MOST_COUNTED {
                self.errors.counted.push(text);
            }
            return;
        }
        if let Some(text) = text_field(table, "ok") {
            reply.status(text);
            return;
        }
        if let Ok(Value::Number(value)) = table.raw_get("double") {
            reply.double(value);
            return;
        }
        if let Ok(Value::Integer(value)) = table.raw_get("double") {
            reply.double(value as f64);
            return;
        }
        if let Ok(Value::Table(map)) = table.raw_get("map") {
            reply.map(map.pairs::<Value, Value>().count());
            for (key, value) in map.pairs::<Value, Value>().filter_map(Result::ok) {
                self.write(&key, depth + 1);
                self.write(&value, depth + 1);
            }
            return;
        }
        if let Ok(Value::Table(set)) = table.raw_get("set") {
            reply.set(set.pairs::<Value, Value>().count());
            for (member, _) in set.pairs::<Value, Value>().filter_map(Result::ok) {
                self.write(&member, depth + 1);
            }
            return;
        }
        if let Some(text) = text_field(table, "big_number") {
            if reply.is_resp3() {
                reply.raw(b"(");
                reply.raw(&text);
                reply.raw(b"\r\n");
            } else {
                reply.bulk(&text);
            }
            return;
        }
        if let Ok(Value::Table(verbatim)) = table.raw_get("verbatim_string") {
            let text = text_field(&verbatim, "string").unwrap_or_default();
            reply.verbatim(text);
            return;
        }
        // One at a time: Lua lends but some thousand values at once.
        let elements = || {
            (1..)
                .map(|at| table.raw_get::<Value>(at).unwrap_or(Value::Nil))
                .take_while(|value| !value.is_nil())
        };
        reply.array(elements().count());
        elements().for_each(|element| self.write(&element, depth + 1));
    }
}

/// A reply as a Lua value; an error reply as an error.
pub(super) fn from_reply(lua: &Lua, reply: &[u8]) -> mlua::Result<Result<Value, CommandError>> {
    if let [b'-', rest @ ..] = reply {
        let text = rest.strip_suffix(b"\r\n").unwrap_or(rest);
        return Ok(Err(CommandError::of(&[text])));
    }
    read(lua, &mut { reply }).map(Ok)
}

fn line<'a>(input: &mut &'a [u8]) -> &'a [u8] {
    let end = input.windows(2).position(|two| two == b"\r\n").unwrap_or(input.len());
    let (line, rest) = input.split_at(end);
    *input = rest.get(2..).unwrap_or_default();
    line
}

fn bulk<'a>(input: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (bytes, rest) = input.split_at(length.min(input.len()));
    *input = rest.get(2..).unwrap_or_default();
    bytes
}

fn integer(text: &[u8]) -> i64 {
    super::super::args::parse_int(text).unwrap_or(0)
}

/// A table of one field.
fn tagged(lua: &Lua, name: &str, value: impl mlua::IntoLua) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    table.raw_set(name, value)?;
    Ok(Value::Table(table))
}

fn read(lua: &Lua, input: &mut &[u8]) -> mlua::Result<Value> {
    let head = line(input);
    let (kind, text) = head.split_first().unwrap_or((&b'_', &[]));
    let length = || integer(text);
    Ok(match kind {
        b'+' => tagged(lua, "ok", lua.create_string(text)?)?,
        b'-' => tagged(lua, "err", lua.create_string(text)?)?,
        b':' => Value::Number(length() as f64),
        b'$' if length() < 0 => Value::Boolean(false),
        b'$' => Value::String(lua.create_string(bulk(input, length() as usize))?),
        b'*' if length() < 0 => Value::Boolean(false),
        b'*' | b'>' => {
            let table = lua.create_table()?;
            for at in 1..=length() {
                table.raw_set(at, read(lua, input)?)?;
            }
            Value::Table(table)
        }
        b'%' => {
            let map = lua.create_table()?;
            for _ in 0..length() {
                let key = read(lua, input)?;
                map.raw_set(key, read(lua, input)?)?;
            }
            tagged(lua, "map", map)?
        }
        b'~' => {
            let set = lua.create_table()?;
            for _ in 0..length() {
                set.raw_set(read(lua, input)?, true)?;
            }
            tagged(lua, "set", set)?
        }
        b',' => {
            let value = super::super::args::parse_float(text).unwrap_or(f64::NAN);
            tagged(lua, "double", value)?
        }
        b'#' => Value::Boolean(text == b"t"),
        b'(' => tagged(lua, "big_number", lua.create_string(text)?)?,
        b'=' => {
            let bytes = bulk(input, length() as usize);
            let verbatim = lua.create_table()?;
            verbatim.raw_set("format", "txt")?;
            verbatim.raw_set("string", lua.create_string(bytes.get(4..).unwrap_or_default())?)?;
            tagged(lua, "verbatim_string", verbatim)?
        }
        _ => Value::Nil,
    })
}
