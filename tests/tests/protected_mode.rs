//! Protected mode: whom a server without a password turns away, and in which words. Addresses of
//! 127/8 other than 127.0.0.1 stand for other machines, as they do for Redis.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use cloakroom_tests::peers::{Kind, Peer};

/// What a server says to PING from another address.
fn ask(peer: &Peer) -> String {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let other = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0));
    socket.bind(&other.into()).expect("the address is this machine's");
    socket.connect(&peer.address().into()).expect("it accepts");
    let mut stream = TcpStream::from(socket);
    // Whoever is turned away may find the connection closed when it writes.
    let _ = stream.write_all(b"PING\r\nQUIT\r\n");
    let mut told = String::new();
    let _ = stream.read_to_string(&mut told);
    told
}

fn start(kind: Kind, args: &[&str]) -> Peer {
    Peer::start_with(kind, args).unwrap_or_else(|e| panic!("{}: {e}", kind.tag()))
}

fn told(kind: Kind) -> Vec<String> {
    let mut told = vec![ask(&start(kind, &[]))];
    told.push(ask(&start(kind, &["--protected-mode", "no"])));
    let peer = start(kind, &[]);
    let mut wire = peer.connect().expect("this address is served");
    wire.call(&["CONFIG", "SET", "requirepass", "secret"]).expect("it answers");
    told.push(ask(&peer));
    wire.call(&["CONFIG", "SET", "requirepass", ""]).expect("it answers");
    told.push(ask(&peer));
    wire.call(&["CONFIG", "SET", "protected-mode", "no"]).expect("it answers");
    told.push(ask(&peer));
    told
}

#[test]
fn another_machine_is_turned_away_unless_a_password_is_asked_for() {
    let told = told(Kind::Ours);
    let starts =
        ["-DENIED Redis is running in protected mode", "+PONG", "-NOAUTH", "-DENIED", "+PONG"];
    for (told, start) in told.iter().zip(starts) {
        assert!(told.starts_with(start), "{told}");
    }
}

#[test]
#[ignore = "needs peers: tests/run"]
fn in_the_very_words_of_redis() {
    assert_eq!(told(Kind::Ours), told(Kind::Redis7));
}
