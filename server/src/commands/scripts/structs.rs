//! `struct`: values to bytes and back, by a format of letters.

use std::sync::Arc;

use mlua::{Lua, MultiValue, Table, Value};

use crate::state::ScriptWatch;

/// The widest integer, in bytes.
const WIDEST: usize = 32;

/// What `!` alone aligns to: what a double is aligned to.
const NATURAL: usize = 8;

/// `pack`, `unpack` and `size`.
pub(super) fn library(lua: &Lua, failure: &Table, watch: &Arc<ScriptWatch>) -> mlua::Result<Table> {
    let library = lua.create_table()?;
    let (failed, watch) = (failure.clone(), Arc::clone(watch));
    library.set(
        "pack",
        lua.create_function(move |lua, args: MultiValue| {
            let packed = pack(lua, &args, watch.memory());
            let packed = packed.and_then(|bytes| Ok(vec![text(lua, &bytes)?]));
            results(lua, &failed, packed)
        })?,
    )?;
    let failed = failure.clone();
    library.set(
        "unpack",
        lua.create_function(move |lua, args: MultiValue| {
            results(lua, &failed, unpack(lua, &args))
        })?,
    )?;
    let failed = failure.clone();
    library.set(
        "size",
        lua.create_function(move |lua, args: MultiValue| {
            results(lua, &failed, size(lua, &args).map(|size| vec![Value::Number(size as f64)]))
        })?,
    )?;
    Ok(library)
}

/// What a function answers: its values, or the failure and why.
fn results(lua: &Lua, failed: &Table, done: Result<Vec<Value>, Why>) -> mlua::Result<MultiValue> {
    match done {
        Ok(values) => Ok(values.into_iter().collect()),
        Err(Why::Lua(error)) => Err(error),
        Err(Why::Text(why)) => {
            let why = Value::String(lua.create_string(why)?);
            Ok([Value::Table(failed.clone()), why].into_iter().collect())
        }
    }
}

/// Why a function fails: as it says, or because the interpreter does.
#[derive(Debug)]
enum Why {
    Text(String),
    Lua(mlua::Error),
}

impl From<String> for Why {
    fn from(why: String) -> Self {
        Why::Text(why)
    }
}

impl From<mlua::Error> for Why {
    fn from(error: mlua::Error) -> Self {
        Why::Lua(error)
    }
}

fn bad_argument(number: usize, function: &str, why: &str) -> Why {
    Why::Text(format!("bad argument #{number} to '{function}' ({why})"))
}

fn text(lua: &Lua, bytes: &[u8]) -> mlua::Result<Value> {
    lua.create_string(bytes).map(Value::String)
}

/// A function's arguments, by their numbers from 1 on.
struct Arguments<'a> {
    lua: &'a Lua,
    function: &'static str,
    values: &'a MultiValue,
}

impl Arguments<'_> {
    fn value(&self, number: usize) -> Value {
        self.values.get(number - 1).cloned().unwrap_or(Value::Nil)
    }

    fn wrong(&self, number: usize, expected: &str) -> Why {
        // Redis's library has put a nil behind the arguments by the time it packs them.
        let missing = if self.function == "pack" && number > 1 { "nil" } else { "no value" };
        let found = self.values.get(number - 1).map_or(missing, Value::type_name);
        bad_argument(number, self.function, &format!("{expected} expected, got {found}"))
    }

    fn number(&self, number: usize) -> Result<f64, Why> {
        let found = self.lua.coerce_number(self.value(number))?;
        found.ok_or_else(|| self.wrong(number, "number"))
    }

    fn bytes(&self, number: usize) -> Result<Vec<u8>, Why> {
        let found = self.lua.coerce_string(self.value(number))?;
        let found = found.map(|text| text.as_bytes().to_vec());
        found.ok_or_else(|| self.wrong(number, "string"))
    }
}

/// A format as it is read.
struct Format<'a> {
    function: &'static str,
    rest: &'a [u8],
    big_endian: bool,
    align: usize,
}

/// One letter of a format.
#[derive(Debug, Clone, Copy)]
struct Item {
    letter: u8,
    /// In bytes; 0 where the letter alone does not say.
    size: usize,
    /// Bytes before it, so that it is aligned.
    padding: usize,
}

impl<'a> Format<'a> {
    fn new(function: &'static str, format: &'a [u8]) -> Self {
        let end = format.iter().position(|byte| *byte == 0).unwrap_or(format.len());
        Format { function, rest: &format[..end], big_endian: false, align: 1 }
    }

