//! A server from start to end: its threads, its listeners, and the way it stops.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::listen::{self, Host, Means};
use super::listeners::{Doors, Listeners};
use super::platform::UnixSocket;
use super::{driver, link};
use crate::commands::{Action, shutdown};
use crate::config::{ShutdownFlags, Signal};
use crate::engine::{Engine, Turn};
use crate::error::Error;
use crate::persistence::{self, Disk, Progress, SystemDisk};
use crate::session::{End, Transport};
use crate::state::Listen;
use crate::tls::Tls;

/// How long connections may take to send what they have when the server stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long is waited for a slow script before it is looked at again.
pub(super) const WHILE_BUSY: Duration = Duration::from_millis(10);

/// Bytes that a stream within the process holds in each direction.
const DUPLEX: usize = 64 * 1024;

/// The stack of a thread that executes requests: Lua's patterns call themselves, and Redis has as
/// much for them. Memory is taken as it is used.
const STACK: usize = 8 << 20;

/// After so many polls a thread looks at its sockets and timers, though it has more to poll. A crowd
/// of connections is polled three times, and is to have answered before more is read.
const POLLS_BETWEEN_LOOKS: u32 = 256;

/// A server that runs on threads of its own. Dropping it stops the server and waits for that.
#[derive(Debug)]
pub struct Running {
    engine: Arc<Engine>,
    addrs: Addrs,
    unix: Option<PathBuf>,
    host: Host,
    runtime: Handle,
    stop: mpsc::UnboundedSender<Stop>,
    asked: Arc<AtomicBool>,
    ended: watch::Receiver<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// How a server is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// By a signal: as the settings say, and not where the data is to be saved and cannot be.
    By(Signal),
    /// Whatever comes.
    Now,
}

/// Where a server listens.
#[derive(Debug, Clone, Copy, Default)]
struct Addrs {
    tcp: Option<SocketAddr>,
    tls: Option<SocketAddr>,
}

/// What the server's thread tells whoever started it.
struct Started {
    addrs: Addrs,
    host: Host,
    runtime: Handle,
}

/// Who is told how the data is loaded with which a server starts; None: it starts without data.
pub type Load = Option<Box<dyn Progress + Send>>;

/// The data of a server that accepts connections already, and answers LOADING until they are there.
#[derive(Debug)]
pub struct Loading(oneshot::Receiver<Result<(), Error>>);

impl Loading {
    /// Waits until the data are there. False: the server was stopped before.
    ///
    /// # Errors
    ///
    /// They cannot be loaded, and the server ends.
    pub async fn done(self) -> Result<bool, Error> {
        Self::outcome(self.0.await)
    }

    /// [`Loading::done`] for programs without async.
    ///
    /// # Errors
    ///
    /// As [`Loading::done`].
    pub fn done_blocking(self) -> Result<bool, Error> {
        Self::outcome(self.0.blocking_recv())
    }

    fn outcome<E>(told: Result<Result<(), Error>, E>) -> Result<bool, Error> {
        // Where it was stopped nobody tells.
        told.map_or(Ok(false), |loaded| loaded.map(|()| true))
    }
}

/// Starts a server; the future ends when it accepts connections.
///
/// # Errors
///
/// An address that cannot be listened at, or threads that cannot be started.
pub fn start(
    engine: Arc<Engine>,
    load: Load,
) -> Result<impl Future<Output = Result<(Running, Loading), Error>>, Error> {
    let starting = spawn(engine, load)?;
    Ok(async move {
        let Starting { started, finish } = starting;
        Ok(finish(started.await.map_err(|_| lost())??))
    })
}

/// [`start`] for programs without async.
///
/// # Errors
///
/// As [`start`].
pub fn start_blocking(engine: Arc<Engine>, load: Load) -> Result<(Running, Loading), Error> {
    let Starting { started, finish } = spawn(engine, load)?;
    Ok(finish(started.blocking_recv().map_err(|_| lost())??))
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
    load: Load,
) -> Result<Starting<impl FnOnce(Started) -> (Running, Loading)>, Error> {
    let (ready, started) = oneshot::channel();
    let (loaded, loading) = oneshot::channel();
    let (stop, stopped) = mpsc::unbounded_channel();
    let (end, ended) = watch::channel(false);
    let (unix, asked) = {
        let mut turn = engine.turn();
        (turn.config().unixsocket.clone(), Arc::clone(&turn.server().asked_to_stop))
    };
    let served = Arc::clone(&engine);
    let thread = std::thread::Builder::new()
        .name("cloakroom".to_owned())
        .spawn(move || {
            run(served, load, Told { ready, loaded }, stopped);
            let _ = end.send(true);
        })
        .map_err(Error::Threads)?;
    let finish = move |Started { addrs, host, runtime }: Started| {
        let thread = Some(thread);
        let running = Running { engine, addrs, unix, host, runtime, stop, asked, ended, thread };
        (running, Loading(loading))
    };
    Ok(Starting { started, finish })
}

