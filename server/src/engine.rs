//! The one door: every request of every connection, script and transaction passes here.
//!
//! A connection takes a [`Turn`] for a batch of requests: the gate is locked once, the clock is
//! read once. A request is found, checked (arity, rights, memory, transaction, pause: nowhere
//! else), executed and its effect stated, in this order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::clock::{Clock, Micros, Millis};
use crate::commands::{
    Action, Command, CommandError, CommandTable, Ctx, Data, Done, Door, Encodings, Flags, Outcome,
    Session, Usage, expiry,
};
use crate::config::{Config, NotifyFlags};
use crate::resp::{Args, OwnedRequest, Reply};
use crate::session::{Client, Queued, ReplyMode, Transport, Waiting};
use crate::state::{Clients, Lookups, ScriptWatch, Server};
use crate::store::Keyspace;

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
}

/// What is known without the gate, and what waits for it.
#[derive(Debug, Default)]
struct Doorstep {
    limits: ConnectionLimits,
    /// Nobody has to authenticate.
    open: bool,
    maxclients: usize,
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
    /// `client-query-buffer-limit`.
    pub query_buffer: usize,
    /// The hard limit of `client-output-buffer-limit normal`.
    pub output_hard: usize,
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

/// How long a turn is waited for before it is asked again whether a script holds it up.
const PATIENCE: Duration = Duration::from_millis(10);

impl Engine {
    /// An engine of these settings on this clock.
    pub fn new(config: Config, clock: Arc<Clock>) -> Self {
        let table = CommandTable::new();
        let now = clock.now();
        let server = Server::new(config, &clock, table.len());
        let own = Client::new(0, Transport::Embedded, String::new(), String::new(), -1, now);
        let state = State {
            keyspace: Keyspace::new(server.config.databases as usize),
            lookups: Lookups::new(encodings(&server.config)),
            own: Session::new(Arc::new(own), Some("default".to_owned())),
            server,
        };
        let doorstep = Mutex::new(Doorstep::of(&state.server.config));
        Engine {
            clock,
            table,
            doorstep,
            clients: Arc::clone(&state.server.clients),
            script: Arc::clone(&state.server.script),
            gate: Mutex::new(state),
            driver: Driver { at: AtomicU64::new(Millis::MAX), waker: Mutex::new(None) },
        }
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

    /// Whether one more connection may be served (`maxclients`); counts both kinds.
    pub fn admit_connection(&self) -> bool {
        let fits = self.clients.len() < self.doorstep.lock().maxclients;
        self.clients.count_arrival(fits);
        fits
    }

    /// The session of a new connection: everybody's user, where none has to authenticate.
    pub fn welcome(&self, client: Arc<Client>) -> (Session, ConnectionLimits) {
        let doorstep = self.doorstep.lock();
        let user = doorstep.open.then(|| "default".to_owned());
        (Session::new(client, user), doorstep.limits)
    }

    /// Forgets a connection that has ended: its subscriptions, watches, waits.
    pub fn farewell(&self, mut session: Session) {
        self.clients.remove(session.id());
        match self.turn_unless_busy() {
            Some(mut turn) => turn.forget(&mut session),
            None => self.doorstep.lock().ended.push(session),
        }
    }

    /// What SCRIPT KILL and SHUTDOWN NOSAVE do while a script holds the gate for longer than its
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
        if is(0, "SCRIPT") && is(1, "KILL") && args.len() == 2 {
            let mut reply = Reply::new(out, protocol);
            if self.script.kill() {
                reply.ok();
            } else {
                reply.error(CommandError::UNKILLABLE.text());
            }
            return Some(Flow::Continue);
        }
        None
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
        let mut turn =
            Turn { engine: self, state, now: self.clock.now(), stamp: self.clock.stopwatch() };
        turn.settle(SETTLED_BEFORE_A_BATCH);
        turn
    }
}

impl Doorstep {
    fn of(config: &Config) -> Self {
        let or_none = |limit: u64| if limit == 0 { usize::MAX } else { limit as usize };
        let limits = ConnectionLimits {
            bulk: config.proto_max_bulk_len as i64,
            query_buffer: or_none(config.client_query_buffer_limit),
            output_hard: or_none(config.client_output_buffer_limit.normal.hard),
        };
        let open = config.requirepass.is_empty();
        Doorstep { limits, open, maxclients: config.maxclients as usize, ended: Vec::new() }
    }
}

/// A turn at the data: from here to its end nobody else reads or changes anything.
#[derive(Debug)]
pub struct Turn<'a> {
    engine: &'a Engine,
    state: MutexGuard<'a, State>,
    now: Millis,
    stamp: Micros,
}

