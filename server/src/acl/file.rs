//! The file of users: one `user NAME rules ...` a line.

use std::collections::HashSet;

use super::catalog::Catalog;
use super::user::{RuleError, User, join_selectors};
use super::users::is_user_name;

/// All that is wrong with a file, in Redis's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub String);

/// The users that a file makes. `shown` is what error texts call it.
///
/// # Errors
///
/// All that is wrong with it.
pub fn read_users(
    text: &[u8],
    shown: &str,
    catalog: &Catalog,
    all_channels: bool,
) -> Result<Vec<User>, Faults> {
    let mut users = Vec::new();
    let mut names = HashSet::new();
    let mut faults = String::new();
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let at = format!("{shown}:{}", number + 1);
        // Quotes mean nothing here: words are what stands between blanks.
        let words: Vec<&[u8]> =
            line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
        let (name, rules) = match words.as_slice() {
            [keyword, name, rules @ ..] if *keyword == b"user" => (name, rules),
            _ => {
                faults +=
                    &format!("{at} should start with user keyword followed by the username. ");
                continue;
            }
        };
        let shown_name = String::from_utf8_lossy(name);
        if !is_user_name(name) {
            faults += &format!("'{at}: username '{shown_name}' contains invalid characters. ");
        } else if !names.insert(name.to_vec()) {
            let number = number + 1;
            faults += &format!("WARNING: Duplicate user '{shown_name}' found on line {number}. ");
        } else {
            let user = User::new((*name).into(), catalog, all_channels);
            users.push(with_rules(user, rules, &at, catalog, all_channels, &mut faults));
        }
    }
    if faults.is_empty() { Ok(users) } else { Err(Faults(faults)) }
}

fn with_rules(
    mut user: User,
    words: &[&[u8]],
    at: &str,
    catalog: &Catalog,
    all_channels: bool,
    faults: &mut String,
) -> User {
    let Ok(rules) = join_selectors(words.iter().copied()) else {
        *faults += &format!("{at}: Unmatched parenthesis in selector definition.");
        return user;
    };
    let mut told = false;
    for rule in rules {
        match user.apply(&rule, catalog, all_channels) {
            Ok(()) => {}
            // A command's name tells no secret.
            Err(RuleError::Unknown) => {
                let rule = String::from_utf8_lossy(&rule);
                let why = RuleError::Unknown;
                *faults += &format!("{at}: Error in applying operation '{rule}': {why}. ");
            }
            // What comes after may be wrong only because of the first.
            Err(_) if told => {}
            Err(why) => {
                *faults += &format!("{at}: {why}. ");
                told = true;
            }
        }
    }
    user
}
