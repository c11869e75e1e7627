//! RDB, the file format of snapshots, full resyncs and DUMP: reading and writing.
//!
//! Knows values, not files, sockets or what is inside the store. [`Reader`] is fed with bytes as they come and hands
//! out records; [`Writer`] appends pieces to a buffer.

mod checksum;
mod cursor;
mod dump;
mod fields;
mod format;
mod listpack;
mod loader;
mod objects;
mod policy;
mod reader;
mod recording;
mod skip;
#[cfg(test)]
mod tests;
mod value;
mod writer;
mod ziplist;

pub use checksum::Checksum;
pub use dump::{DumpError, DumpOptions, read_dump, read_libraries};
pub use fields::Fields;
pub use format::{Dialect, Version};
pub use loader::{LoadOptions, Loaded, Loader};
pub use objects::{to_store, write_value};
pub use policy::{Timed, version_for, warn_of_dropped};
pub use reader::{Entry, ReadError, ReadOptions, Reader, Record, Usage};
pub use recording::Recording;
pub use value::Value;
pub use writer::{FieldRef, Layout, Place, Writer, trailer};
