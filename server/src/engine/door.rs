//! The way of one request: found, checked, executed, its effect stated. EXEC and scripts take it too.

use super::Flow;
use crate::commands::{
    Action, Command, CommandError, Ctx, Done, Door, Flags, Outcome, abort_transaction, acl,
    eviction, expiry, latency, monitor, replication, slowlog,
};
use crate::replication::Offset;
use crate::resp::Args;
use crate::session::{End, Queued, ReplyMode, Waiting};

/// Takes a request the whole way. What it wants from the layer above comes back.
pub(super) fn execute(ctx: &mut Ctx<'_>, args: Args<'_>) -> Flow {
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
            ctx.server.waits.hold(&ctx.session.client);
            return Flow::Wait;
        }
        Ok(command) => {
            ctx.session.last = Some(command);
            let before = ctx.server.effects.stream.offset();
            call(ctx, command, args);
            let asked = ctx.asked.take();
            if asked != Some(Action::Wait) {
                note_written(ctx, before);
            }
            match asked {
                None => Flow::Continue,
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
    if flags.has(Flags::NO_SCRIPT) && ctx.session.in_script {
        refuse(CommandError::NOT_FROM_SCRIPT)?;
    }
    // Who may do everything pays for no more than this comparison.
    if ctx.session.identity.cleared_at != ctx.server.users.version() {
        acl::check(ctx, command, args).or_else(refuse)?;
    }
    replication::check(ctx, flags).or_else(refuse)?;
    if ctx.server.config.maxmemory != 0
        && !ctx.session.may_exceed_memory
        && !ctx.leaves_eviction_to_primary()
        && !eviction::make_room(ctx)
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
        if refused && !replication::ends_loading(ctx, command) {
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
        abort_transaction(ctx);
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
    monitor::feed(ctx, command, args);
    ctx.stamp = ctx.clock.stopwatch();
    let took = ctx.stamp.saturating_sub(start);
    let stats = &mut ctx.server.stats;
    stats.total_commands += 1;
    stats.commands[command.id].count(took, ok, ctx.server.config.latency_tracking);
    slowlog::note(ctx, command, args, took);
    latency::note(ctx, command, took);
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
            ctx.server.effects.count();
            ctx.server.effects.tell_own(db, args.iter());
            true
        }
        Ok(Outcome::Told) => {
            ctx.server.effects.tell_own(db, args.iter());
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
/// (DEBUG SET-ACTIVE-EXPIRE 0), a read does so too, and fields stay until they are overwritten.
fn end_due_keys(ctx: &mut Ctx<'_>, command: Command, args: Args<'_>) {
    if ctx.data.now == 0 || !expiry::is_due(ctx) {
        return;
    }
    if !(command.spec.is_write() || ctx.ends_lazily()) {
        return;
    }
    let mut keys = Vec::new();
    command.spec.each_key(args, &mut |key, _| keys.push(key));
    keys.into_iter().for_each(|key| ctx.end_due(key));
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
pub(super) struct TheDoor;

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
