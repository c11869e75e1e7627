//! Where an interpreter waits between two runs: whatever it is, the commands make it.

use std::any::Any;

/// An interpreter that nothing runs in, if one was made.
#[derive(Debug, Default)]
pub struct KeptInterpreter {
    interpreter: Option<Box<dyn Any + Send>>,
    bytes: usize,
}

impl KeptInterpreter {
    /// Takes the interpreter out, if one was put in.
    pub fn take<I: Any>(&mut self) -> Option<I> {
        self.interpreter.take()?.downcast().ok().map(|interpreter| *interpreter)
    }

    /// Puts the interpreter in until the next run; it holds so many bytes.
    pub fn put<I: Any + Send>(&mut self, interpreter: I, bytes: usize) {
        *self = KeptInterpreter { interpreter: Some(Box::new(interpreter)), bytes };
    }

    /// The bytes that it held after its last run; 0 before the first.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
