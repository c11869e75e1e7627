//! Certificates for TLS, and the cryptography behind it.

/// What a server is checked against, and what it is shown.
#[derive(Clone, Default)]
pub(crate) struct Certificates {
    /// Authorities in PEM, instead of the system's.
    pub(crate) ca: Option<Vec<u8>>,
    /// A certificate of our own and its key, in PEM.
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl Certificates {
    pub(crate) fn any(&self) -> bool {
        self.ca.is_some() || self.client.is_some()
    }

    #[cfg(feature = "tls")]
    pub(crate) fn for_redis(&self) -> redis::TlsCertificates {
        let client_tls = self.client.clone();
        redis::TlsCertificates {
            client_tls: client_tls.map(|(client_cert, client_key)| redis::ClientTlsConfig {
                client_cert,
                client_key,
            }),
            root_cert: self.ca.clone(),
        }
    }
}

/// Makes sure that rustls has a provider of cryptography: the application's if it installed one,
/// else `ring`. Without this, rustls panics in a program that links two of them.
pub(crate) fn choose_cryptography() {
    #[cfg(feature = "tls")]
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error says that another thread was faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