    /// The next letter, which stands at byte `at` of the data.
    fn next(&mut self, at: usize) -> Result<Option<Item>, Why> {
        let Some((&letter, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        let size = match letter {
            b'b' | b'B' | b'x' => 1,
            b'h' | b'H' => 2,
            b'l' | b'L' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(1)?,
            b'i' | b'I' => self.number(4)?,
            _ => 0,
        };
        if matches!(letter, b'i' | b'I') && size > WIDEST {
            let why = format!("integral size {size} is larger than limit of {WIDEST}");
            return Err(Why::Text(why));
        }
        let padding = if size == 0 || letter == b'c' {
            0
        } else {
            let to = size.min(self.align);
            to.wrapping_sub(at & (to - 1)) & (to - 1)
        };
        Ok(Some(Item { letter, size, padding }))
    }

    /// The digits that follow, as a number.
    fn number(&mut self, default: usize) -> Result<usize, Why> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(default);
        }
        let (digits, rest) = self.rest.split_at(digits);
        self.rest = rest;
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i32>().ok());
        number
            .map(|number| number as usize)
            .ok_or_else(|| Why::Text("integral size overflow".to_owned()))
    }

    /// A letter that stands for no value: order of bytes, alignment.
    fn control(&mut self, letter: u8) -> Result<(), Why> {
        match letter {
            b' ' => {}
            b'>' => self.big_endian = true,
            b'<' => self.big_endian = false,
            b'!' => {
                let align = self.number(NATURAL)?;
                if !align.is_power_of_two() {
                    return Err(Why::Text(format!("alignment {align} is not a power of 2")));
                }
                self.align = align;
            }
            _ => {
                let why = format!("invalid format option '{}'", char::from(letter));
                return Err(bad_argument(1, self.function, &why));
            }
        }
        Ok(())
    }

    /// Little-endian bytes in this format's order, and back.
    fn ordered(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.big_endian {
            bytes.reverse();
        }
        bytes
    }
}

fn pack(lua: &Lua, values: &MultiValue, most: usize) -> Result<Vec<u8>, Why> {
    let args = Arguments { lua, function: "pack", values };
    let format = args.bytes(1)?;
    let mut format = Format::new(args.function, &format);
    let mut out = Vec::new();
    let mut number = 2;
    while let Some(Item { letter, size, padding }) = format.next(out.len())? {
        out.resize(out.len() + padding, 0);
        match letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let bytes = integer_bytes(args.number(number)?, size);
                out.extend_from_slice(&format.ordered(bytes));
            }
            b'f' => {
                let bytes = (args.number(number)? as f32).to_le_bytes();
                out.extend_from_slice(&format.ordered(bytes.to_vec()));
            }
            b'd' => {
                let bytes = args.number(number)?.to_le_bytes();
                out.extend_from_slice(&format.ordered(bytes.to_vec()));
            }
            b'c' | b's' => {
                let bytes = args.bytes(number)?;
                let size = if size == 0 { bytes.len() } else { size };
                // Redis's library names the argument behind the one that is too short.
                let part = bytes
                    .get(..size)
                    .ok_or_else(|| bad_argument(number + 1, args.function, "string too short"))?;
                out.extend_from_slice(part);
                out.resize(out.len() + usize::from(letter == b's'), 0);
            }
            b'x' => out.push(0),
            letter => {
                format.control(letter)?;
                continue;
            }
        }
        number += usize::from(letter != b'x');
        if out.len() > most {
            return Err(Why::Text("the result of 'pack' is too long".to_owned()));
        }
    }
    Ok(out)
}

/// The lowest bytes of a number, negative ones in two's complement of 64 bits.
fn integer_bytes(number: f64, size: usize) -> Vec<u8> {
    let number = if number < 0.0 { number as i64 as u64 } else { number as u64 };
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(size, 0);
    bytes
}

/// The number that little-endian bytes are.
fn integer_of(bytes: &[u8], is_signed: bool) -> f64 {
    let read = bytes.len().min(8);
    let mut word = [0; 8];
    word[..read].copy_from_slice(&bytes[..read]);
    let number = u64::from_le_bytes(word);
    if !is_signed || read == 0 {
        return number as f64;
    }
    let unused = 64 - 8 * read as u32;
    ((number << unused) as i64 >> unused) as f64
}

