//! Patterns against a recursive model, which is slow and plain.

use cloakroom::store::glob::{Glob, matches};
use proptest::prelude::*;

/// What a pattern says of the next byte, and what of the pattern is left then. Classes are closed
/// by the pattern's end too; a backslash at the end means itself.
fn element(pattern: &[u8], nocase: bool) -> (Box<dyn Fn(u8) -> bool>, &[u8]) {
    let fold = move |byte: u8| if nocase { byte.to_ascii_lowercase() } else { byte };
    match pattern {
        [b'?', rest @ ..] => (Box::new(|_| true), rest),
        [b'\\', meant, rest @ ..] => {
            let meant = fold(*meant);
            (Box::new(move |byte| fold(byte) == meant), rest)
        }
        [b'[', rest @ ..] => {
            let (negated, mut rest) = match rest {
                [b'^', rest @ ..] => (true, rest),
                rest => (false, rest),
            };
            let mut ranges = Vec::new();
            loop {
                rest = match rest {
                    [] => break,
                    [b']', after @ ..] => {
                        rest = after;
                        break;
                    }
                    [b'\\', meant, after @ ..] => {
                        ranges.push((fold(*meant), fold(*meant)));
                        after
                    }
                    [from, b'-', to, after @ ..] => {
                        let (from, to) = (fold(*from), fold(*to));
                        ranges.push((from.min(to), from.max(to)));
                        after
                    }
                    [one, after @ ..] => {
                        ranges.push((fold(*one), fold(*one)));
                        after
                    }
                };
            }
            let holds = move |byte| {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&fold(byte))) != negated
            };
            (Box::new(holds), rest)
        }
        [literal, rest @ ..] => {
            let literal = fold(*literal);
            (Box::new(move |byte| fold(byte) == literal), rest)
        }
        [] => (Box::new(|_| false), &[]),
    }
}

fn model(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    match (pattern, text) {
        ([], _) => text.is_empty(),
        ([b'*', rest @ ..], _) => {
            model(rest, text, nocase) || (!text.is_empty() && model(pattern, &text[1..], nocase))
        }
        (_, []) => false,
        (_, [byte, after @ ..]) => {
            let (takes, rest) = element(pattern, nocase);
            takes(*byte) && model(rest, after, nocase)
        }
    }
}

fn pattern() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(b"aAbBc*?[]^-\\".to_vec()), 0..14)
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(b"aAbBc-]\\".to_vec()), 0..10)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn patterns_match_as_the_model_says(pattern in pattern(), text in text(), nocase: bool) {
        // Redis says that a star does not match what is empty from the start.
        let expected =
            if text.is_empty() { pattern.is_empty() } else { model(&pattern, &text, nocase) };
        prop_assert_eq!(matches(&pattern, &text, nocase), expected);
        prop_assert_eq!(Glob::new(&pattern, nocase).matches(&text), expected);
    }

    #[test]
    fn a_text_with_all_its_bytes_escaped_matches_itself_alone(
        text in prop::collection::vec(any::<u8>(), 1..20),
        other in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let pattern: Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
        prop_assert!(matches(&pattern, &text, false));
        prop_assert_eq!(matches(&pattern, &other, false), text == other);
    }
}
