//! Tokens: what a visitor shows to get the session back, and where a token's session is kept.
//!
//! A token is 3 letters that name a *bucket*, 32 random letters (192 bits), and, once the session
//! has a user, 16 letters of a digest of the user's name. In a cluster the bucket decides the slot:
//! a session, its successors after `regenerate` and the index of its user's sessions lie in one
//! slot, so that one atomic step can write them all. The digest tells which index that is.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::error::Error;

/// Letters of a token: safe in cookies, URLs and keys. 64 of them, 6 bits each.
const LETTERS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz-";
const BUCKET: usize = 3;
const SECRET: usize = 32;
const USER: usize = 16;
const SLOTS: u16 = 16384;

/// What a visitor shows to get the session back. Whoever has it is the visitor: it belongs into a
/// cookie and nowhere else, least of all into a log. `Debug` hides it, and `Display` is not there.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(Box<str>);

impl Token {
    /// A token in the text of a cookie; None if the text is none. Says nothing about whether there
    /// is such a session.
    pub fn parse(text: &str) -> Option<Token> {
        let length = [BUCKET + SECRET, BUCKET + SECRET + USER].contains(&text.len());
        let letters = || text.bytes().all(|letter| LETTERS.contains(&letter));
        (length && letters()).then(|| Token(text.into()))
    }

    /// The text to put into a cookie.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// A name for this token that is not secret: for logs, and for a page on which a user ends other
    /// sessions. It leads to no session.
    pub fn fingerprint(&self) -> String {
        Sha256::digest(self.reveal()).iter().take(12).map(letter).collect()
    }

    /// A new token in this bucket, from the operating system's random bytes.
    pub(crate) fn random(bucket: &str, user: Option<&str>) -> Result<Token, Error> {
        let tag = user.map(user_tag);
        Token::with(bucket, tag.as_deref().unwrap_or_default())
    }

    /// A new token in the same bucket: of this user, or of the same if there is none given.
    pub(crate) fn successor(&self, user: Option<&str>) -> Result<Token, Error> {
        let tag = user.map(user_tag);
        let tag = tag.as_deref().or(self.user_tag());
        Token::with(self.bucket(), tag.unwrap_or_default())
    }

    fn with(bucket: &str, tag: &str) -> Result<Token, Error> {
        let mut random = [0; SECRET];
        getrandom::fill(&mut random).map_err(|e| Error::NoRandomness(e.to_string()))?;
        let mut text = String::with_capacity(BUCKET + SECRET + USER);
        text += bucket;
        text.extend(random.iter().map(letter));
        text += tag;
        Ok(Token(text.into()))
    }

    /// The first letters, which decide the slot.
    pub(crate) fn bucket(&self) -> &str {
        &self.0[..BUCKET]
    }

    /// The rest, which nobody can guess.
    pub(crate) fn secret(&self) -> &str {
        &self.0[BUCKET..]
    }

    /// The digest of the user's name, once the session has a user.
    pub(crate) fn user_tag(&self) -> Option<&str> {
        Some(&self.0[BUCKET + SECRET..]).filter(|tag| !tag.is_empty())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

fn letter(byte: &u8) -> char {
    LETTERS[usize::from(byte & 63)].into()
}

/// 16 letters for a user's name. Nobody can find a second name with the same ones.
pub(crate) fn user_tag(user: &str) -> String {
    Sha256::digest(user).iter().take(USER).map(letter).collect()
}

/// The keys of a store, all below one prefix.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: Box<str>,
    buckets: Box<[Box<str>]>,
}

impl Keys {
    /// # Errors
    ///
    /// A prefix with braces, which would move every session into one slot; a number of buckets that
    /// is no power of two up to 4096.
    pub(crate) fn new(prefix: &str, buckets: u16) -> Result<Keys, Error> {
        if prefix.is_empty() || prefix.contains(['{', '}']) {
            return Err(Error::Config(format!("the prefix {prefix:?} is empty or has braces")));
        }
        if !buckets.is_power_of_two() || buckets > 4096 {
            return Err(Error::Config(format!("{buckets} buckets: a power of two up to 4096")));
        }
        Ok(Keys { prefix: prefix.into(), buckets: bucket_names(buckets) })
    }

    /// Where a session is kept: `prefix:{abc}:secret`.
    pub(crate) fn session(&self, token: &Token) -> String {
        format!("{}:{{{}}}:{}", self.prefix, token.bucket(), token.secret())
    }

    /// Where the tokens of its user's sessions are kept: `prefix:{abc}:user:digest`; None without a
    /// user. While a cluster moves a slot, requests with several keys have to wait: those of
    /// sessions without a user have one.
    pub(crate) fn index_of(&self, token: &Token) -> Option<String> {
        token.user_tag().map(|tag| self.index(token.bucket(), tag))
    }