impl Turn<'_> {
    /// The present, the same during the whole turn.
    pub fn now(&self) -> Millis {
        self.now
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

    /// What a connection has to know of the settings before it asks for a turn.
    pub fn connection_limits(&self) -> ConnectionLimits {
        Doorstep::of(&self.state.server.config).limits
    }

    /// Shows a connection's state to CLIENT LIST.
    pub fn publish(&self, session: &Session) {
        session.publish(self.now);
        if let Some(last) = session.last {
            session.client.view.lock().command = self.engine.table.shared_name(last);
        }
    }

    /// Regular care that no deadline asks for: connections idle for too long.
    pub fn look_after(&mut self) {
        for mut session in std::mem::take(&mut self.engine.doorstep.lock().ended) {
            self.forget(&mut session);
        }
        self.as_server(crate::commands::clients::close_idle);
    }

    /// Executes a request; its reply goes to the end of `out`.
    pub fn execute(&mut self, session: &mut Session, args: Args<'_>, out: &mut Vec<u8>) -> Flow {
        let mut ctx = self.context(session, out);
        let flow = execute(&mut ctx, args);
        self.stamp = ctx.stamp;
        flow
    }

    /// Ends a wait that was woken, by its deadline or by an event: writes the reply due then.
    pub fn resume(&mut self, session: &mut Session, why: crate::session::Wake, out: &mut Vec<u8>) {
        let waiting = session.waiting.take();
        self.state.server.waits.cancel(session.id());
        let mut reply = Reply::new(out, session.protocol);
        match (waiting, why) {
            (Some(Waiting::Replicas { .. }), crate::session::Wake::Resume) => reply.int(0),
            (Some(Waiting::Replicas { .. }), crate::session::Wake::Error) => {
                reply.error(CommandError::UNBLOCKED.text());
            }
            (Some(Waiting::Paused) | None, _) => {}
        }
        session.publish(self.now);
    }

    /// Carries out up to `most` of what has fallen due; returns whether more is.
    pub fn settle(&mut self, most: usize) -> bool {
        self.as_server(|ctx| expiry::settle(ctx, most))
    }

    /// When something falls due next.
    pub fn next_due(&mut self) -> Option<Millis> {
        self.as_server(expiry::next_due)
    }

    fn forget(&mut self, session: &mut Session) {
        let mut out = Vec::new();
        let mut ctx = self.context(session, &mut out);
        crate::commands::end_session(&mut ctx);
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
        Ctx {
            data: Data { keyspace, db: session.db, now, usage: usage(server, session), lookups },
            server,
            reply: Reply::new(out, session.protocol),
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
            let news = Doorstep { ended, ..Doorstep::of(&self.state.server.config) };
            *self.engine.doorstep.lock() = news;
        }
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
    let flow = match admit(ctx, args) {
        Err((command, error)) => {
            reject(ctx, command, &error);
            Flow::Continue
        }
        Ok(command) if is_queued(ctx, command) => {
            enqueue(ctx, command, args);
            Flow::Continue
        }
        Ok(command) if is_held_back(ctx, command) => {
            ctx.session.waiting = Some(Waiting::Paused);
            ctx.server.waits.hold(&ctx.session.client);
            return Flow::Wait;
        }
        Ok(command) => {
            ctx.session.last = Some(command);
            call(ctx, command, args);
            match ctx.asked.take() {
                None => Flow::Continue,
                Some(Action::Close) => Flow::Close,
                Some(Action::Wait) => Flow::Wait,
                Some(action) => Flow::Act(action),
            }
        }
    };
    match ctx.session.reply_mode {
        ReplyMode::On => {}
        ReplyMode::Off => ctx.reply.rollback(mark),
        ReplyMode::SkipNext => {
            ctx.reply.rollback(mark);
            ctx.session.reply_mode = ReplyMode::Skip;
        }
        ReplyMode::Skip => {
            ctx.reply.rollback(mark);
            ctx.session.reply_mode = ReplyMode::On;
        }
    }
    flow
}

type Refused = (Option<Command>, CommandError);

/// Finds a request's command and checks what can be checked before it is executed, in Redis's
/// order.
fn admit(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Command, Refused> {
    let command = ctx.table.find(args).map_err(|error| (None, error))?;
    let refuse = |error| Err((Some(command), error));
    if !command.spec.takes(args.len()) {
        return refuse(CommandError::wrong_arity(ctx.table.name(command)));
    }
    let flags = command.spec.flags;
    if ctx.session.user.is_none() && !flags.has(Flags::NO_AUTH) {
        return refuse(CommandError::NO_AUTH);
    }
    if ctx.server.config.maxmemory != 0
        && !crate::commands::eviction::make_room(ctx)
        && flags.has(Flags::DENY_OOM)
    {
        return refuse(CommandError::OUT_OF_MEMORY);
    }
    if ctx.session.is_subscriber() && !is_for_subscribers(command) {
        return refuse(CommandError::new(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET \
             are allowed in this context",
            ctx.table.name(command)
        )));
    }
    if ctx.session.transaction.is_some() && flags.has(Flags::NO_MULTI) {
        return refuse(CommandError::new("ERR Command not allowed inside a transaction"));
    }
    Ok(command)
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
        let cause = error.text().strip_prefix("ERR ").unwrap_or(error.text());
        ctx.reply.error(&format!("EXECABORT Transaction discarded because of: {cause}"));
    } else {
        ctx.reply.error(error.text());
    }
}