/// To whom the server's thread tells how it goes.
struct Told {
    ready: oneshot::Sender<Result<Started, Error>>,
    loaded: oneshot::Sender<Result<(), Error>>,
}

impl Running {
    /// The engine behind it.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Its first TCP address; None if it listens at none.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addrs.tcp
    }

    /// Its first address at which TLS is spoken; None if there is none.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.addrs.tls
    }

    /// The TLS of the server, if it speaks any.
    pub fn tls(&self) -> Option<Arc<Tls>> {
        self.engine.turn().server().tls.clone()
    }

    /// `redis://127.0.0.1:PORT`; `rediss://` where only TLS is spoken, a Unix socket's `unix://PATH`
    /// where there is no address.
    pub fn url(&self) -> Option<String> {
        match (self.addrs.tcp, self.unix_socket()) {
            (Some(addr), _) => Some(format!("redis://{addr}")),
            (None, None) => self.tls_url(),
            (None, Some(path)) => {
                self.tls_url().or_else(|| Some(format!("unix://{}", path.display())))
            }
        }
    }

    /// `rediss://127.0.0.1:PORT`; None where no TLS is spoken.
    pub fn tls_url(&self) -> Option<String> {
        self.addrs.tls.map(|addr| format!("rediss://{addr}"))
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
        listen::serve(far, &self.host, Transport::Embedded, true, name.clone(), name, -1);
        near
    }

    /// Stops the server: what is in flight is answered, then connections close. Data that is to be
    /// saved is, as far as that goes.
    pub fn stop(&mut self) {
        // It may have ended by itself.
        let _ = self.stop.send(Stop::Now);
    }

    /// Asks the server to stop, as a signal does: it goes on if data that is to be saved cannot be.
    /// False: it has been asked already, and has not got to its end yet.
    pub fn ask_to_stop(&mut self, signal: Signal) -> bool {
        let is_first = !self.asked.swap(true, Ordering::AcqRel);
        let _ = self.stop.send(Stop::By(signal));
        is_first
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

/// The server's thread: binds, loads, serves, stops.
fn run(engine: Arc<Engine>, load: Load, told: Told, stopped: mpsc::UnboundedReceiver<Stop>) {
    let workers = engine.turn().config().io_threads.max(1) as usize;
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name("cloakroom-io")
        .thread_stack_size(STACK)
        .event_interval(POLLS_BETWEEN_LOOKS)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            runtime.block_on(serve(engine, load, told, stopped));
            runtime.shutdown_timeout(Duration::from_millis(100));
        }
        Err(cause) => {
            let _ = told.ready.send(Err(Error::Threads(cause)));
        }
    }
}

async fn serve(
    engine: Arc<Engine>,
    load: Load,
    told: Told,
    mut stopped: mpsc::UnboundedReceiver<Stop>,
) {
    engine.on_slow_script(hand_over);
    let (actions, mut asked) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    let keepalive = engine.turn().config().tcp_keepalive as u64;
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    let line = (Handle::current().metrics().num_workers() == 1).then(Arc::default);
    let means = Means { actions, keepalive, disk: Arc::clone(&disk), line };
    let host = Host { engine: Arc::clone(&engine), means };
    let (closing, until) = watch::channel(());
    if load.is_some() {
        // Nobody who comes early finds a server without data.
        persistence::announce(&mut engine.turn());
    }
    let (addrs, doors) = match open(&engine, &host, until, &mut tasks) {
        Ok(opened) => opened,
        Err(error) => {
            let _ = told.ready.send(Err(error));
            return;
        }
    };
    let actions = host.means.actions.clone();
    let started = Started { addrs, host, runtime: Handle::current() };
    if told.ready.send(Ok(started)).is_err() {
        return;
    }
    let without_end = [
        tasks.spawn(driver::drive(Arc::clone(&engine), Arc::clone(&disk), actions.clone())),
        tasks.spawn(load_and_follow(Arc::clone(&engine), load, told.loaded, actions)),
    ];
    let ready = loop {
        tokio::select! {
            // What SHUTDOWN was to save has been saved in its own turn.
            Some(action) = asked.recv() => {
                if matches!(action, Action::Shutdown(_)) {
                    break None;
                }
            }
            how = stopped.recv() => {
                let ready = get_ready(&engine, how.unwrap_or(Stop::Now), &*disk).await;
                if ready.is_some() {
                    break ready;
                }
            }
        }
    };
    without_end.iter().for_each(tokio::task::AbortHandle::abort);
    // Dropped, it tells the listeners that they have accepted enough.
    drop(closing);
    while tasks.join_next().await.is_some() {}
    doors.ended().await;
    say_farewell(&engine).await;
    // What was in flight may have changed something since.
    if let Some((flags, stated)) = ready
        && let Some(mut turn) = last_turn(&engine, true).await
        && stated != turn.server().effects.stated()
    {
        let _ = persistence::save_at_shutdown(&mut turn, &*disk, flags);
    }
}

