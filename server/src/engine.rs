//! The one door: every request of every connection, script and transaction passes here.
//!
//! A connection takes a [`Turn`] for a batch of requests: the gate is locked once, the clock is
//! read once. In `door.rs` each is found, checked (arity, rights, memory, transaction, pause:
//! nowhere else), executed and its effect stated, in this order.

mod copies;
mod door;
mod gate;
mod link;

use door::TheDoor;
pub use gate::QueuePlace;
use gate::{Gate, Inside};
pub use link::{Link, LinkError, Work};

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use crate::acl::DEFAULT;
use crate::clock::{Clock, Micros, Millis};
use crate::commands::{
    Action, CommandError, CommandTable, Ctx, Data, Encodings, Session, Usage, expiry,
    function_stats,
};
use crate::config::{Config, ConfigError, Directive, OutputLimit, ShutdownFlags};
use crate::resp::{Args, Glance, OwnedRequest, Reply};
use crate::session::{Client, Identity, Transport, Waiting, Wake};
use crate::state::{Clients, Expires, Lookups, Running, ScriptWatch, Server};
use crate::store::Keyspace;
use crate::tls::{Tls, client_config};

/// A server without its sockets.
#[derive(Debug)]
pub struct Engine {
    clock: Arc<Clock>,
    table: CommandTable,
    clients: Arc<Clients>,
    script: Arc<ScriptWatch>,
    /// What a connection has to know when the gate is shut by a slow script.
    doorstep: Mutex<Doorstep>,
    gate: Gate<State>,
    driver: Driver,
    settings: SettingsWatch,
}

/// Who wants to know of changed settings.
#[derive(Default)]
struct SettingsWatch(OnceLock<OnSettings>);

type OnSettings = Box<dyn Fn(&Config) + Send + Sync>;

impl fmt::Debug for SettingsWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettingsWatch").finish_non_exhaustive()
    }
}

/// What is known without the gate, and what waits for it.
#[derive(Debug, Default)]
struct Doorstep {
    limits: ConnectionLimits,
    /// Nobody has to authenticate.
    open: bool,
    /// The default user may do everything.
    default_is_almighty: bool,
    /// Only connections from this machine are let in.
    only_local: bool,
    /// This server is a replica.
    is_replica: bool,
    maxclients: usize,
    /// `tls-handshake-timeout` in milliseconds.
    handshake_timeout: u64,
    /// Sessions whose connections ended while the gate was shut.
    ended: Vec<Session>,
}

/// What the gate protects.
#[derive(Debug)]
struct State {
    keyspace: Keyspace,
    lookups: Lookups,
    server: Server,
    /// Whose session it is when the server itself acts.
    own: Session,
}

impl State {
    #[inline]
    fn next_due(&self, now: Millis) -> Option<Millis> {
        let data = match self.server.expires(now) {
            Expires::Everything => self.keyspace.next_due(),
            Expires::OwnKeys => self.keyspace.next_own_due(),
            Expires::Nothing => None,
        };
        let Server { config, effects, persistence, .. } = &self.server;
        let save = match &self.server.replication.copy {
            // Both take a snapshot, one after the other.
            Some(_) => self.has_to_copy().then_some(0),
            None => persistence.next_due(config, effects.stated()),
        };
        let earlier = |a: Option<Millis>, b: Option<Millis>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let others = earlier(self.server.waits.next(), self.server.shutdown_due());
        earlier(earlier(data, others), save)
    }
}

/// Who sees to it that what falls due is carried out when nobody asks.
#[derive(Debug)]
struct Driver {
    /// When it looks next; `Millis::MAX` = it sleeps until woken.
    at: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

/// What a connection has to know of the settings before it asks for a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionLimits {
    /// `proto-max-bulk-len`.
    pub bulk: i64,
    /// `client-query-buffer-limit`; requests queued since MULTI count too.
    pub query_buffer: usize,
    /// `client-output-buffer-limit normal`.
    pub normal: OutputLimit,
    /// `client-output-buffer-limit pubsub`.
    pub pubsub: OutputLimit,
    /// `proto-max-reply-len`.
    pub reply: usize,
    /// `maxmemory-clients` in bytes.
    pub memory: usize,
    /// How often the settings had changed when these were read.
    version: u64,
}

