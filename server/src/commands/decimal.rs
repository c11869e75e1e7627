//! The arithmetic of INCRBYFLOAT and HINCRBYFLOAT: Redis's, digit for digit.
//!
//! Redis reads, adds and prints these numbers as x87 `long double` (64 bits of mantissa), which
//! Rust does not have; clients see its digits (10.5 + 0.1 is 10.6, 1000.1 shows its last bits). So
//! numbers are rounded to 64 bits here, each time to the nearest, ties to even, and printed with
//! 17 decimals less their trailing zeros.

use std::cmp::Ordering;
use std::fmt;

/// A number of 64 significant bits: `mantissa * 2^exponent`, the mantissa's top bit set unless it
/// is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    mantissa: u64,
    exponent: i32,
    infinite: bool,
}

/// Zero.
pub(super) const ZERO: Decimal =
    Decimal { negative: false, mantissa: 0, exponent: 0, infinite: false };

/// The largest exponent of a `long double` whose mantissa is an integer of 64 bits.
const MAX_EXPONENT: i32 = 16383 - 63;

/// Decimal exponents beyond this are infinite or zero whatever the digits, of which there are at
/// most as many.
const MOST_DIGITS: i64 = 5100;

/// A number as `strtold` takes it, the whole of the text: no blanks in front, no NaN.
pub(super) fn parse(text: &[u8]) -> Option<Decimal> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.eq_ignore_ascii_case("inf") || digits.eq_ignore_ascii_case("infinity") {
        return Some(Decimal { negative, infinite: true, ..ZERO });
    }
    if digits.len() > 2 && digits[..2].eq_ignore_ascii_case("0x") {
        let value = super::args::parse_float(digits.as_bytes())?;
        return Some(Decimal { negative, ..from_f64(value) });
    }
    Some(Decimal { negative, ..parse_digits(digits)? })
}

/// The sum; None if it is infinite or no number.
pub(super) fn add(a: Decimal, b: Decimal) -> Option<Decimal> {
    if a.infinite || b.infinite {
        return None;
    }
    let (large, small) = if a.exponent >= b.exponent { (a, b) } else { (b, a) };
    if large.mantissa == 0 {
        return Some(small);
    }
    if small.mantissa == 0 {
        return Some(large);
    }
    // 60 bits of room below the larger one's last bit: what falls out of them is far below half
    // of a last place and only has to be remembered as being there.
    const ROOM: u32 = 60;
    let distance = (large.exponent - small.exponent) as u32;
    let above = i128::from(large.mantissa) << ROOM;
    let (below, lost) = match distance {
        0..=ROOM => (i128::from(small.mantissa) << (ROOM - distance), false),
        _ => {
            let shift = distance - ROOM;
            let kept = if shift < 64 { small.mantissa >> shift } else { 0 };
            (i128::from(kept), shift >= 64 || small.mantissa << (64 - shift) != 0)
        }
    };
    let signed = |value: i128, negative: bool| if negative { -value } else { value };
    let below = (below << 1) | i128::from(lost);
    let sum = signed(above << 1, large.negative) + signed(below, small.negative);
    let rounded = round(sum.unsigned_abs(), large.exponent - ROOM as i32 - 1, false);
    let sum = Decimal { negative: sum < 0, ..rounded };
    (sum.exponent <= MAX_EXPONENT).then_some(sum)
}

/// A value of up to 128 bits rounded to 64; `more` says that something follows its last bit.
fn round(value: u128, exponent: i32, more: bool) -> Decimal {
    if value == 0 {
        return ZERO;
    }
    let bits = 128 - value.leading_zeros();
    if bits <= 64 {
        let shift = 64 - bits;
        let mantissa = (value as u64) << shift;
        return Decimal { mantissa, exponent: exponent - shift as i32, ..ZERO };
    }
    let shift = bits - 64;
    let (kept, rest) = ((value >> shift) as u64, value & ((1 << shift) - 1));
    let up = match rest.cmp(&(1 << (shift - 1))) {
        Ordering::Greater => true,
        Ordering::Equal => more || kept & 1 == 1,
        Ordering::Less => false,
    };
    let exponent = exponent + shift as i32;
    match kept.checked_add(u64::from(up)) {
        Some(mantissa) => Decimal { mantissa, exponent, ..ZERO },
        None => Decimal { mantissa: 1 << 63, exponent: exponent + 1, ..ZERO },
    }
}

