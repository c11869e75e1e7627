//! Replication between ours and the real servers: each as the primary and as the replica.
//!
//! `cargo test -p cloakroom-tests --test replication -- --include-ignored` runs all of it; what
//! needs other servers than ours is left out of plain `cargo test`.

mod behind;
mod digest;
mod faults;
mod load;
mod matrix;
mod node;
mod roles;
mod settings;
mod tls;