/// What a connection does after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Goes on with the next request.
    Continue,
    /// Sends what is written and closes.
    Close,
    /// Waits until its client is woken; `session.waiting` says for what. A request held back by
    /// CLIENT PAUSE is to be executed again.
    Wait,
    /// The layer above acts, then the connection goes on.
    Act(Action),
}

/// With so many bytes of requests it is worth while to look what they will touch: half a kilobyte is a
/// login.
const WORTH_A_GLANCE: usize = 768;

/// How much of what has fallen due one batch carries out before its own requests.
const SETTLED_BEFORE_A_BATCH: usize = 4;

/// How long a turn's batch may go on executing, in microseconds, while others wait.
const LONG_TURN: Micros = 5_000;

/// How often connections are looked after, in microseconds.
const LOOK_AFTER_EVERY: Micros = 100_000;

/// How long a turn is waited for before it is asked again whether a script holds it up.
const PATIENCE: Duration = Duration::from_millis(10);

impl Engine {
    /// An engine of these settings on this clock.
    ///
    /// # Errors
    ///
    /// Users or renamed commands that the settings tell of and that cannot be.
    pub fn new(config: Config, clock: Arc<Clock>) -> Result<Self, ConfigError> {
        let mut table = CommandTable::new();
        for renaming in &config.renamed_commands {
            rename(&mut table, renaming)?;
        }
        let now = clock.now();
        let catalog = crate::commands::acl::catalog(&table);
        let mut server = Server::new(config, &clock, table.len(), catalog);
        crate::commands::acl::load_at_start(&mut server)?;
        server.tls = Tls::new(&server.config).map_err(ConfigError::new)?.map(Arc::new);
        if server.config.tls_replication {
            client_config(&server.config, server.tls.as_deref()).map_err(ConfigError::new)?;
        }
        let own = Client::new(0, Transport::Embedded, String::new(), String::new(), -1, now);
        let state = State {
            keyspace: Keyspace::new(server.config.databases as usize),
            lookups: Lookups::new(&server.config),
            own: Session::new(Arc::new(own), Identity::stranger(true)),
            server,
        };
        let doorstep = Mutex::new(Doorstep::of(&state.server));
        Ok(Engine {
            clock,
            table,
            doorstep,
            clients: Arc::clone(&state.server.clients),
            script: Arc::clone(&state.server.script),
            gate: Gate::new(state),
            driver: Driver { at: AtomicU64::new(Millis::MAX), waker: Mutex::new(None) },
            settings: SettingsWatch::default(),
        })
    }

    /// Its clock.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// Its connections.
    pub fn clients(&self) -> &Arc<Clients> {
        &self.clients
    }

    /// All commands.
    pub fn table(&self) -> &CommandTable {
        &self.table
    }

