//! Listening: addresses bound, connections accepted and counted.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedSender;

use super::connection::Connection;
use crate::commands::Action;
use crate::config::Config;
use crate::engine::Engine;
use crate::error::Error;
use crate::session::{Client, Transport};

/// What a client beyond `maxclients` is told.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// What every connection of a server is given.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) engine: Arc<Engine>,
    pub(super) actions: UnboundedSender<Action>,
    pub(super) keepalive: u64,
}

/// Binds all addresses of the settings to one port. With port 0 the first address picks a free
/// one and the others follow.
pub(super) fn bind(config: &Config) -> Result<(Vec<TcpListener>, u16), Error> {
    let mut port = config.port;
    let mut listeners = Vec::new();
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
            Err(error) if optional && !in_use(&error) => {
                tracing::debug!(%error, "passed over an optional address");
            }
            Err(cause) => return Err(Error::Listen { at: format!("{host}:{port}"), cause }),
        }
    }
    Ok((listeners, port))
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

/// Accepts TCP connections until its task is dropped.
pub(super) async fn accept_tcp(listener: TcpListener, host: Host) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => welcome_tcp(stream, peer, &host),
            Err(error) => {
                // Out of file descriptors, most often: others must close first.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }
}

fn welcome_tcp(stream: TcpStream, peer: SocketAddr, host: &Host) {
    let laddr = stream.local_addr().map(|addr| addr.to_string()).unwrap_or_default();
    // A connection that these options cannot be set on is about to end anyway.
    let _ = stream.set_nodelay(true);
    if host.keepalive > 0 {
        let time = std::time::Duration::from_secs(host.keepalive);
        let _ =
            socket2::SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(time));
    }
    let fd = super::platform::descriptor(&stream);
    serve(stream, host, Transport::Tcp, peer.to_string(), laddr, fd);
}

/// Serves a stream as a connection in a task of its own, unless there are too many.
pub(super) fn serve<S>(
    mut stream: S,
    host: &Host,
    transport: Transport,
    addr: String,
    laddr: String,
    fd: i32,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let engine = &host.engine;
    if !engine.admit_connection() {
        tokio::spawn(async move {
            // Whoever is turned away may be gone already.
            let _ = stream.write_all(TOO_MANY).await;
            let _ = stream.shutdown().await;
        });
        return;
    }
    let id = engine.clients().next_id();
    let client = Client::new(id, transport, addr, laddr, fd, engine.clock().now());
    let client = Arc::new(client);
    engine.clients().add(Arc::clone(&client));
    tokio::spawn(Connection::new(stream, Arc::clone(engine), client, host.actions.clone()));
}
