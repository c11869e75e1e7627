//! One of the servers that are compared: its replies, and the keyspace events that go with them.

use std::io;

use crate::peers::{Kind, Peer};
use crate::wire::{Protocol, Value, Wire};

use super::Command;
use super::compare::{cursor_at, scans_whole};

/// An event's channel and message.
pub(super) type Event = (Vec<u8>, Vec<u8>);

/// Where the listener is told that all events so far have come.
const SYNC: &str = "events so far";

/// A server with three connections: what is compared, its keyspace events, and a third to say that
/// all of them have come.
pub(super) struct Side<'a> {
    peer: &'a Peer,
    wire: Wire,
    listener: Wire,
    control: Wire,
}

impl<'a> Side<'a> {
    pub(super) fn new(peer: &'a Peer) -> io::Result<Side<'a>> {
        let (wire, mut control) = (subject(peer)?, peer.connect()?);
        let mut listener = peer.connect()?;
        control.call(&["CONFIG", "SET", "notify-keyspace-events", "KEAmn"])?;
        listener.call(&["PSUBSCRIBE", "__key*"])?;
        listener.call(&["SUBSCRIBE", SYNC])?;
        Ok(Side { peer, wire, listener, control })
    }

    /// A connection as if it were new, to an empty server.
    pub(super) fn begin(&mut self, protocol: Protocol) -> io::Result<()> {
        if self.reset().is_err() {
            self.wire = subject(self.peer)?;
        }
        for command in [&["FLUSHALL"][..], &["SCRIPT", "FLUSH"]] {
            self.control.call(command)?;
        }
        if protocol == Protocol::Resp3 {
            self.wire.call(&["HELLO", "3"])?;
        }
        self.ask_for_events()?;
        self.events().map(drop)
    }

    fn reset(&mut self) -> io::Result<()> {
        self.wire.send(&["RESET"])?;
        while self.wire.read()? != Value::Status(b"RESET".to_vec()) {}
        Ok(())
    }

    pub(super) fn kind(&self) -> Kind {
        self.peer.kind()
    }

    pub(super) fn send<A: AsRef<[u8]>>(&mut self, command: &[A]) -> io::Result<()> {
        self.wire.send(command)
    }

    /// The reply to a command that was sent; scans are followed to their end.
    pub(super) fn read(&mut self, command: &Command, in_transaction: bool) -> io::Result<Value> {
        let name = command[0].to_ascii_uppercase();
        if name.ends_with(b"SUBSCRIBE") && !in_transaction {
            return self.read_confirmations(command.len() - 1);
        }
        let mut reply = self.wire.read()?;
        if !in_transaction && name.ends_with(b"SCAN") && scans_whole(&name, &command[1..]) {
            self.scan_on(cursor_at(&name), command, &mut reply)?;
        }
        Ok(reply)
    }

    /// One for each name, or an error for all.
    fn read_confirmations(&mut self, count: usize) -> io::Result<Value> {
        let mut all = Vec::new();
        for _ in 0..count.max(1) {
            match self.wire.read()? {
                error @ Value::Error(_) => return Ok(error),
                confirmation => all.push(confirmation),
            }
        }
        Ok(Value::Array(all))
    }

    /// Follows a SCAN to its end: the pages are each server's own, all of them together are not.
    fn scan_on(&mut self, at: usize, command: &Command, reply: &mut Value) -> io::Result<()> {
        let Value::Array(parts) = reply else { return Ok(()) };
        let mut command = command.clone();
        while let [Value::Bulk(cursor), Value::Array(found)] = &mut parts[..] {
            if cursor == b"0" {
                break;
            }
            command[at] = std::mem::take(cursor);
            self.wire.send(&command)?;
            let Value::Array(next) = self.wire.read()? else { break };
            let [Value::Bulk(next), Value::Array(more)] = &next[..] else { break };
            found.extend_from_slice(more);
            *cursor = next.clone();
        }
        Ok(())
    }

    /// Asks for the end of the events so far.
    pub(super) fn ask_for_events(&mut self) -> io::Result<()> {
        self.control.send(&["PUBLISH", SYNC, ""])
    }

    /// The keyspace events since the last time, when they were asked for.
    pub(super) fn events(&mut self) -> io::Result<Vec<Event>> {
        self.control.read()?;
        let mut events = Vec::new();
        loop {
            let message = self.listener.read()?;
            match message.items() {
                Some([_, _, Value::Bulk(channel), Value::Bulk(text)]) => {
                    events.push((channel.clone(), text.clone()));
                }
                _ => return Ok(events),
            }
        }
    }
}

/// A connection to be compared.
fn subject(peer: &Peer) -> io::Result<Wire> {
    let mut wire = peer.connect()?;
    wire.skip_messages();
    Ok(wire)
}