    /// A turn at the data. Waits for the turns of others.
    pub fn turn(&self) -> Turn<'_> {
        self.begin(self.gate.enter())
    }

    /// A turn at the data, or None while a script runs for longer than its time.
    pub fn turn_unless_busy(&self) -> Option<Turn<'_>> {
        loop {
            if let Some(state) = self.gate.enter_within(PATIENCE) {
                return Some(self.begin(state));
            }
            if self.script.is_slow() {
                return None;
            }
        }
    }

    /// The same, without having the thread wait. Pending: others have their turns, and the task is
    /// woken when it is to try again.
    pub fn poll_turn(
        &self,
        place: &mut QueuePlace,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Turn<'_>>> {
        match self.gate.poll_enter(place, cx) {
            Poll::Ready(state) => Poll::Ready(Some(self.begin(state))),
            Poll::Pending if self.script.is_slow() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    /// What is called when a script has run for longer than its time: those who wait for a turn are
    /// told, then `hand_over` lets the thread's other connections go on elsewhere.
    pub fn on_slow_script(&self, hand_over: fn()) {
        let queue = Arc::clone(self.gate.queue());
        self.script.set_on_slow(move || {
            queue.wake_all();
            hand_over();
        });
    }

    /// The keys that the requests at the start of these bytes are about, at a glance.
    pub fn glance<'b>(&self, requests: &'b [u8]) -> Glance<'b> {
        Glance::at(requests, |name| self.table.first_key(name))
    }

    /// Whether one more connection may be served: `maxclients`, and `protected-mode` for those
    /// from elsewhere. Counts both kinds.
    ///
    /// # Errors
    ///
    /// What a connection that is turned away is told.
    pub fn admit_connection(&self, is_local: bool) -> Result<(), CommandError> {
        let doorstep = self.doorstep.lock();
        let admitted = if self.clients.len() >= doorstep.maxclients {
            Err(CommandError::TOO_MANY_CLIENTS)
        } else if doorstep.only_local && !is_local {
            Err(CommandError::PROTECTED_MODE)
        } else {
            Ok(())
        };
        self.clients.count_arrival(admitted.is_ok());
        admitted
    }

    /// Whether this server is a replica.
    pub fn is_replica(&self) -> bool {
        self.doorstep.lock().is_replica
    }

    /// How long a TLS handshake may take, in milliseconds.
    pub fn handshake_timeout(&self) -> u64 {
        self.doorstep.lock().handshake_timeout
    }

    /// The session of a new connection: the default user's.
    pub fn welcome(&self, client: Arc<Client>) -> (Session, ConnectionLimits) {
        let doorstep = self.doorstep.lock();
        (Session::new(client, Identity::stranger(doorstep.open)), doorstep.limits)
    }

    /// Forgets a connection that has ended: its subscriptions, watches, waits.
    pub fn farewell(&self, mut session: Session) {
        self.clients.remove(&session.client);
        match self.turn_unless_busy() {
            Some(mut turn) => turn.forget(&mut session),
            None => self.doorstep.lock().ended.push(session),
        }
    }

    /// Whether nobody has to authenticate.
    pub fn is_open(&self) -> bool {
        self.doorstep.lock().open
    }

    /// Whether a session is known to be allowed everything, as far as that can be told without the
    /// gate.
    pub fn knows_almighty(&self, session: &Session) -> bool {
        session.identity.cleared_at != 0
            || (*session.identity.user == *DEFAULT && self.doorstep.lock().default_is_almighty)
    }

    /// What SCRIPT KILL, FUNCTION KILL, FUNCTION STATS and SHUTDOWN NOSAVE do while a script holds the gate for longer than its
    /// time; None for every other request.
    pub fn end_script(
        &self,
        args: Args<'_>,
        protocol: crate::resp::Protocol,
        out: &mut Vec<u8>,
    ) -> Option<Flow> {
        let is = |index: usize, word: &str| {
            args.get(index).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
        };
        if is(0, "SHUTDOWN") && is(1, "NOSAVE") {
            self.script.kill_for_shutdown();
            let action = Action::Shutdown(ShutdownFlags::AT_ONCE);
            return Some(Flow::Act(action));
        }
        let is_function = matches!(self.script.running(), Running::Function { .. });
        let its_own = if is_function { "FUNCTION" } else { "SCRIPT" };
        let mut reply = Reply::new(out, protocol);
        match args.len() == 2 && is(0, its_own) {
            true if is(1, "KILL") && self.script.kill() => reply.ok(),
            true if is(1, "KILL") => reply.error(CommandError::UNKILLABLE.text()),
            true if is_function && is(1, "STATS") => function_stats(&mut reply, &self.script, true),
            _ => return None,
        }
        Some(Flow::Continue)
    }

    /// Has `act` called whenever settings were changed at run time; the first call of this counts.
    pub fn on_changed_settings(&self, act: impl Fn(&Config) + Send + Sync + 'static) {
        let _ = self.settings.0.set(Box::new(act));
    }

    /// What others may know of the running script without the gate.
    pub fn script(&self) -> &ScriptWatch {
        &self.script
    }

    /// Has `waker` called when something falls due earlier than the driver means to look.
    pub fn drive(&self, waker: &Waker) {
        *self.driver.waker.lock() = Some(waker.clone());
    }

    /// Says when the driver will look next by itself.
    pub fn driver_sleeps_until(&self, at: Option<Millis>) {
        self.driver.at.store(at.unwrap_or(Millis::MAX), Ordering::Release);
    }

    /// Wakes the driver, for instance because the clock was turned.
    pub fn wake_driver(&self) {
        if let Some(waker) = &*self.driver.waker.lock() {
            waker.wake_by_ref();
        }
    }

    fn begin<'a>(&'a self, state: Inside<'a, State>) -> Turn<'a> {
        let stamp = self.clock.stopwatch();
        let mut turn = Turn { engine: self, state, now: self.clock.now(), began: stamp, stamp };
        if turn.state.next_due(turn.now).is_some_and(|at| at <= turn.now) {
            turn.settle(SETTLED_BEFORE_A_BATCH);
        }
        turn
    }
}

