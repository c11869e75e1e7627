//! The data: keys, values, deadlines. Knows nothing of commands, sockets or the time of day.

mod alloc;
mod deadlines;
pub mod glob;
mod hash;
mod keyspace;
mod object;
mod ordered;
mod packed;
mod set;
mod string;
mod table;
mod zset;

pub use alloc::allocated;
pub use deadlines::{Popped, Wheel};
pub use hash::{Hash, HashLimits};
pub use keyspace::{Db, Due, Figures, Keyspace, Watcher, Write};
pub use object::{Access, Kind, Object, Value, WrongType};
pub use ordered::{LexBound, ScoreBound};
pub use set::{Set, SetLimits};
pub use string::Str;
pub use table::{Keyed, Table};
pub use zset::{SortedSet, SortedSetLimits};