    /// The index of a user's sessions in one bucket.
    pub(crate) fn index(&self, bucket: &str, user_tag: &str) -> String {
        format!("{}:{{{bucket}}}:user:{user_tag}", self.prefix)
    }

    /// Where a session with an id of others' making is kept: `prefix:id`.
    #[cfg(feature = "tower-sessions")]
    pub(crate) fn other(&self, id: &str) -> String {
        format!("{}:{id}", self.prefix)
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = &str> {
        self.buckets.iter().map(|name| &**name)
    }

    /// Any bucket, each as likely.
    pub(crate) fn any_bucket(&self) -> &str {
        &self.buckets[fastrand::usize(..self.buckets.len())]
    }
}

/// Names of buckets whose slots lie evenly between a cluster's first and last: for each range of
/// slots the first name, in the order of the letters, that falls into it. So the names of few
/// buckets are among those of many, and their number may grow while sessions live.
fn bucket_names(count: u16) -> Box<[Box<str>]> {
    let mut names: Vec<Option<Box<str>>> = vec![None; usize::from(count)];
    let mut missing = names.len();
    let triples = LETTERS
        .iter()
        .flat_map(|a| LETTERS.iter().flat_map(move |b| LETTERS.iter().map(move |c| [*a, *b, *c])));
    for letters in triples {
        let range = usize::from(slot(&letters) / (SLOTS / count));
        if names[range].is_none() {
            names[range] = Some(letters.map(char::from).iter().collect());
            missing -= 1;
            if missing == 0 {
                break;
            }
        }
    }
    names.into_iter().flatten().collect()
}

/// The slot of a hash tag.
fn slot(tag: &[u8]) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(tag) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_token_is_random_and_reads_back() {
        let keys = Keys::new("session", 64).expect("good settings");
        let mut seen = HashSet::new();
        for _ in 0..1000 {
            for user in [None, Some("ann")] {
                let token = Token::random(keys.any_bucket(), user).expect("random bytes");
                assert_eq!(Token::parse(token.reveal()), Some(token.clone()));
                assert_eq!(token.user_tag(), user.map(user_tag).as_deref());
                assert!(seen.insert(token));
            }
        }
        let letters: HashSet<char> =
            seen.iter().flat_map(|token| token.secret()[..SECRET].chars()).collect();
        assert_eq!(letters.len(), 64, "every letter is used");
    }

    #[test]
    fn a_token_is_shown_to_nobody() {
        let token = Token::random("abc", Some("ann")).expect("random bytes");
        assert_eq!(format!("{token:?}"), "Token(redacted)");
        let fingerprint = token.fingerprint();
        assert_eq!((fingerprint.len(), fingerprint), (12, token.clone().fingerprint()));
        assert!(!token.reveal().contains(&token.fingerprint()));
    }

    #[test]
    fn other_texts_are_no_tokens() {
        let good = "a".repeat(35);
        assert!(Token::parse(&good).is_some());
        assert!(Token::parse(&"a".repeat(51)).is_some());
        for bad in ["", "abc", &"a".repeat(34), &"a".repeat(36), &"a".repeat(52)] {
            assert_eq!(Token::parse(bad), None, "{bad}");
        }
        for odd in ["{", "}", ":", " ", "\n", "\0", "é", "*"] {
            let bad = format!("{odd}{}", &good[odd.len()..]);
            assert_eq!(Token::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn buckets_lie_evenly_and_few_are_among_many() {
        for power in 0..=12 {
            let count = 1u16 << power;
            let names = bucket_names(count);
            assert_eq!(names.len(), usize::from(count));
            for (range, name) in names.iter().enumerate() {
                assert_eq!(usize::from(slot(name.as_bytes()) / (SLOTS / count)), range);
            }
            let more: HashSet<_> = bucket_names(4096).into_iter().collect();
            assert!(names.iter().all(|name| more.contains(name)));
        }
    }

    #[test]
    fn slots_are_those_of_redis_cluster() {
        // The example of the cluster specification, and CLUSTER KEYSLOT's answers.
        assert_eq!(crc16::State::<crc16::XMODEM>::calculate(b"123456789"), 0x31C3);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b"bar"), 5061);
    }

    #[test]
    fn prefixes_and_numbers_of_buckets_are_checked() {
        for (prefix, buckets) in [("", 64), ("a{b", 64), ("a", 0), ("a", 3), ("a", 8192)] {
            assert!(Keys::new(prefix, buckets).is_err(), "{prefix} {buckets}");
        }
    }
}