impl ConnectionLimits {
    fn of(config: &Config) -> Self {
        let or_none = |limit: u64| if limit == 0 { usize::MAX } else { limit as usize };
        ConnectionLimits {
            bulk: config.proto_max_bulk_len as i64,
            query_buffer: or_none(config.client_query_buffer_limit),
            normal: config.client_output_buffer_limit.normal,
            pubsub: config.client_output_buffer_limit.pubsub,
            reply: config.proto_max_reply_len as usize,
            memory: or_none(config.maxmemory_clients.bytes(config.maxmemory)),
            version: 0,
        }
    }
}

impl Doorstep {
    fn of(server: &Server) -> Self {
        let config = &server.config;
        Doorstep {
            limits: ConnectionLimits::of(config),
            open: server.users.is_open(),
            default_is_almighty: server.users.get(DEFAULT).is_some_and(|it| it.is_unrestricted()),
            only_local: config.protected_mode
                && server.users.get(DEFAULT).is_some_and(|it| it.takes_any_password()),
            is_replica: config.replicaof.is_some(),
            maxclients: config.maxclients as usize,
            handshake_timeout: config.tls_handshake_timeout as u64,
            ended: Vec::new(),
        }
    }
}

/// A turn at the data: from here to its end nobody else reads or changes anything.
#[derive(Debug)]
pub struct Turn<'a> {
    engine: &'a Engine,
    state: Inside<'a, State>,
    now: Millis,
    began: Micros,
    stamp: Micros,
}

