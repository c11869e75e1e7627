//! The server within another program: started, connected to and stopped by a handle, its clock
//! turned by hand.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::DuplexStream;

use crate::clock::Clock;
use crate::config::Config;
use crate::engine::Engine;
use crate::error::Error;
use crate::net::{self, Load, Running};
use crate::session::ClientId;

/// No connection has this number.
const NOBODY: ClientId = 0;

/// An embedded server that is being set up; begins with [`Server::builder`].
#[derive(Debug)]
pub struct Server(());

/// What an embedded server is to be like.
#[derive(Debug)]
pub struct Builder {
    config: Config,
    clock: Clock,
    loads: bool,
}

impl Server {
    /// A server on a free port of 127.0.0.1, on the system's clock, that keeps nothing on disk.
    pub fn builder() -> Builder {
        let bind = vec!["127.0.0.1".to_owned()];
        let config = Config { port: 0, bind, save: Vec::new(), ..Config::default() };
        Builder { config, clock: Clock::system(), loads: false }
    }
}

impl Builder {
    /// These settings instead of the defaults, those of where to listen included.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// One setting, by its name and value in redis.conf.
    ///
    /// ```
    /// let server = cloakroom::Server::builder()
    ///     .set("maxmemory", "100mb")?
    ///     .set("notify-keyspace-events", "Ex")?
    ///     .start_blocking()?;
    /// let mistaken = cloakroom::Server::builder().set("maxmemory", "plenty");
    /// assert!(mistaken.is_err());
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: the name is unknown, or the value not permitted.
    pub fn set(mut self, name: &str, value: &str) -> Result<Self, Error> {
        match self.config.set_at_start(name, value) {
            Ok(_) => Ok(self),
            Err(Some(why)) => Err(Error::Config(format!("{name} cannot be \"{value}\": {why}"))),
            Err(None) => Err(Error::Config(format!("there is no setting \"{name}\""))),
        }
    }

    /// Listens at this port of 127.0.0.1; 0 picks a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.config.port = port;
        self
    }

    /// Clients must give this password.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.config.requirepass = password.into();
        self
    }

    /// Speaks TLS as well, at another free port: with a certificate for localhost, made on the spot
    /// by an authority of its own. [`Handle::tls_url`] tells where, [`Handle::ca_pem`] whom to
    /// trust.
    pub fn tls_dev(mut self) -> Self {
        self.config.tls_dev = true;
        self
    }

    /// Listens at no address: only [`Handle::connect`] reaches the server.
    pub fn without_sockets(mut self) -> Self {
        self.config.bind.clear();
        self
    }

    /// Keeps the data in `dump.rdb` in this folder: loads it at the start and saves it at the end,
    /// and in between by Redis's save points.
    pub fn keep_in(mut self, folder: impl AsRef<Path>) -> Self {
        self.config.dir = folder.as_ref().display().to_string();
        self.config.save = Config::default().save;
        self.loads = true;
        self
    }

    /// The clock stands still until [`Handle::advance`] turns it.
    pub fn frozen_clock(mut self) -> Self {
        self.clock = Clock::frozen();
        self
    }

    /// This clock: for instance one that stands at a time of the test's choice.
    ///
    /// ```
    /// use cloakroom::{Clock, Server};
    ///
    /// let new_year = 1_767_225_600_000; // milliseconds since 1970
    /// let server = Server::builder().clock(Clock::frozen_at(new_year)).start_blocking()?;
    /// assert_eq!(server.clock().now(), new_year);
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Starts the server on threads of its own.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), cloakroom::Error> {
    /// let server = cloakroom::Server::builder().start().await?;
    /// println!("listens at {}", server.url());
    /// server.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// An address that cannot be listened at, threads that cannot be started, or a file of
    /// [`Builder::keep_in`] that cannot be loaded.
    pub async fn start(self) -> Result<Handle, Error> {
        let (engine, load) = self.engine()?;
        let (running, loading) = net::start(engine, load)?.await?;
        Handle::of(running, loading.done().await?)
    }

    /// [`Builder::start`] for programs without async.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`].
    pub fn start_blocking(self) -> Result<Handle, Error> {
        let (engine, load) = self.engine()?;
        let (running, loading) = net::start_blocking(engine, load)?;
        Handle::of(running, loading.done_blocking()?)
    }

    /// The engine, and whether it is to load what was kept.
    fn engine(self) -> Result<(Arc<Engine>, Load), Error> {
        let load: Load = if self.loads { Some(Box::new(())) } else { None };
        Ok((Arc::new(Engine::new(self.config, Arc::new(self.clock))?), load))
    }
}

