//! Where an interpreter waits between two runs: whatever it is, the commands make it.

use std::any::Any;

/// An interpreter that nothing runs in, if one was made.
#[derive(Debug, Default)]
pub struct KeptInterpreter(Option<Box<dyn Any + Send>>);

impl KeptInterpreter {
    /// Takes the interpreter out, if one was put in.
    pub fn take<I: Any>(&mut self) -> Option<I> {
        self.0.take()?.downcast().ok().map(|interpreter| *interpreter)
    }

    /// Puts the interpreter in until the next run.
    pub fn put<I: Any + Send>(&mut self, interpreter: I) {
        self.0 = Some(Box::new(interpreter));
    }
}
