//! Listening: addresses bound, connections accepted and counted.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use super::connection::Connection;
use super::line::Line;
use super::listeners::Slot;
use crate::commands::Action;
use crate::config::Config;
use crate::engine::Engine;
use crate::error::Error;
use crate::persistence::Disk;
use crate::resp::{self, Reply};
use crate::session::{Client, Transport};

/// What every connection of a server is given.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) engine: Arc<Engine>,
    pub(super) means: Means,
}

/// What a connection needs beside the engine.
#[derive(Debug, Clone)]
pub(super) struct Means {
    pub(super) actions: UnboundedSender<Action>,
    pub(super) keepalive: u64,
    pub(super) disk: Arc<dyn Disk>,
    /// What connections stand in; None: several threads serve them.
    pub(super) line: Option<Arc<Line>>,
}

/// Binds all addresses of the settings to one port. With port 0 the first address picks a free
/// one and the others follow.
pub(super) fn bind(config: &Config, port: u16) -> Result<(Vec<TcpListener>, u16), Error> {
    // A port that is free at the first address may be taken at the next: then another is tried.
    const TRIES: usize = 32;
    let mut bound = bind_all(config, port);
    for _ in 1..TRIES {
        match &bound {
            Err(Error::Listen { cause, .. }) if port == 0 && in_use(cause) => {
                bound = bind_all(config, port);
            }
            _ => break,
        }
    }
    bound
}

fn bind_all(config: &Config, mut port: u16) -> Result<(Vec<TcpListener>, u16), Error> {
    let mut listeners = Vec::new();
    let mut passed_over = None;
    for bind in &config.bind {
        // As in Redis, a leading `-` says that the address need not exist here.
        let (host, optional) = match bind.strip_prefix('-') {
            Some(host) => (host, true),
            None => (bind.as_str(), false),
        };
        match bind_one(host, port, config.tcp_backlog as i32) {
            Ok((listener, bound)) => {
                listeners.push(listener);
                port = bound;
            }
            Err(cause) if optional && !in_use(&cause) => {
                tracing::debug!(%cause, host, "passed over an optional address");
                passed_over = Some(Error::Listen { at: at(host, port), cause });
            }
            Err(cause) => return Err(Error::Listen { at: at(host, port), cause }),
        }
    }
    match passed_over {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok((listeners, port)),
    }
}

/// An address as people write it.
fn at(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn in_use(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::AddrInUse
}

fn bind_one(host: &str, port: u16, backlog: i32) -> std::io::Result<(TcpListener, u16)> {
    let host = match host {
        "*" => "0.0.0.0",
        "::*" => "::",
        host => host,
    };
    let addr = (host, port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| std::io::Error::other("the name has no address"))?;
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // On Windows this option would let two servers share a port.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(backlog)?;
    let listener = TcpListener::from_std(socket.into())?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// Accepts TCP connections `until` its sender goes, and then those that have come before.
pub(super) async fn accept_tcp(slot: Arc<Slot>, host: Host, mut until: watch::Receiver<()>) {
    let mut failures = Failures::default();
    loop {
        let accepted = tokio::select! {
            accepted = slot.accept() => accepted,
            _ = until.changed() => break,
        };
        let Some(accepted) = accepted else { return };
        if let Some((stream, peer)) = failures.note(accepted).await {
            let facts = prepare(&stream, peer, &host);
            welcome(stream, facts, &host);
        }
    }
    let Some(Ok(listener)) = slot.close().map(TcpListener::into_std) else { return };
    while let Ok((stream, peer)) = listener.accept() {
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            let facts = prepare(&stream, peer, &host);
            welcome(stream, facts, &host);
        }
    }
}

/// What accepting fails with: out of file descriptors, most often, so that others must close first.
#[derive(Debug, Default)]
pub(super) struct Failures {
    is_failing: bool,
}

impl Failures {
    /// What was accepted. After a failure, of which only the first in a row is told, it waits.
    pub(super) async fn note<T>(&mut self, accepted: std::io::Result<T>) -> Option<T> {
        match accepted {
            Ok(accepted) => {
                self.is_failing = false;
                Some(accepted)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(%error, "cannot accept connections");
                }
                tokio::time::sleep(AFTER_FAILURE).await;
                None
            }
        }
    }
}

/// How long accepting rests after a failure.
const AFTER_FAILURE: std::time::Duration = std::time::Duration::from_millis(20);

/// What a TCP connection is known by.
#[derive(Debug)]
pub(super) struct Facts {
    peer: SocketAddr,
    laddr: String,
    fd: i32,
}

/// Sets a connection's options, and notes what it is known by.
pub(super) fn prepare(stream: &TcpStream, peer: SocketAddr, host: &Host) -> Facts {
    let laddr = stream.local_addr().map(|addr| addr.to_string()).unwrap_or_default();
    // A connection that these options cannot be set on is about to end anyway.
    let _ = stream.set_nodelay(true);
    if host.means.keepalive > 0 {
        let time = std::time::Duration::from_secs(host.means.keepalive);
        let _ =
            socket2::SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(time));
    }
    Facts { peer, laddr, fd: super::platform::descriptor(stream) }
}

/// Serves a TCP connection, whatever is spoken over it.
pub(super) fn welcome<S>(stream: S, facts: Facts, host: &Host)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Facts { peer, laddr, fd } = facts;
    // As in Redis the rest of 127/8 is another interface.
    let is_local =
        peer.ip().to_canonical() == Ipv4Addr::LOCALHOST || peer.ip() == Ipv6Addr::LOCALHOST;
    serve(stream, host, Transport::Tcp, is_local, peer.to_string(), laddr, fd);
}

/// Serves a stream as a connection in a task of its own, unless it is to be turned away.
pub(super) fn serve<S>(
    mut stream: S,
    host: &Host,
    transport: Transport,
    is_local: bool,
    addr: String,
    laddr: String,
    fd: i32,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let engine = &host.engine;
    if let Err(refusal) = engine.admit_connection(is_local) {
        tokio::spawn(async move {
            let mut line = Vec::new();
            Reply::new(&mut line, resp::Protocol::Resp2).error(refusal.text());
            // Whoever is turned away may be gone already.
            let _ = stream.write_all(&line).await;
            let _ = stream.shutdown().await;
        });
        return;
    }
    let id = engine.clients().next_id();
    let client = Client::new(id, transport, addr, laddr, fd, engine.clock().now());
    let client = Arc::new(client);
    engine.clients().add(Arc::clone(&client));
    let (engine, Means { actions, disk, line, .. }) = (Arc::clone(engine), host.means.clone());
    tokio::spawn(Connection::new(stream, engine, disk, client, actions).in_line(line));
}
