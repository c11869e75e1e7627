//! A user: whether and how somebody may be it, and its selectors.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::catalog::Catalog;
use super::selector::{Asked, Denied, Selector};

/// The SHA-256 of a password: all that is kept of it.
pub type Digest = [u8; 32];

/// Why a rule does not apply, in Redis's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleError {
    /// No such command or category.
    Unknown,
    /// It is no rule.
    Syntax,
    /// A pattern where all keys are allowed already.
    AfterAllKeys,
    /// A pattern where all channels are allowed already.
    AfterAllChannels,
    /// It is not 64 hexadecimal digits in lower case.
    BadHash,
    /// The user has no such password.
    NoSuchPassword,
    /// `container|subcommand|argument`.
    FirstArgOfSubcommand,
}

impl RuleError {
    /// Redis's text.
    pub fn text(self) -> &'static str {
        match self {
            RuleError::Unknown => "Unknown command or category name in ACL",
            RuleError::Syntax => "Syntax error",
            RuleError::AfterAllKeys => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            RuleError::AfterAllChannels => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels"
            }
            RuleError::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            RuleError::NoSuchPassword => {
                "The password you are trying to remove from the user does not exist"
            }
            RuleError::FirstArgOfSubcommand => {
                "Allowing first-arg of a subcommand is not supported"
            }
        }
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    name: Arc<[u8]>,
    is_on: bool,
    no_password: bool,
    /// `sanitize-payload` or `skip-sanitize-payload`: kept and told, without meaning here.
    sanitizes: Option<bool>,
    passwords: Vec<Digest>,
    root: Selector,
    selectors: Vec<Selector>,
}

impl User {
    /// A new user: off, without a password, with no rights but to `all_channels`.
    pub fn new(name: Arc<[u8]>, catalog: &Catalog, all_channels: bool) -> Self {
        User {
            name,
            is_on: false,
            no_password: false,
            sanitizes: None,
            passwords: Vec::new(),
            root: Selector::new(catalog, all_channels),
            selectors: Vec::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<[u8]> {
        &self.name
    }

    /// Whether somebody can become it.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether any password will do.
    pub fn takes_any_password(&self) -> bool {
        self.no_password
    }

    /// Whether everything is allowed.
    pub fn is_unrestricted(&self) -> bool {
        self.root.is_unrestricted()
    }

    /// The digests of its passwords.
    pub fn passwords(&self) -> &[Digest] {
        &self.passwords
    }

    /// The selector that rules outside parentheses make.
    pub fn root(&self) -> &Selector {
        &self.root
    }

    /// The selectors in parentheses.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    fn all_selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// Its flags in the order of ACL GETUSER.
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.is_on { "on" } else { "off" }];
        if self.no_password {
            flags.push("nopass");
        }
        match self.sanitizes {
            Some(true) => flags.push("sanitize-payload"),
            Some(false) => flags.push("skip-sanitize-payload"),
            None => {}
        }
        flags
    }

    /// Whether somebody with this password may be it. How long that takes tells nothing of the
    /// password, and nothing of which of several it is.
    pub fn admits(&self, password: &[u8]) -> bool {
        let digest: Digest = Sha256::digest(password).into();
        let is_known = self
            .passwords
            .iter()
            .fold(Choice::from(0), |found, known| found | known.ct_eq(&digest));
        self.is_on && (self.no_password || bool::from(is_known))
    }

    /// Whether a request is allowed: one of its selectors must allow the whole.
    ///
    /// # Errors
    ///
    /// The reason that lies furthest in the request.
    pub fn check(&self, asked: &Asked<'_>) -> Result<(), Denied> {
        let mut worst = Denied::Command;
        for selector in self.all_selectors() {
            match selector.check(asked) {
                Ok(()) => return Ok(()),
                Err(denied) => worst = worst.max(denied),
            }
        }
        Err(worst)
    }

