//! TLS: the embedded server's and the binary's, asked by redis-rs, redis-cli, redis-py, and by who
//! speaks no TLS at all.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;

use cloakroom::{Config, Server};
use cloakroom_tests::certificates::{HERE, authority, certificate, settings};
use cloakroom_tests::peers::{Kind, Peer, python};
use cloakroom_tests::process::Folder;
use cloakroom_tests::wire::Wire;
use redis::{ClientTlsConfig, TlsCertificates};

fn client(url: &str, ca: &str, own: Option<(String, String)>) -> redis::Client {
    let client_tls = own.map(|(certificate, key)| ClientTlsConfig {
        client_cert: certificate.into_bytes(),
        client_key: key.into_bytes(),
    });
    let root_cert = Some(ca.as_bytes().to_vec());
    redis::Client::build_with_tls(url, TlsCertificates { client_tls, root_cert })
        .expect("it is right")
}

fn ping(client: &redis::Client) -> redis::RedisResult<String> {
    redis::cmd("PING").query(&mut client.get_connection()?)
}

fn tls_addr(server: &cloakroom::Handle) -> SocketAddr {
    let url = server.tls_url().expect("TLS is spoken");
    url.trim_start_matches("rediss://").parse().expect("an address")
}

#[test]
fn an_embedded_server_speaks_tls_with_a_certificate_made_on_the_spot() {
    let server = Server::builder().tls_dev().start_blocking().expect("it starts");
    let (url, ca) = (server.tls_url().expect("a URL"), server.ca_pem().expect("an authority"));
    let file = server.ca_file().expect("a file");
    assert_eq!(fs::read_to_string(&file).expect("it can be read"), ca);
    let by_name = url.replace("127.0.0.1", "localhost");
    for url in [&url, &by_name] {
        assert_eq!(ping(&client(url, &ca, None)).expect("it answers"), "PONG");
    }
    // The same data without TLS.
    let plain = redis::Client::open(server.url()).expect("a URL");
    assert_eq!(ping(&plain).expect("it answers"), "PONG");
    // Much in both directions.
    let mut connection = client(&url, &ca, None).get_connection().expect("open");
    let value = vec![b'x'; 5 << 20];
    let () = redis::cmd("SET").arg("a").arg(&value).query(&mut connection).expect("stored");
    let got: Vec<u8> = redis::cmd("GET").arg("a").query(&mut connection).expect("read");
    assert!(got == value);
    drop(server);
    assert!(!file.exists(), "nothing is left behind");
}

#[tokio::test]
async fn an_async_client_speaks_tls() {
    let server = Server::builder().tls_dev().start().await.expect("it starts");
    let url = server.tls_url().expect("a URL");
    let client = client(&url, &server.ca_pem().expect("an authority"), None);
    let mut connection = client.get_multiplexed_async_connection().await.expect("open");
    let pong: String = redis::cmd("PING").query_async(&mut connection).await.expect("it answers");
    assert_eq!(pong, "PONG");
}

#[test]
fn a_certificate_of_another_authority_is_not_believed() {
    let server = Server::builder().tls_dev().start_blocking().expect("it starts");
    let url = server.tls_url().expect("a URL");
    let error = ping(&client(&url, &authority().pem(), None)).expect_err("a stranger signed it");
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
}

#[test]
fn clients_show_certificates_where_they_must() {
    let (folder, ours, theirs) = (Folder::new(), authority(), authority());
    let server = Server::builder()
        .config(settings(&folder, &ours, HERE))
        .start_blocking()
        .expect("it starts");
    let (url, ca) = (server.tls_url().expect("a URL"), ours.pem());
    let own = || Some(certificate(&ours, &["client"]));
    let foreign = || Some(certificate(&theirs, &["client"]));
    assert_eq!(ping(&client(&url, &ca, own())).expect("it answers"), "PONG");
    ping(&client(&url, &ca, None)).expect_err("none was shown");
    ping(&client(&url, &ca, foreign())).expect_err("a stranger signed it");

    let mut plain =
        redis::Client::open(server.url()).expect("a URL").get_connection().expect("open");
    let mut set = |value| {
        let mut set = redis::cmd("CONFIG");
        let () = set.arg("SET").arg("tls-auth-clients").arg(value).query(&mut plain).expect("set");
    };
    set("optional");
    assert_eq!(ping(&client(&url, &ca, None)).expect("it answers"), "PONG");
    assert_eq!(ping(&client(&url, &ca, own())).expect("it answers"), "PONG");
    ping(&client(&url, &ca, foreign())).expect_err("a stranger signed it");
    set("no");
    assert_eq!(ping(&client(&url, &ca, foreign())).expect("nobody asks"), "PONG");
}

