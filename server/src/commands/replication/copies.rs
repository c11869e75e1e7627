//! Full synchronization: a copy of all data for replicas that cannot go on from where they stand.
//!
//! One snapshot of the data is taken at a time. A replica whose turn has not come, because data are
//! saved or copied for others, waits; those that wait for the same form get the same copy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::{CommandError, Ctx, Done, Outcome, saving};
use super::place::place;
use super::sync::{attach, introduce, peer};
use crate::rdb::{Recording, Timed, Version, Writer, version_for};
use crate::replication::{
    AfterCopy, Copy, CopyReader, Feed, Form, Parts, Progress, Reader, Replica, SharedProgress,
    Spool,
};
use crate::session::End;
use crate::state::Server;
use crate::store::{Keyspace, SharedSink};

/// A replica asks for a copy of all data.
pub(super) fn ask(ctx: &mut Ctx<'_>) -> Done {
    let progress = SharedProgress::default();
    let replica = introduce(ctx.session, progress.clone(), ctx.now);
    let Replica { ip, port, .. } = &replica;
    let (version, _) = form(ctx, &replica)?;
    tracing::info!(replica = ctx.session.id(), ip, port, ?version, "full synchronization");
    ctx.server.replication.counts.full += 1;
    attach(ctx, Feed::waiting(progress), replica);
    join(ctx);
    Ok(Outcome::Unchanged)
}

/// The form of a copy for a replica, and what it holds.
fn form(ctx: &Ctx<'_>, replica: &Replica) -> Result<(Version, Parts), CommandError> {
    match replica.parts.keys {
        true => Ok((version(ctx, replica)?, replica.parts)),
        false => Ok((Version::V10, replica.parts)),
    }
}

/// What the settings say, or the form of Redis 7.0, which later ones read too. Deadlines of fields
/// are for those who say that they understand them, or they are refused; who hung up on a copy gets
/// the form of Redis 6 next time.
fn version(ctx: &Ctx<'_>, replica: &Replica) -> Result<Version, CommandError> {
    let timed = Timed::hashes(ctx.data.keyspace);
    let refused = |why| CommandError::new(format!("ERR cannot copy the data: {why}"));
    let version = version_for(&ctx.server.config, timed).map_err(refused)?;
    let is_old = ctx.server.replication.replicas.has_hung_up(&replica.ip, replica.port);
    let drops_them = ctx.server.config.rdb_drop_field_deadlines;
    let takes_any = replica.takes_field_deadlines || ctx.server.config.rdb_version != "auto";
    match version {
        version if takes_any => Ok(version),
        Version::Valkey80 if !drops_them => Err(refused(format!(
            "{timed}, which this replica does not say that it understands; set \
             rdb-drop-field-deadlines to yes to leave them out, or rdb-version"
        ))),
        _ if is_old => Ok(Version::V9),
        _ => Ok(Version::V10),
    }
}

/// The replica of this session gets the copy that it waits for, if its turn has come.
pub fn join(ctx: &mut Ctx<'_>) {
    let id = ctx.session.id();
    if ctx.server.replication.copy.is_none() && can_begin(ctx.server) {
        begin(ctx);
    }
    let Some(copy) = &mut ctx.server.replication.copy else { return };
    let Some(readers) = copy.accept(id) else { return };
    let (replid, offset, mark) = (copy.id, copy.offset, copy.mark);
    let file = temporary(ctx.server, id);
    let peer = peer(ctx.session);
    let mut head = Vec::new();
    if peer.speaks_psync {
        head = format!("+FULLRESYNC {replid} {offset}\r\n").into_bytes();
    }
    let form = if peer.takes_marked {
        head.extend([b"$EOF:", &mark[..], b"\r\n"].concat());
        Form::Marked(mark)
    } else {
        Form::Sized(Spool::begin(file))
    };
    let after = match &form {
        _ if peer.wants_data_only => AfterCopy::Nothing,
        Form::Marked(_) => AfterCopy::StreamWhenAcked,
        Form::Sized(_) => AfterCopy::Stream,
    };
    let readers: (CopyReader, Reader) = readers;
    if let Some(feed) = &mut peer.feed {
        feed.copy(head, readers, form, after);
    }
}

