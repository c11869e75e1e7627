//! Drivers for servers behind a socket, ours and the real ones.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::peers::{Kind, Peer};
use crate::runner::{Connection, Driver};
use crate::wire::{Protocol, Value, Wire};

/// A server behind a socket. Ours turns its clock; a real one sleeps.
pub struct SocketDriver {
    kind: Kind,
    address: SocketAddr,
    protocol: Protocol,
    control: Wire,
}

impl SocketDriver {
    /// Talks to a running peer; the clock of ours stands still from now on.
    pub fn new(peer: &Peer, protocol: Protocol) -> io::Result<SocketDriver> {
        let control = Wire::connect(peer.address())?;
        let mut driver =
            SocketDriver { kind: peer.kind(), address: peer.address(), protocol, control };
        if driver.kind == Kind::Ours {
            let frozen = driver.control(&["CLOAKROOM", "FREEZE"])?;
            if frozen.is_error() {
                return Err(io::Error::other(format!("CLOAKROOM FREEZE: {frozen}")));
            }
        }
        Ok(driver)
    }
}

impl Driver for SocketDriver {
    fn tags(&self) -> Vec<&str> {
        let protocol = match self.protocol {
            Protocol::Resp2 => "resp2",
            Protocol::Resp3 => "resp3",
        };
        vec![self.kind.tag(), protocol]
    }

    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn connect(&mut self) -> io::Result<Box<dyn Connection>> {
        let mut wire = Wire::connect(self.address)?;
        if self.protocol == Protocol::Resp3 {
            let hello = wire.call(&["HELLO", "3"])?;
            if hello.is_error() {
                return Err(io::Error::other(format!("HELLO 3: {hello}")));
            }
        }
        Ok(Box::new(wire))
    }

    fn advance(&mut self, by: Duration) -> io::Result<()> {
        if self.kind != Kind::Ours {
            // A real server's own timers run every 100 ms at worst.
            std::thread::sleep(by + Duration::from_millis(5));
            return Ok(());
        }
        let by = format!("{}ms", by.as_millis());
        match self.control(&["CLOAKROOM", "ADVANCE", &by])? {
            error @ Value::Error(_) => Err(io::Error::other(error.to_string())),
            _ => Ok(()),
        }
    }

    fn arrived(&mut self, args: &[Vec<u8>]) -> io::Result<()> {
        // Only a request that waits is still to be seen; others are over before anybody asks.
        if !args[0].eq_ignore_ascii_case(b"wait") {
            return Ok(());
        }
        loop {
            if self.control(&["CLIENT", "LIST"])?.to_string().contains("cmd=wait") {
                return Ok(());
            }
        }
    }

    fn control(&mut self, args: &[&str]) -> io::Result<Value> {
        match self.control.call(args) {
            Ok(reply) => Ok(reply),
            // A transcript may have closed every connection.
            Err(_) => {
                self.control = Wire::connect(self.address)?;
                self.control.call(args)
            }
        }
    }
}