#[test]
fn certificates_are_read_anew_by_config_set() {
    let (folder, first, second) = (Folder::new(), authority(), authority());
    let config = Config {
        tls_auth_clients: Some(cloakroom::config::AuthClients::No),
        ..settings(&folder, &first, HERE)
    };
    let server = Server::builder().config(config).start_blocking().expect("it starts");
    let url = server.tls_url().expect("a URL");
    let mut before = client(&url, &first.pem(), None).get_connection().expect("open");

    let (certificate, key) = certificate(&second, HERE);
    let files = (folder.write("new.crt", &certificate), folder.write("new.key", &key));
    let set = |certificate: &str, key: &str, connection: &mut redis::Connection| {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("tls-cert-file").arg(certificate).arg("tls-key-file").arg(key);
        set.query::<String>(connection)
    };
    // A certificate without its key is refused as a whole, and the old one stays.
    let old_key = folder.path().join("server.key");
    let error = set(&files.0, old_key.to_str().expect("plain"), &mut before).expect_err("no pair");
    assert!(error.to_string().contains("Unable to update TLS configuration"), "{error}");
    ping(&client(&url, &first.pem(), None)).expect("the old one is shown");
    let names: Vec<String> = redis::cmd("CONFIG")
        .arg("GET")
        .arg("tls-cert-file")
        .query(&mut before)
        .expect("it answers");
    assert!(names[1].ends_with("server.crt"), "{names:?}");

    set(&files.0, &files.1, &mut before).expect("they fit");
    ping(&client(&url, &second.pem(), None)).expect("the new one is shown");
    ping(&client(&url, &first.pem(), None)).expect_err("the old one is gone");
    let pong: String = redis::cmd("PING").query(&mut before).expect("open connections stay");
    assert_eq!(pong, "PONG");
}

#[test]
fn settings_that_cannot_be_are_told_at_the_start() {
    let folder = Folder::new();
    let right = settings(&folder, &authority(), HERE);
    let garbage = folder.write("garbage.pem", "no certificate");
    let other = certificate(&authority(), &["localhost"]).1;
    let other = folder.write("other.key", &other);
    for (config, part) in [
        (Config { tls_cert_file: String::new(), ..right.clone() }, "needs both"),
        (Config { tls_cert_file: garbage.clone(), ..right.clone() }, "holds no certificate"),
        (Config { tls_key_file: garbage.clone(), ..right.clone() }, "tls-key-file"),
        (Config { tls_key_file: other, ..right.clone() }, "cannot be used"),
        (Config { tls_ca_cert_file: String::new(), ..right.clone() }, "names no authority"),
        (Config { tls_ca_cert_file: "/no/such".into(), ..right.clone() }, "/no/such"),
        (Config { tls_protocols: "TLSv1.1".into(), ..right.clone() }, "TLSv1.2 and TLSv1.3"),
    ] {
        let error = Server::builder().config(config).start_blocking().expect_err("it is wrong");
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}

/// What a client is told who speaks no TLS where it is spoken.
#[test]
fn who_speaks_no_tls_is_closed_and_nobody_else_notices() {
    let server = Server::builder().tls_dev().start_blocking().expect("it starts");
    let mut stream = TcpStream::connect(tls_addr(&server)).expect("it accepts");
    stream.write_all(b"PING\r\nPING\r\nPING\r\n").expect("sent");
    let mut got = Vec::new();
    // An alert or nothing; a reset is an end too.
    let _ = stream.read_to_end(&mut got);
    assert!(!got.starts_with(b"+PONG"), "{got:?}");
    let ca = server.ca_pem().expect("an authority");
    assert_eq!(ping(&client(&server.tls_url().expect("a URL"), &ca, None)).expect("yes"), "PONG");
}

/// A handshake that never ends is ended, and takes no place among the clients meanwhile.
#[test]
fn a_handshake_that_never_ends_is_ended() {
    let config = Config {
        port: 0,
        bind: vec!["127.0.0.1".to_owned()],
        tls_handshake_timeout: 50,
        maxclients: 1,
        ..Config::default()
    };
    let server = Server::builder().config(config).tls_dev().start_blocking().expect("it starts");
    let mut silent = TcpStream::connect(tls_addr(&server)).expect("it accepts");
    let mut halfway = TcpStream::connect(tls_addr(&server)).expect("it accepts");
    halfway.write_all(&[22, 3, 1, 2, 0, 1]).expect("sent");
    let ca = server.ca_pem().expect("an authority");
    assert_eq!(ping(&client(&server.tls_url().expect("a URL"), &ca, None)).expect("yes"), "PONG");
    for stream in [&mut silent, &mut halfway] {
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got);
        assert!(got.is_empty(), "{got:?}");
    }
}

#[test]
fn versions_are_those_of_tls_protocols() {
    let folder = Folder::new();
    let auth = Some(cloakroom::config::AuthClients::No);
    let authority = authority();
    let settings = Config { tls_auth_clients: auth, ..settings(&folder, &authority, HERE) };
    for (protocols, speaks_12, speaks_13) in
        [("", true, true), ("TLSv1.2", true, false), ("TLSv1.3", false, true)]
    {
        let config = Config { tls_protocols: protocols.into(), ..settings.clone() };
        let server = Server::builder().config(config).start_blocking().expect("it starts");
        for (version, speaks) in
            [(&rustls::version::TLS12, speaks_12), (&rustls::version::TLS13, speaks_13)]
        {
            let shaken = shake(tls_addr(&server), version, authority.der().clone());
            assert_eq!(shaken, speaks, "{protocols} {version:?}");
        }
    }
}

