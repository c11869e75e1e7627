//! What happens to requests under way while servers change places, with real sentinels and a real
//! cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use cloakroom_client::{Session, SessionStore};
use cloakroom_tests::groups::{Cluster, Watched};
use cloakroom_tests::peers::Kind;
use tokio::task::JoinHandle;

fn store(url: &str) -> SessionStore {
    SessionStore::builder(url)
        .buckets(1)
        .connect_timeout(Duration::from_secs(5))
        .discovery_timeout(Duration::from_secs(5))
        .response_timeout(Duration::from_secs(5))
        .deadline(Duration::from_secs(60))
        .build()
        .expect("good settings")
}

/// Visitors who write numbered fields, each until told to stop; then all they were told is written
/// has to be there.
struct Visitors {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU32>,
    tasks: Vec<JoinHandle<(Session, u32)>>,
}

impl Visitors {
    async fn start(store: &SessionStore) -> Visitors {
        let (stop, written) = (Arc::default(), Arc::default());
        let mut visitors = Visitors { stop, written, tasks: Vec::new() };
        for _ in 0..10 {
            let session = store.create().await.expect("it begins");
            let (stop, written) = (Arc::clone(&visitors.stop), Arc::clone(&visitors.written));
            visitors.tasks.push(tokio::spawn(async move {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    session.set(&number.to_string(), &number).await.expect("in the end it works");
                    written.fetch_add(1, Ordering::Relaxed);
                    number += 1;
                }
                (session, number)
            }));
        }
        visitors
    }

    /// Waits until they have written some more.
    async fn go_on(&self) {
        let enough = self.written.load(Ordering::Relaxed) + 100;
        while self.written.load(Ordering::Relaxed) < enough {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn end(self) -> Vec<(Session, u32)> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for task in self.tasks {
            all.push(task.await.expect("no visitor meets an error"));
        }
        all
    }

    async fn end_and_miss_nothing(self) {
        for (session, count) in self.end().await {
            let fields = session.get_all().await.expect("it is there");
            for number in 0..count {
                let value = fields.get::<u32>(&number.to_string()).expect("a number");
                assert_eq!(value, Some(number), "of {count}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server and redis-sentinel: tests/run"]
async fn a_primary_that_ends_in_order_loses_nothing() {
    let mut group = Watched::start(Kind::Redis7).expect("the servers start");
    let visitors = Visitors::start(&store(&group.url())).await;
    visitors.go_on().await;
    tokio::task::block_in_place(|| group.end_primary()).expect("it ends");
    visitors.go_on().await;
    tokio::task::block_in_place(|| group.failed_over()).expect("the replica leads");
    visitors.end_and_miss_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server and redis-sentinel: tests/run"]
async fn a_primary_that_becomes_a_replica_is_left() {
    let group = Watched::start(Kind::Redis7).expect("the servers start");
    let store = store(&group.url());
    let visitors = Visitors::start(&store).await;
    visitors.go_on().await;
    tokio::task::block_in_place(|| group.swap()).expect("the sentinel begins");
    tokio::task::block_in_place(|| group.failed_over()).expect("the replica leads");
    visitors.go_on().await;
    // Redis itself may lose what a primary took in its last moments; nobody is stuck, though.
    visitors.end().await;
    let session = store.create().await.expect("it begins");
    session.set("a", &1).await.expect("it is there");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server: tests/run"]
async fn a_slot_that_moves_takes_its_sessions_along() {
    let cluster = Cluster::start().expect("the servers start");
    let store = store(&cluster.url());
    let visitors = Visitors::start(&store).await;
    let mut user = store.new_session().user("ann").create().await.expect("it begins");
    visitors.go_on().await;
    // With one bucket all sessions lie in the slot of the first name, 000.
    let slot = cluster.slot_of("{000}").expect("it answers");
    let handle = tokio::runtime::Handle::current();
    let between = || handle.block_on(visitors.go_on());
    tokio::task::block_in_place(|| cluster.move_slot(slot, between)).expect("it moves");
    visitors.go_on().await;
    user.regenerate().await.expect("it is there");
    assert_eq!(store.sessions_of("ann").await.expect("it answers").len(), 1);
    visitors.end_and_miss_nothing().await;
    tokio::task::block_in_place(|| cluster.move_slot(slot, || ())).expect("it moves back");
    user.set("a", &1).await.expect("it is there");
}
