//! From JSON and MessagePack straight to Lua's values: what a text unfolds to is bounded by the
//! interpreter's own limit of memory, because nothing else is made of it.

use std::cell::RefCell;
use std::fmt;

use mlua::{IntoLua, LightUserData, Lua, Table, Value};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Makes Lua's values of whatever a format holds.
#[derive(Clone, Copy)]
pub(super) struct ToLua<'l> {
    lua: &'l Lua,
    /// What stands for nothing: a script tells `cjson.null` from nil.
    nothing: Nothing,
    /// The interpreter's own error, which formats' errors cannot hold.
    failed: &'l RefCell<Option<mlua::Error>>,
}

/// What stands for nothing.
#[derive(Clone, Copy)]
pub(super) enum Nothing {
    /// `cjson.null`.
    JsonNull,
    /// nil.
    Nil,
}

impl Nothing {
    fn value(self) -> Value {
        match self {
            Nothing::JsonNull => Value::LightUserData(LightUserData(std::ptr::null_mut())),
            Nothing::Nil => Value::Nil,
        }
    }
}

/// Reads one value. The outer error is the interpreter's, the inner one the format's.
pub(super) fn to_lua<'de, D: Deserializer<'de>>(
    lua: &Lua,
    nothing: Nothing,
    from: D,
) -> mlua::Result<Result<Value, D::Error>> {
    let failed = RefCell::new(None);
    let read = ToLua { lua, nothing, failed: &failed }.deserialize(from);
    match failed.into_inner() {
        Some(error) => Err(error),
        None => Ok(read),
    }
}

impl ToLua<'_> {
    fn ours<T, E: Error>(self, made: mlua::Result<T>) -> Result<T, E> {
        made.map_err(|error| {
            *self.failed.borrow_mut() = Some(error);
            E::custom("the interpreter failed")
        })
    }

    fn set<E: Error>(self, table: &Table, key: impl IntoLua, value: Value) -> Result<(), E> {
        self.ours(table.raw_set(key, value))
    }
}

impl<'de> DeserializeSeed<'de> for ToLua<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ToLua<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(self.nothing.value())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.visit_bytes(text.as_bytes())
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Value, E> {
        self.ours(self.lua.create_string(bytes)).map(Value::String)
    }

    /// An extension of MessagePack, which scripts have no type for.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(IgnoredAny)?;
        Ok(Value::Nil)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let table = self.ours(self.lua.create_table())?;
        let mut at = 0;
        while let Some(element) = elements.next_element_seed(self)? {
            at += 1;
            self.set(&table, at, element)?;
        }
        Ok(Value::Table(table))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Value, A::Error> {
        let table = self.ours(self.lua.create_table())?;
        while let Some(key) = pairs.next_key_seed(self)? {
            let value = pairs.next_value_seed(self)?;
            self.set(&table, key, value)?;
        }
        Ok(Value::Table(table))
    }
}
