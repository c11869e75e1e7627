//! The link of a replica to its primary, without its socket: what comes is fed in, what is to be
//! sent is taken out.
//!
//! The handshake comes first; then, if need be, a copy of all data, which is read into a keyspace
//! of its own and takes the old one's place when it is whole; then the stream, whose requests pass
//! the one door and are passed on, byte by byte, to replicas of this replica.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;

use super::{Engine, Turn, encodings};
use crate::clock::Millis;
use crate::commands::{RestorePolicy, Session, adopt_libraries, replication as commands, saving};
use crate::config::Config;
use crate::rdb::{LoadOptions, Loaded, Loader, ReadError, ReadOptions};
use crate::replication::{
    Answer, Handshake, History, Introduction, LinkStage, Offset, Payload, Refusal, ReplicationId,
    Upstream,
};
use crate::resp::{Args, Limits, OwnedRequest, Parsed, RequestParser};
use crate::session::{Client, Identity, Transport};
use crate::state::{Loading, Server};
use crate::store::Keyspace;
use crate::tls::client_config;

/// A link from its connection to its end.
#[derive(Debug)]
pub struct Link {
    /// The primary's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How often the bell had been rung when the link began: later rings make it void.
    rung: u64,
    /// Whose the stream's requests are. None only while the link ends.
    session: Option<Session>,
    stage: Stage,
    /// What has come and is not yet made use of.
    input: Vec<u8>,
    out: Vec<u8>,
    /// How much of the stream the data at hand are the outcome of.
    applied: Offset,
}

#[derive(Debug)]
enum Stage {
    /// Before the connection is made.
    Connecting,
    Handshake(Box<Handshake>),
    /// Before a copy, whose header line comes next.
    Header {
        id: ReplicationId,
        offset: Offset,
    },
    Copy(Box<Copy>),
    Stream(Box<Intake>),
}

/// A copy of the data that comes.
#[derive(Debug)]
struct Copy {
    id: ReplicationId,
    offset: Offset,
    payload: Payload,
    size: Option<u64>,
    come: u64,
    /// The last byte has come.
    is_whole: bool,
    /// None only while the copy ends.
    loader: Option<Loader>,
    keyspace: Keyspace,
}

/// How far the stream's bytes have been made use of.
#[derive(Debug, Default)]
struct Intake {
    parser: RequestParser,
    /// Up to here requests were executed.
    parsed: usize,
}

/// What a link waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// More bytes.
    Done,
    /// Others' turns: it can go on at once.
    Part,
    /// The end of a script that holds the data for longer than its time.
    Busy,
}

/// Why a link ends.
#[derive(Debug)]
pub enum LinkError {
    /// This server follows another primary by now, or none.
    Void,
    /// The connection is gone.
    Lost(String),
    /// The primary does not let it in.
    Refused(Refusal),
    /// The copy of the data is damaged, or holds what is not known here.
    Copy(String),
    /// What comes is no stream.
    Garbled(String),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::Void => f.write_str("this server has another role now"),
            LinkError::Lost(why) => write!(f, "the connection is gone: {why}"),
            LinkError::Refused(refusal) => refusal.fmt(f),
            LinkError::Copy(why) => write!(f, "the copy of the data cannot be taken: {why}"),
            LinkError::Garbled(why) => write!(f, "the stream cannot be understood: {why}"),
        }
    }
}

impl std::error::Error for LinkError {}

impl From<Refusal> for LinkError {
    fn from(refusal: Refusal) -> Self {
        LinkError::Refused(refusal)
    }
}

/// No header of a copy is longer.
const LONGEST_HEADER: usize = 256;

/// How many requests of the stream are executed in one turn.
const REQUESTS_AT_ONCE: usize = 256;

impl Engine {
    /// Begins a link to the primary, if this server is a replica.
    pub fn begin_link(&self) -> Option<Link> {
        let mut turn = self.turn_unless_busy()?;
        let replication = &mut turn.server().replication;
        let rung = replication.bell.count();
        let upstream = replication.role.upstream_mut()?;
        upstream.stage = LinkStage::Connecting;
        let (host, port) = (upstream.host.clone(), upstream.port);
        Some(Link {
            rung,
            session: Some(self.link_session(&host, port, turn.now())),
            stage: Stage::Connecting,
            input: Vec::new(),
            out: Vec::new(),
            applied: turn.server().effects.stream.offset(),
            host,
            port,
        })
    }

