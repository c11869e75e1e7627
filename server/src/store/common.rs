//! What the entries of a database have in common, kept once for all of them.

use super::dictionaries::Dictionaries;
use super::shapes::Shapes;

/// What the entries of a database have in common: those that need it count as its users.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// Field names of hashes.
    pub(super) shapes: Shapes,
    /// What compressed strings resemble.
    pub(super) dictionaries: Dictionaries,
}

impl Common {
    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.shapes.heap_bytes() + self.dictionaries.heap_bytes()
    }
}
