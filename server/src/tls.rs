//! TLS: what the settings make of certificates and keys, and a certificate made on the spot for
//! development. Bytes and sockets come in above.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::config::{AuthClients, Config};

/// The TLS of a server: what new connections are met with.
#[derive(Debug)]
pub struct Tls {
    current: RwLock<Arc<ServerConfig>>,
    /// What `tls-dev` has made.
    dev: Option<Dev>,
}

/// A certificate authority of this run, and a certificate for this machine.
#[derive(Debug)]
struct Dev {
    ca: CertificateDer<'static>,
    ca_pem: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    folder: PathBuf,
}

/// By what names a certificate for development can be reached.
const DEV_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

impl Tls {
    /// The TLS that the settings ask for; None: they ask for none.
    ///
    /// # Errors
    ///
    /// What is missing or cannot be used, and how to mend it.
    pub fn new(config: &Config) -> Result<Option<Tls>, String> {
        if config.tls_port.is_none() && !config.tls_dev {
            return Ok(None);
        }
        let is_own = config.tls_cert_file.is_empty() && config.tls_key_file.is_empty();
        let dev = (config.tls_dev && is_own).then(Dev::make).transpose()?;
        let current = RwLock::new(server_config(config, dev.as_ref())?);
        Ok(Some(Tls { current, dev }))
    }

    /// What a connection that comes now is met with.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read())
    }

    /// Reads certificates and keys anew. Connections that are open go on with the old ones.
    ///
    /// # Errors
    ///
    /// What cannot be used; nothing has changed then.
    pub fn reload(&self, config: &Config) -> Result<(), String> {
        let new = server_config(config, self.dev.as_ref())?;
        *self.current.write() = new;
        Ok(())
    }

    /// The certificate authority that `tls-dev` has made, as PEM.
    pub fn ca_pem(&self) -> Option<&str> {
        self.dev.as_ref().map(|dev| dev.ca_pem.as_str())
    }

    /// The file where it stands while the server runs.
    pub fn ca_file(&self) -> Option<PathBuf> {
        self.dev.as_ref().map(Dev::ca_file)
    }
}

/// With what this server goes to another one over TLS: its own certificate if it has one, and the
/// authority that both trust. `own` is what its clients are met with, if it speaks TLS itself.
///
/// # Errors
///
/// What is missing or cannot be used.
pub fn client_config(config: &Config, own: Option<&Tls>) -> Result<Arc<ClientConfig>, String> {
    let dev = own.and_then(|tls| tls.dev.as_ref());
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions(config)?)
        .map_err(|cause| cause.to_string())?
        .with_root_certificates(authorities(config, dev)?);
    if dev.is_none() && config.tls_cert_file.is_empty() && config.tls_key_file.is_empty() {
        return Ok(Arc::new(builder.with_no_client_auth()));
    }
    let (chain, key) = identity(config, dev)?;
    let client = builder.with_client_auth_cert(chain, key);
    let client = client.map_err(|cause| unusable("tls-cert-file", &config.tls_cert_file, cause))?;
    Ok(Arc::new(client))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn unusable(setting: &str, path: &str, cause: impl std::fmt::Display) -> String {
    format!("{setting} {path} cannot be used: {cause}; name a PEM file that fits")
}

