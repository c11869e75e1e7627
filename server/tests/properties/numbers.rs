//! Numbers in arguments: integers are taken exactly if they are written as they would be shown;
//! doubles as C's `strtod` takes the whole of a text.

use cloakroom::commands::args::{parse_float, parse_int};
use cloakroom::resp::format_double;
use proptest::prelude::*;

fn text_of(letters: &'static [u8], most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(letters.to_vec()), 0..most)
}

#[test]
fn exponents_at_the_ends_of_what_an_integer_holds() {
    for exponent in [i64::from(i32::MIN), i64::from(i32::MIN) - 1, i64::from(i32::MAX), i64::MIN] {
        for mantissa in ["1", ".8", "0.00000001", "123456789"] {
            let read = parse_float(format!("0x{mantissa}p{exponent}").as_bytes());
            assert!(read.is_none_or(f64::is_finite), "0x{mantissa}p{exponent}: {read:?}");
        }
    }
}

#[test]
fn more_hexadecimal_digits_than_a_double_holds() {
    let long = "f".repeat(400);
    let cases = [
        (format!("0x{long}p-1600"), 1.0),
        (format!("0x0.{}1p1604", "0".repeat(400)), 1.0),
        ("0x1.00000000000008p0".to_owned(), 1.0),
        ("0x1.000000000000080000000000001p0".to_owned(), 1.000_000_000_000_000_2),
        ("0x1p-1074".to_owned(), 5e-324),
        ("0x1p1023".to_owned(), 2f64.powi(1023)),
    ];
    for (text, value) in cases {
        assert_eq!(parse_float(text.as_bytes()), Some(value), "{text}");
    }
    for text in
        ["0x1p1024", "0x1p99999999999999999999", "0x", "0x.", "0xp1", "0x1p", "0x1p+", "0x1p-x"]
    {
        assert_eq!(parse_float(text.as_bytes()), None, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_integer_is_taken_as_it_is_shown(value: i64) {
        prop_assert_eq!(parse_int(value.to_string().as_bytes()), Some(value));
    }

    #[test]
    fn an_integer_is_taken_only_as_it_is_shown(text in text_of(b"-+0123456789 \0.", 22)) {
        let read = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<i64>().ok());
        let shown = read.filter(|value| value.to_string().as_bytes() == text);
        prop_assert_eq!(parse_int(&text), shown);
    }

    #[test]
    fn integers_near_the_ends_do_not_wrap(past in 1u64..1_000_000) {
        let most = u128::from(i64::MAX.unsigned_abs()) + u128::from(past);
        prop_assert_eq!(parse_int(most.to_string().as_bytes()), None);
        prop_assert_eq!(parse_int(format!("-{}", most + 1).as_bytes()), None);
    }

    #[test]
    fn every_double_is_taken_as_it_is_shown(value: f64) {
        for text in [format!("{value:?}"), format!("{value}"), format_double(value)] {
            let expected = (!value.is_nan()).then_some(value);
            // Of what is nearly nothing C says that it is out of range.
            let subnormal = value != 0.0 && value.abs() < f64::MIN_POSITIVE;
            let read = parse_float(text.as_bytes());
            prop_assert!(read == expected || subnormal, "{text}: {read:?}");
        }
    }

    #[test]
    fn doubles_in_hexadecimal(mantissa in 0u64..1 << 52, point in 0usize..14, exponent in -900i32..900) {
        let digits = format!("{mantissa:013x}");
        let (whole, fraction) = digits.split_at(point.min(digits.len()));
        let text = format!("0x{whole}.{fraction}p{exponent}");
        let places = 4 * (digits.len() - whole.len()) as i32;
        let expected = mantissa as f64 * 2f64.powi(exponent - places);
        prop_assert_eq!(parse_float(text.as_bytes()), Some(expected), "{}", text);
        prop_assert_eq!(parse_float(format!("-{text}").as_bytes()), Some(-expected));
    }

    #[test]
    fn no_text_is_too_much(text in text_of(b"-+0123456789.eEpPxXinfaINF \0\xff", 40)) {
        let read = parse_float(&text);
        prop_assert!(read.is_none_or(|value| !value.is_nan()));
        let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
        if text.iter().any(blank) || text.is_empty() {
            prop_assert_eq!(read, None);
        }
    }

    #[test]
    fn exponents_without_measure(digits in text_of(b"0123456789", 30), negative: bool) {
        let sign = if negative { "-" } else { "" };
        let digits = String::from_utf8(digits).expect("digits are text");
        for text in [format!("1e{sign}{digits}"), format!("0x.8p{sign}{digits}"), format!("0x1p{sign}{digits}")] {
            let read = parse_float(text.as_bytes());
            prop_assert!(read.is_none_or(f64::is_finite), "{text}: {read:?}");
        }
    }
}
