//! `cjson`: JSON to Lua's values and back, with the settings of lua-cjson.

use std::sync::Arc;

use mlua::{Lua, MultiValue, Table, Value};
use parking_lot::Mutex;

use super::json_decode::{Failure, Rules, decode, null};
use super::json_encode::encode;
use super::nest::DEEPEST;
use crate::state::ScriptWatch;

/// What a script may set; each `cjson.new()` has its own.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// An array with gaps that are too large becomes an object instead of an error.
    pub(super) converts_sparse: bool,
    /// An array is too sparse with more than so many places for an element; 0: none is.
    pub(super) sparse_ratio: u32,
    /// Up to this length none is.
    pub(super) sparse_safe: u32,
    /// How deep what is written may nest.
    pub(super) encode_depth: u32,
    /// How deep what is read may nest.
    decode_depth: u32,
    /// What becomes of numbers for which JSON has no form.
    pub(super) invalid: Invalid,
    /// Whether such numbers are read.
    takes_invalid: bool,
    /// Significant digits of a number.
    pub(super) precision: u32,
    /// No buffer is kept from one call to the next here; what was asked for is answered all the same.
    keeps_buffer: bool,
}

/// What becomes of a number for which JSON has no form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Invalid {
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
            takes_invalid: true,
            precision: 14,
            keeps_buffer: true,
        }
    }
}

impl Settings {
    fn rules(&self) -> Rules {
        Rules {
            deepest: (self.decode_depth as usize).min(DEEPEST),
            takes_invalid_numbers: self.takes_invalid,
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
        cjson.set("null", null())?;
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
        self.set(lua, &cjson, "decode_invalid_numbers", &settings, |settings, given| {
            settings.takes_invalid = given.flag(0, settings.takes_invalid)?;
            given.end(1)?;
            Ok(vec![Value::Boolean(settings.takes_invalid)])
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
        let next: mlua::Function = lua.globals().get("next")?;
        cjson.set(
            "encode",
            lua.create_function(move |lua, args: MultiValue| {
                let settings = shared.lock().clone();
                let given = Given { function: "encode", args };
                let written =
                    given.only().and_then(|value| encode(value, &settings, &next, &watch));
                match written {
                    Ok(text) => Ok((Value::String(lua.create_string(text)?), None)),
                    Err(why) => Ok((Value::Table(failed.clone()), Some(why))),
                }
            })?,
        )?;
        let (failed, watch, shared) =
            (self.failure.clone(), Arc::clone(&self.watch), Arc::clone(settings));
        cjson.set(
            "decode",
            lua.create_function(move |lua, args: MultiValue| {
                let rules = shared.lock().rules();
                let read = Given { function: "decode", args }
                    .text(lua)
                    .and_then(|text| decode(lua, &text.as_bytes(), rules, &watch));
                match read {
                    Ok(value) => Ok((value, None)),
                    Err(Failure::Text(why)) => Ok((Value::Table(failed.clone()), Some(why))),
                    Err(Failure::Lua(error)) => Err(error),
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

    /// The only argument.
    fn only(&self) -> Refused<&Value> {
        match self.args.front() {
            Some(value) if self.args.len() == 1 => Ok(value),
            _ => self.bad(0, "expected 1 argument"),
        }
    }

    /// The only argument as a string: a number is one too.
    fn text(&self, lua: &Lua) -> Result<mlua::LuaString, Failure> {
        let value = self.only().map_err(Failure::Text)?;
        match value {
            Value::String(_) | Value::Integer(_) | Value::Number(_) => {}
            other => {
                let why = format_args!("string expected, got {}", other.type_name());
                return self.bad(0, why).map_err(Failure::Text);
            }
        }
        let text = lua.coerce_string(value.clone())?;
        text.ok_or_else(|| Failure::Text(String::new()))
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
