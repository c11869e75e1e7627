//! The settings of a store, each with its default.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, ConnectionInfo};

use crate::codec::Codec;
use crate::credentials::{CredentialsProvider, Renewing};
use crate::endpoint::{Endpoint, Kind};
use crate::error::Error;
use crate::lifetime::Lifetime;
use crate::link::{Backend, Link, Patience};
use crate::store::SessionStore;
use crate::tls::Certificates;
use crate::token::Keys;

/// A store that is being set up; begins with [`SessionStore::builder`].
///
/// The defaults of time follow what AWS advises for clients of ElastiCache: short waits for one
/// answer and shorter ones for a connection, tried again with jitter.
#[derive(Clone)]
pub struct Builder {
    url: String,
    prefix: String,
    buckets: u16,
    pub(crate) lifetime: Lifetime,
    pub(crate) renew_after: f64,
    pub(crate) codec: Codec,
    connect_timeout: Duration,
    discovery_timeout: Duration,
    patience: Patience,
    certificates: Certificates,
    credentials: Option<Arc<dyn CredentialsProvider>>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Builder")
            .field("prefix", &self.prefix)
            .field("buckets", &self.buckets)
            .field("lifetime", &self.lifetime)
            .field("codec", &self.codec)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(url: &str) -> Builder {
        Builder {
            url: url.to_owned(),
            prefix: "session".to_owned(),
            buckets: 64,
            lifetime: Lifetime::default(),
            renew_after: 0.1,
            codec: Codec::default(),
            connect_timeout: Duration::from_millis(100),
            discovery_timeout: Duration::from_secs(1),
            patience: Patience {
                deadline: Duration::from_secs(2),
                answer: Duration::from_millis(250),
                max_in_flight: 10_000,
                circuit_threshold: 5,
                circuit_pause: Duration::from_secs(1),
            },
            certificates: Certificates::default(),
            credentials: None,
        }
    }

    /// What all keys begin with; `session` by default. An ACL rule for the server's user is
    /// `~session:*`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Over how many slots of a cluster sessions are spread: 64 by default, a power of two up to
    /// 4096. All that share a prefix must agree; it may be raised while sessions live, never
    /// lowered. `sessions_of` and `destroy_all_for` ask once for each.
    pub fn buckets(mut self, buckets: u16) -> Self {
        self.buckets = buckets;
        self
    }

    /// How long a session lives that does not say it itself; sliding, 30 minutes by default.
    pub fn lifetime(mut self, lifetime: Lifetime) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Which part of a sliding session's idle time has to be used up before it is renewed: 0.1 by
    /// default, so that a session in use is written once in three minutes of its thirty, and none
    /// ends earlier than a tenth before its time. 0 renews at each use.
    pub fn renew_after(mut self, part: f64) -> Self {
        self.renew_after = part.clamp(0.0, 1.0);
        self
    }

    /// How typed values are written; JSON by default.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// The longest wait for one connection to be open, with TLS and login: 100 ms by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The longest wait to find out who is who behind sentinels and in a cluster: 1 s by default.
    pub fn discovery_timeout(mut self, timeout: Duration) -> Self {
        self.discovery_timeout = timeout;
        self
    }

