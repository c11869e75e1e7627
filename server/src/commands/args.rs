//! Reading arguments: numbers as strictly as Redis reads them, options in any case.

use super::CommandError;
use crate::clock::Millis;
use crate::resp::{Args, is_blank};

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
    // 19 digits are less than 2 to the 64th.
    let mut value = 0u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    match (negative, value) {
        (false, _) => i64::try_from(value).ok(),
        (true, 0x8000_0000_0000_0000) => Some(i64::MIN),
        (true, _) => i64::try_from(value).ok().map(|value| -value),
    }
}

/// The integer at the beginning of a text, as `atoi` takes it: 0 if there is none.
pub fn leading_int(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let digits = text[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = text.strip_prefix(b"+").map_or(&text[..sign + digits], |text| &text[..digits]);
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A double as Redis takes it (`strtod` of the whole text): no blanks in front, no NaN, and
/// nothing that is out of range.
pub fn parse_float(text: &[u8]) -> Option<f64> {
    let value = parse_double(text)?;
    // Digits that come to infinity or vanish are out of range, as `strtod` says by errno.
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    let is_spelt_out = digits.first().is_some_and(u8::is_ascii_alphabetic);
    let overflows = value.is_infinite() && !is_spelt_out;
    let is_hex = digits.len() > 1 && digits[1].eq_ignore_ascii_case(&b'x');
    let (mantissa, end) = if is_hex { (&digits[2..], b'p') } else { (digits, b'e') };
    let is_nothing = mantissa
        .iter()
        .take_while(|byte| !byte.eq_ignore_ascii_case(&end))
        .all(|byte| matches!(byte, b'0' | b'.'));
    let underflows = value == 0.0 && !is_nothing;
    (!overflows && !underflows).then_some(value)
}

/// The end of a range of scores: as `strtod` takes a C string, which ends at a zero byte, is 0 if
/// it is empty; out of range is infinite.
pub fn parse_bound(text: &[u8]) -> Option<f64> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    let blanks = text[..end].iter().take_while(|byte| is_blank(**byte)).count();
    match &text[blanks..end] {
        // Blanks alone are no number: `strtod` then stands still before them.
        [] if blanks > 0 => None,
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
        Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // Sixty bits are kept, more than a double has. Of what is behind them only counts, for rounding,
    // whether it is nothing.
    let (mut mantissa, mut left_out) = (0u64, 0i64);
    for digit in whole.chars().chain(fraction.chars()) {
        let digit = u64::from(digit.to_digit(16)?);
        if mantissa >> 60 == 0 {
            mantissa = mantissa << 4 | digit;
        } else {
            mantissa |= u64::from(digit != 0);
            left_out += 4;
        }
    }
    Some(scale(mantissa, exponent + left_out - 4 * fraction.len() as i64))
}

/// An exponent of any length; beyond any double's it makes no difference how far.
fn parse_exponent(text: &str) -> Option<i64> {
    const BEYOND: i64 = 1 << 40;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let far = if text.starts_with('-') { -BEYOND } else { BEYOND };
    Some(text.parse().map_or(far, |exponent: i64| exponent.clamp(-BEYOND, BEYOND)))
}

/// `mantissa` times two to this power, rounded once.
fn scale(mantissa: u64, power: i64) -> f64 {
    /// The power of a double's smallest step.
    const SMALLEST: i64 = -1074;
    let bits = i64::from(u64::BITS - mantissa.leading_zeros());
    if bits + power <= SMALLEST + 52 {
        // Below the normal ones a double counts its smallest steps.
        let shift = (SMALLEST - power).clamp(0, 100) as u32;
        let mantissa = u128::from(mantissa);
        let (whole, rest) = (mantissa >> shift, mantissa & ((1 << shift) - 1));
        let half = (1u128 << shift) >> 1;
        let up = rest > half || (rest == half && half > 0 && whole & 1 == 1);
        let exact = whole << (power - SMALLEST).clamp(0, 60);
        return f64::from_bits(exact as u64 + u64::from(up));
    }
    // What has more bits than a double is rounded here; the rest is exact, or infinite.
    let mut value = mantissa as f64;
    let mut power = power.min(2_000);
    while power != 0 {
        let step = power.clamp(-1_000, 1_000);
        value *= 2f64.powi(step as i32);
        power -= step;
    }
    value
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
            ("0e5", Some(0.0)),
            ("1e400", None),
            ("1e-400", None),
            ("nan", None),
            (" 1", None),
            ("1x", None),
            ("", None),
        ] {
            assert_eq!(parse_float(text.as_bytes()), value, "{text:?}");
        }
    }
}
