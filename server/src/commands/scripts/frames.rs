//! Calls of the server at the end of a function keep that function's frame.
//!
//! `return redis.call(...)` is a tail call: Lua takes the caller off the stack, and an error could no
//! longer tell its line. In Redis these functions are written in C, for which Lua leaves the caller where
//! it is. `return (redis.call(...))` is none, and returns the same where there is one value.

use std::borrow::Cow;

/// Functions of the server that return one value.
const OF_ONE_VALUE: [(&[u8], &[&[u8]]); 6] = [
    (b"redis", &[b"call", b"pcall", b"sha1hex", b"acl_check_cmd"]),
    (b"server", &[b"call", b"pcall", b"sha1hex", b"acl_check_cmd"]),
    (b"cjson", &[b"encode", b"decode"]),
    (b"cmsgpack", &[b"pack"]),
    (b"struct", &[b"pack", b"size"]),
    (
        b"bit",
        &[
            b"tobit", b"bnot", b"band", b"bor", b"bxor", b"lshift", b"rshift", b"arshift", b"rol",
            b"ror", b"bswap", b"tohex",
        ],
    ),
];

/// The same script, in which such calls at the end of a function are in parentheses. Lines stay what they
/// are.
pub(super) fn keep_frames(text: &[u8]) -> Cow<'_, [u8]> {
    let inserted = insertions(text).unwrap_or_default();
    if inserted.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut kept = Vec::with_capacity(text.len() + inserted.len());
    let mut from = 0;
    for (at, parenthesis) in inserted {
        kept.extend_from_slice(&text[from..at]);
        kept.push(parenthesis);
        from = at;
    }
    kept.extend_from_slice(&text[from..]);
    Cow::Owned(kept)
}

/// How much of `return redis.call(` has been read, and where the name of the library began.
enum Read<'t> {
    Nothing,
    Return,
    Library(usize, &'t [u8]),
    Dot(usize, &'t [u8]),
    Function(usize),
}

/// Where which parenthesis goes, in the order of places; None: brackets do not match, which the compiler
/// will tell.
fn insertions(text: &[u8]) -> Option<Vec<(usize, u8)>> {
    let mut inserted = Vec::new();
    // Brackets that are open, with the place of the library's name where one is such a call's.
    let mut open: Vec<Option<usize>> = Vec::new();
    let mut read = Read::Nothing;
    let mut tokens = Tokens { text, at: 0 };
    while let Some((at, token)) = tokens.next() {
        read = match (read, token) {
            (_, b"return") => Read::Return,
            (Read::Return, word) if is_library(word) => Read::Library(at, word),
            (Read::Library(start, library), b".") => Read::Dot(start, library),
            (Read::Dot(start, library), word) if is_of_one_value(library, word) => {
                Read::Function(start)
            }
            (Read::Function(start), b"(") => {
                open.push(Some(start));
                Read::Nothing
            }
            (_, b"(" | b"[" | b"{") => {
                open.push(None);
                Read::Nothing
            }
            (_, b")" | b"]" | b"}") => {
                if let Some(start) = open.pop()? {
                    inserted.extend([(start, b'('), (at + 1, b')')]);
                }
                Read::Nothing
            }
            _ => Read::Nothing,
        };
    }
    inserted.sort_by_key(|(at, _)| *at);
    open.is_empty().then_some(inserted)
}

fn is_library(word: &[u8]) -> bool {
    OF_ONE_VALUE.iter().any(|(library, _)| *library == word)
}

fn is_of_one_value(library: &[u8], function: &[u8]) -> bool {
    OF_ONE_VALUE.iter().any(|(name, functions)| *name == library && functions.contains(&function))
}

/// The words and signs of a script and where they stand, without comments. A string is `"`.
struct Tokens<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Tokens<'t> {
    fn next(&mut self) -> Option<(usize, &'t [u8])> {
        loop {
            let at = self.at;
            let rest = &self.text[at..];
            let first = *rest.first()?;
            let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            let (length, is_token) = if rest.starts_with(b"--") {
                let long = long_bracket(&rest[2..]).map(|length| length + 2);
                (long.unwrap_or_else(|| line_length(rest)), false)
            } else if first == b'"' || first == b'\'' {
                self.at += quoted(rest);
                return Some((at, b"\""));
            } else if let Some(length) = long_bracket(rest) {
                self.at += length;
                return Some((at, b"\""));
            } else if is_word(&first) {
                (rest.iter().position(|byte| !is_word(byte)).unwrap_or(rest.len()), true)
            } else {
                (1, !first.is_ascii_whitespace())
            };
            self.at += length;
            if is_token {
                return Some((at, &rest[..length]));
            }
        }
    }
}

fn line_length(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).unwrap_or(text.len())
}

/// How long a string in quotes is, from its first quote on.
fn quoted(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            byte if *byte == text[0] => return at + 1,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// How long a string in long brackets is (`[[...]]`, `[==[...]==]`), if one begins here.
fn long_bracket(text: &[u8]) -> Option<usize> {
    let level = text.strip_prefix(b"[")?.iter().take_while(|byte| **byte == b'=').count();
    (text.get(1 + level) == Some(&b'[')).then_some(())?;
    let end = [b"]".as_slice(), &b"=".repeat(level), b"]"].concat();
    let start = level + 2;
    let inside = memchr::memmem::find(&text[start..], &end);
    Some(inside.map_or(text.len(), |inside| start + inside + end.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> String {
        String::from_utf8(keep_frames(text.as_bytes()).into_owned()).expect("it was text")
    }

    #[test]
    fn calls_at_the_end_are_put_in_parentheses() {
        for (text, expected) in [
            ("return redis.call('GET', KEYS[1])", "return (redis.call('GET', KEYS[1]))"),
            ("return\n redis . pcall ( 'x' ) -- end", "return\n (redis . pcall ( 'x' )) -- end"),
            (
                "return server.call(')', [[)]], \"\\\")\")",
                "return (server.call(')', [[)]], \"\\\")\"))",
            ),
            ("return cjson.decode(x)[1]", "return (cjson.decode(x))[1]"),
            (
                "return redis.call(f(function() return bit.band(1, 2) end))",
                "return (redis.call(f(function() return (bit.band(1, 2)) end)))",
            ),
            (
                "return redis.call(--[==[ ) ]] ]==] 'x')",
                "return (redis.call(--[==[ ) ]] ]==] 'x'))",
            ),
        ] {
            assert_eq!(kept(text), expected);
        }
    }

    #[test]
    fn all_else_stays() {
        for text in [
            "",
            "return",
            "local x = redis.call('GET', 'x') return x",
            "return redis.call",
            "return struct.unpack('b', x)",
            "return f(redis.call('x'))",
            "return myredis.call('x')",
            "return 'return redis.call(1)'",
            "-- return redis.call(1)\nreturn 1",
            "--[[ return redis.call(1) ]] return 1",
            "return [==[ return redis.call(1) ]]",
            "return redis.call('x'",
            "return redis.call('x'))",
            "return 'redis.call(",
        ] {
            assert_eq!(kept(text), text);
        }
    }
}