    /// The longest wait for one answer: 250 ms by default.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.patience.answer = timeout;
        self
    }

    /// The longest time an operation may take with all its tries: 2 s by default.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.patience.deadline = deadline;
        self
    }

    /// How many operations may wait for the server at once; more fail with [`Error::Overloaded`].
    /// 10,000 by default.
    pub fn max_in_flight(mut self, operations: usize) -> Self {
        self.patience.max_in_flight = operations;
        self
    }

    /// After so many operations in a row that found no server until their deadline, others fail at
    /// once with [`Error::CircuitOpen`]; after about `pause` one tries again. 5 and 1 s by default.
    pub fn circuit(mut self, threshold: u32, pause: Duration) -> Self {
        self.patience.circuit_threshold = threshold.max(1);
        self.patience.circuit_pause = pause;
        self
    }

    /// Trusts only the certificate authorities in this PEM text, instead of the system's. In a URL:
    /// `?ca=PATH`. Needs a `rediss://` URL, and so the feature `tls`.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.ca = Some(pem.into());
        self
    }

    /// Shows this certificate to the server, with its key, both in PEM. In a URL:
    /// `?cert=PATH&key=PATH`. Needs a `rediss://` URL, and so the feature `tls`.
    pub fn client_certificate_pem(
        mut self,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.certificates.client = Some((certificate.into(), key.into()));
        self
    }

    /// Logs in with what this provider makes, instead of what the URL says. Not with sentinels.
    pub fn credentials(mut self, provider: impl CredentialsProvider) -> Self {
        self.credentials = Some(Arc::new(provider));
        self
    }

    /// The store, without connecting: the first operation does.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if a setting cannot be used.
    pub fn build(self) -> Result<SessionStore, Error> {
        self.lifetime.check()?;
        let keys = Keys::new(&self.prefix, self.buckets)?;
        let config = self.connection_config();
        let endpoint = Endpoint::parse(&self.url)?;
        let tls = endpoint.tls;
        let link = Link::new(self.backend(endpoint)?, tls, config, self.patience.clone());
        Ok(SessionStore::new(&self, keys, link))
    }

    /// The store, once a server has answered.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`], and what [`SessionStore::ping`] says.
    pub async fn connect(self) -> Result<SessionStore, Error> {
        let store = self.build()?;
        store.ping().await?;
        Ok(store)
    }

    fn connection_config(&self) -> AsyncConnectionConfig {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.patience.answer))
            .set_pipeline_buffer_size(1024);
        match &self.credentials {
            Some(provider) => config.set_credentials_provider(Renewing::new(Arc::clone(provider))),
            None => config,
        }
    }

    fn backend(&self, endpoint: Endpoint) -> Result<Backend, Error> {
        let certificates = self.certificates.clone().or_files(&endpoint)?;
        if endpoint.tls {
            crate::tls::choose_cryptography();
        } else if certificates.any() {
            return Err(Error::Config("certificates need a rediss:// URL".to_owned()));
        }
        match &endpoint.kind {
            Kind::Node => self.node(endpoint, &certificates),
            Kind::Sentinel { .. } => self.sentinel(endpoint, &certificates),
            Kind::Cluster => self.cluster(endpoint, &certificates),
        }
    }

    fn node(&self, endpoint: Endpoint, certificates: &Certificates) -> Result<Backend, Error> {
        let info = endpoint.nodes.into_iter().next();
        let info = tuned(info.ok_or_else(|| Error::Config("a URL without a host".to_owned()))?);
        #[cfg(feature = "tls")]
        if certificates.any() {
            let client = Client::build_with_tls(info, certificates.for_redis());
            return Ok(Backend::Node(client.map_err(unusable)?));
        }
        let _ = certificates;
        Ok(Backend::Node(Client::open(info).map_err(unusable)?))
    }

    #[cfg(not(feature = "sentinel"))]
    fn sentinel(&self, _: Endpoint, _: &Certificates) -> Result<Backend, Error> {
        Err(missing_feature("sentinel"))
    }

    #[cfg(feature = "sentinel")]
    fn sentinel(&self, endpoint: Endpoint, certificates: &Certificates) -> Result<Backend, Error> {
        use redis::TlsMode;
        use redis::sentinel::{SentinelClientBuilder, SentinelServerType};

        let Kind::Sentinel { service, user, password } = endpoint.kind else {
            return Err(Error::Config("not a sentinel URL".to_owned()));
        };
        if self.credentials.is_some() {
            return Err(Error::Config(
                "a provider of credentials is not asked behind sentinels: put user and password into \
                 the URL"
                    .to_owned(),
            ));
        }
        let data = endpoint.nodes.first().map(|node| node.redis_settings().clone());
        let data = data.unwrap_or_default();
        let sentinels = endpoint.nodes.iter().map(|node| node.addr().clone());
        let primary = SentinelServerType::Master;
        let builder = SentinelClientBuilder::new(sentinels, service, primary).map_err(unusable)?;
        let mut builder = logging_in(builder, &data, user, password)
            .set_client_to_redis_db(data.db())
            .set_client_to_redis_protocol(data.protocol())
            .set_client_to_redis_tcp_settings(tcp_settings())
            .set_client_to_sentinel_tcp_settings(tcp_settings());
        if endpoint.tls {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        }
        #[cfg(feature = "tls")]
        if certificates.any() {
            builder = builder
                .set_client_to_redis_certificates(certificates.for_redis())
                .set_client_to_sentinel_certificates(certificates.for_redis());
        }
        let _ = certificates;
        let client = tokio::sync::Mutex::new(builder.build().map_err(unusable)?);
        let protocol = data.protocol();
        Ok(Backend::Sentinel { client, protocol, timeout: self.discovery_timeout })
    }

    #[cfg(not(feature = "cluster"))]
    fn cluster(&self, _: Endpoint, _: &Certificates) -> Result<Backend, Error> {
        Err(missing_feature("cluster"))
    }

    #[cfg(feature = "cluster")]
    fn cluster(&self, endpoint: Endpoint, certificates: &Certificates) -> Result<Backend, Error> {
        // Our own loop tries again, since it knows what may be repeated.
        let mut builder = redis::cluster::ClusterClient::builder(endpoint.nodes)
            .retries(0)
            .connection_timeout(self.connect_timeout)
            .response_timeout(self.patience.answer)
            .tcp_settings(tcp_settings());
        if let Some(provider) = &self.credentials {
            builder = builder.set_credentials_provider(Renewing::new(Arc::clone(provider)));
        }
        #[cfg(feature = "tls")]
        if certificates.any() {
            builder = builder.certs(certificates.for_redis());
        }
        let _ = certificates;
        let client = builder.build().map_err(unusable)?;
        Ok(Backend::Cluster { client, timeout: self.discovery_timeout })
    }
}

