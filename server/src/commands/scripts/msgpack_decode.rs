//! MessagePack to Lua's values: what a text unfolds to is bounded by the interpreter's own limit of
//! memory, because nothing else is made of it.

use mlua::{Lua, Value};
use rmp::Marker;

use super::nest::{DEEPEST, Open};

/// Why nothing was read.
pub(super) enum Failure {
    /// What the script is told.
    Text(&'static str),
    /// The interpreter's own error.
    Lua(mlua::Error),
}

impl From<mlua::Error> for Failure {
    fn from(error: mlua::Error) -> Self {
        Failure::Lua(error)
    }
}

/// What one marker begins.
enum Item {
    Value(Value),
    /// An array of so many elements.
    Array(u64),
    /// A map of so many pairs.
    Map(u64),
}

/// Reads one value from the beginning of the bytes, which it leaves behind.
pub(super) fn decode(lua: &Lua, bytes: &mut &[u8]) -> Result<Value, Failure> {
    // Open tables, the innermost last, and how many values they still lack.
    let mut nest: Vec<(Open, u64)> = Vec::new();
    loop {
        let (open, lacks) = match item(lua, bytes)? {
            Item::Value(value) => match put(&mut nest, value)? {
                Some(whole) => return Ok(whole),
                None => continue,
            },
            Item::Array(length) => (Open::array(lua)?, length),
            Item::Map(pairs) => (Open::map(lua)?, pairs * 2),
        };
        if nest.len() == DEEPEST {
            return Err(Failure::Text("stack overflow (the input nests too deep)"));
        }
        if lacks > 0 {
            nest.push((open, lacks));
        } else if let Some(whole) = put(&mut nest, Value::Table(open.table))? {
            return Ok(whole);
        }
    }
}

/// Puts a value where it belongs, and with it every table that it completes. What belongs nowhere
/// is the whole.
fn put(nest: &mut Vec<(Open, u64)>, mut value: Value) -> Result<Option<Value>, Failure> {
    while let Some((open, lacks)) = nest.last_mut() {
        open.put(value)?;
        *lacks -= 1;
        if *lacks > 0 {
            return Ok(None);
        }
        value = Value::Table(open.table.clone());
        nest.pop();
    }
    Ok(Some(value))
}

fn item(lua: &Lua, bytes: &mut &[u8]) -> Result<Item, Failure> {
    let number = |number: f64| Ok(Item::Value(Value::Number(number)));
    let [marker] = take(bytes)?;
    match Marker::from_u8(marker) {
        Marker::Null => Ok(Item::Value(Value::Nil)),
        Marker::True => Ok(Item::Value(Value::Boolean(true))),
        Marker::False => Ok(Item::Value(Value::Boolean(false))),
        Marker::FixPos(small) => number(small.into()),
        Marker::FixNeg(small) => number(small.into()),
        Marker::U8 => number(u8::from_be_bytes(take(bytes)?).into()),
        Marker::U16 => number(u16::from_be_bytes(take(bytes)?).into()),
        Marker::U32 => number(u32::from_be_bytes(take(bytes)?).into()),
        Marker::U64 => number(u64::from_be_bytes(take(bytes)?) as f64),
        Marker::I8 => number(i8::from_be_bytes(take(bytes)?).into()),
        Marker::I16 => number(i16::from_be_bytes(take(bytes)?).into()),
        Marker::I32 => number(i32::from_be_bytes(take(bytes)?).into()),
        Marker::I64 => number(i64::from_be_bytes(take(bytes)?) as f64),
        Marker::F32 => number(f32::from_be_bytes(take(bytes)?).into()),
        Marker::F64 => number(f64::from_be_bytes(take(bytes)?)),
        Marker::FixStr(length) => text(lua, bytes, length.into()),
        Marker::Str8 | Marker::Str16 | Marker::Str32 => {
            let length = length(marker, bytes)?;
            text(lua, bytes, length)
        }
        Marker::FixArray(length) => Ok(Item::Array(length.into())),
        Marker::Array16 | Marker::Array32 => length(marker, bytes).map(Item::Array),
        Marker::FixMap(pairs) => Ok(Item::Map(pairs.into())),
        Marker::Map16 | Marker::Map32 => length(marker, bytes).map(Item::Map),
        // Extensions, for which scripts have no type, and bytes, which Redis does not know apart.
        _ => Err(Failure::Text("Bad data format in input.")),
    }
}

/// The length behind a marker, in as many bytes as that says.
fn length(marker: u8, bytes: &mut &[u8]) -> Result<u64, Failure> {
    Ok(match Marker::from_u8(marker) {
        Marker::Str8 => u8::from_be_bytes(take(bytes)?).into(),
        Marker::Str16 | Marker::Array16 | Marker::Map16 => u16::from_be_bytes(take(bytes)?).into(),
        _ => u32::from_be_bytes(take(bytes)?).into(),
    })
}

const SHORT: Failure = Failure::Text("Missing bytes in input.");

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Failure> {
    let (first, rest) = bytes.split_first_chunk().ok_or(SHORT)?;
    *bytes = rest;
    Ok(*first)
}

fn text(lua: &Lua, bytes: &mut &[u8], length: u64) -> Result<Item, Failure> {
    let (text, rest) = bytes.split_at_checked(length as usize).ok_or(SHORT)?;
    *bytes = rest;
    Ok(Item::Value(Value::String(lua.create_string(text)?)))
}
