//! Authorities of the tests' own, and what they sign.

use cloakroom::Config;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::process::Folder;

/// Who signs certificates.
pub type Authority = CertifiedIssuer<'static, KeyPair>;

/// The names of a server on this machine.
pub const HERE: &[&str] = &["localhost", "127.0.0.1"];

/// A new authority.
///
/// # Panics
///
/// If no key can be made.
pub fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "the test's authority");
    let key = KeyPair::generate().expect("a key can be made");
    CertifiedIssuer::self_signed(params, key).expect("a certificate can be made")
}

/// A certificate for these names with its key, as PEM.
///
/// # Panics
///
/// If the names are none.
pub fn certificate(by: &Authority, names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().expect("a key can be made");
    let params = CertificateParams::new(names).expect("the names are right");
    let certificate = params.signed_by(&key, by).expect("it can be signed");
    (certificate.pem(), key.serialize_pem())
}

/// The settings of an embedded server with and without TLS, on free ports: its certificate for these
/// names, its key and its authority's certificate are in this folder.
///
/// # Panics
///
/// If the names are none, or the folder is gone.
pub fn settings(folder: &Folder, by: &Authority, names: &[&str]) -> Config {
    let (certificate, key) = certificate(by, names);
    Config {
        port: 0,
        bind: vec!["127.0.0.1".to_owned()],
        tls_port: Some(0),
        tls_cert_file: folder.write("server.crt", certificate),
        tls_key_file: folder.write("server.key", key),
        tls_ca_cert_file: folder.write("ca.crt", by.pem()),
        ..Config::default()
    }
}