/// Whether a handshake in this version succeeds.
fn shake(
    addr: SocketAddr,
    version: &'static rustls::SupportedProtocolVersion,
    ca: rustls::pki_types::CertificateDer<'static>,
) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca).expect("it is one");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let mut tls = rustls::ClientConnection::new(Arc::new(config), name).expect("it begins");
    let mut stream = TcpStream::connect(addr).expect("it accepts");
    while tls.is_handshaking() {
        if tls.complete_io(&mut stream).is_err() {
            return false;
        }
    }
    true
}

/// QUIT is answered, then the end is told as TLS tells it: nobody can cut a stream short unnoticed.
#[test]
fn the_end_of_a_connection_is_told() {
    let server = Server::builder().tls_dev().start_blocking().expect("it starts");
    let mut roots = rustls::RootCertStore::empty();
    let ca = server.ca_pem().expect("an authority");
    use rustls::pki_types::pem::PemObject;
    let ca = rustls::pki_types::CertificateDer::from_pem_slice(ca.as_bytes()).expect("PEM");
    roots.add(ca).expect("it is one");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let tls = rustls::ClientConnection::new(Arc::new(config), name).expect("it begins");
    let stream = TcpStream::connect(tls_addr(&server)).expect("it accepts");
    let mut stream = rustls::StreamOwned::new(tls, stream);
    stream.write_all(b"QUIT\r\n").expect("sent");
    let mut got = Vec::new();
    stream.read_to_end(&mut got).expect("a told end is no error");
    assert_eq!(got, b"+OK\r\n");
}

#[test]
fn bind_moves_listeners_with_tls_and_without() {
    let folder = Folder::new();
    let by = authority();
    let config = Config { bind: vec!["127.0.0.81".to_owned()], ..settings(&folder, &by, HERE) };
    let server = Server::builder().config(config).start_blocking().expect("it starts");
    let (plain, tls) = (server.addr().expect("it listens"), tls_addr(&server));
    let accepts = |host: &str| -> Vec<bool> {
        let host: std::net::IpAddr = host.parse().expect("an address");
        [plain.port(), tls.port()].map(|port| TcpStream::connect((host, port)).is_ok()).to_vec()
    };
    let mut wire = Wire::connect(plain).expect("it accepts");
    let mut bind = |to: &str| wire.call(&["CONFIG", "SET", "bind", to]).expect("told").to_string();
    assert_eq!(bind("127.0.0.82"), "OK");
    assert_eq!((accepts("127.0.0.81"), accepts("127.0.0.82")), (vec![false; 2], vec![true; 2]));

    // The port without TLS is free there, the other is not: both stay where they are.
    let _taken = TcpListener::bind(("127.0.0.83", tls.port())).expect("an address of this machine");
    assert!(bind("127.0.0.83").contains("Failed to bind"));
    assert_eq!((accepts("127.0.0.82"), accepts("127.0.0.83")), (vec![true; 2], vec![false, true]));
}

/// A binary that speaks TLS: its address there and its authority.
fn binary() -> (Peer, String, String) {
    let peer = Peer::start_with(Kind::Ours, &["--tls-dev"]).expect("it starts");
    let told = |start: &str| {
        let line = peer.said().iter().find_map(|line| line.strip_prefix(start));
        line.unwrap_or_else(|| panic!("{start} was not told")).to_owned()
    };
    let (port, ca) = (told("ready rediss://127.0.0.1:"), told("ca-file "));
    (peer, port, ca)
}

#[test]
#[ignore = "needs peers: tests/run"]
fn redis_cli_speaks_tls_to_the_binary() {
    let (_peer, port, ca) = binary();
    let ask = |args: &[&str]| {
        let mut cli = Command::new("redis-cli");
        let output = cli.args(["-h", "localhost", "-p", &port, "--tls"]).args(args).output();
        let output = output.expect("redis-cli is installed (see tests/run)");
        let told = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&told).trim().to_owned()
    };
    assert_eq!(ask(&["--cacert", &ca, "PING"]), "PONG");
    let refused = ask(&["PING"]);
    assert!(refused.contains("certificate verify failed"), "{refused}");
}

#[test]
#[ignore = "needs peers: tests/run"]
fn redis_py_speaks_tls_to_the_binary() {
    let (_peer, port, ca) = binary();
    let script = format!(
        "import redis\n\
         r = redis.Redis(port={port}, host='localhost', ssl=True, ssl_ca_certs={ca:?})\n\
         assert r.ping()\n\
         r.hset('s', mapping={{'a': '1' * 100000}})\n\
         assert r.hget('s', 'a') == b'1' * 100000\n\
         try:\n    redis.Redis(port={port}, host='localhost', ssl=True).ping()\n\
         except redis.ConnectionError: print('ok')\n"
    );
    let output = Command::new(python()).args(["-c", &script]).output().expect("python runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.trim() == "ok", "{told}{}", String::from_utf8_lossy(&output.stderr));
}