impl Turn<'_> {
    /// The present, the same during the whole turn.
    pub fn now(&self) -> Millis {
        self.now
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.engine.clock
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.state.server.config
    }

    /// What is kept beside the data.
    pub fn server(&mut self) -> &mut Server {
        &mut self.state.server
    }

    /// The data itself, to inspect it.
    pub fn keyspace(&mut self) -> &mut Keyspace {
        &mut self.state.keyspace
    }

    /// Brings what a connection has to know of the settings up to date.
    #[inline]
    pub fn refresh(&self, limits: &mut ConnectionLimits) {
        let server = &self.state.server;
        if server.config_changed || limits.version != server.limits_version {
            *limits = ConnectionLimits::of(&server.config);
            limits.version = server.limits_version;
        }
    }

    /// Whether it has lasted for so long that others ought to have their turns first.
    pub fn is_long(&self) -> bool {
        self.stamp.saturating_sub(self.began) > LONG_TURN
    }

    /// Shows a connection's state to CLIENT LIST.
    pub fn publish(&self, session: &mut Session) {
        if let Some(last) = session.last {
            session.client.pulse.set_command(last.id);
        }
        session.publish(self.now);
    }

    /// Regular care that no deadline asks for: connections idle, or behind with reading, for too
    /// long.
    pub fn look_after(&mut self) {
        for mut session in std::mem::take(&mut self.engine.doorstep.lock().ended) {
            self.forget(&mut session);
        }
        if self.state.server.debug.pauses_care {
            return;
        }
        let looked_after = &mut self.state.server.looked_after;
        if self.stamp.saturating_sub(*looked_after) >= LOOK_AFTER_EVERY {
            *looked_after = self.stamp;
            self.as_server(crate::commands::clients::close_overdue);
            self.as_server(crate::commands::info::note_rates);
        }
        self.as_server(crate::commands::replication::tend);
    }

    /// Before the request at `from` of several is executed: has at hand what it and those behind it
    /// will touch, if they are many and it was not looked as far before. Returns how far it was.
    #[inline]
    pub fn look_ahead(&self, db: usize, requests: &[u8], from: usize, looked: usize) -> usize {
        if from < looked || requests.len() - from < WORTH_A_GLANCE {
            return looked;
        }
        let glance = self.engine.glance(&requests[from..]);
        // One alone is fetched when it is executed.
        if glance.keys().len() > 1 {
            self.fetch(db, glance.keys());
        }
        from + glance.bytes()
    }

    /// Has at hand what belongs to these keys of a database.
    pub fn fetch(&self, db: usize, keys: &[&[u8]]) {
        self.state.keyspace.db(db).fetch(keys);
    }

    /// Executes a request; its reply goes to the end of `out`.
    pub fn execute(&mut self, session: &mut Session, args: Args<'_>, out: &mut Vec<u8>) -> Flow {
        let mut ctx = self.context(session, out);
        let flow = door::execute(&mut ctx, args);
        self.stamp = ctx.stamp;
        flow
    }

    /// Ends a wait that was woken, by its deadline or by an event: writes the reply due then.
    pub fn resume(&mut self, session: &mut Session, why: Wake, out: &mut Vec<u8>) {
        let waiting = session.waiting.take();
        self.state.server.waits.cancel(session.id());
        let mut reply = Reply::new(out, session.protocol);
        match (waiting, why) {
            (Some(Waiting::Replicas { offset }), Wake::Resume) => {
                reply.len(self.state.server.replication.replicas.acked(offset));
            }
            (Some(Waiting::Replicas { .. }), Wake::Error) => {
                reply.error(CommandError::UNBLOCKED.text());
            }
            (Some(Waiting::Replicas { .. }), Wake::Demoted) => {
                reply.error(CommandError::DEMOTED.text());
                session.client.finish();
            }
            (Some(Waiting::Shutdown), _) => reply.error(CommandError::SHUTDOWN_FAILED.text()),
            (Some(Waiting::Paused) | None, _) => {}
        }
        session.publish(self.now);
    }

    /// Carries out up to `most` of what has fallen due; returns whether more is.
    pub fn settle(&mut self, most: usize) -> bool {
        self.as_server(|ctx| expiry::settle(ctx, most))
    }

    /// Carries out all that has fallen due: in [`Turn::settle`]'s sense, and of connections.
    pub fn settle_all(&mut self) {
        self.as_server(expiry::settle_all);
    }

    /// When something falls due next: a key, a field, a wait, a save.
    pub fn next_due(&self) -> Option<Millis> {
        self.state.next_due(self.now)
    }

    fn forget(&mut self, session: &mut Session) {
        let mut out = Vec::new();
        let mut ctx = self.context(session, &mut out);
        crate::commands::forget_session(&mut ctx);
    }

    /// Does something as the server itself, on behalf of no connection.
    pub fn as_server<R>(&mut self, act: impl FnOnce(&mut Ctx<'_>) -> R) -> R {
        let State { keyspace, lookups, server, own } = &mut *self.state;
        let mut out = Vec::new();
        let mut ctx = Ctx {
            data: Data {
                keyspace,
                db: 0,
                now: self.now,
                usage: Usage { counts: false, lfu: None },
                lookups,
            },
            server,
            reply: Reply::new(&mut out, own.protocol),
            session: own,
            now: self.now,
            stamp: self.stamp,
            asked: None,
            command: self.engine.table.all()[0],
            table: &self.engine.table,
            clock: &self.engine.clock,
            door: &TheDoor,
        };
        act(&mut ctx)
    }

    fn context<'c>(&'c mut self, session: &'c mut Session, out: &'c mut Vec<u8>) -> Ctx<'c> {
        let State { keyspace, lookups, server, .. } = &mut *self.state;
        let now = if session.is_primary_link { 0 } else { self.now };
        let most = server.config.proto_max_reply_len;
        Ctx {
            data: Data { keyspace, db: session.db, now, usage: usage(server, session), lookups },
            server,
            reply: Reply::new(out, session.protocol).limited(most),
            session,
            now: self.now,
            stamp: self.stamp,
            asked: None,
            command: self.engine.table.all()[0],
            table: &self.engine.table,
            clock: &self.engine.clock,
            door: &TheDoor,
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if std::mem::take(&mut self.state.server.config_changed) {
            let ended = std::mem::take(&mut self.engine.doorstep.lock().ended);
            let news = Doorstep { ended, ..Doorstep::of(&self.state.server) };
            self.state.server.limits_version += 1;
            self.state.server.resize_backlog();
            self.engine.clients.evict(news.limits.memory);
            if let Some(act) = self.engine.settings.0.get() {
                act(&self.state.server.config);
            }
            *self.engine.doorstep.lock() = news;
        }
        self.state.server.effects.stream.flush(self.now);
        let next = self.next_due().unwrap_or(Millis::MAX);
        if next < self.engine.driver.at.load(Ordering::Acquire) {
            self.engine.driver.at.store(next, Ordering::Release);
            self.engine.wake_driver();
        }
    }
}

