//! No sockets at all: a client over a stream within the process, in an async program.
//! `cargo run --example in_process`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use cloakroom::Server;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, RedisConnectionInfo, RedisResult};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder().without_sockets().start().await?;
    let info = RedisConnectionInfo::default();
    let (client, driver) = MultiplexedConnection::new(&info, server.connect()).await?;
    // The driver carries bytes for as long as there is a client.
    let (user, ()) = tokio::join!(visit(client), driver);
    println!("the session is {}'s", user?);
    server.shutdown().await;
    Ok(())
}

/// What a web application does at each request.
async fn visit(mut client: MultiplexedConnection) -> RedisResult<String> {
    let () = client.hset("session:4f1c", "user", "ann").await?;
    let _: bool = client.expire("session:4f1c", 1800).await?;
    client.hget("session:4f1c", "user").await
}
