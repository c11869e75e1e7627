//! SAVE, BGSAVE and LASTSAVE, and when the data is saved by itself.
//!
//! Files are the business of the layer above: a handler begins a snapshot or asks for an action.

use std::sync::Arc;

use parking_lot::Mutex;

use super::args::is;
use super::spec::{Categories, Flags};
use super::{Action, CommandError, Ctx, Done, Outcome, Spec};
use crate::clock::Millis;
use crate::rdb::{Recording, Timed, Writer, version_for};
use crate::resp::Args;
use crate::state::Background;
use crate::store::SharedSink;

pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("SAVE", 1, save)
        .admin()
        .no_script()
        .flags(Flags::NO_ASYNC_LOADING.with(Flags::NO_MULTI))
        .cost("O(N)")
        .doc("", "Saves the data to disk while everybody waits."),
    Spec::new("BGSAVE", -1, bgsave)
        .admin()
        .no_script()
        .flags(Flags::NO_ASYNC_LOADING)
        .doc("[SCHEDULE]", "Saves the data to disk in the background."),
    Spec::new("LASTSAVE", 1, lastsave)
        .fast()
        .always()
        .of(Categories::ADMIN.with(Categories::DANGEROUS))
        .tips(&["nondeterministic_output"])
        .doc("", "Returns the Unix timestamp of the last successful save to disk."),
];

/// Whether a snapshot is being taken, for a save in the background or for replicas.
fn is_busy(ctx: &Ctx<'_>) -> bool {
    ctx.server.persistence.background.is_some() || ctx.server.replication.copy.is_some()
}

const IN_PROGRESS: CommandError =
    CommandError::from_static("ERR Background save already in progress");

fn save(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    if is_busy(ctx) {
        return Err(IN_PROGRESS);
    }
    Ok(Outcome::Then(Action::Save))
}

fn bgsave(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if args.len() > 2 || args.get(1).is_some_and(|option| !is(option, "SCHEDULE")) {
        return Err(CommandError::SYNTAX);
    }
    if is_busy(ctx) {
        return Err(IN_PROGRESS);
    }
    if ctx.session.in_exec {
        ctx.server.persistence.scheduled = true;
        ctx.reply.simple("Background saving scheduled");
    } else {
        begin(ctx).map_err(refused)?;
        ctx.reply.simple("Background saving started");
    }
    Ok(Outcome::Unchanged)
}

fn lastsave(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.reply.int((ctx.server.persistence.last_save / 1000) as i64);
    Ok(Outcome::Unchanged)
}

/// The error of a save that cannot begin.
pub fn refused(why: String) -> CommandError {
    CommandError::new(format!("ERR cannot save: {why}"))
}

/// Begins a save in the background; whoever attends to it drives it on.
fn begin(ctx: &mut Ctx<'_>) -> Result<(), String> {
    let persistence = &mut ctx.server.persistence;
    (persistence.scheduled, persistence.last_attempt) = (false, ctx.now);
    let recording = record(ctx).inspect_err(|why| {
        tracing::error!("cannot save: {why}");
    });
    ctx.server.persistence.last_was_ok &= recording.is_ok();
    ctx.server.persistence.background = Some(Background {
        recording: recording?,
        started: ctx.now,
        stated: ctx.server.effects.stated(),
        keys: ctx.data.keyspace.len() as u64,
        attended: false,
        given_up: Arc::default(),
    });
    Ok(())
}

/// Begins a snapshot of this moment that is recorded as a file.
///
/// # Errors
///
/// The settings do not let the data be written: why.
pub fn record(ctx: &mut Ctx<'_>) -> Result<Arc<Mutex<Recording>>, String> {
    let config = &ctx.server.config;
    let keyspace = &mut *ctx.data.keyspace;
    let version = version_for(config, Timed::hashes(keyspace))?;
    let writer = Writer::new(version, config.rdbcompression);
    let mut notes = notes(keyspace.bytes(), ctx.now);
    notes.extend(super::replication::place(ctx.server).into_iter().flatten());
    // Where it cannot wait (the server stops), copies for replicas do.
    ctx.server.replication.give_up_copy();
    let recording =
        Recording::begin(writer, keyspace, &notes, &ctx.server.functions.codes(), ctx.now);
    let recording = Arc::new(Mutex::new(recording));
    let sink: SharedSink = recording.clone();
    keyspace.begin_snapshot(&sink);
    Ok(recording)
}

/// What a file says of itself.
pub(super) fn notes(used: usize, now: Millis) -> Vec<(&'static str, String)> {
    vec![
        ("redis-ver", super::info::REDIS_VERSION.to_owned()),
        ("redis-bits", "64".to_owned()),
        ("ctime", (now / 1000).to_string()),
        ("used-mem", used.to_string()),
    ]
}

/// Gives up the save in the background, if one is under way; nobody is told that it failed.
pub fn give_up(ctx: &mut Ctx<'_>) {
    if ctx.server.persistence.give_up() {
        ctx.data.keyspace.give_up_snapshot();
    }
}

/// All data are gone: a file of what was there before is of no use now. An empty one is, where files
/// are kept, at once unless replicas get a copy: they need not begin again for that.
pub(super) fn save_emptied(ctx: &mut Ctx<'_>) {
    give_up(ctx);
    if !ctx.server.config.save.is_empty() {
        ctx.server.persistence.scheduled = true;
        ctx.asked = (!is_busy(ctx)).then_some(Action::SaveScheduled);
    }
}

/// When a save in the background is to begin, or to be seen to.
fn next_due(ctx: &Ctx<'_>) -> Option<Millis> {
    let stated = ctx.server.effects.stated();
    ctx.server.persistence.next_due(&ctx.server.config, stated)
}

/// Begins a save in the background if one is due: by a save point, or because it was scheduled.
pub fn begin_if_due(ctx: &mut Ctx<'_>) {
    if !is_busy(ctx) && next_due(ctx).is_some_and(|at| at <= ctx.now) {
        tracing::info!("saving in the background");
        // Why it cannot begin has been logged.
        let _ = begin(ctx);
    }
}
