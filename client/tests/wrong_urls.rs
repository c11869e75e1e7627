//! What is said where a URL is wrong: what is likely the matter, how to mend it, and nothing secret.

use std::time::Duration;

use cloakroom::config::AuthClients;
use cloakroom::{Config, Handle, Server};
use cloakroom_client::SessionStore;
use cloakroom_tests::certificates::{Authority, HERE, authority, settings};
use cloakroom_tests::groups::{Cluster, Watched};
use cloakroom_tests::peers::Kind;
use cloakroom_tests::process::Folder;

/// A server with and without TLS, whose certificate this authority made for these names.
async fn server(by: &Authority, names: &[&str], auth_clients: AuthClients) -> (Handle, Folder) {
    let folder = Folder::new();
    let config = Config { tls_auth_clients: Some(auth_clients), ..settings(&folder, by, names) };
    let server = Server::builder().config(config).start().await.expect("it starts");
    (server, folder)
}

async fn plain() -> Handle {
    Server::builder().start().await.expect("it starts")
}

/// What somebody is told who connects there.
async fn told(url: &str, ca: Option<&Authority>, deadline: Duration) -> String {
    let mut builder =
        SessionStore::builder(url).connect_timeout(Duration::from_millis(500)).deadline(deadline);
    if let Some(ca) = ca {
        builder = builder.ca_pem(ca.pem());
    }
    let error = builder.connect().await.expect_err("the URL is wrong");
    let told = error.to_string();
    assert!(!told.contains("sesame") && !told.contains('\n'), "{told}");
    told
}

/// Fails at once: trying again would not help.
async fn told_at_once(url: &str, ca: Option<&Authority>) -> String {
    told(url, ca, Duration::from_secs(10)).await
}

/// May be better in a moment, and is tried for this long.
async fn told_in_the_end(url: &str, ca: Option<&Authority>) -> String {
    told(url, ca, Duration::from_secs(1)).await
}

fn with_tls(server: &Handle) -> String {
    server.tls_url().expect("TLS is spoken")
}

#[tokio::test]
async fn with_and_without_tls() {
    let plain = plain().await;
    let url = plain.url().replace("redis://", "rediss://");
    let told = told_in_the_end(&url, Some(&authority())).await;
    assert!(told.ends_with("let the URL begin with redis:// instead of rediss://"), "{told}");

    let by = authority();
    let (server, _folder) = server(&by, HERE, AuthClients::No).await;
    let url = with_tls(&server).replace("rediss://", "redis://");
    let told = told_in_the_end(&url, None).await;
    assert!(told.ends_with("if the server speaks TLS, let the URL begin with rediss://"), "{told}");
}

#[tokio::test]
async fn certificates() {
    let by = authority();
    let (elsewhere, _folder) = server(&by, &["elsewhere.example"], AuthClients::No).await;
    let told = told_at_once(&with_tls(&elsewhere), Some(&by)).await;
    assert!(told.ends_with("let the URL name the server as its certificate does"), "{told}");
    let told = told_at_once(&with_tls(&elsewhere), Some(&authority())).await;
    assert!(
        told.contains("; trust the authority that signed") && told.contains("?ca=PATH"),
        "{told}"
    );

    let (careful, _folder) = server(&by, HERE, AuthClients::Yes).await;
    let told = told_at_once(&with_tls(&careful), Some(&by)).await;
    assert!(told.contains("; show the server a certificate: ?cert=PATH&key=PATH"), "{told}");
}

#[tokio::test]
async fn logins_and_rights() {
    let server = Server::builder().password("sesame").start().await.expect("it starts");
    let url = server.url();
    let told = told_at_once(&url, None).await;
    assert!(
        told.contains("NOAUTH") && told.contains("; the URL needs a login: redis://"),
        "{told}"
    );
    let told = told_at_once(&url.replace("redis://", "redis://:sesame2@"), None).await;
    assert!(
        told.contains("WRONGPASS") && told.contains("; the server knows no such user"),
        "{told}"
    );

    let url = url.replace("redis://", "redis://:sesame@");
    let client = redis::Client::open(url.as_str()).expect("a good URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it connects");
    let () = redis::cmd("ACL")
        .arg(&["SETUSER", "app", "on", ">sesame", "+@all", "~other:*"])
        .query_async(&mut connection)
        .await
        .expect("it answers");
    let told = told_at_once(&url.replace(":sesame@", "app:sesame@"), None).await;
    assert!(
        told.contains("NOPERM") && told.contains("; give the server's user the rights"),
        "{told}"
    );
}

#[tokio::test]
async fn a_cluster_that_is_none() {
    let plain = plain().await;
    let url = plain.url();
    let told = told_at_once(&url.replace("redis://", "redis+cluster://"), None).await;
    assert!(told.contains("; the server is no cluster: let the URL begin with redis://"), "{told}");
}

#[tokio::test]
async fn a_replica_in_the_primarys_place() {
    let replica = Server::builder().config(Config {
        port: 0,
        replicaof: Some(("127.0.0.1".to_owned(), 1)),
        ..Config::default()
    });
    let replica = replica.start().await.expect("it starts");
    let store = SessionStore::builder(&replica.url()).deadline(Duration::from_secs(1));
    let store = store.build().expect("good settings");
    let told = store.create().await.expect_err("it only reads").to_string();
    assert!(told.ends_with("let the URL name the primary, not a replica"), "{told}");
}

#[tokio::test]
#[ignore = "needs redis-server: tests/run"]
async fn a_node_of_a_cluster() {
    let cluster = Cluster::start().expect("the servers start");
    let url = cluster.url().replace("redis+cluster://", "redis://");
    let told = told_at_once(&url, None).await;
    assert!(told.contains("MOVED"), "{told}");
    assert!(told.contains("; the server is one node of a cluster"), "{told}");
}

#[tokio::test]
#[ignore = "needs redis-server and redis-sentinel: tests/run"]
async fn sentinels() {
    let group = Watched::start(Kind::Redis7).expect("the servers start");
    let told = told_in_the_end(&group.url().replace("/main", "/other"), None).await;
    assert!(told.ends_with("; let the URL end in a /SERVICE that the sentinels know"), "{told}");

    let url = group.url().replace("redis+sentinel://app:sesame@127.0.0.1:1,", "redis://");
    let told = told_at_once(url.trim_end_matches("/main"), None).await;
    assert!(
        told.contains("; if it is a sentinel, let the URL begin with redis+sentinel://"),
        "{told}"
    );

    let plain = plain().await;
    let url = plain.url().replace("redis://", "redis+sentinel://") + "/main";
    let told = told_at_once(&url, None).await;
    assert!(told.ends_with("; let the URL begin with redis:// (with TLS rediss://)"), "{told}");
}
