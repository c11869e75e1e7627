//! The script cache.

use std::any::Any;
use std::collections::HashMap;

/// Scripts by the hexadecimal SHA-1 of their text.
#[derive(Debug, Default)]
pub struct Scripts {
    by_digest: HashMap<String, Vec<u8>>,
    /// The interpreter between scripts; whatever it is, it is made by the commands.
    interpreter: Option<Box<dyn Any + Send>>,
}

impl Scripts {
    /// How many are kept.
    pub fn len(&self) -> usize {
        self.by_digest.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.by_digest.is_empty()
    }

    /// Keeps a script.
    pub fn add(&mut self, digest: String, text: &[u8]) {
        self.by_digest.entry(digest).or_insert_with(|| text.to_vec());
    }

    /// The script of this lower-case digest.
    pub fn get(&self, digest: &str) -> Option<&[u8]> {
        self.by_digest.get(digest).map(Vec::as_slice)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.by_digest.clear();
        self.interpreter = None;
    }

    /// Takes the interpreter out, if one was put in.
    pub fn take_interpreter<I: Any>(&mut self) -> Option<I> {
        self.interpreter.take()?.downcast().ok().map(|interpreter| *interpreter)
    }

    /// Puts the interpreter in until the next script.
    pub fn put_interpreter<I: Any + Send>(&mut self, interpreter: I) {
        self.interpreter = Some(Box::new(interpreter));
    }
}
