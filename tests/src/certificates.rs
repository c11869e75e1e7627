//! Authorities of the tests' own, and what they sign.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

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
