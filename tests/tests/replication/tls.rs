//! The link to a primary over TLS: certificates of one authority on both ends.

use std::net::SocketAddr;

use cloakroom_tests::certificates::{HERE, authority, certificate};
use cloakroom_tests::peers::Kind;
use cloakroom_tests::process::Folder;

use crate::load::write_some;
use crate::node::{Node, assert_equal};

/// An authority and a certificate for this machine, as files.
fn certified() -> Folder {
    let (folder, authority) = (Folder::new(), authority());
    let (certificate, key) = certificate(&authority, HERE);
    folder.write("ca.crt", authority.pem());
    folder.write("server.crt", certificate);
    folder.write("server.key", key);
    folder
}

/// Flags of a server that listens for TLS there and goes to its primary over TLS.
fn args(folder: &Folder, port: u16) -> Vec<String> {
    let file = |name: &str| folder.path().join(name).display().to_string();
    let settings = [
        ("--tls-port", port.to_string()),
        ("--tls-replication", "yes".to_owned()),
        ("--tls-cert-file", file("server.crt")),
        ("--tls-key-file", file("server.key")),
        ("--tls-ca-cert-file", file("ca.crt")),
    ];
    settings.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
}

/// Starts a server that also listens for TLS.
fn start(kind: Kind, folder: &Folder) -> (Node, u16) {
    let port = cloakroom_tests::peers::free_port().expect("a port is free");
    let args = args(folder, port);
    (Node::start(kind, &args.iter().map(String::as_str).collect::<Vec<_>>()), port)
}

fn over_tls(primary: Kind, replica: Kind) {
    let folder = certified();
    let ((mut primary, port), (mut replica, own)) =
        (start(primary, &folder), start(replica, &folder));
    write_some(primary.address(), 1, false, 1_000);
    replica.follow(SocketAddr::from(([127, 0, 0, 1], port)));
    replica.wait_for_link();
    write_some(primary.address(), 2, false, 1_000);
    assert_equal(&mut primary, &mut replica);
    let shown = primary.info("slave0");
    assert!(shown.contains(&format!("port={own},state=online")), "{shown}");
}

#[test]
fn ours_follows_ours_over_tls() {
    over_tls(Kind::Ours, Kind::Ours);
}

#[test]
#[ignore = "needs redis-server: tests/run"]
fn redis_and_ours_follow_each_other_over_tls() {
    over_tls(Kind::Ours, Kind::Redis7);
    over_tls(Kind::Redis7, Kind::Ours);
}

/// A certificate of another authority is not believed, so nothing is copied.
#[test]
fn a_stranger_is_not_followed() {
    let (theirs, own) = (certified(), certified());
    let ((mut primary, port), (mut replica, _)) =
        (start(Kind::Ours, &theirs), start(Kind::Ours, &own));
    primary.must("SET key value");
    replica.follow(SocketAddr::from(([127, 0, 0, 1], port)));
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert_eq!(replica.info("master_link_status"), "down");
    assert_eq!(replica.must("GET key").to_string(), "(nil)");
    assert_eq!(primary.number("sync_full"), 0);
}
