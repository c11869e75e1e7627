//! What holds the server to the truth: a small client, transcripts and who they run against,
//! peers (real servers), and generators of random commands.
//!
//! Plain `cargo test` runs what needs nothing but Rust; `tests/run` installs the peers and runs
//! the rest as well.

pub mod certificates;
pub mod differential;
pub mod drivers;
pub mod fuzz;
pub mod grammar;
pub mod groups;
pub mod nodes;
pub mod peers;
pub mod process;
pub mod proxy;
pub mod runner;
pub mod sentinels;
pub mod suite;
pub mod text;
pub mod transcript;
pub mod watched;
pub mod wire;
pub mod writers;
