//! A server from start to end: its threads, its listeners, and the way it stops.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::driver;
use super::listen::{self, Host};
use super::platform::UnixSocket;
use crate::commands::Action;
use crate::engine::Engine;
use crate::error::Error;
use crate::session::Transport;

/// How long connections may take to send what they have when the server stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// Bytes that a stream within the process holds in each direction.
const DUPLEX: usize = 64 * 1024;

/// A server that runs on threads of its own. Dropping it stops the server and waits for that.
#[derive(Debug)]
pub struct Running {
    engine: Arc<Engine>,
    addr: Option<SocketAddr>,
    unix: Option<PathBuf>,
    host: Host,
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    ended: tokio::sync::watch::Receiver<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What the server's thread tells whoever started it.
struct Started {
    addr: Option<SocketAddr>,
    host: Host,
    runtime: Handle,
}

/// Starts a server; the future ends when it accepts connections.
///
/// # Errors
///
/// An address that cannot be listened at, or threads that cannot be started.
pub fn start(engine: Arc<Engine>) -> Result<impl Future<Output = Result<Running, Error>>, Error> {
    let starting = spawn(engine)?;
    Ok(async move {
        let Starting { started, finish } = starting;
        finish(started.await.map_err(|_| lost())??)
    })
}

/// [`start`] for programs without async.
///
/// # Errors
///
/// As [`start`].
pub fn start_blocking(engine: Arc<Engine>) -> Result<Running, Error> {
    let Starting { started, finish } = spawn(engine)?;
    finish(started.blocking_recv().map_err(|_| lost())??)
}

/// A server whose thread is about to say how it went.
struct Starting<F> {
    started: oneshot::Receiver<Result<Started, Error>>,
    finish: F,
}

fn lost() -> Error {
    Error::Threads(std::io::Error::other("the server's thread ended"))
}

fn spawn(
    engine: Arc<Engine>,
) -> Result<Starting<impl FnOnce(Started) -> Result<Running, Error>>, Error> {
    let (ready, started) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let (end, ended) = tokio::sync::watch::channel(false);
    let unix = engine.turn().config().unixsocket.clone();
    let served = Arc::clone(&engine);
    let thread = std::thread::Builder::new()
        .name("cloakroom".to_owned())
        .spawn(move || {
            run(served, ready, stopped);
            let _ = end.send(true);
        })
        .map_err(Error::Threads)?;
    let finish = move |Started { addr, host, runtime }: Started| {
        let (stop, thread) = (Some(stop), Some(thread));
        Ok(Running { engine, addr, unix, host, runtime, stop, ended, thread })
    };
    Ok(Starting { started, finish })
}

impl Running {
    /// The engine behind it.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Its first TCP address; None if it listens at none.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Its Unix socket.
    pub fn unix_socket(&self) -> Option<&PathBuf> {
        self.unix.as_ref()
    }

    /// A connection within the process, without any socket.
    pub fn connect(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(DUPLEX);
        let _runtime = self.runtime.enter();
        let name = "embedded:0".to_owned();
        listen::serve(far, &self.host, Transport::Embedded, name.clone(), name, -1);
        near
    }

    /// Asks the server to stop: what is in flight is answered, then connections close.
    pub fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// Waits until the server has ended, by itself (SHUTDOWN) or because it was asked to.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        // The sender goes with the thread: either way it has ended.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // A server that panicked has ended too.
            let _ = thread.join();
        }
    }
}

/// The server's thread: binds, serves, stops.
fn run(
    engine: Arc<Engine>,
    ready: oneshot::Sender<Result<Started, Error>>,
    stopped: oneshot::Receiver<()>,
) {
    let workers = engine.turn().config().io_threads.max(1) as usize;
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name("cloakroom-io")
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            runtime.block_on(serve(engine, ready, stopped));
            runtime.shutdown_timeout(Duration::from_millis(100));
        }
        Err(cause) => {
            let _ = ready.send(Err(Error::Threads(cause)));
        }
    }
}

async fn serve(
    engine: Arc<Engine>,
    ready: oneshot::Sender<Result<Started, Error>>,
    stopped: oneshot::Receiver<()>,
) {
    engine.script().set_hand_over(hand_over);
    let (actions, mut asked) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    let keepalive = engine.turn().config().tcp_keepalive as u64;
    let host = Host { engine: Arc::clone(&engine), actions, keepalive };
    let addr = match open(&engine, &host, &mut tasks) {
        Ok(addr) => addr,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    tasks.spawn(driver::drive(Arc::clone(&engine)));
    let started = Started { addr, host, runtime: Handle::current() };
    if ready.send(Ok(started)).is_err() {
        return;
    }
    let shutdown = async {
        // The only action so far that is the whole server's: SHUTDOWN.
        while let Some(action) = asked.recv().await {
            if matches!(action, Action::Shutdown { .. }) {
                return;
            }
        }
    };
    tokio::select! {
        _ = stopped => {}
        () = shutdown => {}
    }
    tasks.abort_all();
    while tasks.join_next().await.is_some() {}
    say_farewell(&engine).await;
}

/// Lets another thread take over this one's connections while a slow script runs on here.
fn hand_over() {
    tokio::task::block_in_place(|| std::thread::sleep(Duration::from_millis(20)));
}

/// Opens all listeners; returns the first address.
fn open(
    engine: &Arc<Engine>,
    host: &Host,
    tasks: &mut JoinSet<()>,
) -> Result<Option<SocketAddr>, Error> {
    let mut turn = engine.turn();
    let config = turn.config().clone();
    let mut addr = None;
    // Port 0 means a free port here, not none as in Redis: `--port 0` is for fixtures.
    if !config.bind.is_empty() {
        let (listeners, port) = listen::bind(&config)?;
        turn.server().port = port;
        addr = listeners.first().and_then(|listener| listener.local_addr().ok());
        for listener in listeners {
            tasks.spawn(listen::accept_tcp(listener, host.clone()));
        }
    }
    if let Some(path) = &config.unixsocket {
        let socket = UnixSocket::bind(path, config.unixsocketperm)?;
        tasks.spawn(socket.accept(host.clone()));
    }
    Ok(addr)
}

/// Lets every connection answer what is in flight, then closes it.
async fn say_farewell(engine: &Engine) {
    for client in engine.clients().all() {
        client.finish();
    }
    let gone = async {
        while !engine.clients().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    if tokio::time::timeout(FAREWELL, gone).await.is_err() {
        for client in engine.clients().all() {
            client.kill();
        }
    }
}
