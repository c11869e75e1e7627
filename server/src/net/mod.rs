//! Sockets and tasks: the first layer that knows tokio. Accepts connections, carries bytes between
//! them and the engine, and sees to it that what falls due is carried out on time.

mod connection;
mod crowd;
mod driver;
mod line;
mod link;
mod listen;
mod listeners;
pub mod platform;
mod server;
pub mod tls;

pub use connection::Connection;
pub use server::{Load, Loading, Running, start, start_blocking};