    fn link_session(&self, host: &str, port: u16, now: u64) -> Session {
        let (id, addr) = (self.clients.next_id(), format!("{host}:{port}"));
        let client = Arc::new(Client::new(id, Transport::Tcp, addr, String::new(), -1, now));
        self.clients.add(Arc::clone(&client));
        let mut session = Session::new(client, Identity::stranger(true));
        session.is_primary_link = true;
        session.publish(now);
        session
    }
}

impl Engine {
    /// With what a replica goes to its primary over TLS; None: without TLS.
    ///
    /// # Errors
    ///
    /// What is missing or cannot be used, and how to mend it.
    pub fn link_tls(&self) -> Result<Option<Arc<ClientConfig>>, String> {
        let mut turn = self.turn();
        let server = turn.server();
        let over_tls = server.config.tls_replication;
        over_tls.then(|| client_config(&server.config, server.tls.as_deref())).transpose()
    }
}

impl Link {
    /// Whose the stream's requests are, as CLIENT LIST shows it.
    pub fn client(&self) -> Option<&Arc<Client>> {
        self.session.as_ref().map(|session| &session.client)
    }

    /// Whether this server has followed another primary, or none, since the link began.
    pub fn is_void(&self, rung: u64) -> bool {
        self.rung != rung
    }

    /// The connection is made: the handshake begins.
    ///
    /// # Errors
    ///
    /// This server has another role by now.
    pub fn connected(&mut self, engine: &Engine) -> Result<Work, LinkError> {
        let Some(mut turn) = engine.turn_unless_busy() else { return Ok(Work::Busy) };
        self.upstream(&mut turn)?.stage = LinkStage::Handshake;
        let mut handshake = Handshake::new(introduction(&mut turn));
        self.out = handshake.take_output();
        self.stage = Stage::Handshake(Box::new(handshake));
        Ok(Work::Done)
    }

    /// Takes what has come; [`Link::work`] makes use of it.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// What is to be sent now.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Makes use of a part of what has come: others want their turns, however far behind it is.
    ///
    /// # Errors
    ///
    /// The link is over, and says why.
    pub fn work(&mut self, engine: &Engine) -> Result<Work, LinkError> {
        // A copy comes into a keyspace of its own: nobody has to stand back for it.
        if let Stage::Copy(copy) = &mut self.stage
            && !copy.is_whole
        {
            let used = copy.take_in(&self.input)?;
            self.input.drain(..used);
        }
        let Some(mut turn) = engine.turn_unless_busy() else { return Ok(Work::Busy) };
        Ok(if self.step(&mut turn)? { Work::Part } else { Work::Done })
    }

    /// Tells the primary, every second, how far this replica is.
    pub fn tick(&mut self) {
        if matches!(self.stage, Stage::Stream(_)) {
            let offset = self.applied.to_string();
            OwnedRequest::new(["REPLCONF", "ACK", &offset]).encode(&mut self.out);
        }
    }

    /// Ends the link; the next one goes on from where the data stand.
    pub fn end(&mut self, engine: &Engine, why: &LinkError) -> Work {
        let Some(mut turn) = engine.turn_unless_busy() else { return Work::Busy };
        let now = turn.now();
        if let Ok(upstream) = self.upstream(&mut turn) {
            if upstream.is_connected() {
                upstream.down_since = Some(now);
            }
            upstream.stage = LinkStage::Connect;
        }
        turn.server().persistence.loading = None;
        // Only the replica that is to take over can say that it does not.
        if let LinkError::Refused(Refusal::Refused { what: "PSYNC", .. }) = why {
            turn.as_server(|ctx| commands::abort_failover(ctx, "the replica refuses"));
        }
        drop(turn);
        if let Some(session) = self.session.take() {
            engine.farewell(session);
        }
        Work::Done
    }