/// A running server. Dropping it stops the server, and waits for that.
///
/// Several run in one process, each with its data, its clock and its port:
///
/// ```
/// use std::time::Duration;
/// use cloakroom::Server;
///
/// let (first, second) = (
///     Server::builder().frozen_clock().start_blocking()?,
///     Server::builder().frozen_clock().start_blocking()?,
/// );
/// assert_ne!(first.addr(), second.addr());
/// let before = second.clock().now();
/// first.advance(Duration::from_secs(60));
/// assert_eq!(second.clock().now(), before);
/// # Ok::<(), cloakroom::Error>(())
/// ```
#[derive(Debug)]
pub struct Handle {
    running: Running,
}

impl Handle {
    /// A server that has its data, unless it was stopped before.
    fn of(running: Running, has_data: bool) -> Result<Handle, Error> {
        if has_data { Ok(Handle { running }) } else { Err(Error::Stopped) }
    }

    /// The address at which it listens; None without sockets.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.running.addr()
    }

    /// `redis://127.0.0.1:PORT`, without the password if there is one; `rediss://` where only TLS is
    /// spoken, a Unix socket's `unix://PATH` where there is no TCP address.
    pub fn url(&self) -> String {
        self.running.url().unwrap_or_else(|| "embedded:".to_owned())
    }

    /// `rediss://127.0.0.1:PORT`; None without TLS.
    pub fn tls_url(&self) -> Option<String> {
        self.running.tls_url()
    }

    /// The certificate authority that [`Builder::tls_dev`] has made, as PEM, for clients to trust.
    pub fn ca_pem(&self) -> Option<String> {
        self.running.tls()?.ca_pem().map(str::to_owned)
    }

    /// The file where that authority stands while the server runs.
    pub fn ca_file(&self) -> Option<PathBuf> {
        self.running.tls()?.ca_file()
    }

    /// A connection within the process, without any socket. Use it inside a tokio runtime, by itself
    /// or beneath a client that takes a stream.
    ///
    /// ```
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = cloakroom::Server::builder().without_sockets().start().await?;
    /// let mut connection = server.connect();
    /// connection.write_all(b"HSET session user ann\r\n").await?;
    /// let mut reply = [0; 4];
    /// connection.read_exact(&mut reply).await?;
    /// assert_eq!(&reply, b":1\r\n");
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(&self) -> DuplexStream {
        self.running.connect()
    }

    /// The engine behind it, for tools and tests.
    pub fn engine(&self) -> &Arc<Engine> {
        self.running.engine()
    }

    /// The server's clock.
    pub fn clock(&self) -> &Clock {
        self.running.engine().clock()
    }

    /// Turns the clock on by `by`. When this returns, all that fell due has happened: keys and
    /// fields are gone, `expired` events were sent in the order of their deadlines, whoever
    /// waited was woken, and connections idle for longer than `timeout` are closed.
    ///
    /// A script that is running is waited for.
    pub fn advance(&self, by: Duration) {
        self.clock().advance(by);
        self.engine().turn().settle_all();
        self.engine().wake_driver();
        while !self.engine().clients().have_heard(NOBODY) {
            std::thread::yield_now();
        }
    }

    /// Makes the time stand still.
    pub fn freeze(&self) {
        self.clock().freeze();
    }

    /// Lets the time run on from where it stands.
    pub fn resume(&self) {
        self.clock().resume();
        self.engine().wake_driver();
    }

    /// When something falls due next, in milliseconds since the Unix epoch.
    pub fn next_due(&self) -> Option<u64> {
        self.engine().turn().next_due()
    }

    /// Stops the server: what is in flight is answered, then connections close.
    pub async fn shutdown(mut self) {
        self.running.stop();
        self.running.ended().await;
    }

    /// [`Handle::shutdown`] for programs without async.
    pub fn shutdown_blocking(self) {
        drop(self);
    }

    /// Waits until the server has ended by itself, by SHUTDOWN.
    pub async fn ended(&self) {
        self.running.ended().await;
    }
}
