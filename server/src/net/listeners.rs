//! The TCP listeners of a server, with TLS and without, which `port` and `bind` move while it runs.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::listen::{self, Host};
use crate::config::Config;
use crate::engine::Engine;
use crate::error::Error;
use crate::state::Listen;
use crate::tls::Tls;

/// A listener that can be closed while somebody accepts from it.
#[derive(Debug)]
pub(super) struct Slot(Mutex<Option<TcpListener>>);

impl Slot {
    /// The next connection; None once it is closed.
    pub(super) async fn accept(&self) -> Option<std::io::Result<(TcpStream, SocketAddr)>> {
        poll_fn(|cx| match &*self.0.lock() {
            None => std::task::Poll::Ready(None),
            Some(listener) => listener.poll_accept(cx).map(Some),
        })
        .await
    }

    /// Closes it for all: its address is free at once.
    pub(super) fn close(&self) -> Option<TcpListener> {
        self.0.lock().take()
    }
}

/// All that are open of one kind.
#[derive(Debug)]
pub(super) struct Listeners {
    /// The engine keeps this, so this must not keep the engine.
    engine: Weak<Engine>,
    means: listen::Means,
    until: watch::Receiver<()>,
    /// What speaks TLS, where they do.
    tls: Option<Arc<Tls>>,
    open: Mutex<Vec<Open>>,
}

#[derive(Debug)]
struct Open {
    slot: Arc<Slot>,
    accepting: JoinHandle<()>,
}

impl Open {
    fn close(self) {
        drop(self.slot.close());
        self.accepting.abort();
    }
}

impl Listeners {
    /// None is open yet. They accept `until` its sender goes.
    pub(super) fn new(host: &Host, tls: Option<Arc<Tls>>, until: watch::Receiver<()>) -> Self {
        let engine = Arc::downgrade(&host.engine);
        Listeners { engine, means: host.means.clone(), until, tls, open: Mutex::default() }
    }

    /// The port that the settings say.
    fn port(&self, config: &Config) -> u16 {
        if self.tls.is_some() { config.tls_port.unwrap_or(0) } else { config.port }
    }

    /// Opens those that the settings ask for, beside what is open; returns the first address and
    /// the port.
    pub(super) fn open(&self, config: &Config) -> Result<(Option<SocketAddr>, u16), Error> {
        let (listeners, port) = listen::bind(config, self.port(config))?;
        let addr = listeners.first().and_then(|first| first.local_addr().ok());
        let Some(engine) = self.engine.upgrade() else { return Ok((None, port)) };
        for listener in listeners {
            let slot = Arc::new(Slot(Mutex::new(Some(listener))));
            let host = Host { engine: Arc::clone(&engine), means: self.means.clone() };
            let (until, accepted) = (self.until.clone(), Arc::clone(&slot));
            let accepting = match &self.tls {
                Some(tls) => {
                    tokio::spawn(super::tls::accept(accepted, Arc::clone(tls), host, until))
                }
                None => tokio::spawn(listen::accept_tcp(accepted, host, until)),
            };
            self.open.lock().push(Open { slot, accepting });
        }
        Ok((addr, port))
    }

    /// See [`Listen::move_to`].
    fn move_to(&self, config: &Config, from: &Config) -> Result<u16, Error> {
        let is_port_kept = self.port(config) == self.port(from);
        if is_port_kept && config.bind == from.bind {
            return Ok(self.port(config));
        }
        let before = std::mem::take(&mut *self.open.lock());
        if is_port_kept {
            // Addresses may overlap, and a port is open but once.
            before.iter().for_each(|open| drop(open.slot.close()));
        }
        match self.open(config) {
            Ok((_, port)) => {
                before.into_iter().for_each(Open::close);
                Ok(port)
            }
            Err(error) => {
                if !is_port_kept {
                    *self.open.lock() = before;
                } else if let Err(error) = self.open(from) {
                    tracing::error!(%error, "cannot listen again where it was");
                }
                Err(error)
            }
        }
    }

    /// Waits until none accepts any more.
    async fn ended(&self) {
        let open = std::mem::take(&mut *self.open.lock());
        for Open { accepting, .. } in open {
            // One that panicked accepts no more either.
            let _ = accepting.await;
        }
    }
}

/// All that a server has opened, of either kind.
#[derive(Debug, Default)]
pub(super) struct Doors {
    pub(super) plain: Option<Listeners>,
    pub(super) tls: Option<Listeners>,
}

impl Doors {
    fn all(&self) -> impl Iterator<Item = &Listeners> {
        self.plain.iter().chain(&self.tls)
    }

    /// Waits until nobody accepts any more.
    pub(super) async fn ended(&self) {
        for listeners in self.all() {
            listeners.ended().await;
        }
    }
}

impl Listen for Doors {
    fn move_to(&self, config: &Config, from: &Config) -> Result<u16, String> {
        let mut port = from.port;
        for (count, listeners) in self.all().enumerate() {
            match listeners.move_to(config, from) {
                Ok(moved) if listeners.tls.is_none() => port = moved,
                Ok(_) => {}
                Err(error) => {
                    for moved in self.all().take(count) {
                        if let Err(error) = moved.move_to(from, config) {
                            tracing::error!(%error, "cannot listen again where it was");
                        }
                    }
                    return Err(error.to_string());
                }
            }
        }
        Ok(port)
    }
}