/// Saves the data, if it is to be, before the server ends; returns how it ends, and how many effects
/// had been stated. None: it goes on, for good or until its replicas have everything.
async fn get_ready(engine: &Engine, how: Stop, disk: &dyn Disk) -> Option<(ShutdownFlags, u64)> {
    let signal = match how {
        Stop::By(signal) => Some(signal),
        Stop::Now => None,
    };
    let Some(mut turn) = last_turn(engine, signal.is_none()).await else {
        tracing::error!("goes on, for a script that has changed data still runs");
        return None;
    };
    let flags = signal.map(|signal| turn.config().on_signal(signal)).unwrap_or_default();
    if signal.is_some() && turn.as_server(|ctx| shutdown::waits(ctx, flags)) {
        return None;
    }
    let saved = persistence::save_at_shutdown(&mut turn, disk, flags);
    if saved.is_err() && signal.is_some() && !flags.force {
        tracing::error!("goes on, for the data cannot be saved; SHUTDOWN NOSAVE ends it");
        turn.as_server(shutdown::give_up);
        return None;
    }
    Some((flags, turn.server().effects.stated()))
}

/// Loads the data, if there are any to be, then keeps the link to the primary. Ends only if they
/// cannot be loaded: the server stops.
async fn load_and_follow(
    engine: Arc<Engine>,
    load: Load,
    told: oneshot::Sender<Result<(), Error>>,
    actions: mpsc::UnboundedSender<Action>,
) {
    let loaded = match load {
        Some(progress) => load_aside(&engine, progress).await,
        None => Ok(()),
    };
    let failed = loaded.is_err();
    // Whoever started the server may not have waited.
    let _ = told.send(loaded);
    if failed {
        let _ = actions.send(Action::Shutdown(ShutdownFlags::AT_ONCE));
    } else {
        link::keep(engine).await;
    }
}

/// Loads the data on a thread of its own, until the future is dropped.
async fn load_aside(
    engine: &Arc<Engine>,
    mut progress: Box<dyn Progress + Send>,
) -> Result<(), Error> {
    #[derive(Default)]
    struct GivenUp(Arc<AtomicBool>);
    impl Drop for GivenUp {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let dropped = GivenUp::default();
    let (engine, given_up) = (Arc::clone(engine), Arc::clone(&dropped.0));
    let loading = tokio::task::spawn_blocking(move || {
        persistence::load_at_start(&engine, &mut *progress, &given_up)
    });
    loading.await.unwrap_or_else(|_| Err(lost()))
}

/// A turn at the data even where a script would run on without end: it gets a while, then it is
/// ended. None: it has changed data, and need not end.
async fn last_turn(engine: &Engine, must: bool) -> Option<Turn<'_>> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(turn) = engine.turn_unless_busy() {
            return Some(turn);
        }
        if waited > FAREWELL {
            if must {
                engine.script().kill_for_shutdown();
            } else if !engine.script().kill() {
                return None;
            }
        }
        tokio::time::sleep(WHILE_BUSY).await;
        waited += WHILE_BUSY;
    }
}

/// Lets another thread take over this one's connections while a slow script runs on here.
fn hand_over() {
    tokio::task::block_in_place(|| std::thread::sleep(Duration::from_millis(20)));
}

/// Opens all listeners; returns the first addresses.
fn open(
    engine: &Arc<Engine>,
    host: &Host,
    until: watch::Receiver<()>,
    tasks: &mut JoinSet<()>,
) -> Result<(Addrs, Arc<Doors>), Error> {
    let mut turn = engine.turn();
    let config = turn.config().clone();
    let (mut addrs, mut doors) = (Addrs::default(), Doors::default());
    // Port 0 means a free port here, not none as in Redis: `--port 0` is for fixtures.
    if !config.bind.is_empty() && !config.tls_only {
        let listeners = Listeners::new(host, None, until.clone());
        (addrs.tcp, turn.server().port) = listeners.open(&config)?;
        doors.plain = Some(listeners);
    }
    if let Some(tls) = turn.server().tls.clone().filter(|_| !config.bind.is_empty()) {
        if config.port == 0 && !config.tls_only && !config.tls_dev {
            tracing::warn!("port 0 is a free port without TLS; --tls-only opens none");
        }
        let listeners = Listeners::new(host, Some(tls), until.clone());
        (addrs.tls, turn.server().tls_port) = listeners.open(&config)?;
        doors.tls = Some(listeners);
    }
    let doors = Arc::new(doors);
    turn.server().listen = Some(Arc::clone(&doors) as Arc<dyn Listen>);
    if let Some(path) = &config.unixsocket {
        let socket = UnixSocket::bind(path, config.unixsocketperm)?;
        tasks.spawn(socket.accept(host.clone(), until));
    }
    Ok((addrs, doors))
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
        // A script that runs without end would keep its thread for ever.
        engine.script().kill_for_shutdown();
        for client in engine.clients().all() {
            client.kill(End::Killed);
        }
    }
}
