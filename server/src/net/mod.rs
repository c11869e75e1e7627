//! Sockets and tasks: the first layer that knows tokio. Accepts connections, carries bytes between
//! them and the engine, and sees to it that what falls due is carried out on time.

mod connection;
mod driver;
mod listen;
pub mod platform;
mod server;

pub use connection::Connection;
pub use server::{Running, start, start_blocking};