    /// Does a part of the work. False: more bytes are needed.
    fn step(&mut self, turn: &mut Turn<'_>) -> Result<bool, LinkError> {
        let now = turn.now();
        let upstream = self.upstream(turn)?;
        if !self.input.is_empty() {
            upstream.last_io = Some(now);
        }
        match &mut self.stage {
            Stage::Connecting => Ok(false),
            Stage::Handshake(handshake) => {
                let (used, answer) = handshake.take_in(&self.input)?;
                self.out.append(&mut handshake.take_output());
                self.input.drain(..used);
                match answer {
                    None => Ok(false),
                    Some(answer) => self.answered(turn, answer).map(|()| true),
                }
            }
            Stage::Header { id, offset } => {
                let (id, offset) = (*id, *offset);
                self.header(turn, id, offset)
            }
            Stage::Copy(_) => self.copied(turn),
            Stage::Stream(_) => self.stream(turn),
        }
    }

    /// PSYNC was answered.
    fn answered(&mut self, turn: &mut Turn<'_>, answer: Answer) -> Result<(), LinkError> {
        // Either answer says that the replica has taken over, if it was asked to.
        if turn.server().replication.failover.is_some() {
            turn.as_server(commands::end_failover);
        }
        match answer {
            Answer::Full { id, offset } => {
                tracing::info!(%id, offset, "a copy of all data comes");
                let drops_old = turn.config().repl_diskless_load != "swapdb";
                let upstream = self.upstream(turn)?;
                (upstream.stage, upstream.copied) = (LinkStage::Copy, (None, 0));
                if drops_old {
                    upstream.can_resume = false;
                    turn.drop_data();
                }
                self.stage = Stage::Header { id, offset };
            }
            Answer::Continue { id } => {
                let server = turn.server();
                let offset = server.effects.stream.offset();
                tracing::info!(offset, "the stream goes on");
                if let Some(id) = id.filter(|id| *id != server.replication.history.id()) {
                    server.replication.history.rename(id, offset);
                    commands::disconnect_replicas(server);
                }
                self.begin_stream(turn)?;
            }
        }
        Ok(())
    }

    /// From here on the stream comes, and what is fed is its.
    fn begin_stream(&mut self, turn: &mut Turn<'_>) -> Result<(), LinkError> {
        self.applied = turn.server().effects.stream.offset();
        let upstream = self.upstream(turn)?;
        upstream.stage = LinkStage::Connected;
        upstream.can_resume = true;
        let db = upstream.db;
        if let Some(session) = &mut self.session {
            session.db = db;
        }
        self.stage = Stage::Stream(Box::default());
        // A primary that sent a copy up to a mark waits for this.
        self.tick();
        Ok(())
    }

    fn header(
        &mut self,
        turn: &mut Turn<'_>,
        id: ReplicationId,
        offset: Offset,
    ) -> Result<bool, LinkError> {
        // A primary that prepares the copy keeps the connection alive by empty lines.
        let start = self.input.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
        self.input.drain(..start.unwrap_or(self.input.len()));
        let Some(end) = memchr::memchr(b'\n', &self.input) else {
            let is_too_long = self.input.len() > LONGEST_HEADER;
            return if is_too_long { Err(self.garbled()) } else { Ok(false) };
        };
        let line = self.input[..end].strip_suffix(b"\r").unwrap_or(&self.input[..end]);
        let Some(payload) = Payload::parse(line) else { return Err(self.garbled()) };
        self.input.drain(..=end);
        let copy = Copy::new(turn.config(), turn.now(), (id, offset), payload);
        self.stage = Stage::Copy(Box::new(copy));
        Ok(true)
    }

    fn garbled(&self) -> LinkError {
        let shown = &self.input[..self.input.len().min(LONGEST_HEADER)];
        LinkError::Garbled(format!("{:?}", String::from_utf8_lossy(shown)))
    }

    fn copied(&mut self, turn: &mut Turn<'_>) -> Result<bool, LinkError> {
        let Stage::Copy(copy) = &mut self.stage else { return Ok(false) };
        let (progress, is_whole) = ((copy.size, copy.come), copy.is_whole);
        let noted = copy.loader.as_ref().map_or(0, Loader::noted_memory);
        let memory = (copy.keyspace.bytes(), noted);
        self.upstream(turn)?.copied = progress;
        if let Some(loading) = &mut turn.server().persistence.loading {
            (loading.total, loading.loaded) = progress;
            (loading.used_memory, loading.noted_memory) = memory;
        }
        if !is_whole {
            return Ok(false);
        }
        let Stage::Copy(copy) = std::mem::replace(&mut self.stage, Stage::Connecting) else {
            return Ok(false);
        };
        let Copy { id, offset, keyspace, loader, .. } = *copy;
        let Some(loader) = loader else { return Ok(false) };
        let mut loaded = loader.finish().map_err(|error| LinkError::Copy(error.to_string()))?;
        let codes = std::mem::take(&mut loaded.libraries);
        turn.as_server(|ctx| adopt_libraries(ctx, codes, RestorePolicy::Flush))
            .map_err(|error| LinkError::Copy(String::from_utf8_lossy(error.text()).into_owned()))?;
        let Loaded { keys, skipped, .. } = loaded;
        tracing::info!(keys, skipped, "the copy of all data is whole");
        let db = stream_db(&loaded, keyspace.databases());
        turn.put_data(keyspace);
        turn.put_history(id, offset);
        let persistence = &mut turn.server().persistence;
        (persistence.last_load, persistence.loading) = (loaded, None);
        self.upstream(turn)?.db = db;
        self.begin_stream(turn)?;
        Ok(true)
    }

