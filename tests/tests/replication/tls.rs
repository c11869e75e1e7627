//! The link to a primary over TLS: certificates of one authority on both ends.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use cloakroom_tests::peers::Kind;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::load::write_some;
use crate::node::{Node, assert_equal};

/// An authority and a certificate for this machine, as files.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("cloakroom-tls-link-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder can be made");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "the test's authority");
        let key = KeyPair::generate().expect("a key can be made");
        let ca = CertifiedIssuer::self_signed(params, key).expect("a certificate can be made");
        let key = KeyPair::generate().expect("a key can be made");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).expect("the names are right");
        let certificate = params.signed_by(&key, &ca).expect("it can be signed");
        let files = [
            ("ca.crt", ca.pem()),
            ("server.crt", certificate.pem()),
            ("server.key", key.serialize_pem()),
        ];
        for (name, text) in files {
            fs::write(path.join(name), text).expect("a file can be written");
        }
        Folder(path)
    }

    /// Flags of a server that listens for TLS there and goes to its primary over TLS.
    fn args(&self, port: u16) -> Vec<String> {
        let file = |name: &str| self.0.join(name).to_str().expect("a plain path").to_owned();
        let settings = [
            ("--tls-port", port.to_string()),
            ("--tls-replication", "yes".to_owned()),
            ("--tls-cert-file", file("server.crt")),
            ("--tls-key-file", file("server.key")),
            ("--tls-ca-cert-file", file("ca.crt")),
        ];
        settings.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Starts a server that also listens for TLS.
fn start(kind: Kind, folder: &Folder) -> (Node, u16) {
    let port = cloakroom_tests::peers::free_port().expect("a port is free");
    let args = folder.args(port);
    (Node::start(kind, &args.iter().map(String::as_str).collect::<Vec<_>>()), port)
}

fn over_tls(primary: Kind, replica: Kind) {
    let folder = Folder::new(&format!("{}-{}", primary.tag(), replica.tag()));
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
    let (theirs, own) = (Folder::new("theirs"), Folder::new("own"));
    let ((mut primary, port), (mut replica, _)) =
        (start(Kind::Ours, &theirs), start(Kind::Ours, &own));
    primary.must("SET key value");
    replica.follow(SocketAddr::from(([127, 0, 0, 1], port)));
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert_eq!(replica.info("master_link_status"), "down");
    assert_eq!(replica.must("GET key").to_string(), "(nil)");
    assert_eq!(primary.number("sync_full"), 0);
}