fn unpack(lua: &Lua, values: &MultiValue) -> Result<Vec<Value>, Why> {
    let args = Arguments { lua, function: "unpack", values };
    let (format, data) = (args.bytes(1)?, args.bytes(2)?);
    let short = || bad_argument(2, args.function, "data string too short");
    let start = if args.value(3).is_nil() { 1.0 } else { args.number(3)? };
    if start as i64 == 0 {
        return Err(bad_argument(3, args.function, "offset must be 1 or greater"));
    }
    let start = usize::try_from(start as i64 - 1).map_err(|_| short())?;
    let mut format = Format::new(args.function, &format);
    let (mut at, mut found) = (start, Vec::new());
    while let Some(Item { letter, mut size, padding }) = format.next(at)? {
        at = at.saturating_add(padding);
        let rest = data.get(at..).filter(|rest| size <= rest.len()).ok_or_else(short)?;
        let taken = &rest[..size];
        match letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let bytes = format.ordered(taken.to_vec());
                found.push(Value::Number(integer_of(&bytes, letter.is_ascii_lowercase())));
            }
            b'f' => {
                let bytes = format.ordered(taken.to_vec()).try_into().unwrap_or_default();
                found.push(Value::Number(f64::from(f32::from_le_bytes(bytes))));
            }
            b'd' => {
                let bytes = format.ordered(taken.to_vec()).try_into().unwrap_or_default();
                found.push(Value::Number(f64::from_le_bytes(bytes)));
            }
            b'c' => {
                if size == 0 {
                    let before = found.pop().map(|before| lua.coerce_number(before));
                    let before = before
                        .transpose()?
                        .flatten()
                        .ok_or_else(|| Why::Text("format 'c0' needs a previous size".to_owned()))?;
                    size = if before < 0.0 { usize::MAX } else { before as usize };
                }
                found.push(text(lua, rest.get(..size).ok_or_else(short)?)?);
            }
            b's' => {
                let end = rest.iter().position(|byte| *byte == 0);
                let end = end.ok_or_else(|| Why::Text("unfinished string in data".to_owned()))?;
                found.push(text(lua, &rest[..end])?);
                size = end + 1;
            }
            b'x' => {}
            letter => format.control(letter)?,
        }
        at += size;
    }
    found.push(Value::Number((at + 1) as f64));
    Ok(found)
}

fn size(lua: &Lua, values: &MultiValue) -> Result<usize, Why> {
    let args = Arguments { lua, function: "size", values };
    let format = args.bytes(1)?;
    let mut format = Format::new(args.function, &format);
    let mut all: usize = 0;
    while let Some(Item { letter, size, padding }) = format.next(all)? {
        if letter == b's' || (letter == b'c' && size == 0) {
            let option = if letter == b's' { "s" } else { "c0" };
            let why = format!("option '{option}' has no fixed size");
            return Err(bad_argument(1, args.function, &why));
        }
        if !letter.is_ascii_alphanumeric() {
            format.control(letter)?;
        }
        all = all.saturating_add(padding).saturating_add(size);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_any_width_come_back() {
        for number in [0.0, 1.0, -1.0, 127.0, -128.0, 1e9, -1e9, 4_294_967_295.0] {
            for size in 8..=WIDEST {
                assert_eq!(integer_of(&integer_bytes(number, size), true), number, "{size}");
            }
        }
        assert_eq!(integer_of(&integer_bytes(-1.0, 1), false), 255.0);
        assert_eq!(integer_of(&integer_bytes(200.0, 1), true), -56.0);
        assert_eq!(integer_of(&integer_bytes(-2.0, 3), true), -2.0);
        assert_eq!(integer_of(&[], true), 0.0);
    }

    #[test]
    fn whatever_the_format_and_the_data_nothing_breaks() -> mlua::Result<()> {
        let lua = Lua::new();
        let mut rng = fastrand::Rng::with_seed(7);
        let letters = b"bBhHlLTiIfdxcs<>! 0123456789z\0";
        for _ in 0..20_000 {
            let format: Vec<u8> =
                (0..rng.usize(..8)).map(|_| letters[rng.usize(..letters.len())]).collect();
            let data: Vec<u8> = (0..rng.usize(..24)).map(|_| rng.u8(..)).collect();
            let mut values = vec![text(&lua, &format)?, text(&lua, &data)?];
            let _ = size(&lua, &values.iter().cloned().collect());
            let _ = unpack(&lua, &values.iter().cloned().collect());
            values.push(Value::Number(rng.f64() * 100.0 - 50.0));
            let _ = unpack(&lua, &values.iter().cloned().collect());
            if let Ok(bytes) = pack(&lua, &values.iter().cloned().collect(), 1000) {
                assert!(bytes.len() < 1100);
            }
        }
        Ok(())
    }
}
