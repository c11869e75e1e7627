//! The one door: every request of every connection, script and transaction passes here.
//!
//! A connection takes a [`Turn`] for a batch of requests: the gate is locked once, the clock is
//! read once. A request is found, checked (arity, rights, memory, transaction, pause: nowhere
//! else), executed and its effect stated, in this order.

mod copies;
mod link;

pub use link::{Link, LinkError, Work};

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::acl::DEFAULT;
use crate::clock::{Clock, Micros, Millis};
use crate::commands::{
    Action, Command, CommandError, CommandTable, Ctx, Data, Done, Door, Encodings, Flags, Outcome,
    Session, Usage, expiry, function_stats,
};
use crate::config::{Config, ConfigError, Directive, OutputLimit};
use crate::replication::Offset;
use crate::resp::{Args, OwnedRequest, Reply};
use crate::session::{Client, End, Identity, Queued, ReplyMode, Transport, Waiting, Wake};
use crate::state::{Clients, Lookups, Running, ScriptWatch, Server};
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
    gate: Mutex<State>,
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
        let expires = self.server.active_expire && self.server.may_expire(now);
        let data = if expires { self.keyspace.next_due() } else { None };
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

/// How much of what has fallen due one batch carries out before its own requests.
const SETTLED_BEFORE_A_BATCH: usize = 16;

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
            lookups: Lookups::new(encodings(&server.config)),
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
            gate: Mutex::new(state),
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
        self.begin(self.gate.lock())
    }

    /// A turn at the data, or None while a script runs for longer than its time.
    pub fn turn_unless_busy(&self) -> Option<Turn<'_>> {
        loop {
            if let Some(state) = self.gate.try_lock_for(PATIENCE) {
                return Some(self.begin(state));
            }
            if self.script.is_slow() {
                return None;
            }
        }
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
            let action = Action::Shutdown { save: Some(false), now: true, force: true };
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

    fn begin<'a>(&'a self, state: MutexGuard<'a, State>) -> Turn<'a> {
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
    state: MutexGuard<'a, State>,
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
        let looked_after = &mut self.state.server.looked_after;
        if self.stamp.saturating_sub(*looked_after) >= LOOK_AFTER_EVERY {
            *looked_after = self.stamp;
            self.as_server(crate::commands::clients::close_overdue);
            self.as_server(crate::commands::info::note_rates);
        }
        self.as_server(crate::commands::replication::tend);
    }

    /// Executes a request; its reply goes to the end of `out`.
    pub fn execute(&mut self, session: &mut Session, args: Args<'_>, out: &mut Vec<u8>) -> Flow {
        let mut ctx = self.context(session, out);
        let flow = execute(&mut ctx, args);
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

/// Takes a request the whole way. What it wants from the layer above comes back.
fn execute(ctx: &mut Ctx<'_>, args: Args<'_>) -> Flow {
    let mark = ctx.reply.mark();
    let is_replica = ctx.session.is_replica();
    let flow = match admit(ctx, args) {
        Err((None, _)) if is_from_browser(args) => {
            tracing::warn!(client = ctx.session.id(), "closed: it speaks HTTP");
            Flow::Close
        }
        Err((command, error)) => {
            reject(ctx, command, &error);
            Flow::Continue
        }
        Ok(command) if is_queued(ctx, command) => {
            ctx.session.last = Some(command);
            enqueue(ctx, command, args);
            Flow::Continue
        }
        Ok(command) if is_held_back(ctx, command) => {
            ctx.session.last = Some(command);
            ctx.session.waiting = Some(Waiting::Paused);
            ctx.session.last = Some(command);
            ctx.server.waits.hold(&ctx.session.client);
            return Flow::Wait;
        }
        Ok(command) => {
            ctx.session.last = Some(command);
            let before = ctx.server.effects.stream.offset();
            call(ctx, command, args);
            match ctx.asked.take() {
                None => {
                    note_written(ctx, before);
                    Flow::Continue
                }
                Some(Action::Close) => Flow::Close,
                Some(Action::Wait) => Flow::Wait,
                Some(action) => Flow::Act(action),
            }
        }
    };
    if is_replica && ctx.reply.mark() != mark {
        // A reply would stand in the middle of the stream.
        tracing::warn!(replica = ctx.session.id(), ?args, "closed: it wants a reply");
        ctx.reply.rollback(mark);
        ctx.session.client.kill(End::Killed);
    }
    let mode = ctx.session.reply_mode;
    if mode != ReplyMode::On {
        leave_unanswered(ctx, mode, mark);
    }
    flow
}

/// Notes up to where replicas must have the stream to have what this session has written. What WAIT
/// adds to it, to ask them for that, is not written by anybody: it would have to be asked for again.
fn note_written(ctx: &mut Ctx<'_>, before: Offset) {
    let offset = ctx.server.effects.stream.offset();
    if offset != before {
        ctx.session.written = offset;
    }
}

/// Takes back a reply that nobody wants.
#[cold]
fn leave_unanswered(ctx: &mut Ctx<'_>, mode: ReplyMode, mark: usize) {
    ctx.reply.rollback(mark);
    // Whoever wants no replies still gets messages, and confirmations of what it subscribes to.
    let pushes = std::mem::take(&mut ctx.session.pushes);
    ctx.reply.raw(&pushes);
    ctx.session.reply_mode = match mode {
        ReplyMode::SkipNext => ReplyMode::Skip,
        ReplyMode::Skip => ReplyMode::On,
        other => other,
    };
}

/// Whether a request is the beginning of one of HTTP, with which a page in a browser would have
/// commands executed that stand in its body.
fn is_from_browser(args: Args<'_>) -> bool {
    [&b"post"[..], b"host:"].iter().any(|word| args[0].eq_ignore_ascii_case(word))
}

type Refused = (Option<Command>, CommandError);

/// Finds a request's command and checks what can be checked before it is executed, in Redis's
/// order.
fn admit(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Command, Refused> {
    let command = ctx.table.find(args).map_err(|error| (None, error))?;
    let refuse = |error| Err::<(), _>((Some(command), error));
    if !command.spec.takes(args.len()) {
        refuse(CommandError::wrong_arity(ctx.table.name(command)))?;
    }
    let flags = flags_of(ctx, command);
    if flags.has(Flags::NO_MULTI) && ctx.session.transaction.is_some() {
        refuse(CommandError::new("ERR Command not allowed inside a transaction"))?;
    }
    // Who may do everything pays for no more than this comparison.
    if ctx.session.identity.cleared_at != ctx.server.users.version() {
        crate::commands::acl::check(ctx, command, args).or_else(refuse)?;
    }
    crate::commands::replication::check(ctx, flags).or_else(refuse)?;
    if ctx.server.config.maxmemory != 0
        && !ctx.session.may_exceed_memory
        && !ctx.leaves_eviction_to_primary()
        && !crate::commands::eviction::make_room(ctx)
        && (flags.has(Flags::DENY_OOM) || lengthens_queue(ctx, command))
    {
        refuse(CommandError::OUT_OF_MEMORY)?;
    }
    if (flags.has(Flags::WRITE) || command.spec.name == "PING")
        && ctx.server.persistence.refuses_writes(&ctx.server.config)
        && !ctx.session.is_primary_link
    {
        refuse(CommandError::CANNOT_SAVE)?;
    }
    if ctx.session.is_subscriber() && !is_for_subscribers(ctx.table.name(command)) {
        refuse(CommandError::new(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET \
             are allowed in this context",
            ctx.table.name(command)
        )))?;
    }
    if let Some(loading) = &ctx.server.persistence.loading {
        let refused = if loading.serves_old {
            flags.has(Flags::NO_ASYNC_LOADING)
        } else {
            !flags.has(Flags::LOADING)
        };
        if refused && !crate::commands::replication::ends_loading(ctx, command) {
            refuse(CommandError::LOADING)?;
        }
    }
    Ok(command)
}

/// What is to be known of a request: of EXEC, what goes for all that is queued.
fn flags_of(ctx: &Ctx<'_>, command: Command) -> Flags {
    let own = command.spec.flags;
    match &ctx.session.transaction {
        Some(transaction) if command.spec.name == "EXEC" => {
            let queued = transaction.queue.iter().map(|queued| queued.command.spec.flags);
            queued.fold(own, Flags::together)
        }
        _ => own,
    }
}

/// Whether a request is one more to be kept until EXEC, or would be if it could be queued.
fn lengthens_queue(ctx: &Ctx<'_>, command: Command) -> bool {
    ctx.session.transaction.is_some()
        && !matches!(command.spec.name, "EXEC" | "DISCARD" | "QUIT" | "RESET")
}

/// Answers a request that is not executed. Between MULTI and EXEC it spoils the transaction.
fn reject(ctx: &mut Ctx<'_>, command: Option<Command>, error: &CommandError) {
    if let Some(transaction) = &mut ctx.session.transaction {
        transaction.aborted = true;
    }
    if let Some(command) = command {
        ctx.server.stats.commands[command.id].rejected += 1;
    }
    ctx.server.stats.error(error.text());
    if command.is_some_and(|command| command.spec.name == "EXEC") {
        crate::commands::abort_transaction(ctx);
        ctx.reply.error(CommandError::exec_abort(error).text());
    } else {
        ctx.reply.error(error.text());
    }
}

fn is_for_subscribers(name: &str) -> bool {
    matches!(
        name,
        "subscribe"
            | "unsubscribe"
            | "psubscribe"
            | "punsubscribe"
            | "ssubscribe"
            | "sunsubscribe"
            | "ping"
            | "quit"
            | "reset"
    )
}

fn is_queued(ctx: &Ctx<'_>, command: Command) -> bool {
    let name = ctx.table.name(command);
    ctx.session.transaction.is_some()
        && !matches!(name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
}

fn enqueue(ctx: &mut Ctx<'_>, command: Command, args: Args<'_>) {
    if let Some(transaction) = &mut ctx.session.transaction {
        let request = args.to_owned();
        transaction.bytes += request.heap_bytes();
        transaction.queue.push(Queued { command, request });
        ctx.reply.simple("QUEUED");
    }
}

fn is_held_back(ctx: &Ctx<'_>, command: Command) -> bool {
    let Some(pause) = ctx.server.waits.paused(ctx.now) else { return false };
    // The stream goes on: it is not a client's.
    if ctx.session.is_primary_link || ctx.session.is_replica() {
        return false;
    }
    let flags = flags_of(ctx, command);
    pause.all || flags.has(Flags::WRITE) || flags.has(Flags::MAY_REPLICATE)
}

/// Executes an admitted command: its reply, an error included, is written; its effect is stated.
fn call(ctx: &mut Ctx<'_>, command: Command, args: Args<'_>) -> bool {
    let outer = std::mem::replace(&mut ctx.command, command);
    let start = ctx.stamp;
    end_due_keys(ctx, command, args);
    let before = Before {
        mark: ctx.reply.mark(),
        revision: ctx.data.keyspace.revision(),
        stated: ctx.server.effects.stated(),
    };
    let done = (command.spec.handler)(ctx, args);
    let ok = finish(ctx, args, done, &before);
    note_misses(ctx);
    crate::commands::monitor::feed(ctx, command, args);
    ctx.stamp = ctx.clock.stopwatch();
    let took = ctx.stamp.saturating_sub(start);
    let stats = &mut ctx.server.stats;
    stats.total_commands += 1;
    stats.commands[command.id].count(took, ok, ctx.server.config.latency_tracking);
    crate::commands::slowlog::note(ctx, command, args, took);
    crate::commands::latency::note(ctx, command, took);
    ctx.command = outer;
    ok
}

/// How things stood before a command.
struct Before {
    mark: usize,
    revision: u64,
    stated: u64,
}

/// States the effect or writes the error. In debug builds a change without an effect ends here.
fn finish(ctx: &mut Ctx<'_>, args: Args<'_>, done: Done, before: &Before) -> bool {
    debug_assert!(
        matches!(done, Ok(Outcome::Wrote))
            || before.revision == ctx.data.keyspace.revision()
            || before.stated != ctx.server.effects.stated(),
        "{args:?} changed data and stated no effect"
    );
    let db = ctx.data.db;
    match done {
        Ok(Outcome::Unchanged) => true,
        Ok(Outcome::Failed) => false,
        Ok(Outcome::Then(action)) => {
            ctx.asked = Some(action);
            true
        }
        Ok(Outcome::WroteAs) => true,
        Ok(Outcome::Wrote) => {
            ctx.server.effects.state(db, args.iter());
            true
        }
        Ok(Outcome::Told) => {
            ctx.server.effects.tell(db, args.iter());
            true
        }
        Err(error) => {
            ctx.reply.rollback(before.mark);
            ctx.reply.error(error.text());
            ctx.server.stats.error(error.text());
            false
        }
    }
}

/// A write that meets something past its time deletes it first. Where nothing deletes by itself
/// (DEBUG SET-ACTIVE-EXPIRE 0), a read does so too.
fn end_due_keys(ctx: &mut Ctx<'_>, command: Command, args: Args<'_>) {
    if ctx.data.now == 0 || !expiry::is_due(ctx) {
        return;
    }
    if !command.spec.is_write() && (ctx.server.active_expire || !ctx.may_expire()) {
        return;
    }
    let mut keys = Vec::new();
    command.spec.each_key(args, &mut |key, _| keys.push(key));
    for key in keys {
        while let Some(due) = ctx.data.end_if_due(key) {
            ctx.ended(due);
        }
    }
}

/// Tells what no event of the command has told; a key that it made and did not keep is nobody's
/// business.
fn note_misses(ctx: &mut Ctx<'_>) {
    for noted in std::mem::take(&mut ctx.data.lookups.noted) {
        if !noted.is_new {
            ctx.notify_noted(&noted);
        }
    }
}

/// The door that EXEC and scripts use: the same as everybody's.
struct TheDoor;

impl Door for TheDoor {
    fn admit(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Command, CommandError> {
        admit(ctx, args).map_err(|(command, error)| {
            if let Some(command) = command {
                ctx.server.stats.commands[command.id].rejected += 1;
            }
            error
        })
    }

    fn call(&self, ctx: &mut Ctx<'_>, command: Command, args: Args<'_>) -> bool {
        call(ctx, command, args)
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