fn from_f64(value: f64) -> Decimal {
    let bits = value.abs().to_bits();
    let (exponent, fraction) = ((bits >> 52) as i32, bits & ((1 << 52) - 1));
    match exponent {
        0 => round(u128::from(fraction), -1074, false),
        2047 => Decimal { infinite: true, ..ZERO },
        _ => round(u128::from(fraction | 1 << 52), exponent - 1075, false),
    }
}

/// Decimal digits with an optional point and exponent.
fn parse_digits(text: &str) -> Option<Decimal> {
    let (digits, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() + fraction.len() == 0 || text.len() as i64 > MOST_DIGITS {
        return None;
    }
    let mut number = Big::default();
    for digit in whole.bytes().chain(fraction.bytes()) {
        if !digit.is_ascii_digit() {
            return None;
        }
        number.multiply_add(10, u32::from(digit - b'0'));
    }
    let exponent = exponent - fraction.len() as i64;
    if number.is_zero() {
        return Some(ZERO);
    }
    if exponent > MOST_DIGITS {
        return Some(Decimal { infinite: true, ..ZERO });
    }
    if exponent < -2 * MOST_DIGITS {
        return Some(ZERO);
    }
    let mut power = Big::from(1);
    for _ in 0..exponent.abs() {
        power.multiply_add(10, 0);
    }
    let (dividend, divisor) =
        if exponent >= 0 { (number.times(&power), Big::from(1)) } else { (number, power) };
    let value = divide(dividend, divisor);
    let infinite = value.exponent > MAX_EXPONENT;
    Some(if infinite { Decimal { infinite, ..ZERO } } else { value })
}

fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let value = digits.parse().unwrap_or(MOST_DIGITS * 4).min(MOST_DIGITS * 4);
    Some(if text.starts_with('-') { -value } else { value })
}

/// A quotient rounded to 64 bits.
fn divide(mut dividend: Big, mut divisor: Big) -> Decimal {
    // Both are brought to where the quotient has 66 to 67 bits; the remainder says the rest.
    const WANTED: i64 = 66;
    let shift = WANTED - (dividend.bits() as i64 - divisor.bits() as i64);
    if shift >= 0 {
        dividend.shift_left(shift as u32);
    } else {
        divisor.shift_left(-shift as u32);
    }
    let mut quotient = 0u128;
    let steps = (dividend.bits() as i64 - divisor.bits() as i64).max(0) as u32;
    divisor.shift_left(steps);
    for _ in 0..=steps {
        quotient <<= 1;
        if divisor.compare(&dividend) != Ordering::Greater {
            dividend.subtract(&divisor);
            quotient |= 1;
        }
        divisor.halve();
    }
    round(quotient, -shift as i32, !dividend.is_zero())
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.infinite {
            return f.write_str(if self.negative { "-inf" } else { "inf" });
        }
        let text = if self.exponent >= 0 {
            let mut whole = Big::from(self.mantissa);
            whole.shift_left(self.exponent as u32);
            whole.to_decimal()
        } else {
            self.with_fraction()
        };
        let sign = if self.negative && text != "0" { "-" } else { "" };
        write!(f, "{sign}{text}")
    }
}

impl Decimal {
    /// Whether it is infinite.
    pub(super) fn is_infinite(&self) -> bool {
        self.infinite
    }