fn usage(server: &Server, session: &Session) -> Usage {
    let config = &server.config;
    let lfu = (config.lfu_decay_time as u32, config.lfu_log_factor as u32);
    Usage { counts: !session.no_touch, lfu: config.maxmemory_policy.is_lfu().then_some(lfu) }
}

/// The encodings' sizes as the settings have them.
pub fn encodings(config: &Config) -> Encodings {
    Encodings::from(config)
}

/// Gives a command another name, or takes it away, as a `rename-command` line says.
fn rename(table: &mut CommandTable, line: &Directive) -> Result<(), ConfigError> {
    let wrong = |why: String| Err(ConfigError::new(format!("{}: {why}", line.at)));
    let [name, to] = line.words.as_slice() else {
        return wrong("rename-command takes a command and its new name, \"\" for none".into());
    };
    if !to.is_empty() && table.named(to.as_bytes()).is_some() {
        return wrong(format!("there is a command {to} already; choose another name"));
    }
    if !table.rename(name.as_bytes(), to.as_bytes()) {
        return wrong(format!("there is no command {name} to rename"));
    }
    Ok(())
}

/// Frees what is of no use any more where nobody waits.
fn free(garbage: impl Send + 'static) {
    // Where there can be no other thread it is freed here.
    let _ = std::thread::Builder::new().spawn(move || drop(garbage));
}

/// A request made of text, for tests and the embedded handle.
pub fn request<A: AsRef<[u8]>>(args: impl IntoIterator<Item = A>) -> OwnedRequest {
    OwnedRequest::new(args)
}
