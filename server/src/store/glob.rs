//! Redis's glob patterns: `*`, `?`, `[a-z]`, `[^a]`, and `\` before what is meant itself.

/// Whether `text` matches `pattern`; `nocase` ignores the case of ASCII letters.
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    Glob { pattern, nocase, long_classes: Vec::new() }.matches(text)
}

/// A pattern that many texts are held against: for these it is worth to read long classes once.
#[derive(Debug, Clone)]
pub struct Glob<'p> {
    pattern: &'p [u8],
    nocase: bool,
    /// Classes of more than [`LONG_CLASS`] bytes, by their places.
    long_classes: Vec<LongClass>,
}

/// A class that is looked up instead of read.
#[derive(Debug, Clone)]
struct LongClass {
    at: usize,
    length: usize,
    /// A bit for each byte that it holds.
    bytes: [u64; 4],
}

/// Classes of up to so many bytes are read whenever they are met.
const LONG_CLASS: usize = 64;

/// Steps that one text may take: so many, and so many for each of its bytes. A text like `aaaa...`
/// and a pattern like `*aaaa...b` of megabytes would take their product; beyond this they do not
/// match, as Redis gives up on patterns that nest too deep.
const STEPS: usize = 1 << 20;
const STEPS_FOR_A_BYTE: usize = 32;

impl<'p> Glob<'p> {
    /// Prepares a pattern; `nocase` ignores the case of ASCII letters.
    pub fn new(pattern: &'p [u8], nocase: bool) -> Self {
        let mut long_classes = Vec::new();
        let mut at = 0;
        while pattern.len() > LONG_CLASS && at < pattern.len() {
            let length = match pattern[at] {
                b'\\' => 2,
                b'[' => class_length(&pattern[at..]),
                _ => 1,
            };
            if length > LONG_CLASS {
                long_classes.push(LongClass::new(&pattern[at..at + length], at, nocase));
            }
            at += length;
        }
        Glob { pattern, nocase, long_classes }
    }

    /// Whether `text` matches. Only the last `*` is ever tried again, so no pattern takes more
    /// steps than pattern and text multiplied.
    pub fn matches(&self, text: &[u8]) -> bool {
        let pattern = self.pattern;
        if text.is_empty() {
            // As in Redis, not even a star matches nothing at all.
            return pattern.is_empty();
        }
        let (mut p, mut t) = (0, 0);
        let mut steps = STEPS.saturating_add(text.len().saturating_mul(STEPS_FOR_A_BYTE));
        // Where to go on after the last star has taken one byte more.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            if p < pattern.len() && pattern[p] == b'*' {
                while p < pattern.len() && pattern[p] == b'*' {
                    p += 1;
                }
                if p == pattern.len() {
                    return true;
                }
                retry = Some((p, t));
                continue;
            }
            let step = if t < text.len() { self.one(p, text[t], &mut steps) } else { None };
            match step {
                Some(length) => {
                    p += length;
                    t += 1;
                }
                None if t == text.len() && p == pattern.len() => return true,
                None => match retry {
                    Some((after, from)) if from < text.len() && steps > 0 => {
                        retry = Some((after, from + 1));
                        (p, t) = (after, from + 1);
                    }
                    _ => return false,
                },
            }
        }
    }

    /// Whether one byte matches the pattern's element at `at`, which is no star: its length.
    fn one(&self, at: usize, byte: u8, steps: &mut usize) -> Option<usize> {
        let same = |a: u8, b: u8| if self.nocase { a.eq_ignore_ascii_case(&b) } else { a == b };
        *steps = steps.saturating_sub(1);
        match &self.pattern[at..] {
            [] => None,
            [b'?', ..] => Some(1),
            [b'[', ..] => self.class(at, byte, steps),
            [b'\\', escaped, ..] => same(*escaped, byte).then_some(2),
            [literal, ..] => same(*literal, byte).then_some(1),
        }
    }

    fn class(&self, at: usize, byte: u8, steps: &mut usize) -> Option<usize> {
        if !self.long_classes.is_empty()
            && let Ok(index) = self.long_classes.binary_search_by_key(&at, |class| class.at)
        {
            let class = &self.long_classes[index];
            return class.holds(byte).then_some(class.length);
        }
        let (found, length) = class(&self.pattern[at..], byte, self.nocase);
        *steps = steps.saturating_sub(length);
        found.then_some(length)
    }
}

