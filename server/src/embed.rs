//! The server within another program: started, connected to and stopped by a handle, its clock
//! turned by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::DuplexStream;

use crate::clock::Clock;
use crate::commands::expiry;
use crate::config::Config;
use crate::engine::Engine;
use crate::error::Error;
use crate::net::{self, Running};

/// An embedded server that is being set up; begins with [`Server::builder`].
#[derive(Debug)]
pub struct Server(());

/// What an embedded server is to be like.
#[derive(Debug)]
pub struct Builder {
    config: Config,
    clock: Clock,
}

impl Server {
    /// A server on a free port of 127.0.0.1, on the system's clock.
    pub fn builder() -> Builder {
        let config = Config { port: 0, bind: vec!["127.0.0.1".to_owned()], ..Config::default() };
        Builder { config, clock: Clock::system() }
    }
}

impl Builder {
    /// These settings instead of the defaults.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
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

    /// Listens at no address: only [`Handle::connect`] reaches the server.
    pub fn without_sockets(mut self) -> Self {
        self.config.bind.clear();
        self
    }

    /// The clock stands still until [`Handle::advance`] turns it.
    pub fn frozen_clock(mut self) -> Self {
        self.clock = Clock::frozen();
        self
    }

    /// Starts the server on threads of its own.
    ///
    /// # Errors
    ///
    /// An address that cannot be listened at, or threads that cannot be started.
    pub async fn start(self) -> Result<Handle, Error> {
        let engine = Arc::new(Engine::new(self.config, Arc::new(self.clock)));
        Ok(Handle { running: net::start(engine)?.await? })
    }

    /// [`Builder::start`] for programs without async.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`].
    pub fn start_blocking(self) -> Result<Handle, Error> {
        let engine = Arc::new(Engine::new(self.config, Arc::new(self.clock)));
        Ok(Handle { running: net::start_blocking(engine)? })
    }
}

/// A running server. Dropping it stops the server.
#[derive(Debug)]
pub struct Handle {
    running: Running,
}

impl Handle {
    /// The address at which it listens; None without sockets.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.running.addr()
    }

    /// `redis://127.0.0.1:PORT`; a Unix socket's `unix://PATH` where there is no TCP address.
    pub fn url(&self) -> String {
        match (self.running.addr(), self.running.unix_socket()) {
            (Some(addr), _) => format!("redis://{addr}"),
            (None, Some(path)) => format!("unix://{}", path.display()),
            (None, None) => "embedded:".to_owned(),
        }
    }

    /// A connection within the process, without any socket. Use it inside a tokio runtime.
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
    /// fields are gone, `expired` events were sent in the order of their deadlines, and whoever
    /// waited was woken.
    pub fn advance(&self, by: Duration) {
        self.clock().advance(by);
        let mut turn = self.engine().turn();
        while turn.settle(usize::MAX) {}
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
        self.engine().turn().as_server(expiry::next_due)
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