    /// Whether a subscription is allowed.
    pub fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all_selectors().any(|selector| selector.allows_channel(channel, is_pattern))
    }

    /// Whether everything that `other` may subscribe to is plainly allowed here too.
    pub fn keeps_channels_of(&self, other: &User) -> bool {
        if self.all_selectors().any(Selector::allows_all_channels) {
            return true;
        }
        other.all_selectors().all(|old| {
            let is_kept = |pattern| {
                self.all_selectors().any(|new| new.channel_patterns().any(|known| known == pattern))
            };
            !old.allows_all_channels() && old.channel_patterns().all(is_kept)
        })
    }

    /// Applies one rule; a selector's rules are one word in parentheses (see [`join_selectors`]).
    ///
    /// # Errors
    ///
    /// Why it is no rule, or none that makes sense here. Nothing has changed then.
    pub fn apply(
        &mut self,
        rule: &[u8],
        catalog: &Catalog,
        all_channels: bool,
    ) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"" => {}
            b"on" => self.is_on = true,
            b"off" => self.is_on = false,
            b"nopass" => (self.no_password, self.passwords) = (true, Vec::new()),
            b"resetpass" => (self.no_password, self.passwords) = (false, Vec::new()),
            b"sanitize-payload" => self.sanitizes = Some(true),
            b"skip-sanitize-payload" => self.sanitizes = Some(false),
            b"clearselectors" => self.selectors.clear(),
            b"reset" => {
                *self = User {
                    sanitizes: Some(true),
                    ..User::new(Arc::clone(&self.name), catalog, all_channels)
                }
            }
            [b'>' | b'#', ..] => self.add_password(digest_of(rule)?),
            [b'<' | b'!', ..] => self.remove_password(digest_of(rule)?)?,
            [b'(', .., b')'] => {
                let mut selector = Selector::new(catalog, all_channels);
                let rules = &rule[1..rule.len() - 1];
                let rules = rules.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
                for rule in rules {
                    selector.apply(rule, catalog)?;
                }
                self.selectors.push(selector);
            }
            _ => self.root.apply(rule, catalog)?,
        }
        Ok(())
    }

    fn add_password(&mut self, digest: Digest) {
        if !self.passwords.contains(&digest) {
            self.passwords.push(digest);
        }
        self.no_password = false;
    }

    fn remove_password(&mut self, digest: Digest) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|known| *known == digest);
        self.passwords.remove(at.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }

    /// `user NAME rules ...`: the line of a file that makes an equal user.
    pub fn describe(&self, catalog: &Catalog) -> Vec<u8> {
        let mut line = [b"user ", &*self.name].concat();
        let mut add = |word: &[u8]| {
            line.push(b' ');
            line.extend_from_slice(word);
        };
        self.flags().iter().for_each(|flag| add(flag.as_bytes()));
        self.passwords.iter().for_each(|digest| add(format!("#{}", hex(digest)).as_bytes()));
        add(&self.root.describe(catalog));
        for selector in &self.selectors {
            add(&[b"(", selector.describe(catalog).as_slice(), b")"].concat());
        }
        line
    }
}

/// Bytes as hexadecimal digits in lower case.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest that a rule means: of the password behind `>` or `<`, written behind `#` or `!`.
fn digest_of(rule: &[u8]) -> Result<Digest, RuleError> {
    let text = &rule[1..];
    if matches!(rule[0], b'>' | b'<') {
        return Ok(Sha256::digest(text).into());
    }
    let mut digest = Digest::default();
    if text.len() != digest.len() * 2 {
        return Err(RuleError::BadHash);
    }
    let value = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(RuleError::BadHash),
    };
    for (byte, digits) in digest.iter_mut().zip(text.chunks_exact(2)) {
        *byte = value(digits[0])? << 4 | value(digits[1])?;
    }
    Ok(digest)
}

/// Rules as words, each selector joined to one: from a word that begins with `(` to one that ends
/// with `)`.
///
/// # Errors
///
/// The word that begins a selector without an end.
pub fn join_selectors<'a>(
    words: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Vec<u8>>, &'a [u8]> {
    let mut rules = Vec::new();
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for word in words {
        let begins = word.first() == Some(&b'(');
        let ends = word.last() == Some(&b')');
        let (first, rule) = match open.take() {
            // Redis forgets one without an end where another begins.
            Some((first, rule)) if ends || !begins => (first, [&rule, &b" "[..], word].concat()),
            _ if begins => (word, word.to_vec()),
            _ => {
                rules.push(word.to_vec());
                continue;
            }
        };
        if ends {
            rules.push(rule);
        } else {
            open = Some((first, rule));
        }
    }
    match open {
        Some((first, _)) => Err(first),
        None => Ok(rules),
    }
}