    /// 17 decimals, rounded, less trailing zeros.
    fn with_fraction(&self) -> String {
        const ONE: u128 = 100_000_000_000_000_000;
        let shift = self.exponent.unsigned_abs();
        let scaled = u128::from(self.mantissa) * ONE;
        let units = if shift > 127 {
            0
        } else {
            let (kept, rest) = (scaled >> shift, scaled & ((1 << shift) - 1));
            let half = 1 << (shift - 1);
            kept + u128::from(rest > half || (rest == half && kept & 1 == 1))
        };
        let text = format!("{}.{:017}", units / ONE, units % ONE);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// A natural number of any size, in 32-bit digits, the lowest first.
#[derive(Debug, Clone, Default)]
struct Big(Vec<u32>);

impl From<u64> for Big {
    fn from(value: u64) -> Self {
        let mut big = Big(vec![value as u32, (value >> 32) as u32]);
        big.trim();
        big
    }
}

impl Big {
    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn bits(&self) -> u32 {
        self.0.last().map_or(0, |top| self.0.len() as u32 * 32 - top.leading_zeros())
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn multiply_add(&mut self, by: u32, add: u32) {
        let mut carry = u64::from(add);
        for digit in &mut self.0 {
            carry += u64::from(*digit) * u64::from(by);
            *digit = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn times(&self, other: &Big) -> Big {
        let mut product = vec![0u32; self.0.len() + other.0.len() + 1];
        for (at, a) in self.0.iter().enumerate() {
            let mut carry = 0u64;
            for (offset, b) in other.0.iter().enumerate() {
                let place = &mut product[at + offset];
                carry += u64::from(*place) + u64::from(*a) * u64::from(*b);
                *place = carry as u32;
                carry >>= 32;
            }
            product[at + other.0.len()] = carry as u32;
        }
        let mut product = Big(product);
        product.trim();
        product
    }

    fn shift_left(&mut self, bits: u32) {
        if self.is_zero() {
            return;
        }
        let (words, bits) = ((bits / 32) as usize, bits % 32);
        self.multiply_add(1 << bits, 0);
        self.0.splice(0..0, std::iter::repeat_n(0, words));
    }

    fn halve(&mut self) {
        let mut carry = 0;
        for digit in self.0.iter_mut().rev() {
            let low = *digit & 1;
            *digit = *digit >> 1 | carry << 31;
            carry = low;
        }
        self.trim();
    }

    fn compare(&self, other: &Big) -> Ordering {
        let by_length = self.0.len().cmp(&other.0.len());
        by_length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// Takes a smaller or equal number away.
    fn subtract(&mut self, other: &Big) {
        let mut borrow = 0i64;
        for (at, digit) in self.0.iter_mut().enumerate() {
            let difference =
                i64::from(*digit) - i64::from(other.0.get(at).copied().unwrap_or(0)) + borrow;
            *digit = difference as u32;
            borrow = difference >> 32;
        }
        self.trim();
    }

    fn to_decimal(&self) -> String {
        const PART: u64 = 1_000_000_000;
        let mut rest = self.clone();
        let mut parts = Vec::new();
        while !rest.is_zero() {
            let mut remainder = 0u64;
            for digit in rest.0.iter_mut().rev() {
                let value = remainder << 32 | u64::from(*digit);
                *digit = (value / PART) as u32;
                remainder = value % PART;
            }
            rest.trim();
            parts.push(remainder);
        }
        let Some(first) = parts.pop() else { return "0".to_owned() };
        let rest = parts.iter().rev().map(|part| format!("{part:09}"));
        std::iter::once(first.to_string()).chain(rest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        add(parse(a.as_bytes())?, parse(b.as_bytes())?).map(|sum| sum.to_string())
    }

    #[test]
    fn sums_have_the_digits_of_redis() {
        // Each was answered by redis-server 7.0 on x86-64.
        let cases = [
            ("10.5", "0.1", "10.6"),
            ("1000.1", "0", "1000.09999999999999998"),
            ("5.0e3", "2.0e2", "5200"),
            ("0.1", "0.2", "0.3"),
            ("3", "1.1", "4.1"),
            ("-1.5", "1.5", "0"),
            ("1e20", "1", "100000000000000000000"),
            ("1e-17", "0", "0.00000000000000001"),
            ("1e-18", "0", "0"),
            ("17179869184", "1.5", "17179869185.5"),
            ("123456789.123456789", "0", "123456789.12345678899873747"),
            ("99999.99", "0.005", "99999.99500000000000455"),
            ("1e15", "0.3", "1000000000000000.29998779296875"),
            ("0.30000000000000004", "0.1", "0.40000000000000004"),
            ("0x10", "1", "17"),
            (".5", "-3", "-2.5"),
        ];
        for (a, b, expected) in cases {
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "abc", "1 ", " 1", "1e", "nan", "1.2.3", "+", "."] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("1e4932", "1e4932"), None);
    }
}
