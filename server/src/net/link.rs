//! The connection to a primary: made, kept, and made again while this server is a replica.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::yield_now;
use tokio::time::{interval, sleep, timeout};

use super::tls;
use crate::engine::{Engine, Link, LinkError, Work};

/// How long after a link's end the next one is tried.
const RETRY: Duration = Duration::from_secs(1);

/// How often the primary is told how far this replica is.
const ACK_PERIOD: Duration = Duration::from_secs(1);

/// How long the link waits for a slow script before it looks again.
const WHILE_BUSY: Duration = Duration::from_millis(10);

/// How much one read takes in at most.
const READ_AT_ONCE: usize = 64 * 1024;

/// Why a connection is over.
enum End {
    /// The link says so.
    Link(LinkError),
    /// The connection does.
    Io(io::Error),
}

impl From<LinkError> for End {
    fn from(error: LinkError) -> Self {
        End::Link(error)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        End::Io(error)
    }
}

/// Keeps the link to whatever primary this server has; runs until its task is dropped.
pub(super) async fn keep(engine: Arc<Engine>) {
    let bell = Arc::clone(&engine.turn().server().replication.bell);
    loop {
        let rung = bell.count();
        let Some(mut link) = engine.begin_link() else {
            // It is no replica, or a script holds the data, which role it has included.
            let _ = timeout(RETRY, another_role(&bell, rung)).await;
            continue;
        };
        tracing::info!(host = link.host, port = link.port, "connects to its primary");
        let end = tokio::select! {
            end = run(&engine, &mut link) => end,
            () = another_role(&bell, rung) => Err(End::Link(LinkError::Void)),
        };
        let why = match end {
            Ok(never) => match never {},
            Err(End::Link(error)) => error,
            Err(End::Io(error)) => LinkError::Lost(error.to_string()),
        };
        tracing::warn!(host = link.host, port = link.port, %why, "the link to the primary is down");
        while link.end(&engine, &why) == Work::Busy {
            sleep(WHILE_BUSY).await;
        }
        let _ = timeout(RETRY, another_role(&bell, rung)).await;
    }
}

/// Waits until the bell has been rung more often than `rung` times.
async fn another_role(bell: &crate::replication::Bell, rung: u64) {
    poll_fn(|cx| {
        bell.listen(cx.waker());
        if bell.count() == rung { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}

/// Connects, and carries bytes until something ends.
async fn run(engine: &Engine, link: &mut Link) -> Result<Infallible, End> {
    let patience = Duration::from_secs(engine.turn().config().repl_timeout as u64);
    let over_tls = engine.link_tls().map_err(io::Error::other)?;
    let source = engine.turn().config().bind_source_addr.clone();
    let connecting = connect(&link.host, link.port, &source);
    let stream = timeout(patience, connecting).await.map_err(|_| timed_out())??;
    stream.set_nodelay(true)?;
    let Some(config) = over_tls else { return carry(engine, link, stream).await };
    let shaking = tls::connect(config, stream, &link.host);
    let stream = timeout(patience, shaking).await.map_err(|_| timed_out())??;
    carry(engine, link, stream).await
}

/// Connects from this address if there is one, otherwise from wherever the system chooses.
async fn connect(host: &str, port: u16, source: &str) -> io::Result<TcpStream> {
    if source.is_empty() {
        return TcpStream::connect((host, port)).await;
    }
    let source: IpAddr = source.parse().map_err(io::Error::other)?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in lookup_host((host, port)).await? {
        if address.is_ipv4() != source.is_ipv4() {
            continue;
        }
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind((source, 0).into())?;
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "nothing was heard for repl-timeout")
}

async fn carry(
    engine: &Engine,
    link: &mut Link,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<Infallible, End> {
    while link.connected(engine)? == Work::Busy {
        sleep(WHILE_BUSY).await;
    }
    let patience = engine.turn().config().repl_timeout as u64;
    let mut buffer = vec![0; READ_AT_ONCE].into_boxed_slice();
    let (mut ticks, mut silent) = (interval(ACK_PERIOD), 0);
    loop {
        loop {
            // Bytes that are there already would never let the clients of this server have a turn.
            yield_now().await;
            match link.work(engine)? {
                Work::Done => break,
                Work::Part => {}
                Work::Busy => sleep(WHILE_BUSY).await,
            }
        }
        let out = link.take_output();
        if !out.is_empty() {
            stream.write_all(&out).await?;
            stream.flush().await?;
        }
        tokio::select! {
            read = stream.read(&mut buffer) => match read? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                read => {
                    silent = 0;
                    link.feed(&buffer[..read]);
                }
            },
            () = killed(link) => return Err(LinkError::Lost("it was killed".to_owned()).into()),
            _ = ticks.tick() => {
                silent += 1;
                if silent > patience {
                    return Err(timed_out().into());
                }
                link.tick();
            }
        }
    }
}

/// Waits until somebody ends the link by CLIENT KILL.
async fn killed(link: &Link) {
    poll_fn(|cx| {
        let Some(client) = link.client() else { return Poll::Ready(()) };
        client.listen(cx.waker());
        if client.is_ending() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
