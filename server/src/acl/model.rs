//! Rules against a plain model: every question is answered by going through all rules anew.

use proptest::prelude::*;

use super::{Access, Asked, Catalog, Denied, Entry, Selector, User};

/// Commands of the model, with their categories.
const COMMANDS: &[(&str, &[&str])] = &[
    ("get", &["read", "fast"]),
    ("set", &["write"]),
    ("hget", &["read", "fast"]),
    ("keys", &["read", "dangerous"]),
    ("select", &["fast"]),
    ("config", &["slow"]),
    ("config|get", &["dangerous"]),
    ("config|set", &["dangerous", "write"]),
    ("client", &["slow"]),
    ("client|id", &["fast"]),
];

const CATEGORIES: &[&str] = &["read", "write", "fast", "slow", "dangerous"];

const KEYS: &[&str] = &["a", "ab", "b", "c"];

fn catalog() -> Catalog {
    let bit = |name| 1 << CATEGORIES.iter().position(|known| known == name).expect("it is there");
    Catalog::new(
        CATEGORIES.to_vec(),
        COMMANDS.iter().map(|(name, categories)| Entry {
            name: (*name).to_owned(),
            categories: categories.iter().map(bit).sum(),
        }),
    )
}

/// Whether rules allow a command with this first argument.
fn allows_command(rules: &[String], name: &str, first: &str) -> bool {
    let container = name.split('|').next().expect("there is a part");
    let is_meant = |named: &str| named == name || named == container;
    let belongs = |category: &str| {
        COMMANDS.iter().any(|(known, of)| is_meant(known) && of.contains(&category))
    };
    let (mut allowed, mut firsts) = (false, Vec::new());
    for rule in rules {
        let value = rule.starts_with('+');
        let meant = match rule.get(1..).unwrap_or_default() {
            _ if !rule.starts_with(['+', '-']) => false,
            "@all" => true,
            category if category.starts_with('@') => belongs(&category[1..]),
            named => match named.split_once('|') {
                Some((command, arg)) if !matches!(command, "config" | "client") => {
                    if command == name {
                        firsts.push(arg);
                    }
                    false
                }
                _ => is_meant(named),
            },
        };
        if meant {
            (allowed, firsts) = (value, Vec::new());
        }
    }
    allowed || firsts.contains(&first)
}

/// Whether rules allow a key; patterns are a text, perhaps with a star behind.
fn allows_key(rules: &[String], key: &str, access: Access) -> bool {
    let mut patterns: Vec<(&str, bool, bool)> = Vec::new();
    for rule in rules {
        match rule.as_str() {
            "resetkeys" => patterns.clear(),
            "~*" => patterns = vec![("*", true, true)],
            _ => {}
        }
        let Some((before, pattern)) = rule.split_once('~').filter(|_| rule != "~*") else {
            continue;
        };
        let (reads, writes) = (!before.contains('W'), !before.contains('R'));
        if patterns.contains(&("*", true, true)) {
            continue;
        }
        match patterns.iter_mut().find(|(known, ..)| *known == pattern) {
            Some(known) => (known.1, known.2) = (known.1 | reads, known.2 | writes),
            None => patterns.push((pattern, reads, writes)),
        }
    }
    patterns.iter().any(|(pattern, reads, writes)| {
        let fits = match pattern.strip_suffix('*') {
            Some(start) => key.starts_with(start),
            None => key == *pattern,
        };
        fits && (*reads || !access.reads) && (*writes || !access.writes)
    })
}

fn rule() -> impl Strategy<Value = String> {
    let command = proptest::sample::select(COMMANDS).prop_map(|(name, _)| name.to_owned());
    let category = proptest::sample::select(CATEGORIES).prop_map(|name| format!("@{name}"));
    let named = prop_oneof![4 => command, 3 => category, 1 => Just("@all".to_owned())];
    let signed = (any::<bool>(), named);
    prop_oneof![
        8 => signed.prop_map(|(adds, name)| format!("{}{name}", if adds { "+" } else { "-" })),
        2 => proptest::sample::select(&["+select|0", "+select|1", "+get|0"][..])
            .prop_map(str::to_owned),
        4 => (
            proptest::sample::select(&["~", "%R~", "%W~"][..]),
            proptest::sample::select(&["a", "a*", "b", "c*"][..]),
        )
            .prop_map(|(sign, pattern)| format!("{sign}{pattern}")),
        1 => proptest::sample::select(&["~*", "resetkeys"][..]).prop_map(str::to_owned),
    ]
}

fn access() -> impl Strategy<Value = Access> {
    (any::<bool>(), any::<bool>()).prop_map(|(reads, writes)| Access { reads, writes })
}

/// A selector of the rules that apply.
fn selector(rules: &[String], catalog: &Catalog) -> Selector {
    let mut selector = Selector::new(catalog, true);
    for rule in rules {
        // A pattern where all keys are allowed is refused, and changes nothing.
        let _ = selector.apply(rule.as_bytes(), catalog);
    }
    selector
}

proptest! {
    #[test]
    fn rules_allow_what_they_say_and_their_description_says_the_same(
        rules in proptest::collection::vec(rule(), 0..12),
        access in access(),
    ) {
        let catalog = catalog();
        let selector = selector(&rules, &catalog);
        let told = String::from_utf8(selector.describe(&catalog)).expect("it is text");
        let again: Vec<String> = told.split(' ').map(str::to_owned).collect();
        let again = self::selector(&again, &catalog);
        for (id, (name, _)) in COMMANDS.iter().enumerate() {
            for first in ["0", "1"] {
                let ask = |key: Option<&'static str>| Asked {
                    command: id,
                    first_arg: Some(first.as_bytes()),
                    keys: key.iter().map(|key| (key.as_bytes(), access)).collect(),
                    ..Asked::default()
                };
                let due = allows_command(&rules, name, first);
                prop_assert_eq!(selector.check(&ask(None)).is_ok(), due, "{} {}", name, first);
                prop_assert_eq!(again.check(&ask(None)).is_ok(), due, "{} {}: {}", name, first, &told);
                for key in KEYS {
                    let due = match (due, allows_key(&rules, key, access)) {
                        (false, _) => Err(Denied::Command),
                        (true, false) => Err(Denied::Key(0)),
                        (true, true) => Ok(()),
                    };
                    prop_assert_eq!(selector.check(&ask(Some(key))), due, "{}", key);
                    prop_assert_eq!(again.check(&ask(Some(key))), due, "{}: {}", key, &told);
                }
            }
        }
        prop_assert_eq!(again.describe(&catalog), told.as_bytes());
    }

    #[test]
    fn no_rule_panics_and_a_refused_one_changes_nothing(
        rules in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..8),
        starts in proptest::collection::vec(proptest::sample::select(&b"+-~%&#!><(@on"[..]), 8),
    ) {
        let catalog = catalog();
        let mut user = User::new(b"ann"[..].into(), &catalog, false);
        for (rule, start) in rules.into_iter().zip(starts) {
            let rule = [&[start][..], &rule].concat();
            let before = user.clone();
            if user.apply(&rule, &catalog, false).is_err() {
                prop_assert_eq!(&user, &before);
            }
        }
    }
}
