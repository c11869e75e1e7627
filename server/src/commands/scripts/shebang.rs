//! The first line of a script or a library, `#!lua ...`: its words.

use crate::config::split_words;

/// The line's words, and the code: the line stays in it as an empty one, so that errors name theirs.
pub(super) struct Shebang<'t> {
    /// `#!lua`, as a rule.
    pub(super) engine: String,
    pub(super) options: Vec<String>,
    pub(super) body: &'t [u8],
}

/// Why there are no words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The text does not begin with `#!`.
    Missing,
    /// The line does not end.
    Endless,
    /// A quote does not close.
    Unquoted,
}

/// Reads the first line of a text.
pub(super) fn read(text: &[u8]) -> Result<Shebang<'_>, Broken> {
    if !text.starts_with(b"#!") {
        return Err(Broken::Missing);
    }
    let end = text.iter().position(|byte| *byte == b'\n').ok_or(Broken::Endless)?;
    let words = split_words(&String::from_utf8_lossy(&text[..end])).ok_or(Broken::Unquoted)?;
    let (engine, options) = words.split_first().ok_or(Broken::Unquoted)?;
    Ok(Shebang { engine: engine.clone(), options: options.to_vec(), body: &text[end..] })
}
