//! The config file: redis.conf's syntax, read at the start.

use std::path::{Path, PathBuf};

use super::Directive;
use super::cli::{ConfigError, Loaded, takes_words};

/// How deep `include` may nest.
const DEEPEST_INCLUDE: usize = 16;

impl Loaded {
    /// Reads the file that the command line names into the settings; `-` is the standard input.
    pub(super) fn read_first(&mut self, path: PathBuf) -> Result<(), ConfigError> {
        if path.as_os_str() == "-" {
            let text = std::io::read_to_string(std::io::stdin()).map_err(|cause| {
                ConfigError::new(format!("cannot read settings from the standard input: {cause}"))
            })?;
            return self.read_text(&text, Path::new("the standard input"), 0);
        }
        self.read_file(&path, 0)?;
        self.file = Some(std::path::absolute(&path).unwrap_or(path));
        Ok(())
    }

    /// Reads a file into the settings.
    pub(super) fn read_file(&mut self, path: &Path, depth: usize) -> Result<(), ConfigError> {
        let shown = path.display();
        if depth > DEEPEST_INCLUDE {
            return Err(ConfigError::new(format!("{shown}: files include each other without end")));
        }
        let text = std::fs::read_to_string(path).map_err(|cause| {
            ConfigError::new(format!(
                "cannot read the config file {shown}: {cause}; name one that exists, or none"
            ))
        })?;
        self.read_text(&text, path, depth)
    }

    /// Reads the text of a file into the settings.
    pub(super) fn read_text(
        &mut self,
        text: &str,
        path: &Path,
        depth: usize,
    ) -> Result<(), ConfigError> {
        let shown = path.display();
        for (number, line) in text.lines().enumerate() {
            let at = format!("{shown}, line {}", number + 1);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words = split(line).ok_or_else(|| {
                ConfigError::new(format!(
                    "{at}: quotes do not close, or a word follows one that closes"
                ))
            })?;
            let Some((name, values)) = words.split_first() else { continue };
            let directive = name.to_ascii_lowercase();
            match directive.as_str() {
                "include" => self.include(path, values, depth, &at)?,
                "user" | "rename-command" => {
                    self.config.repeat(&directive, Directive { at, words: values.to_vec() });
                }
                // It changes what a server does and not a setting, so it cannot pass for one
                // without meaning.
                "loadmodule" => self.warnings.push(format!(
                    "{at}: {directive} is accepted and has no effect: there is no such thing here"
                )),
                _ if values.len() != 1 && !takes_words(&directive) => {
                    return Err(ConfigError::new(format!(
                        "{at}: {name} takes one value, in quotes if it has blanks"
                    )));
                }
                _ => self.set(name, &values.join(" "), Some(&at))?,
            }
        }
        Ok(())
    }

    /// Reads the files that one names: beside it, or else from the working directory, as Redis
    /// does. Where a pattern matches none, none is read.
    fn include(
        &mut self,
        from: &Path,
        files: &[String],
        depth: usize,
        at: &str,
    ) -> Result<(), ConfigError> {
        if files.is_empty() {
            return Err(ConfigError::new(format!("{at}: include needs a file's name")));
        }
        for file in files {
            let beside = from.parent().unwrap_or(Path::new("")).join(file);
            if !file.contains(['*', '?', '[']) {
                let file = if beside.exists() { beside } else { file.into() };
                self.read_file(&file, depth + 1)?;
                continue;
            }
            let found = |pattern: &Path| -> Vec<PathBuf> {
                let paths = glob::glob(&pattern.to_string_lossy()).into_iter().flatten();
                paths.filter_map(Result::ok).collect()
            };
            let mut files = found(&beside);
            if files.is_empty() {
                files = found(Path::new(file));
            }
            files.iter().try_for_each(|file| self.read_file(file, depth + 1))?;
        }
        Ok(())
    }
}

/// A line's words as text.
pub fn split(line: &str) -> Option<Vec<String>> {
    let words = words(line.as_bytes())?;
    Some(words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

/// A line's words by redis.conf's quoting: `"..."` with escapes, `'...'` without; None if a quote
/// does not close.
pub(super) fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut parser = crate::resp::RequestParser::new();
    let mut bytes = line.to_vec();
    bytes.push(b'\n');
    let limits = crate::resp::Limits { inline: usize::MAX, ..Default::default() };
    // An inline request has the very same syntax, but for a leading `*`.
    if bytes[0] == b'*' {
        return None;
    }
    if !matches!(parser.parse(&bytes, &limits), Ok(crate::resp::Parsed::Complete(_))) {
        return None;
    }
    Some(parser.args(&bytes).iter().map(<[u8]>::to_vec).collect())
}