fn server_config(config: &Config, dev: Option<&Dev>) -> Result<Arc<ServerConfig>, String> {
    let (chain, key) = identity(config, dev)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions(config)?)
        .map_err(|cause| cause.to_string())?;
    let builder =
        match config.auth_clients() {
            AuthClients::No => builder.with_no_client_auth(),
            asked => {
                let roots = Arc::new(authorities(config, dev)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                let verifier = match asked {
                    AuthClients::Optional => verifier.allow_unauthenticated(),
                    _ => verifier,
                };
                let verifier = verifier.build();
                builder.with_client_cert_verifier(verifier.map_err(|cause| {
                    unusable("tls-ca-cert-file", &config.tls_ca_cert_file, cause)
                })?)
            }
        };
    let server = builder
        .with_single_cert(chain, key)
        .map_err(|cause| unusable("tls-cert-file", &config.tls_cert_file, cause))?;
    Ok(Arc::new(server))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The server's certificates, its own first, and its key.
fn identity(config: &Config, dev: Option<&Dev>) -> Result<Identity, String> {
    let (cert, key) = (config.tls_cert_file.as_str(), config.tls_key_file.as_str());
    if let (true, Some(dev)) = (cert.is_empty() && key.is_empty(), dev) {
        return Ok((dev.chain.clone(), dev.key.clone_key()));
    }
    if cert.is_empty() || key.is_empty() {
        return Err("tls-port needs both tls-cert-file and tls-key-file; name them, or make a \
                    certificate for development with --tls-dev"
            .to_owned());
    }
    let chain = certificates("tls-cert-file", cert)?;
    let key =
        PrivateKeyDer::from_pem_file(key).map_err(|cause| unusable("tls-key-file", key, cause))?;
    Ok((chain, key))
}

/// The authorities whose certificates are believed.
fn authorities(config: &Config, dev: Option<&Dev>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let path = config.tls_ca_cert_file.as_str();
    let found = match dev {
        Some(dev) if path.is_empty() => vec![dev.ca.clone()],
        _ if path.is_empty() => {
            return Err("certificates of others are to be checked, but tls-ca-cert-file names no \
                        authority; name one, or set tls-auth-clients no"
                .to_owned());
        }
        _ => certificates("tls-ca-cert-file", path)?,
    };
    for certificate in found {
        roots.add(certificate).map_err(|cause| unusable("tls-ca-cert-file", path, cause))?;
    }
    Ok(roots)
}

fn certificates(setting: &str, path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = read.map_err(|cause| unusable(setting, path, cause))?;
    if found.is_empty() {
        Err(unusable(setting, path, "it holds no certificate"))
    } else {
        Ok(found)
    }
}

/// The versions of `tls-protocols`; nothing older than 1.2 is ever spoken.
fn versions(config: &Config) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    if config.tls_protocols.is_empty() {
        return Ok(rustls::ALL_VERSIONS.to_vec());
    }
    let version = |word: &str| match word.to_ascii_lowercase().as_str() {
        "tlsv1.2" => Ok(&rustls::version::TLS12),
        "tlsv1.3" => Ok(&rustls::version::TLS13),
        _ => Err(format!("tls-protocols knows TLSv1.2 and TLSv1.3, not {word}")),
    };
    config.tls_protocols.split_whitespace().map(version).collect()
}

impl Dev {
    fn make() -> Result<Dev, String> {
        use rcgen::{
            BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose,
        };
        let failed = |cause: rcgen::Error| format!("a certificate cannot be made: {cause}");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, "Cloakroom development CA");
        let key = KeyPair::generate().map_err(failed)?;
        let ca = CertifiedIssuer::self_signed(params, key).map_err(failed)?;

        let mut params = CertificateParams::new(DEV_NAMES.map(str::to_owned)).map_err(failed)?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![
            rcgen::ExtendedKeyUsagePurpose::ServerAuth,
            rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &ca).map_err(failed)?;
        let dev = Dev {
            ca: ca.der().clone(),
            ca_pem: ca.pem(),
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).map_err(str::to_owned)?,
            folder: folder()?,
        };
        let path = dev.ca_file();
        std::fs::write(&path, &dev.ca_pem)
            .map_err(|cause| format!("cannot write {}: {cause}", path.display()))?;
        Ok(dev)
    }

    fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }
}

/// A new folder of a name that nobody guesses, for what is no secret.
fn folder() -> Result<PathBuf, String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|cause| format!("the system has no random bytes: {cause}"))?;
    let name = format!("cloakroom-tls-{:016x}", u64::from_le_bytes(random));
    let folder: PathBuf = std::env::temp_dir().join(name);
    let failed = |cause| format!("cannot make {}: {cause}", Path::new(&folder).display());
    std::fs::create_dir(&folder).map_err(failed)?;
    Ok(folder)
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