    /// Executes what has come of the stream. What is whole (no request, and no transaction, is cut)
    /// counts as applied and is passed on.
    fn stream(&mut self, turn: &mut Turn<'_>) -> Result<bool, LinkError> {
        let (Stage::Stream(intake), Some(session)) = (&mut self.stage, &mut self.session) else {
            return Ok(false);
        };
        let limits = Limits { bulk: i64::MAX, arguments: i64::MAX, ..Limits::default() };
        let (mut whole, mut wants_ack, mut left) = (0, false, REQUESTS_AT_ONCE);
        let mut looked = 0;
        let end = loop {
            let rest = &self.input[intake.parsed..];
            let length = match intake.parser.parse(rest, &limits) {
                _ if left == 0 => break Ok(true),
                Ok(Parsed::Complete(length)) => length,
                Ok(Parsed::Incomplete) => break Ok(false),
                Err(error) => break Err(LinkError::Garbled(error.to_string())),
            };
            let args = intake.parser.args(rest);
            looked = turn.look_ahead(session.db, &self.input, intake.parsed, looked);
            (intake.parsed, left) = (intake.parsed + length, left - 1);
            match args.get(0) {
                None => {}
                Some(name) if name.eq_ignore_ascii_case(b"REPLCONF") => wants_ack = true,
                Some(_) => execute(turn, session, args),
            }
            if session.transaction.is_none() {
                whole = intake.parsed;
            }
        };
        // Whatever comes of the rest: this much was applied.
        let db = session.db;
        intake.parsed -= whole;
        turn.server().effects.stream.pass_on(&self.input[..whole]);
        self.input.drain(..whole);
        self.applied = turn.server().effects.stream.offset();
        if whole > 0 {
            self.upstream(turn)?.db = db;
        }
        if wants_ack {
            self.tick();
        }
        end
    }

    /// How the link stands, if it is still this server's.
    fn upstream<'t>(&self, turn: &'t mut Turn<'_>) -> Result<&'t mut Upstream, LinkError> {
        let replication = &mut turn.server().replication;
        if self.is_void(replication.bell.count()) {
            return Err(LinkError::Void);
        }
        replication.role.upstream_mut().ok_or(LinkError::Void)
    }
}

/// Executes a request of the stream. What a primary has done a replica can do: an error means that
/// their data are not the same, or that this server lacks a command.
fn execute(turn: &mut Turn<'_>, session: &mut Session, args: Args<'_>) {
    let mut out = Vec::new();
    turn.execute(session, args, &mut out);
    if out.first() == Some(&b'-') {
        let error = String::from_utf8_lossy(&out).trim().to_owned();
        let command = String::from_utf8_lossy(&args[0]).into_owned();
        tracing::error!(command, error, "a request of the primary's stream fails");
        turn.server().stats.unexpected_errors += 1;
    }
}

/// How this server introduces itself to its primary.
fn introduction(turn: &mut Turn<'_>) -> Introduction {
    let server = turn.server();
    let (config, replication) = (&server.config, &server.replication);
    let can_resume = replication.role.upstream().is_some_and(|upstream| upstream.can_resume);
    // Whoever comes to its primary over TLS is found by others in the same way.
    let over_tls = config.tls_replication && server.tls_port != 0;
    let port = match config.replica_announce_port {
        0 if over_tls => server.tls_port,
        0 => server.port,
        announced => announced,
    };
    Introduction {
        user: config.masteruser.clone(),
        password: config.masterauth.clone(),
        port,
        ip: config.replica_announce_ip.clone(),
        has: can_resume.then(|| (replication.history.id(), server.effects.stream.offset())),
        failover: replication.failover.is_some(),
    }
}

