//! `cjson.encode`: Lua's values to JSON.

use mlua::{Function, Table, Value};

use super::json::{Invalid, Settings};
use super::nest::DEEPEST;
use crate::state::ScriptWatch;

/// Why nothing is written, as the script is told.
type Refused<T> = Result<T, String>;

/// Writes a value. `next` is Lua's own.
pub(super) fn encode(
    value: &Value,
    settings: &Settings,
    next: &Function,
    watch: &ScriptWatch,
) -> Refused<Vec<u8>> {
    let mut encoder = Encoder { out: Vec::new(), nest: Vec::new(), settings, next, watch };
    encoder.value(value)?;
    while let Some(part) = encoder.part()? {
        encoder.value(&part)?;
    }
    Ok(encoder.out)
}

/// Writes tables in tables without a call in a call: they may nest deeper than a stack holds.
struct Encoder<'e> {
    out: Vec<u8>,
    /// The tables that are being written, the innermost last.
    nest: Vec<Frame>,
    settings: &'e Settings,
    next: &'e Function,
    watch: &'e ScriptWatch,
}

/// A table, and how far it is written.
enum Frame {
    Array { table: Table, written: usize, length: usize },
    Map { table: Table, last: Value },
}

impl Encoder<'_> {
    fn value(&mut self, value: &Value) -> Refused<()> {
        // A small table may unfold to much, since the same part can stand in it many times.
        if self.out.len() > self.watch.memory() {
            return Err("Cannot serialise, the result is too long".to_owned());
        }
        if !self.watch.step() {
            return Err("Script killed by user with SCRIPT KILL.".to_owned());
        }
        match value {
            Value::Nil | Value::LightUserData(_) => self.out.extend_from_slice(b"null"),
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Integer(number) => self.number(*number as f64)?,
            Value::Number(number) => self.number(*number)?,
            Value::String(text) => write_text(&text.as_bytes(), &mut self.out),
            Value::Table(table) => self.begin(table)?,
            other => {
                return Err(format!("Cannot serialise {}: type not supported", other.type_name()));
            }
        }
        Ok(())
    }

    fn begin(&mut self, table: &Table) -> Refused<()> {
        let depth = self.nest.len() + 1;
        if depth > (self.settings.encode_depth as usize).min(DEEPEST) {
            return Err(format!("Cannot serialise, excessive nesting ({depth})"));
        }
        let table = table.clone();
        self.nest.push(match array_length(&table, self.settings)? {
            Some(length) => Frame::Array { table, written: 0, length },
            None => Frame::Map { table, last: Value::Nil },
        });
        Ok(())
    }

    /// The next part that is to be written, what stands before it is. None: nothing is left.
    fn part(&mut self) -> Refused<Option<Value>> {
        while let Some(frame) = self.nest.last_mut() {
            match frame {
                Frame::Array { table, written, length } if *written < *length => {
                    self.out.push(if *written == 0 { b'[' } else { b',' });
                    *written += 1;
                    return Ok(Some(table.raw_get(*written).unwrap_or(Value::Nil)));
                }
                Frame::Array { .. } => self.out.push(b']'),
                Frame::Map { table, last } => {
                    let before = std::mem::replace(last, Value::Nil);
                    self.out.push(if before.is_nil() { b'{' } else { b',' });
                    let pair = self.next.call((&*table, &before));
                    let (key, value): (Value, Value) = pair.map_err(|error| error.to_string())?;
                    if !key.is_nil() {
                        *last = key.clone();
                        self.key(&key)?;
                        return Ok(Some(value));
                    }
                    if !before.is_nil() {
                        self.out.pop();
                    }
                    self.out.push(b'}');
                }
            }
            self.nest.pop();
        }
        Ok(None)
    }

    fn key(&mut self, key: &Value) -> Refused<()> {
        match key {
            Value::String(text) => write_text(&text.as_bytes(), &mut self.out),
            Value::Integer(_) | Value::Number(_) => {
                self.out.push(b'"');
                self.value(key)?;
                self.out.push(b'"');
            }
            other => {
                let kind = other.type_name();
                let why = "table key must be a number or string";
                return Err(format!("Cannot serialise {kind}: {why}"));
            }
        }
        self.out.push(b':');
        Ok(())
    }

    fn number(&mut self, number: f64) -> Refused<()> {
        let text = match self.settings.invalid {
            _ if number.is_finite() => significant(number, self.settings.precision as i32),
            Invalid::Refuse => {
                return Err("Cannot serialise number: must not be NaN or Inf".to_owned());
            }
            Invalid::Null => "null".to_owned(),
            Invalid::Write if number.is_nan() => "nan".to_owned(),
            Invalid::Write => if number > 0.0 { "inf" } else { "-inf" }.to_owned(),
        };
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }
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

fn write_text(text: &[u8], out: &mut Vec<u8>) {
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
