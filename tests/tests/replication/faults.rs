//! A network that cuts, delays and halves, between servers that write and copy all the while: what
//! a replica serves is always of one moment, and in the end it has everything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cloakroom_tests::peers::Kind;
use cloakroom_tests::proxy::{Faults, Proxy};
use cloakroom_tests::wire::{Value, Wire};

use crate::load::Load;
use crate::node::{Node, assert_equal};

/// How long the network stays bad.
const BAD_FOR: Duration = Duration::from_secs(60);

/// Keys that are always written together, and so always have the same value. Not the load's.
const KEYS: usize = 60;

fn names() -> Vec<String> {
    (0..KEYS).map(|number| format!("together:{number}")).collect()
}

#[test]
fn a_bad_network_between_ours_mixes_nothing() {
    mixes_nothing(Kind::Ours, Kind::Ours);
}

// Both at once: a bad network is for the most part waited for.
#[test]
#[ignore = "needs redis-server: tests/run"]
fn a_bad_network_to_and_from_redis_mixes_nothing() {
    std::thread::scope(|scope| {
        scope.spawn(|| mixes_nothing(Kind::Ours, Kind::Redis7));
        scope.spawn(|| mixes_nothing(Kind::Redis7, Kind::Ours));
    });
}

fn mixes_nothing(primary: Kind, replica: Kind) {
    // So small a backlog makes copies necessary now and then.
    let mut primary = Node::start(primary, &["--repl-backlog-size", "16384"]);
    let mut replica = Node::start(replica, &["--repl-timeout", "5"]);
    let proxy = Proxy::start(primary.address(), 1);
    let load = Load::start(primary.address(), 7, false);
    let (writer, reader) = (Task::write(primary.address()), Task::read(replica.address()));
    replica.follow(proxy.address());

    let mut rng = fastrand::Rng::with_seed(2);
    let until = Instant::now() + BAD_FOR;
    while Instant::now() < until {
        proxy.set(Faults {
            piece: [0, 1, 100, 10_000][rng.usize(..4)],
            delay: [0, 1, 5][rng.usize(..3)],
            cut_one_of: [0, 50, 500][rng.usize(..3)],
        });
        std::thread::sleep(Duration::from_millis(rng.u64(100..1_500)));
        match rng.u8(..4) {
            0 => proxy.cut(),
            1 => {
                proxy.hold(true);
                std::thread::sleep(Duration::from_millis(300));
                proxy.hold(false);
            }
            _ => {}
        }
    }
    proxy.set(Faults::default());
    load.stop();
    let written = writer.stop();
    assert_equal(&mut primary, &mut replica);
    let read = reader.stop();
    assert!(written > 10 && read > 10, "written {written} times, read {read} times");
    let (full, partial) = (primary.number("sync_full"), primary.number("sync_partial_ok"));
    assert!(full + partial > 3, "{full} copies, {partial} times without, {} cuts", proxy.cuts());
}

/// Somebody who does one thing again and again until stopped.
struct Task {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Task {
    fn start(mut act: impl FnMut() -> bool + Send + 'static) -> Task {
        let is_over = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            let mut done = 0;
            while !watched.load(Ordering::Relaxed) {
                done += u64::from(act());
                std::thread::sleep(Duration::from_millis(2));
            }
            done
        });
        Task { is_over, thread }
    }

    /// Writes all the keys at once, with another value each time; in one command or in a
    /// transaction. What empties or swaps databases meanwhile does so to all of them.
    fn write(address: SocketAddr) -> Task {
        let mut wire = Wire::connect(address).expect("the server accepts");
        let mut round = 0_u64;
        Task::start(move || {
            round += 1;
            let value = round.to_string();
            if round.is_multiple_of(2) {
                let pairs = names().into_iter().flat_map(|name| [name, value.clone()]);
                let words: Vec<_> = ["MSET".to_owned()].into_iter().chain(pairs).collect();
                return !wire.call(&words).expect("it is answered").is_error();
            }
            wire.call(&["MULTI"]).expect("it is answered");
            for name in names() {
                wire.call(&["SET", &name, &value]).expect("it is answered");
            }
            !wire.call(&["EXEC"]).expect("it is answered").is_error()
        })
    }

    /// Reads all the keys at once: all have the same value, or none has any. Counts how often there
    /// was one.
    fn read(address: SocketAddr) -> Task {
        let mut wire = Wire::connect(address).expect("the server accepts");
        Task::start(move || {
            let words: Vec<_> = ["MGET".to_owned()].into_iter().chain(names()).collect();
            let reply = wire.call(&words).expect("it is answered");
            // One that loads says so.
            let Some(values) = reply.items() else {
                assert!(reply.to_string().contains("LOADING"), "{reply}");
                return false;
            };
            let mixed = values.iter().find(|value| **value != values[0]);
            assert!(mixed.is_none(), "mixed: {} and {mixed:?}", values[0]);
            matches!(values[0], Value::Bulk(_))
        })
    }

    fn stop(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("nothing was mixed")
    }
}
