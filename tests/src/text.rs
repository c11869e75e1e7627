//! The text of redis-cli: how it splits a command line, and how it prints a reply. Both ways, so
//! that an expectation in a transcript becomes a value again.

use crate::wire::Value;

/// Splits a line as redis-cli does: blanks separate, `"..."` knows escapes, `'...'` does not.
pub fn split(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut args = Vec::new();
    let mut rest = line.as_bytes();
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok(args);
        }
        let (arg, after) = match rest[0] {
            b'"' => double_quoted(&rest[1..])?,
            b'\'' => single_quoted(&rest[1..])?,
            _ => {
                let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
                (rest[..end].to_vec(), &rest[end..])
            }
        };
        if after.first().is_some_and(|b| !b.is_ascii_whitespace()) {
            return Err(format!("something follows a closing quote in: {line}"));
        }
        args.push(arg);
        rest = after;
    }
}

fn double_quoted(text: &[u8]) -> Result<(Vec<u8>, &[u8]), String> {
    let mut out = Vec::new();
    let mut i = 0;
    while i < text.len() {
        match (text[i], text.get(i + 1)) {
            (b'"', _) => return Ok((out, &text[i + 1..])),
            (b'\\', Some(b'x')) => {
                let digits = text.get(i + 2..i + 4).and_then(|d| std::str::from_utf8(d).ok());
                let byte = digits.and_then(|d| u8::from_str_radix(d, 16).ok());
                out.push(byte.ok_or("\\x needs two hexadecimal digits")?);
                i += 4;
            }
            (b'\\', Some(c)) => {
                out.push(match c {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    other => *other,
                });
                i += 2;
            }
            (byte, _) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    Err("a double quote is not closed".into())
}

fn single_quoted(text: &[u8]) -> Result<(Vec<u8>, &[u8]), String> {
    let mut out = Vec::new();
    let mut i = 0;
    while i < text.len() {
        match (text[i], text.get(i + 1)) {
            (b'\'', _) => return Ok((out, &text[i + 1..])),
            (b'\\', Some(b'\'')) => {
                out.push(b'\'');
                i += 2;
            }
            (byte, _) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    Err("a single quote is not closed".into())
}

/// Bytes in double quotes, everything unprintable escaped.
pub fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            7 => out.push_str("\\a"),
            8 => out.push_str("\\b"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

/// A command line that [`split`] turns into these arguments again.
pub fn join<A: AsRef<[u8]>>(args: &[A]) -> String {
    let plain = |b: &u8| b.is_ascii_graphic() && !b"\"'\\{}".contains(b);
    let one = |arg: &A| match arg.as_ref() {
        bytes if !bytes.is_empty() && bytes.iter().all(plain) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        bytes => quote(bytes),
    };
    args.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// A reply as redis-cli prints it, without the last line break.
pub fn format(value: &Value) -> String {
    match value {
        Value::Status(text) => printable(text),
        Value::Error(text) => format!("(error) {}", printable(text)),
        Value::Integer(n) => format!("(integer) {n}"),
        Value::Bulk(bytes) => quote(bytes),
        Value::NullBulk | Value::NullArray | Value::Null => "(nil)".into(),
        Value::Double(d) => format!("(double) {d}"),
        Value::Boolean(true) => "(true)".into(),
        Value::Boolean(false) => "(false)".into(),
        Value::BigNumber(n) => format!("(big number) {n}"),
        Value::Verbatim(kind, bytes) => format!("(verbatim {kind}) {}", quote(bytes)),
        Value::Array(items) if items.is_empty() => "(empty array)".into(),
        Value::Set(items) if items.is_empty() => "(empty set)".into(),
        Value::Push(items) if items.is_empty() => "(empty push)".into(),
        Value::Map(items) if items.is_empty() => "(empty hash)".into(),
        Value::Array(items) => numbered(')', items.iter().map(format)),
        Value::Set(items) => numbered('~', items.iter().map(format)),
        Value::Push(items) => numbered('>', items.iter().map(format)),
        Value::Map(pairs) => numbered('#', pairs.iter().map(pair)),
    }
}

fn pair((key, value): &(Value, Value)) -> String {
    let scalar = !matches!(value, Value::Array(_) | Value::Set(_) | Value::Push(_) | Value::Map(_));
    let value = format(value);
    if scalar || value.starts_with('(') {
        format!("{} => {value}", format(key))
    } else {
        format!("{} =>\n{value}", format(key))
    }
}

fn numbered(mark: char, items: impl ExactSizeIterator<Item = String>) -> String {
    let digits = items.len().to_string().len();
    let margin = " ".repeat(digits + 2);
    let mut lines = Vec::new();
    for (i, item) in items.enumerate() {
        for (j, line) in item.split('\n').enumerate() {
            lines.push(match j {
                0 => format!("{:>digits$}{mark} {line}", i + 1),
                _ => format!("{margin}{line}"),
            });
        }
    }
    lines.join("\n")
}

/// Statuses and errors may hold any byte but a line break; what would not survive a text file and
/// its editors is shown escaped.
fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.ends_with(' ') && !text.chars().any(char::is_control) => text.into(),
        _ => format!("(raw) {}", quote(bytes)),
    }
}

/// Reads what [`format`] writes.
pub fn parse(lines: &[String]) -> Result<Value, String> {
    let first = lines.first().ok_or("no reply is given")?;
    if let Some((mark, width)) = numbering(first) {
        return parse_numbered(mark, width, lines);
    }
    if lines.len() > 1 {
        return Err(format!("one line was expected: {}", lines.join(" / ")));
    }
    parse_scalar(first)
}

/// Whether a line begins an aggregate: its mark, and how wide the numbers with it are.
fn numbering(line: &str) -> Option<(char, usize)> {
    let number = line.trim_start_matches(' ');
    let rest = number.trim_start_matches(|c: char| c.is_ascii_digit());
    let mark = rest.chars().next()?;
    let numbered = rest.len() < number.len() && rest[1..].starts_with(' ');
    (numbered && ")~>#".contains(mark)).then(|| (mark, line.len() - rest.len() + 2))
}

fn parse_numbered(mark: char, width: usize, lines: &[String]) -> Result<Value, String> {
    let mut items: Vec<Vec<String>> = Vec::new();
    for line in lines {
        let (margin, rest) =
            line.split_at_checked(width).ok_or(format!("too short a line: {line}"))?;
        match items.last_mut() {
            Some(item) if margin.trim().is_empty() => item.push(rest.into()),
            _ if numbering(line) == Some((mark, width)) => items.push(vec![rest.into()]),
            _ => return Err(format!("no element begins here: {line}")),
        }
    }
    if mark == '#' {
        return items.iter().map(|item| parse_pair(item)).collect::<Result<_, _>>().map(Value::Map);
    }
    let items = items.iter().map(|item| parse(item)).collect::<Result<_, _>>()?;
    Ok(match mark {
        ')' => Value::Array(items),
        '~' => Value::Set(items),
        _ => Value::Push(items),
    })
}

fn parse_pair(lines: &[String]) -> Result<(Value, Value), String> {
    let at = lines[0].find(" =>").ok_or(format!("no `=>` in: {}", lines[0]))?;
    let key = parse_scalar(&lines[0][..at])?;
    let inline = lines[0][at + 3..].trim_start();
    let value = match inline {
        "" => parse(&lines[1..])?,
        scalar => parse_scalar(scalar)?,
    };
    Ok((key, value))
}

fn parse_scalar(line: &str) -> Result<Value, String> {
    let bad = || format!("cannot be read as a reply: {line}");
    if line.starts_with('"') {
        return Ok(Value::Bulk(unquote(line).ok_or_else(bad)?));
    }
    let Some((kind, rest)) = line.strip_prefix('(').and_then(|l| l.split_once(')')) else {
        return Ok(Value::Status(line.as_bytes().to_vec()));
    };
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    match kind {
        "integer" => rest.parse().map(Value::Integer).map_err(|_| bad()),
        "error" => Ok(Value::Error(match rest.strip_prefix("(raw) ") {
            Some(quoted) => unquote(quoted).ok_or_else(bad)?,
            None => rest.as_bytes().to_vec(),
        })),
        "raw" => Ok(Value::Status(unquote(rest).ok_or_else(bad)?)),
        "nil" => Ok(Value::Null),
        "double" => Ok(Value::Double(rest.into())),
        "true" => Ok(Value::Boolean(true)),
        "false" => Ok(Value::Boolean(false)),
        "big number" => Ok(Value::BigNumber(rest.into())),
        "empty array" => Ok(Value::Array(Vec::new())),
        "empty set" => Ok(Value::Set(Vec::new())),
        "empty push" => Ok(Value::Push(Vec::new())),
        "empty hash" => Ok(Value::Map(Vec::new())),
        _ => match kind.strip_prefix("verbatim ") {
            Some(kind) => Ok(Value::Verbatim(kind.into(), unquote(rest).ok_or_else(bad)?)),
            None => Ok(Value::Status(line.as_bytes().to_vec())),
        },
    }
}

fn unquote(text: &str) -> Option<Vec<u8>> {
    let mut args = split(text).ok()?;
    if args.len() == 1 { args.pop() } else { None }
}

/// Whether a text matches a pattern in which `*` stands for anything.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    #[test]
    fn what_is_printed_can_be_read_again() {
        let nested = Value::Array(vec![
            Value::Integer(1),
            Value::Array((0..11).map(|n| bulk(&n.to_string())).collect()),
            Value::Map(vec![
                (bulk("a =\"x"), Value::Null),
                (bulk("b"), Value::Set(vec![bulk("1) x"), Value::Array(vec![])])),
            ]),
            Value::Error(b"ERR a\"b".to_vec()),
            Value::Status(b"(odd) status".to_vec()),
            Value::Verbatim("txt".into(), b"a\r\nb".to_vec()),
        ]);
        let text = format(&nested);
        let lines: Vec<String> = text.split('\n').map(String::from).collect();
        assert_eq!(parse(&lines), Ok(nested), "{text}");
    }

    #[test]
    fn a_command_line_is_split_as_redis_cli_does() {
        let args = split(r#"SET k "a\x00\n\"" 'it\'s "raw"' """#).expect("well quoted");
        assert_eq!(args, [&b"SET"[..], b"k", b"a\0\n\"", b"it's \"raw\"", b""]);
        assert!(split("GET \"a").is_err());
        assert_eq!(split(&join(&args)), Ok(args));
    }

    #[test]
    fn patterns_know_the_star() {
        assert!(matches("a*c*", "abcd"));
        assert!(matches("*", ""));
        assert!(!matches("a*d", "abc"));
        assert!(!matches("ab", "abc"));
    }
}