fn unusable(error: redis::RedisError) -> Error {
    Error::Config(error.to_string())
}

#[cfg(not(all(feature = "sentinel", feature = "cluster")))]
fn missing_feature(name: &str) -> Error {
    Error::Config(format!("this URL needs the feature `{name}` of cloakroom-client"))
}

/// With the login at the servers, which is in `data`, and that at the sentinels.
#[cfg(feature = "sentinel")]
fn logging_in(
    mut builder: redis::sentinel::SentinelClientBuilder,
    data: &redis::RedisConnectionInfo,
    sentinel_user: Option<String>,
    sentinel_password: Option<String>,
) -> redis::sentinel::SentinelClientBuilder {
    if let Some(user) = data.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = data.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(user) = sentinel_user {
        builder = builder.set_client_to_sentinel_username(user);
    }
    if let Some(password) = sentinel_password {
        builder = builder.set_client_to_sentinel_password(password);
    }
    builder
}

fn tuned(info: ConnectionInfo) -> ConnectionInfo {
    let settings = info.redis_settings().clone();
    let settings = settings.set_lib_name("cloakroom-client", env!("CARGO_PKG_VERSION"));
    info.set_tcp_settings(tcp_settings()).set_redis_settings(settings)
}

/// Small requests leave at once, and a peer that vanished without a word is noticed.
fn tcp_settings() -> redis::io::tcp::TcpSettings {
    let probes = redis::io::tcp::socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10));
    redis::io::tcp::TcpSettings::default().set_nodelay(true).set_keepalive(probes)
}

impl Certificates {
    /// These, or else those in the files that the URL names.
    fn or_files(mut self, endpoint: &Endpoint) -> Result<Certificates, Error> {
        if let (None, Some(path)) = (&self.ca, &endpoint.ca) {
            self.ca = Some(read(path)?);
        }
        match (&self.client, &endpoint.cert, &endpoint.key) {
            (None, Some(cert), Some(key)) => self.client = Some((read(cert)?, read(key)?)),
            (None, None, None) | (Some(_), _, _) => {}
            _ => return Err(Error::Config("cert and key belong together".to_owned())),
        }
        Ok(self)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let wrong = |e| Error::Config(format!("cannot read {}: {e}", path.display()));
    std::fs::read(path).map_err(wrong)
}
