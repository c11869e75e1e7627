//! A network between two that delays, halves and cuts what they send, and counts how often one waits
//! for the other.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

/// What befalls the bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// So many bytes at most go on at a time; 0: as many as come.
    pub piece: usize,
    /// A piece waits up to so many milliseconds.
    pub delay: u64,
    /// One piece of so many is halved, and the connection cut behind its first half; 0: none.
    pub cut_one_of: u32,
}

/// A place to connect to instead of a server.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: SocketAddr,
    faults: Mutex<Faults>,
    /// Nothing goes on while this is so.
    is_held: AtomicBool,
    is_over: AtomicBool,
    cuts: AtomicU64,
    round_trips: AtomicU64,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A proxy before `target`; its faults are the same for the same seed.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub fn start(target: SocketAddr, seed: u64) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has one");
        let shared = Arc::new(Shared {
            target,
            faults: Mutex::default(),
            is_held: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            cuts: AtomicU64::new(0),
            round_trips: AtomicU64::new(0),
            streams: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            let mut rng = Rng::with_seed(seed);
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.is_over.load(Ordering::Relaxed) {
                    return;
                }
                accepting.connect(client, &mut rng);
            }
        });
        Proxy { address, shared }
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on the network is like this.
    pub fn set(&self, faults: Faults) {
        *self.shared.faults.lock().expect("nobody panics with it") = faults;
    }

    /// Holds everything, or lets it go on.
    pub fn hold(&self, is_held: bool) {
        self.shared.is_held.store(is_held, Ordering::Relaxed);
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.shared.cut_all();
    }

    /// How many connections were cut behind half a piece.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::Relaxed)
    }

    /// How often somebody who connected here has sent something, having an answer to all before.
    pub fn round_trips(&self) -> u64 {
        self.shared.round_trips.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.shared.cut_all();
        // The listener looks only when somebody comes.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, client: TcpStream, rng: &mut Rng) {
        let Ok(server) = TcpStream::connect(self.target) else { return };
        let pair = |a: &TcpStream, b: &TcpStream| Some((a.try_clone().ok()?, b.try_clone().ok()?));
        let (Some(up), Some(down), Some(kept)) =
            (pair(&client, &server), pair(&server, &client), pair(&client, &server))
        else {
            return;
        };
        let waits = Arc::new(AtomicBool::new(false));
        for ((from, to), asks) in [(up, true), (down, false)] {
            let (shared, waits, rng) = (Arc::clone(self), Arc::clone(&waits), rng.fork());
            thread::spawn(move || {
                shared.pump(from, to, rng, || {
                    if !waits.swap(asks, Ordering::Relaxed) && asks {
                        shared.round_trips.fetch_add(1, Ordering::Relaxed);
                    }
                });
            });
        }
        self.streams.lock().expect("nobody panics with it").extend([kept.0, kept.1]);
    }

    fn cut_all(&self) {
        for stream in self.streams.lock().expect("nobody panics with it").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Carries one direction until something ends it; `noting` is told of each piece before it goes on.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream, mut rng: Rng, noting: impl Fn()) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let faults = *self.faults.lock().expect("nobody panics with it");
            let most = if faults.piece == 0 { buffer.len() } else { rng.usize(1..=faults.piece) };
            let Ok(read @ 1..) = from.read(&mut buffer[..most]) else { break };
            noting();
            while self.is_held.load(Ordering::Relaxed) && !self.is_over.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(5));
            }
            if faults.delay > 0 {
                thread::sleep(Duration::from_micros(rng.u64(..faults.delay * 1000)));
            }
            let is_cut = faults.cut_one_of > 0 && rng.u32(..faults.cut_one_of) == 0;
            let sent = if is_cut { read / 2 } else { read };
            if to.write_all(&buffer[..sent]).is_err() {
                break;
            }
            if is_cut {
                self.cuts.fetch_add(1, Ordering::Relaxed);
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
