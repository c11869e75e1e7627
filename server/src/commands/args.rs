//! Reading arguments: numbers as strictly as Redis reads them, options in any case.

use super::CommandError;
use crate::clock::Millis;
use crate::resp::Args;

/// A decimal integer as Redis takes it (`string2ll`): no blanks, no `+`, no leading zeros.
pub fn parse_int(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [] => return None,
        [b'0'] => return (!negative).then_some(0),
        [b'0', ..] => return None,
        _ if digits.len() > 19 => return None,
        _ => {}
    }
    let mut value = 0i128;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i128::from(digit - b'0');
    }
    i64::try_from(if negative { -value } else { value }).ok()
}

/// A double as Redis takes it (`strtod` of the whole text): no blanks in front, no NaN, and
/// nothing that is out of range.
pub fn parse_float(text: &[u8]) -> Option<f64> {
    let value = parse_double(text)?;
    // Digits that come to infinity are out of range, as `strtod` says by errno.
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    let overflows = value.is_infinite() && digits.first().is_some_and(u8::is_ascii_digit);
    (!overflows).then_some(value)
}

/// The end of a range of scores: as `strtod` takes a C string, which ends at a zero byte, is 0 if
/// it is empty; out of range is infinite.
pub fn parse_bound(text: &[u8]) -> Option<f64> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    match &text[..end] {
        [] => Some(0.0),
        text => parse_double(text),
    }
}

/// A double as `strtod` takes the whole of a text without blanks in front; no NaN.
fn parse_double(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let value: f64 = if unsigned.len() > 2 && unsigned[..2].eq_ignore_ascii_case("0x") {
        let magnitude = parse_hex_float(&unsigned[2..])?;
        if text.starts_with('-') { -magnitude } else { magnitude }
    } else {
        text.parse().ok()?
    };
    (!value.is_nan()).then_some(value)
}

/// What follows `0x` in C's notation: hexadecimal digits, a point, a binary exponent.
fn parse_hex_float(text: &str) -> Option<f64> {
    let (digits, exponent) = match text.find(['p', 'P']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    Some(value * 2f64.powi(exponent - 4 * fraction.len() as i32))
}

/// Argument `index` as an integer.
pub fn int(args: Args<'_>, index: usize) -> Result<i64, CommandError> {
    args.get(index).and_then(parse_int).ok_or(CommandError::NOT_AN_INTEGER)
}

/// Argument `index` as a double.
pub fn float(args: Args<'_>, index: usize) -> Result<f64, CommandError> {
    args.get(index).and_then(parse_float).ok_or(CommandError::NOT_A_FLOAT)
}

/// Whether an argument is this word, in any case.
pub fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// What follows the option at `index`, or a syntax error.
pub fn value_of(args: Args<'_>, index: usize) -> Result<&[u8], CommandError> {
    args.get(index + 1).ok_or(CommandError::SYNTAX)
}

/// In what a time is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
}

/// A time of `unit`, from now on if `relative`, as an absolute deadline; None where it cannot be
/// one (overflow). Past and negative deadlines are the caller's to judge.
pub fn deadline(value: i64, unit: Unit, relative: bool, now: Millis) -> Option<i64> {
    let millis = match unit {
        Unit::Seconds => value.checked_mul(1000)?,
        Unit::Millis => value,
    };
    if relative { millis.checked_add(now as i64) } else { Some(millis) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_taken_strictly() {
        for (text, value) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("01", None),
            ("-0", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(parse_int(text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn doubles_are_taken_as_strtod_takes_them() {
        for (text, value) in [
            ("1.5", Some(1.5)),
            ("+inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("0x10", Some(16.0)),
            ("-0x1.8p1", Some(-3.0)),
            ("1e3", Some(1000.0)),
            (".5", Some(0.5)),
            ("nan", None),
            (" 1", None),
            ("1x", None),
            ("", None),
        ] {
            assert_eq!(parse_float(text.as_bytes()), value, "{text:?}");
        }
    }
}
