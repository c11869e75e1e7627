//! Clients that write at random: all write commands, deadlines, transactions, scripts, renames.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use cloakroom_tests::grammar::Grammar;
use cloakroom_tests::wire::{Wire, encode};

/// So many clients write at a time.
const CLIENTS: u64 = 2;

/// So many requests are under way from each.
const PIPELINED: usize = 16;

/// Clients that write until they are stopped, or until they have written so many.
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Begins to write there.
    pub(crate) fn start(address: SocketAddr, seed: u64, with_fields: bool) -> Load {
        let (is_over, written) = (Arc::default(), Arc::default());
        let mut load = Load { is_over, written, clients: Vec::new() };
        for client in 0..CLIENTS {
            let (is_over, written) = (Arc::clone(&load.is_over), Arc::clone(&load.written));
            let mut grammar = Grammar::of_writes(seed * CLIENTS + client, with_fields);
            load.clients.push(std::thread::spawn(move || {
                let mut wire = Wire::connect(address).expect("the server accepts");
                while !is_over.load(Ordering::Relaxed) {
                    write(&mut wire, &mut grammar);
                    written.fetch_add(PIPELINED as u64, Ordering::Relaxed);
                }
            }));
        }
        load
    }

    /// Waits until so many more requests were answered.
    pub(crate) fn go_on_for(&self, requests: u64) {
        let until = self.written.load(Ordering::Relaxed) + requests;
        while self.written.load(Ordering::Relaxed) < until {
            assert!(!self.clients.iter().any(JoinHandle::is_finished), "a client has given up");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// Stops writing.
    pub(crate) fn stop(mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().expect("every request is answered");
        }
    }
}

/// Writes so many requests, then stops.
pub(crate) fn write_some(address: SocketAddr, seed: u64, with_fields: bool, requests: u64) {
    let load = Load::start(address, seed, with_fields);
    load.go_on_for(requests);
    load.stop();
}

/// Errors are answers too: the commands are random.
fn write(wire: &mut Wire, grammar: &mut Grammar) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    let mut bytes = Vec::new();
    for _ in 0..PIPELINED {
        bytes.extend(encode(&grammar.command_at(now.as_millis() as u64)));
    }
    wire.send_raw(&bytes).expect("the server takes it");
    for _ in 0..PIPELINED {
        wire.read().expect("the server answers");
    }
}
