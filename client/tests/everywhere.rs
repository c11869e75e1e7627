//! The same suite wherever sessions may be kept.

mod suite;

use cloakroom_tests::groups::{Cluster, Secured, Watched};
use cloakroom_tests::peers::{Kind, Peer};

/// The suite against one server.
fn on(peer: std::io::Result<Peer>) {
    let peer = peer.expect("the server starts");
    all(&peer.url());
}

fn all(url: &str) {
    runtime().block_on(suite::run(url, 0));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("threads can be started")
}

#[test]
fn cloakroom_embedded() {
    let server = cloakroom::Server::builder().start_blocking().expect("the server starts");
    all(&server.url());
}

#[test]
fn cloakroom_binary() {
    on(Peer::start(Kind::Ours));
}

#[cfg(unix)]
#[test]
fn cloakroom_at_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("cloakroom-client-{}.sock", std::process::id()));
    let config = cloakroom::Config {
        bind: Vec::new(),
        unixsocket: Some(path),
        ..cloakroom::Config::default()
    };
    let server = cloakroom::Server::builder().config(config).start_blocking();
    let server = server.expect("the server starts");
    assert!(server.url().starts_with("unix://"), "{}", server.url());
    all(&server.url());
}

#[test]
fn cloakroom_in_resp2() {
    let server = cloakroom::Server::builder().start_blocking().expect("the server starts");
    all(&format!("{}?protocol=resp2", server.url()));
}

#[test]
#[ignore = "needs redis-server: tests/run"]
fn redis_7() {
    on(Peer::start(Kind::Redis7));
}

#[test]
#[ignore = "needs valkey-server: tests/run"]
fn valkey_9() {
    on(Peer::start(Kind::Valkey9));
}

#[test]
fn cloakroom_behind_tls_and_access_rules() {
    secured(Kind::Ours);
}

#[test]
#[ignore = "needs redis-server: tests/run"]
fn redis_7_behind_tls_and_access_rules() {
    secured(Kind::Redis7);
}

fn secured(kind: Kind) {
    let server = Secured::start(kind).expect("the server starts");
    all(&server.url());
}

#[test]
#[ignore = "needs redis-server: tests/run"]
fn a_cluster_of_three() {
    let cluster = Cluster::start().expect("the servers start");
    all(&cluster.url());
}

#[test]
#[ignore = "needs redis-server and redis-sentinel: tests/run"]
fn sentinel_over_a_cloakroom_that_ends_meanwhile() {
    under_sentinel(Kind::Ours);
}

#[test]
#[ignore = "needs redis-server and redis-sentinel: tests/run"]
fn sentinel_over_a_redis_7_that_ends_meanwhile() {
    under_sentinel(Kind::Redis7);
}

fn under_sentinel(kind: Kind) {
    let mut group = Watched::start(kind).expect("the servers start");
    let url = group.url();
    let runtime = runtime();
    runtime.block_on(suite::run(&url, 0));
    // Its first case waits, with its first request, until the replica leads.
    group.end_primary().expect("it ends");
    runtime.block_on(suite::run(&url, 1));
    group.failed_over().expect("the replica leads");
}
