//! `cjson.decode`: JSON to Lua's values, as lenient as lua-cjson is and with its errors.

use mlua::{LightUserData, Lua, Value};

use super::nest::Open;
use crate::state::ScriptWatch;

/// What may be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// How deep it may nest.
    pub(super) deepest: usize,
    /// Hexadecimal numbers, leading zeros, infinity and what is no number are numbers too.
    pub(super) takes_invalid_numbers: bool,
}

/// Why nothing was read.
pub(super) enum Failure {
    /// The text is no JSON: what the script is told.
    Text(String),
    /// The interpreter's own error.
    Lua(mlua::Error),
}

impl From<mlua::Error> for Failure {
    fn from(error: mlua::Error) -> Self {
        Failure::Lua(error)
    }
}

/// `cjson.null`.
pub(super) fn null() -> Value {
    Value::LightUserData(LightUserData(std::ptr::null_mut()))
}

/// Reads the one value that a text holds.
pub(super) fn decode(
    lua: &Lua,
    text: &[u8],
    rules: Rules,
    watch: &ScriptWatch,
) -> Result<Value, Failure> {
    if text.len() > 1 && (text[0] == 0 || text[1] == 0) {
        return Err(Failure::Text("JSON parser does not support UTF-16 or UTF-32".to_owned()));
    }
    Decoder { lua, rules, watch, scanner: Scanner { text, at: 0, rules }, nest: Vec::new() }.read()
}

struct Decoder<'d> {
    lua: &'d Lua,
    rules: Rules,
    watch: &'d ScriptWatch,
    scanner: Scanner<'d>,
    /// The tables that are open, the innermost last.
    nest: Vec<Open>,
}

impl Decoder<'_> {
    fn read(mut self) -> Result<Value, Failure> {
        let mut lexeme = self.scanner.next();
        loop {
            if !self.watch.step() {
                return Err(Failure::Text("Script killed by user with SCRIPT KILL.".to_owned()));
            }
            let value = match lexeme.token {
                Token::OpenMap | Token::OpenArray => {
                    let open = self.open(&lexeme.token)?;
                    lexeme = self.scanner.next();
                    if !lexeme.closes(&open) {
                        self.nest.push(open);
                        lexeme = self.key_if_any(lexeme)?;
                        continue;
                    }
                    Value::Table(open.table)
                }
                _ => self.scalar(lexeme)?,
            };
            match self.put(value)? {
                Next::Value(next) => lexeme = next,
                Next::Done(value) => return Ok(value),
            }
        }
    }

    fn open(&self, token: &Token) -> Result<Open, Failure> {
        let depth = self.nest.len() + 1;
        if depth > self.rules.deepest {
            let at = self.scanner.at;
            let why = format!("Found too many nested data structures ({depth}) at character {at}");
            return Err(Failure::Text(why));
        }
        let open =
            if *token == Token::OpenMap { Open::map(self.lua) } else { Open::array(self.lua) };
        Ok(open?)
    }

    /// In a map reads a key and its colon; then the lexeme is the first of a value.
    fn key_if_any(&mut self, lexeme: Lexeme) -> Result<Lexeme, Failure> {
        let Some(open) = self.nest.last_mut().filter(|open| open.is_map()) else {
            return Ok(lexeme);
        };
        let Token::Text(key) = lexeme.token else {
            return Err(lexeme.instead_of("object key string"));
        };
        open.put(Value::String(self.lua.create_string(key)?))?;
        let colon = self.scanner.next();
        match colon.token {
            Token::Colon => Ok(self.scanner.next()),
            _ => Err(colon.instead_of("colon")),
        }
    }

    fn scalar(&self, lexeme: Lexeme) -> Result<Value, Failure> {
        Ok(match lexeme.token {
            Token::Text(text) => Value::String(self.lua.create_string(text)?),
            Token::Number(number) => Value::Number(number),
            Token::Boolean(value) => Value::Boolean(value),
            Token::Null => null(),
            _ => return Err(lexeme.instead_of("value")),
        })
    }

    /// Puts a value where it belongs, and with it every table that it completes.
    fn put(&mut self, mut value: Value) -> Result<Next, Failure> {
        loop {
            let Some(open) = self.nest.last_mut() else {
                let end = self.scanner.next();
                return match end.token {
                    Token::End => Ok(Next::Done(value)),
                    _ => Err(end.instead_of("the end")),
                };
            };
            open.put(value)?;
            let lexeme = self.scanner.next();
            if lexeme.token == Token::Comma {
                let first = self.scanner.next();
                return self.key_if_any(first).map(Next::Value);
            }
            if !lexeme.closes(open) {
                let expected =
                    if open.is_map() { "comma or object end" } else { "comma or array end" };
                return Err(lexeme.instead_of(expected));
            }
            value = Value::Table(open.table.clone());
            self.nest.pop();
        }
    }
}

