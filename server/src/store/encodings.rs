//! The sizes at which small encodings give way to big ones.

use super::{HashLimits, SetLimits, SortedSetLimits, StrLimits};

/// The sizes at which small encodings give way to big ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct Encodings {
    /// `string-compression-threshold`.
    pub string: StrLimits,
    /// `hash-max-listpack-entries`, `hash-max-listpack-value`.
    pub hash: HashLimits,
    /// `set-max-intset-entries`.
    pub set: SetLimits,
    /// `zset-max-listpack-entries`, `zset-max-listpack-value`.
    pub sorted_set: SortedSetLimits,
}