impl LongClass {
    fn new(class_text: &[u8], at: usize, nocase: bool) -> Self {
        let mut bytes = [0; 4];
        let mut hold = |byte: u8| bytes[usize::from(byte >> 6)] |= 1 << (byte & 63);
        let fold = |byte: u8| if nocase { byte.to_ascii_lowercase() } else { byte };
        let negated = class_text.get(1) == Some(&b'^');
        let mut members = [false; 256];
        each_range(class_text, |from, to| {
            let (from, to) = (fold(from), fold(to));
            (from.min(to)..=from.max(to)).for_each(|byte| members[usize::from(byte)] = true);
        });
        (0..=255u8).filter(|byte| members[usize::from(fold(*byte))] != negated).for_each(&mut hold);
        LongClass { at, length: class_text.len(), bytes }
    }

    fn holds(&self, byte: u8) -> bool {
        self.bytes[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }
}

/// Whether the class that a pattern begins with holds `byte`, and its length.
fn class(pattern: &[u8], byte: u8, nocase: bool) -> (bool, usize) {
    let fold = |byte: u8| if nocase { byte.to_ascii_lowercase() } else { byte };
    let byte = fold(byte);
    let negated = pattern.get(1) == Some(&b'^');
    let mut found = false;
    let length = each_range(pattern, |from, to| {
        let (from, to) = (fold(from), fold(to));
        found |= (from.min(to)..=from.max(to)).contains(&byte);
    });
    (found != negated, length)
}

fn class_length(pattern: &[u8]) -> usize {
    each_range(pattern, |_, _| {})
}

/// Shows the ranges of the class that a pattern begins with; returns its length. A class that is
/// not closed ends with the pattern.
fn each_range(pattern: &[u8], mut show: impl FnMut(u8, u8)) -> usize {
    let mut at = if pattern.get(1) == Some(&b'^') { 2 } else { 1 };
    loop {
        match &pattern[at.min(pattern.len())..] {
            [] => return pattern.len(),
            [b']', ..] => return at + 1,
            [b'\\', escaped, ..] => {
                show(*escaped, *escaped);
                at += 2;
            }
            [from, b'-', to, ..] => {
                show(*from, *to);
                at += 3;
            }
            [literal, ..] => {
                show(*literal, *literal);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        let cases: &[(&str, &str, bool)] = &[
            ("*", "", false),
            ("*", "abc", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbbd", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h\\*llo", "h*llo", true),
            ("h\\*llo", "hello", false),
            ("[\\]]", "]", true),
            ("[a", "a", true),
            ("[", "a", false),
            ("a\\", "a\\", true),
            ("", "", true),
            ("", "a", false),
            ("**a", "a", true),
            ("session:*:x", "session:1:2:x", true),
        ];
        for (pattern, text, expected) in cases {
            let found = matches(pattern.as_bytes(), text.as_bytes(), false);
            assert_eq!(found, *expected, "{pattern} on {text}");
        }
        assert!(matches(b"hELLo[A-C]", b"HelloB", true));
    }

    #[test]
    fn no_pattern_takes_exponential_time() {
        let pattern = "a*".repeat(2_000) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(4_000).as_bytes(), false));
    }

    #[test]
    fn a_long_class_is_read_once_and_holds_the_same() {
        let class = format!("[^{}Z\\]a-c]", "xy".repeat(LONG_CLASS));
        let pattern = format!("<*{class}>");
        for nocase in [false, true] {
            let glob = Glob::new(pattern.as_bytes(), nocase);
            assert_eq!(glob.long_classes.len(), 1);
            for byte in 0..=255 {
                let text = [b'<', b'-', byte, b'>'];
                let plain = matches(pattern.as_bytes(), &text, nocase);
                assert_eq!(glob.matches(&text), plain, "{byte} {nocase}");
            }
        }
    }

    #[test]
    fn megabytes_that_nearly_match_are_given_up() {
        let text = "a".repeat(1 << 20);
        let pattern = format!("*{}b", &text[1..]);
        assert!(!matches(pattern.as_bytes(), text.as_bytes(), false));
        let plain = format!("*{}b*", &text[..STEPS_FOR_A_BYTE / 2]);
        assert!(matches(plain.as_bytes(), (text + "b!").as_bytes(), false));
    }
}