/// What follows a value.
enum Next {
    /// Another one, which begins so.
    Value(Lexeme),
    /// Nothing: it was the one.
    Done(Value),
}

#[derive(Debug, PartialEq)]
enum Token {
    OpenMap,
    CloseMap,
    OpenArray,
    CloseArray,
    Text(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Bad(&'static str),
}

struct Lexeme {
    token: Token,
    /// Where it stands, or what is wrong with it.
    at: usize,
}

impl Lexeme {
    fn closes(&self, open: &Open) -> bool {
        self.token == if open.is_map() { Token::CloseMap } else { Token::CloseArray }
    }

    fn instead_of(&self, expected: &str) -> Failure {
        let found = match &self.token {
            Token::OpenMap => "T_OBJ_BEGIN",
            Token::CloseMap => "T_OBJ_END",
            Token::OpenArray => "T_ARR_BEGIN",
            Token::CloseArray => "T_ARR_END",
            Token::Text(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Bad(why) => why,
        };
        let at = self.at + 1;
        Failure::Text(format!("Expected {expected} but found {found} at character {at}"))
    }
}

struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    rules: Rules,
}

impl Scanner<'_> {
    /// The byte so far behind the present one; as in C, a zero stands at the end.
    fn byte(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn rest(&self) -> &[u8] {
        &self.text[self.at..]
    }

    fn next(&mut self) -> Lexeme {
        while matches!(self.byte(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        let at = self.at;
        let one = |token| (token, 1);
        let (token, length) = match self.byte(0) {
            b'"' => return self.string(),
            b'{' => one(Token::OpenMap),
            b'}' => one(Token::CloseMap),
            b'[' => one(Token::OpenArray),
            b']' => one(Token::CloseArray),
            b':' => one(Token::Colon),
            b',' => one(Token::Comma),
            0 => (Token::End, 0),
            _ => self.word(),
        };
        self.at += length;
        Lexeme { token, at }
    }

    /// A number or a name, and its length.
    fn word(&self) -> (Token, usize) {
        let takes_invalid = self.rules.takes_invalid_numbers;
        let is_number = matches!(self.byte(0), b'-' | b'0'..=b'9');
        for (name, token) in [
            (&b"true"[..], Token::Boolean(true)),
            (b"false", Token::Boolean(false)),
            (b"null", Token::Null),
        ] {
            if self.rest().starts_with(name) {
                return (token, name.len());
            }
        }
        if !(is_number || takes_invalid && is_invalid_number(self.rest())) {
            return (Token::Bad("invalid token"), 0);
        }
        if !takes_invalid && is_invalid_number(self.rest()) {
            return (Token::Bad("invalid number"), 0);
        }
        match leading_number(self.rest()) {
            Some((number, length)) => (Token::Number(number), length),
            None => (Token::Bad("invalid number"), 0),
        }
    }

    fn string(&mut self) -> Lexeme {
        let start = self.at;
        let mut text = Vec::new();
        self.at += 1;
        let bad = loop {
            match self.byte(0) {
                b'"' => {
                    self.at += 1;
                    return Lexeme { token: Token::Text(text), at: start };
                }
                0 => break "unexpected end of string",
                b'\\' => {
                    if let Err(why) = self.escape(&mut text) {
                        break why;
                    }
                }
                byte => {
                    text.push(byte);
                    self.at += 1;
                }
            }
        };
        Lexeme { token: Token::Bad(bad), at: self.at }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), &'static str> {
        let byte = match self.byte(1) {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'f' => 12,
            b'r' => b'\r',
            b'u' => {
                let (character, length) = self.unicode().ok_or("invalid unicode escape code")?;
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                self.at += length;
                return Ok(());
            }
            _ => return Err("invalid escape code"),
        };
        text.push(byte);
        self.at += 2;
        Ok(())
    }

    /// The character of `\uXXXX`, or of two of them, and their length.
    fn unicode(&self) -> Option<(char, usize)> {
        let unit = |ahead: usize| {
            let digits = self.rest().get(ahead + 2..ahead + 6)?;
            let starts = self.rest()[ahead..].starts_with(b"\\u");
            let digits = std::str::from_utf8(digits).ok().filter(|_| starts)?;
            let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)
        };
        let first = unit(0)?;
        if let Some(character) = char::from_u32(u32::from(first)) {
            return Some((character, 6));
        }
        let character = char::decode_utf16([first, unit(6)?]).next()?.ok()?;
        Some((character, 12))
    }
}

/// Whether these bytes begin with a number that is none of JSON's, though C reads it.
fn is_invalid_number(text: &[u8]) -> bool {
    let begins = |text: &[u8], word: &str| {
        text.get(..word.len()).is_some_and(|it| it.eq_ignore_ascii_case(word.as_bytes()))
    };
    match text {
        [b'+', ..] => true,
        [b'-', rest @ ..] if !rest.starts_with(b"+") && !rest.starts_with(b"-") => {
            is_invalid_number(rest)
        }
        [b'0', second, ..] => second.is_ascii_digit() || second.eq_ignore_ascii_case(&b'x'),
        _ => begins(text, "inf") || begins(text, "nan"),
    }
}

/// The number that these bytes begin with, as C reads it, and its length.
fn leading_number(text: &[u8]) -> Option<(f64, usize)> {
    let signed = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let (value, length) = unsigned_number(&text[signed..])?;
    let value = if text[0] == b'-' { -value } else { value };
    Some((value, signed + length))
}

fn unsigned_number(text: &[u8]) -> Option<(f64, usize)> {
    let begins = |word: &str| {
        text.get(..word.len()).is_some_and(|it| it.eq_ignore_ascii_case(word.as_bytes()))
    };
    for (word, value) in
        [("infinity", f64::INFINITY), ("inf", f64::INFINITY), ("nan", f64::NAN.abs())]
    {
        if begins(word) {
            let behind = &text[word.len()..];
            // `nan(...)` may say which one.
            let more = behind.iter().position(|byte| *byte == b')').map_or(0, |at| at + 1);
            let more = if behind.starts_with(b"(") && value.is_nan() { more } else { 0 };
            return Some((value, word.len() + more));
        }
    }
    if begins("0x")
        && let Some((value, length)) = hexadecimal(&text[2..])
    {
        return Some((value, length + 2));
    }
    let length = extent(text, u8::is_ascii_digit, b'e')?;
    let value = std::str::from_utf8(&text[..length]).ok()?.parse().ok()?;
    Some((value, length))
}

/// Digits, a point among them, and an exponent: how many bytes. None: there is no digit.
fn extent(text: &[u8], is_digit: fn(&u8) -> bool, exponent: u8) -> Option<usize> {
    let digits = |from: usize, is_digit: fn(&u8) -> bool| {
        text[from..].iter().take_while(|byte| is_digit(byte)).count()
    };
    let mut length = digits(0, is_digit);
    let mut count = length;
    if text.get(length) == Some(&b'.') {
        let behind = digits(length + 1, is_digit);
        count += behind;
        length += 1 + behind;
    }
    if count == 0 {
        return None;
    }
    if text.get(length).is_some_and(|byte| byte.eq_ignore_ascii_case(&exponent)) {
        let sign = usize::from(matches!(text.get(length + 1), Some(b'+' | b'-')));
        match digits((length + 1 + sign).min(text.len()), u8::is_ascii_digit) {
            0 => {}
            behind => length += 1 + sign + behind,
        }
    }
    Some(length)
}

fn hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    let length = extent(text, u8::is_ascii_hexdigit, b'p')?;
    let number = std::str::from_utf8(&text[..length]).ok()?.to_ascii_lowercase();
    let (mantissa, exponent) = number.split_once('p').unwrap_or((&number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = whole.chars().chain(fraction.chars()).filter_map(|digit| digit.to_digit(16));
    let value = digits.fold(0.0, |value, digit| value * 16.0 + f64::from(digit));
    let exponent: f64 = exponent.parse().ok()?;
    Some((value * (exponent - 4.0 * fraction.len() as f64).exp2(), length))
}

#[cfg(test)]
mod tests {
    use super::leading_number;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        for (text, expected) in [
            ("1.5e3,", Some((1500.0, 5))),
            ("5.", Some((5.0, 2))),
            (".5", Some((0.5, 2))),
            ("1e", Some((1.0, 1))),
            ("1e+", Some((1.0, 1))),
            ("-0x1.8p1]", Some((-3.0, 8))),
            ("0x", Some((0.0, 1))),
            ("infinit", Some((f64::INFINITY, 3))),
            ("-Infinity", Some((f64::NEG_INFINITY, 9))),
            ("1e400", Some((f64::INFINITY, 5))),
            ("-", None),
            ("+", None),
            (".", None),
        ] {
            assert_eq!(leading_number(text.as_bytes()), expected, "{text}");
        }
        assert!(leading_number(b"nan(12)").is_some_and(|(it, length)| it.is_nan() && length == 7));
    }
}
