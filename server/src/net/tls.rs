//! TLS on sockets: connections accepted, and those that this server opens itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::{TlsAcceptor, TlsConnector, client};

use super::listen::{self, Host};
use super::listeners::Slot;
use crate::tls::Tls;

/// So many handshakes are under way at a time; who comes beyond is turned away.
const HANDSHAKES_AT_ONCE: usize = 1024;

/// Accepts TLS connections `until` its sender goes.
pub(super) async fn accept(
    slot: Arc<Slot>,
    tls: Arc<Tls>,
    host: Host,
    mut until: watch::Receiver<()>,
) {
    let mut failures = listen::Failures::default();
    let room = Arc::new(Semaphore::new(HANDSHAKES_AT_ONCE));
    loop {
        let accepted = tokio::select! {
            accepted = slot.accept() => accepted,
            _ = until.changed() => return,
        };
        let Some(accepted) = accepted else { return };
        let Some((stream, peer)) = failures.note(accepted).await else { continue };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            tracing::warn!(%peer, "turned away: too many TLS handshakes are under way");
            continue;
        };
        let (tls, host) = (Arc::clone(&tls), host.clone());
        tokio::spawn(async move {
            let _place = place;
            shake_hands(stream, peer, &tls, &host).await;
        });
    }
}

/// The handshake takes no longer than `tls-handshake-timeout`; then the connection is one like
/// every other.
async fn shake_hands(stream: TcpStream, peer: SocketAddr, tls: &Tls, host: &Host) {
    let facts = listen::prepare(&stream, peer, host);
    let most = Duration::from_millis(host.engine.handshake_timeout());
    let shaken = TlsAcceptor::from(tls.current()).accept(stream);
    match tokio::time::timeout(most, shaken).await {
        Ok(Ok(stream)) => listen::welcome(stream, facts, host),
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
    }
}

/// Speaks TLS over a connection that this server has opened, for instance to its primary. `host` is
/// the name or address that the other's certificate must be for; see [`Tls::client_config`].
///
/// # Errors
///
/// A name that is none, or a handshake that failed. It takes as long as the other lets it: the
/// caller sets a limit.
pub async fn connect(
    config: Arc<ClientConfig>,
    stream: TcpStream,
    host: &str,
) -> io::Result<client::TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(config).connect(name, stream).await
}
