//! The data: keys, values, deadlines. Knows nothing of commands, sockets or the time of day.

mod alloc;
mod db;
mod deadlines;
mod directory;
mod due;
mod encodings;
mod entries;
mod entry;
pub mod glob;
mod hash;
mod inline;
mod keyspace;
mod load;
#[cfg(test)]
mod model;
mod object;
mod ordered;
mod own;
mod packed;
mod segment;
mod set;
mod shapes;
mod snapshot;
mod string;
mod table;
mod watchers;
mod write;
mod zset;

pub use alloc::allocated;
pub use db::{Db, Figures};
pub use deadlines::{Popped, Wheel};
pub use due::{Due, Order};
pub use encodings::Encodings;
pub use hash::{Entries, Hash, HashLimits, HashRef};
pub use keyspace::{Keyspace, Walked};
pub use load::{Batch, Twice};
pub use object::{Access, Kind, Object, ObjectRef, Outside, Value, ValueRef, WrongType};
pub use ordered::{LexBound, ScoreBound};
pub use set::{Set, SetLimits};
pub use snapshot::{SharedSink, Sink};
pub(crate) use string::canonical_int;
pub use string::{Origin, Str, StrRef};
pub use table::{Keyed, Table};
pub use watchers::Watcher;
pub use write::{Spot, Write};
pub use zset::{SortedSet, SortedSetLimits};