impl Copy {
    fn new(
        config: &Config,
        now: Millis,
        (id, offset): (ReplicationId, Offset),
        payload: Payload,
    ) -> Self {
        let options = LoadOptions {
            read: ReadOptions {
                skip_unknown: config.rdb_skip_unknown_types,
                checksum: config.rdbchecksum,
                longest: config.proto_max_bulk_len,
            },
            encodings: encodings(config),
            now,
            counts_uses: config.maxmemory_policy.is_lfu(),
            // What is past its time stays until the primary says that it is gone.
            drop_expired: false,
            merge: false,
        };
        Copy {
            id,
            offset,
            size: payload.size(),
            payload,
            come: 0,
            is_whole: false,
            loader: Some(Loader::new(options)),
            keyspace: Keyspace::new(config.databases as usize),
        }
    }

    /// Takes in what has come; returns how many bytes of it are the copy's.
    fn take_in(&mut self, bytes: &[u8]) -> Result<usize, LinkError> {
        let Copy { payload, loader, keyspace, .. } = self;
        let (mut failed, damaged) = (None, |error: ReadError| LinkError::Copy(error.to_string()));
        let taken = payload.take_in(bytes, &mut |bytes| {
            if let (None, Some(loader)) = (&failed, loader.as_mut()) {
                failed = loader.feed(bytes, keyspace).err();
            }
        });
        if let Some(error) = failed {
            return Err(damaged(error));
        }
        self.come += taken.used as u64;
        self.is_whole = taken.is_complete;
        Ok(taken.used)
    }
}

/// The database that the stream has selected where a copy was made, as the copy says.
fn stream_db(loaded: &Loaded, databases: usize) -> usize {
    let db = loaded.note("repl-stream-db").and_then(|db| db.parse().ok());
    db.filter(|db| *db < databases).unwrap_or(0)
}

/// The history that data belong to and how much of it they hold, as their file says.
fn place(loaded: &Loaded) -> Option<(ReplicationId, Offset)> {
    let id = ReplicationId::parse(loaded.note("repl-id")?.as_bytes())?;
    Some((id, loaded.note("repl-offset")?.parse().ok()?))
}

impl Turn<'_> {
    /// Puts other data in the place of all; the old ones are freed.
    pub fn put_data(&mut self, keyspace: Keyspace) {
        // Nobody goes on with a snapshot of what is not there any more.
        self.as_server(saving::give_up);
        self.server().replication.give_up_copy();
        let old = self.state.keyspace.replace(keyspace, self.now);
        if self.config().replica_lazy_flush {
            super::free(old);
        }
    }

    /// Lets the data go before others come: there is nothing to serve meanwhile.
    fn drop_data(&mut self) {
        let databases = self.config().databases as usize;
        self.put_data(Keyspace::new(databases));
        let started = self.now;
        let server = self.server();
        commands::disconnect_replicas(server);
        // No data are no history's: whoever had the old one cannot go on from here.
        server.effects.stream.close();
        server.replication.begin_history();
        server.persistence.loading = Some(Loading::copy(started));
    }

    /// The data come from a file. Where it says what place they have in a history, a replica goes on
    /// from there, and a primary's replicas can, if they have come no further.
    pub fn take_place(&mut self, loaded: &Loaded) {
        let Some((id, offset)) = place(loaded) else { return };
        let db = stream_db(loaded, self.keyspace().databases());
        self.put_history(id, offset);
        let now = self.now;
        let Server { replication, effects, .. } = self.server();
        match replication.role.upstream_mut() {
            Some(upstream) => (upstream.can_resume, upstream.db) = (true, db),
            None => replication.promote(&mut effects.stream, now),
        }
    }

    /// The data are the outcome of this history up to `offset`.
    fn put_history(&mut self, id: ReplicationId, offset: Offset) {
        let server = self.server();
        commands::disconnect_replicas(server);
        server.replication.history = History::of(id);
        let limit = server.config.client_output_buffer_limit.replica;
        server.effects.stream.restart(offset);
        server.effects.stream.open(server.config.repl_backlog_size, limit);
    }
}