/// Where a copy waits whose size must be known before it is sent to this replica.
fn temporary(server: &Server, replica: u64) -> PathBuf {
    let name = format!("temp-{}-{}-copy-{replica}.rdb", std::process::id(), &server.run_id[..8]);
    Path::new(&server.config.dir).join(name)
}

/// Whether a snapshot of the data can be taken now.
pub(super) fn can_begin(server: &Server) -> bool {
    server.persistence.background.is_none() && server.replication.copy.is_none()
}

/// Begins a copy for the replica of this session, and for others that wait for the same.
fn begin(ctx: &mut Ctx<'_>) {
    let id = ctx.session.id();
    let forms = forms(ctx);
    let wanted = match forms.get(&id) {
        Some(Ok(form)) => *form,
        // While it waited, data came that it cannot take: it is told so when it asks again.
        Some(Err(_)) => return ctx.session.client.kill(End::Killed),
        None => return,
    };
    open_stream(ctx);
    let recording = record(ctx, wanted);
    let Server { replication, effects, config, clients, .. } = &mut *ctx.server;
    let (history, mark) = (replication.history.id(), replication.mark());
    let offset = effects.stream.offset();
    let mut copy = Copy::new(recording, (history, offset), mark, config.rdbchecksum);
    for (replica, form) in forms {
        let stream = effects.stream.backlog().and_then(|backlog| backlog.read_from(offset));
        if let (true, Some(stream)) = (form == Ok(wanted), stream) {
            copy.invite(replica, stream);
            if let Some(client) = clients.get(replica).filter(|_| replica != id) {
                client.nudge();
            }
        }
    }
    replication.copy = Some(copy);
}

/// In which form those that wait for a copy get it. What the data are may have changed since they
/// asked.
fn forms(ctx: &Ctx<'_>) -> BTreeMap<u64, Result<(Version, Parts), CommandError>> {
    let waiting = |(_, replica): &(u64, &Replica)| replica.progress.get() == Progress::Waiting;
    let replicas = ctx.server.replication.replicas.iter().filter(waiting);
    replicas.map(|(id, replica)| (id, form(ctx, replica))).collect()
}

/// The stream is written from here on. The first replica's stream is a new history's: what was
/// written before is in no stream, so no offset says what the data are.
fn open_stream(ctx: &mut Ctx<'_>) {
    let Server { replication, effects, config, .. } = &mut *ctx.server;
    let stream = &mut effects.stream;
    if stream.backlog().is_none() {
        replication.begin_history();
        stream.open(config.repl_backlog_size, config.client_output_buffer_limit.replica);
    }
    stream.forget_db();
    stream.flush(ctx.now);
}

/// Begins a snapshot of this moment.
fn record(ctx: &mut Ctx<'_>, (version, parts): (Version, Parts)) -> Arc<Mutex<Recording>> {
    let keyspace = &mut *ctx.data.keyspace;
    let mut notes = saving::notes(keyspace.bytes(), ctx.now);
    notes.extend(place(ctx.server).into_iter().flatten());
    let writer = Writer::new(version, ctx.server.config.rdbcompression);
    let libraries = if parts.functions { ctx.server.functions.codes() } else { Vec::new() };
    let none = Keyspace::new(1);
    let keys = if parts.keys { &*keyspace } else { &none };
    let recording = Recording::begin(writer, keys, &notes, &libraries, ctx.now);
    let recording = Arc::new(Mutex::new(recording));
    if parts.keys {
        let sink: SharedSink = recording.clone();
        keyspace.begin_snapshot(&sink);
    }
    recording
}
