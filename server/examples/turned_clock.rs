//! A test that does not sleep: sessions of half an hour end when the test turns the clock.
//! `cargo run --example turned_clock`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use cloakroom::Server;
use redis::Commands;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder().frozen_clock().set("notify-keyspace-events", "Ex")?;
    let server = server.start_blocking()?;
    let client = redis::Client::open(server.url())?;
    let mut connection = client.get_connection()?;
    let mut listening = client.get_connection()?;
    let mut events = listening.as_pubsub();
    events.subscribe("__keyevent@0__:expired")?;

    let () = connection.hset("session:ann", "visits", 1)?;
    let _: bool = connection.expire("session:ann", 1800)?;
    let () = connection.hset("session:bob", "visits", 1)?;
    let _: bool = connection.expire("session:bob", 1800)?;

    // Ann is back after twenty minutes, which makes hers last longer.
    server.advance(Duration::from_secs(20 * 60));
    let _: bool = connection.expire("session:ann", 1800)?;
    server.advance(Duration::from_secs(10 * 60));
    assert!(!connection.exists::<_, bool>("session:bob")?, "Bob's is over");
    assert!(connection.exists::<_, bool>("session:ann")?, "Ann's is not");
    assert_eq!(connection.ttl::<_, i64>("session:ann")?, 1200);

    server.advance(Duration::from_secs(20 * 60));
    assert!(!connection.exists::<_, bool>("session:ann")?);

    // The events came in the order of the deadlines, before `advance` returned.
    for expected in ["session:bob", "session:ann"] {
        let key: String = events.get_message()?.get_payload()?;
        assert_eq!(key, expected);
        println!("{key} has expired");
    }
    Ok(())
}
