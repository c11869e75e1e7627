//! The embedded server: started and stopped by a handle, several in one process, reached through a
//! socket or without any, its clock turned by hand.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use cloakroom::{Clock, Error, Handle, Server};
use cloakroom_tests::wire::{Value, Wire, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn ok() -> Value {
    Value::Status(b"OK".to_vec())
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

fn connect(server: &Handle) -> Wire {
    Wire::connect(server.addr().expect("it listens")).expect("it accepts")
}

fn ask(wire: &mut Wire, args: &[&str]) -> Value {
    wire.call(args).expect("an answer")
}

fn frozen() -> Handle {
    let builder = Server::builder().frozen_clock().set("notify-keyspace-events", "KEA");
    builder.expect("a setting").start_blocking().expect("it starts")
}

#[test]
fn it_listens_and_its_url_says_where() {
    let server = Server::builder().start_blocking().expect("it starts");
    let addr = server.addr().expect("it listens");
    assert!(addr.ip().is_loopback() && addr.port() != 0);
    assert_eq!(server.url(), format!("redis://{addr}"));
    assert_eq!(ask(&mut connect(&server), &["SET", "k", "v"]), ok());
}

#[test]
fn a_password_and_settings() {
    let builder = Server::builder().password("secret").set("databases", "2").expect("a setting");
    let server = builder.start_blocking().expect("it starts");
    let mut client = connect(&server);
    assert!(ask(&mut client, &["GET", "k"]).is_error());
    assert_eq!(ask(&mut client, &["AUTH", "secret"]), ok());
    assert_eq!(ask(&mut client, &["SELECT", "1"]), ok());
    assert!(ask(&mut client, &["SELECT", "2"]).is_error());
    for (name, value, part) in [
        ("no-such-setting", "1", "no setting \"no-such-setting\""),
        ("databases", "none", "\"none\""),
    ] {
        let error = Server::builder().set(name, value).expect_err("it is refused").to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_taken_port_is_an_error_that_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let error = Server::builder().port(port).start_blocking().expect_err("it is taken");
    assert!(matches!(error, Error::Listen { .. }), "{error:?}");
    assert!(error.to_string().contains("something else does already"), "{error}");
}

#[test]
fn several_in_one_process_share_nothing() {
    let servers: Vec<_> = (0..5).map(|_| frozen()).collect();
    for (n, server) in servers.iter().enumerate() {
        assert_eq!(ask(&mut connect(server), &["SET", "mine", &n.to_string(), "EX", "10"]), ok());
    }
    servers[2].advance(Duration::from_secs(10));
    for (n, server) in servers.iter().enumerate() {
        let expected = if n == 2 { Value::NullBulk } else { bulk(&n.to_string()) };
        assert_eq!(ask(&mut connect(server), &["GET", "mine"]), expected);
    }
}

#[test]
fn dropping_it_frees_its_port_and_closes_its_connections() {
    let server = frozen();
    let addr = server.addr().expect("it listens");
    let mut client = connect(&server);
    assert_eq!(ask(&mut client, &["PING"]), Value::Status(b"PONG".to_vec()));
    drop(server);
    assert!(client.read().is_err(), "it is closed");
    assert!(TcpStream::connect(addr).is_err(), "nobody listens");
    let again = Server::builder().port(addr.port()).start_blocking().expect("the port is free");
    assert_eq!(again.addr(), Some(addr));
    again.shutdown_blocking();
}

#[test]
fn what_is_in_flight_is_answered_before_it_stops() {
    let server = frozen();
    let mut client = connect(&server);
    client.send_raw(&encode(&["INCR", "n"]).repeat(500)).expect("it is sent");
    server.shutdown_blocking();
    for n in 1..=500 {
        assert_eq!(client.read().expect("an answer"), Value::Integer(n));
    }
    assert!(client.read().is_err());
}

#[test]
fn keys_fields_events_and_waits_when_the_clock_is_turned() {
    let server = frozen();
    let mut client = connect(&server);
    let mut events = connect(&server);
    assert!(!ask(&mut events, &["PSUBSCRIBE", "__keyevent@*__:*expired"]).is_error());
    for (key, at) in [("third", "3000"), ("first", "1000"), ("second", "2000"), ("last", "9000")] {
        assert_eq!(ask(&mut client, &["SET", key, "v", "PX", at]), ok());
    }
    assert_eq!(ask(&mut client, &["HSET", "h", "f", "v", "g", "v"]), Value::Integer(2));
    ask(&mut client, &["HPEXPIRE", "h", "2500", "FIELDS", "1", "f"]);
    assert_eq!(server.next_due().map(|at| at <= server.clock().now() + 1000), Some(true));
    let mut waiting = connect(&server);
    waiting.send(&["WAIT", "1", "2500"]).expect("it is sent");
    while !ask(&mut client, &["INFO", "clients"]).to_string().contains("blocked_clients:1") {}

    server.advance(Duration::from_secs(5));
    // All of it is there already: nothing is waited for.
    let mut channels = Vec::new();
    while channels.len() < 4 {
        let message = events.read().expect("a message");
        let items = message.items().expect("four of them");
        let text = |at: usize| {
            String::from_utf8_lossy(&items[at].bytes().unwrap_or_default()).into_owned()
        };
        channels.push((text(2), text(3)));
    }
    let event = |name: &str, key: &str| (format!("__keyevent@0__:{name}"), key.to_owned());
    assert_eq!(
        channels,
        [
            event("expired", "first"),
            event("expired", "second"),
            event("hexpired", "h"),
            event("expired", "third"),
        ]
    );
    assert_eq!(waiting.read().expect("it was woken"), Value::Integer(0));
    assert_eq!(ask(&mut client, &["HKEYS", "h"]), Value::Array(vec![bulk("g")]));
    assert_eq!(ask(&mut client, &["DBSIZE"]), Value::Integer(2));
}

#[test]
fn what_was_sent_can_be_read_without_waiting_when_advance_returns() {
    let server = frozen();
    let mut client = connect(&server);
    for round in 0..20 {
        let stream = TcpStream::connect(server.addr().expect("it listens")).expect("it accepts");
        let looking = stream.try_clone().expect("a second handle");
        let mut events = Wire::new(stream);
        assert!(!ask(&mut events, &["SUBSCRIBE", "__keyevent@0__:expired"]).is_error());
        assert_eq!(ask(&mut client, &["SET", "k", "v", "PX", "10"]), ok());
        server.advance(Duration::from_millis(10));
        looking.set_nonblocking(true).expect("a socket's option");
        let mut byte = [0];
        assert_eq!(looking.peek(&mut byte).ok(), Some(1), "round {round}: nothing is there yet");
    }
}

#[test]
fn a_clock_of_ones_own_stands_until_it_is_let_go() {
    let builder = Server::builder().clock(Clock::frozen_at(1_000_000_000_000));
    let server = builder.start_blocking().expect("it starts");
    let mut client = connect(&server);
    let time = |client: &mut Wire| ask(client, &["TIME"]);
    let stands = Value::Array(vec![bulk("1000000000"), bulk("0")]);
    assert_eq!(time(&mut client), stands);
    assert_eq!(time(&mut client), stands);
    server.resume();
    while time(&mut client) == stands {}
    server.freeze();
    assert_eq!(time(&mut client), time(&mut client));
    assert!(server.clock().now() < 1_000_000_600_000, "it went on from where it stood");
}

#[test]
fn what_falls_due_by_itself_happens_once_the_clock_runs() {
    let server = frozen();
    let mut client = connect(&server);
    let mut events = connect(&server);
    assert!(!ask(&mut events, &["SUBSCRIBE", "__keyevent@0__:expired"]).is_error());
    assert_eq!(ask(&mut client, &["SET", "k", "v", "PX", "20"]), ok());
    server.resume();
    assert!(events.read().expect("it expires by itself").items().is_some());
    assert_eq!(ask(&mut client, &["EXISTS", "k"]), Value::Integer(0));
}

#[tokio::test]
async fn without_any_socket() {
    let server = Server::builder().without_sockets().start().await.expect("it starts");
    assert_eq!((server.addr(), server.url().as_str()), (None, "embedded:"));
    let (mut one, mut other) = (server.connect(), server.connect());
    one.write_all(&encode(&["SET", "k", "v"])).await.expect("it is sent");
    let mut reply = [0; 5];
    one.read_exact(&mut reply).await.expect("an answer");
    assert_eq!(&reply, b"+OK\r\n");
    other.write_all(b"GET k\r\nCLIENT INFO\r\n").await.expect("it is sent");
    let mut reply = [0; 7];
    other.read_exact(&mut reply).await.expect("an answer");
    assert_eq!(&reply, b"$1\r\nv\r\n");
    // More than the stream holds goes through all the same.
    let big = vec![b'x'; 1 << 20];
    let mut request = encode(&["SET", "big", ""]);
    request.truncate(request.len() - b"$0\r\n\r\n".len());
    request.extend_from_slice(b"$1048576\r\n");
    request.extend_from_slice(&big);
    request.extend_from_slice(b"\r\n*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n");
    let (mut from, mut to) = tokio::io::split(one);
    let sending = tokio::spawn(async move { to.write_all(&request).await.map(|()| to) });
    let mut reply = vec![0; 5 + 10 + (1 << 20) + 2];
    from.read_exact(&mut reply).await.expect("an answer");
    assert!(reply.starts_with(b"+OK\r\n$1048576\r\nxxx") && reply.ends_with(b"x\r\n"));
    assert!(sending.await.is_ok_and(|sent| sent.is_ok()));
    server.shutdown().await;
    let mut rest = Vec::new();
    other.read_to_end(&mut rest).await.expect("it is closed");
    assert!(rest.starts_with(b"$") && String::from_utf8_lossy(&rest).contains("addr=embedded:0"));
}

#[tokio::test]
async fn shutdown_over_the_wire_ends_it() {
    let server = Server::builder().start().await.expect("it starts");
    let mut connection = server.connect();
    connection.write_all(b"SHUTDOWN NOSAVE\r\n").await.expect("it is sent");
    server.ended().await;
    let addr = server.addr().expect("it listened");
    assert!(TcpStream::connect(addr).is_err());
    // Whoever holds the handle still may do what it will.
    server.advance(Duration::from_secs(1));
    let mut late = server.connect();
    assert_eq!(late.read(&mut [0; 16]).await.expect("an end"), 0);
    server.shutdown().await;
}

#[test]
fn a_handle_goes_to_other_threads() {
    let server = std::sync::Arc::new(frozen());
    let mut client = connect(&server);
    assert_eq!(ask(&mut client, &["SET", "k", "v", "EX", "100"]), ok());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let server = std::sync::Arc::clone(&server);
            std::thread::spawn(move || (0..25).for_each(|_| server.advance(Duration::from_secs(1))))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
    assert_eq!(ask(&mut client, &["GET", "k"]), Value::NullBulk);
}
