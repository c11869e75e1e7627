//! An embeddable session server that speaks the Redis protocol.
//!
//! ```
//! use std::time::Duration;
//!
//! let server = cloakroom::Server::builder().frozen_clock().start_blocking()?;
//! println!("point any Redis client at {}", server.url());
//! server.advance(Duration::from_secs(1800)); // sessions of half an hour are gone now
//! # Ok::<(), cloakroom::Error>(())
//! ```

pub mod acl;
pub mod clock;
pub mod commands;
pub mod config;
mod embed;
pub mod engine;
mod error;
mod lzf;
pub mod net;
pub mod persistence;
pub mod rdb;
pub mod replication;
pub mod resp;
pub mod session;
pub mod state;
pub mod store;
pub mod tls;

pub use clock::Clock;
pub use config::Config;
pub use embed::{Builder, Handle, Server};
pub use error::Error;