fn is_for_subscribers(command: Command) -> bool {
    matches!(
        command.spec.name,
        "SUBSCRIBE"
            | "UNSUBSCRIBE"
            | "PSUBSCRIBE"
            | "PUNSUBSCRIBE"
            | "SSUBSCRIBE"
            | "SUNSUBSCRIBE"
            | "PING"
            | "QUIT"
            | "RESET"
    )
}

fn is_queued(ctx: &Ctx<'_>, command: Command) -> bool {
    ctx.session.transaction.is_some()
        && !matches!(command.spec.name, "EXEC" | "DISCARD" | "MULTI" | "WATCH" | "QUIT" | "RESET")
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
    let writes = Flags::WRITE.0 | Flags::MAY_REPLICATE.0;
    let may_write = |command: Command| command.spec.flags.0 & writes != 0;
    let queued_write = || {
        let queue = ctx.session.transaction.as_ref().map(|transaction| &transaction.queue);
        command.spec.name == "EXEC"
            && queue.is_some_and(|queue| queue.iter().any(|queued| may_write(queued.command)))
    };
    pause.all || may_write(command) || queued_write()
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
    stats.commands[command.id].count(took, ok);
    crate::commands::slowlog::note(ctx, command, args, took);
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
        matches!(done, Ok(Outcome::Wrote | Outcome::WroteAs(_)))
            || before.revision == ctx.data.keyspace.revision()
            || before.stated != ctx.server.effects.stated(),
        "{args:?} changed data and stated no effect"
    );
    let db = ctx.data.db;
    match done {
        Ok(Outcome::Unchanged) => true,
        Ok(Outcome::Then(action)) => {
            ctx.asked = Some(action);
            true
        }
        Ok(Outcome::Wrote) => {
            ctx.server.effects.state(db, || args.to_owned());
            true
        }
        Ok(Outcome::WroteAs(effects)) => {
            for effect in effects {
                ctx.server.effects.state(db, || effect);
            }
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
    if !command.spec.is_write() && ctx.server.active_expire {
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

fn note_misses(ctx: &mut Ctx<'_>) {
    if !ctx.data.lookups.missed.is_empty() {
        for key in std::mem::take(&mut ctx.data.lookups.missed) {
            ctx.notify(NotifyFlags::KEY_MISS, "keymiss", &key);
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

/// A request made of text, for tests and the embedded handle.
pub fn request<A: AsRef<[u8]>>(args: impl IntoIterator<Item = A>) -> OwnedRequest {
    OwnedRequest::new(args)
}
