//! A replica that is far behind its primary still gives its own clients their turns.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use cloakroom_tests::peers::Kind;
use cloakroom_tests::wire::{Wire, encode};

use crate::node::Node;

/// Clients are asked so often; one quick answer shows that there was a turn.
const ASKED: usize = 20;

/// No more of the stream than this goes before a client that asks.
const BEFORE_A_CLIENT: u64 = 1 << 20;

#[test]
fn who_asks_is_answered_before_the_rest_of_the_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has one");
    let primary = thread::spawn(move || {
        let (link, _) = listener.accept().expect("the replica comes");
        flood(link);
    });
    let mut replica = Node::start(Kind::Ours, &[]);
    replica.follow(address);
    replica.wait_for_link();
    let mut before = 0;
    let mut passed = Vec::new();
    for _ in 0..=ASKED {
        let offset = replica.number("slave_repl_offset");
        passed.push(offset - before);
        before = offset;
    }
    drop(replica);
    primary.join().expect("the primary wrote until the end");
    let least = passed.iter().skip(1).min().copied().unwrap_or_default();
    assert!(least > 0, "the stream flows: {passed:?}");
    assert!(least < BEFORE_A_CLIENT, "somebody is answered meanwhile: {passed:?}");
}

/// Plays a primary whose stream is always ahead, until the replica is gone.
fn flood(mut link: TcpStream) {
    let mut wire = Wire::new(link.try_clone().expect("it can be shared"));
    loop {
        let request = wire.read().expect("a part of the handshake");
        match request.items().and_then(|words| words[0].bytes()).as_deref() {
            Some(b"PING") => link.write_all(b"+PONG\r\n"),
            Some(b"PSYNC") => break,
            _ => link.write_all(b"+OK\r\n"),
        }
        .expect("the replica reads");
    }
    // A copy of no data, without a checksum.
    let copy = b"REDIS0009\xff\0\0\0\0\0\0\0\0";
    let head = format!("+FULLRESYNC {} 0\r\n${}\r\n", "a".repeat(40), copy.len());
    let sent = link.write_all(head.as_bytes()).and_then(|()| link.write_all(copy));
    sent.expect("the replica reads");
    // Its acknowledgements are of no interest, but must not pile up.
    let mut acks = link.try_clone().expect("it can be shared");
    let reader = thread::spawn(move || while matches!(acks.read(&mut [0; 4096]), Ok(1..)) {});
    let stream = encode(&["SET", "key", "value"]).repeat(2_000);
    while link.write_all(&stream).is_ok() {}
    reader.join().expect("it only reads");
}
