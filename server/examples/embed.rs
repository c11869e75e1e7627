//! A server within a program: `cargo run --example embed`.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::HashMap;

use cloakroom::Server;
use redis::{Commands, RedisResult};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A free port of 127.0.0.1, nothing on disk, at most 100 megabytes.
    let server =
        Server::builder().set("maxmemory", "100mb")?.set("maxmemory-policy", "volatile-lru")?;
    let server = server.start_blocking()?;
    println!("any Redis client may come to {}", server.url());
    let session = visit(&server.url())?;
    println!("the session holds {session:?}");
    // Stops here; the port is free again. Dropping the handle does the same.
    server.shutdown_blocking();
    Ok(())
}

/// What a web application does at each request.
fn visit(url: &str) -> RedisResult<HashMap<String, String>> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    let () = connection.hset("session:4f1c", "user", "ann")?;
    let _: i64 = connection.hincr("session:4f1c", "visits", 1)?;
    let _: bool = connection.expire("session:4f1c", 1800)?;
    connection.hgetall("session:4f1c")
}
