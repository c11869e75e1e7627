//! CLIENT and its subcommands, and what is done to connections from outside.

use super::args::{int, is, parse_int};
use super::connection::{BAD_NAME, is_label};
use super::spec::{Categories, Flags, Handler};
use super::{Action, CommandError, CommandTable, Ctx, Done, Outcome, Spec};
use crate::acl::Users;
use crate::resp::{Args, Protocol};
use crate::session::{Client, End, ReplyMode, Transport, View, ViewFlags, Wake};
use crate::state::Pause;

const fn sub(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler).no_script().always().of(Categories::CONNECTION).since("2.4.0")
}

const fn admin(name: &'static str, arity: i32, handler: Handler) -> Spec {
    sub(name, arity, handler).admin()
}

pub(super) const COMMANDS: &[Spec] = &[Spec::container(
    "CLIENT",
    &[
        sub("ID", 2, id).since("5.0.0").doc("", "Returns the unique ID of the connection."),
        sub("GETNAME", 2, getname).since("2.6.9").doc("", "Returns the name of the connection."),
        sub("SETNAME", 3, setname).since("2.6.9").doc("connection-name", "Sets the connection name."),
        sub("SETINFO", 4, setinfo)
            .flags(Flags::ALLOW_BUSY)
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .since("7.2.0")
            .doc("LIB-NAME libname | LIB-VER libver", "Sets information about the client library."),
        sub("INFO", 2, info).tips(&["nondeterministic_output"]).since("6.2.0").doc("", "Returns information about the connection."),
        admin("LIST", -2, list).tips(&["nondeterministic_output"]).doc(
            "[TYPE normal | master | replica | pubsub] [ID client-id [client-id ...]]",
            "Lists open connections.",
        ),
        admin("KILL", -3, kill).doc(
            "ip:port | [ID client-id] [TYPE type] [USER username] [ADDR ip:port] [LADDR ip:port] [SKIPME yes/no]",
            "Terminates open connections.",
        ),
        admin("PAUSE", -3, pause)
            .since("2.9.50")
            .doc("timeout [WRITE | ALL]", "Suspends commands processing."),
        admin("UNPAUSE", 2, unpause).since("6.2.0").doc("", "Resumes processing commands."),
        sub("REPLY", 3, reply)
            .since("3.2.0")
            .doc("ON | OFF | SKIP", "Instructs the server whether to reply to commands."),
        admin("NO-EVICT", 3, no_evict)
            .since("7.0.0")
            .doc("ON | OFF", "Sets the client eviction mode of the connection."),
        sub("NO-TOUCH", 3, no_touch)
            .flags(Flags::ALLOW_BUSY)
            .since("7.2.0")
            .doc("ON | OFF", "Controls whether commands count as uses of keys."),
        admin("UNBLOCK", -3, unblock)
            .since("5.0.0")
            .doc("client-id [TIMEOUT | ERROR]", "Unblocks a client that waits."),
        sub("TRACKING", -3, tracking)
            .since("6.0.0")
            .doc("ON | OFF", "Controls server-assisted client-side caching."),
        sub("CACHING", 3, caching)
            .since("6.0.0")
            .doc("YES | NO", "Instructs the server whether to track keys of the next request."),
        sub("GETREDIR", 2, getredir)
            .since("6.0.0")
            .doc("", "Returns the client to which tracking is redirected."),
        sub("TRACKINGINFO", 2, trackinginfo)
            .since("6.2.0")
            .doc("", "Returns information about server-assisted caching."),
        Spec::new("HELP", 2, help).always().of(Categories::CONNECTION).since("5.0.0").doc("", "Returns helpful text."),
    ],
)
.since("2.4.0")
.doc("subcommand", "A container for client connection commands.")];

/// Closes connections that have been idle for longer than `timeout` (subscribers and waiting ones
/// excepted), and those over their soft output limit for too long.
pub fn close_overdue(ctx: &mut Ctx<'_>) {
    let timeout = ctx.server.config.timeout as u64;
    let limits = ctx.server.config.client_output_buffer_limit;
    let clients = &ctx.server.clients;
    for client in clients.all() {
        let view = client.view.lock();
        let is_idle =
            timeout > 0 && (ctx.now / 1000).saturating_sub(client.pulse.active() / 1000) > timeout;
        let is_listening = view.is_subscriber() || view.flags.monitor;
        let limit = if view.is_subscriber() { limits.pubsub } else { limits.normal };
        let is_linked = view.flags.replica || view.flags.primary;
        let is_exempt = is_listening || is_linked || view.flags.blocked;
        drop(view);
        if is_idle && !is_exempt {
            clients.end(&client, End::Idle);
        } else if client.outbox().1 {
            client.check_output(limit, ctx.now);
        }
    }
}

fn id(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.reply.int(ctx.session.id() as i64);
    Ok(Outcome::Unchanged)
}

fn getname(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    if ctx.session.name.is_empty() {
        ctx.reply.null();
    } else {
        ctx.reply.bulk(&ctx.session.name);
    }
    Ok(Outcome::Unchanged)
}

fn setname(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if !is_label(&args[2]) {
        return Err(BAD_NAME);
    }
    ctx.session.name = args[2].into();
    ctx.session.publish(ctx.now);
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

fn setinfo(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (option, value) = (args.at(2), args.at(3));
    let field = if is(option, "LIB-NAME") {
        &mut ctx.session.lib_name
    } else if is(option, "LIB-VER") {
        &mut ctx.session.lib_ver
    } else {
        return Err(CommandError::quoting("ERR Unrecognized option '", option, "'"));
    };
    // Valkey looks at a C string: what stands behind a zero byte is not judged.
    let judged = value.split(|byte| *byte == 0).next().unwrap_or(value);
    if !is_label(judged) {
        let after = " cannot contain spaces, newlines or special characters.";
        return Err(CommandError::quoting("ERR ", option, after));
    }
    *field = value.into();
    ctx.session.publish(ctx.now);
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

/// What the request that asks takes while it is executed; nothing of every other connection.
#[derive(Debug, Clone, Copy, Default)]
struct Present {
    /// Bytes in the query buffer.
    input: usize,
    /// Bytes of the arguments.
    args: usize,
}

/// A line of CLIENT LIST.
fn describe(
    client: &Client,
    view: &View,
    table: &CommandTable,
    now: u64,
    present: Present,
) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let flags: String = [
        (view.flags.primary, 'M'),
        (view.flags.replica, 'S'),
        (view.flags.monitor, 'O'),
        (view.is_subscriber(), 'P'),
        (view.queued.is_some(), 'x'),
        (view.flags.blocked, 'b'),
        (view.flags.closing, 'c'),
        (view.flags.dirty, 'd'),
        (client.transport == Transport::Unix, 'U'),
        (view.flags.no_evict, 'e'),
        (view.flags.no_touch, 'T'),
    ]
    .iter()
    .filter(|(set, _)| *set)
    .map(|(_, letter)| *letter)
    .collect();
    let multi = view.queued.map_or(-1, |queued| queued as i64);
    let outbox = client.outbox().0;
    let total = view.memory() + outbox + present.input + present.args;
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} \
         multi={multi} qbuf={} qbuf-free={} argv-mem={} multi-mem={} rbs=1024 rbp=0 obl=0 \
         oll=0 omem={} tot-mem={total} events=r cmd={} user={} redir=-1 resp={} lib-name={} \
         lib-ver={} watch={}",
        client.id,
        client.addr,
        client.laddr,
        client.fd,
        text(&view.name),
        now.saturating_sub(client.created) / 1000,
        now.saturating_sub(client.pulse.active()) / 1000,
        if flags.is_empty() { "N" } else { &flags },
        view.db,
        view.subscriptions,
        view.patterns,
        view.shard_subscriptions,
        view.query.0.max(present.input),
        view.query.1,
        present.args,
        view.queued_bytes,
        view.output + outbox,
        client.pulse.command().map_or("NULL", |id| table.name(table.all()[id])),
        text(&view.user),
        if view.protocol == Protocol::Resp3 { 3 } else { 2 },
        text(&view.lib_name),
        text(&view.lib_ver),
        view.watching,
    )
}

/// Shows this very connection as it is now, this command included.
fn refresh_own(ctx: &mut Ctx<'_>, args: Args<'_>) -> Present {
    ctx.session.publish(ctx.now);
    ctx.session.client.pulse.set_command(ctx.command.id);
    Present { input: ctx.session.input, args: args.iter().map(<[u8]>::len).sum() }
}

/// The line of CLIENT LIST of this very connection. A script's session shows nothing of its own.
pub(super) fn own_line(ctx: &mut Ctx<'_>) -> String {
    if !ctx.session.in_script {
        ctx.session.publish(ctx.now);
    }
    own_line_with(ctx, Present::default())
}

fn own_line_with(ctx: &Ctx<'_>, present: Present) -> String {
    let client = &ctx.session.client;
    describe(client, &client.view.lock(), ctx.table, ctx.now, present)
}

fn info(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let present = refresh_own(ctx, args);
    let line = own_line_with(ctx, present);
    ctx.reply.verbatim(&(line + "\n"));
    Ok(Outcome::Unchanged)
}

/// What a connection is, as limits and CLIENT KILL tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Normal,
    Subscriber,
    Replica,
    Primary,
}

fn class(view: &View) -> Class {
    match view.flags {
        ViewFlags { primary: true, .. } => Class::Primary,
        ViewFlags { replica: true, .. } => Class::Replica,
        _ if view.subscriptions + view.patterns > 0 => Class::Subscriber,
        _ => Class::Normal,
    }
}

/// The types that CLIENT LIST and KILL know; None for another word.
fn type_filter(word: &[u8]) -> Option<fn(&View) -> bool> {
    match word.to_ascii_lowercase().as_slice() {
        b"normal" => Some(|view| class(view) == Class::Normal),
        b"pubsub" => Some(|view| class(view) == Class::Subscriber),
        b"replica" | b"slave" => Some(|view| class(view) == Class::Replica),
        b"master" => Some(|view| class(view) == Class::Primary),
        _ => None,
    }
}

fn unknown_type(word: &[u8]) -> CommandError {
    CommandError::quoting("ERR Unknown client type '", word, "'")
}

fn list(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let present = refresh_own(ctx, args);
    let mut clients = ctx.server.clients.all();
    match args.get(2) {
        None => {}
        Some(word) if is(word, "TYPE") && args.len() == 4 => {
            let of_type = type_filter(&args[3]).ok_or_else(|| unknown_type(&args[3]))?;
            clients.retain(|client| of_type(&client.view.lock()));
        }
        Some(word) if is(word, "ID") && args.len() > 3 => {
            let mut ids = Vec::new();
            for text in args.from(3).iter() {
                ids.push(parse_int(text).ok_or(CommandError::new("ERR Invalid client ID"))? as u64);
            }
            clients.retain(|client| ids.contains(&client.id));
        }
        Some(_) => return Err(CommandError::SYNTAX),
    }
    let mut text = String::new();
    for client in clients {
        let is_own = client.id == ctx.session.id();
        let present = if is_own { present } else { Present::default() };
        text += &describe(&client, &client.view.lock(), ctx.table, ctx.now, present);
        text.push('\n');
    }
    ctx.reply.verbatim(&text);
    Ok(Outcome::Unchanged)
}

/// Whom CLIENT KILL is to end.
#[derive(Debug, Default)]
struct Victims<'a> {
    id: Option<u64>,
    addr: Option<&'a [u8]>,
    laddr: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
    of_type: Option<fn(&View) -> bool>,
    max_age: Option<u64>,
    spares_own: bool,
}

impl<'a> Victims<'a> {
    fn parse(args: Args<'a>, users: &Users) -> Result<Self, CommandError> {
        let mut victims = Victims { spares_own: true, ..Victims::default() };
        let mut at = 2;
        while at < args.len() {
            let Some(value) = args.get(at + 1) else { return Err(CommandError::SYNTAX) };
            match args.at(at).to_ascii_uppercase().as_slice() {
                b"ID" => {
                    let id = parse_int(value).filter(|id| *id > 0);
                    let text = "ERR client-id should be greater than 0";
                    victims.id = Some(id.ok_or(CommandError::new(text))? as u64);
                }
                b"TYPE" => {
                    victims.of_type = Some(type_filter(value).ok_or_else(|| unknown_type(value))?);
                }
                b"ADDR" => victims.addr = Some(value),
                b"LADDR" => victims.laddr = Some(value),
                b"USER" if users.get(value).is_some() => victims.user = Some(value),
                b"USER" => return Err(CommandError::quoting("ERR No such user '", value, "'")),
                b"MAXAGE" => {
                    let text = "ERR maxage is not an integer or out of range";
                    let age = parse_int(value).ok_or(CommandError::new(text))?;
                    victims.max_age = Some(age.max(0) as u64);
                }
                b"SKIPME" if is(value, "YES") => victims.spares_own = true,
                b"SKIPME" if is(value, "NO") => victims.spares_own = false,
                _ => return Err(CommandError::SYNTAX),
            }
            at += 2;
        }
        Ok(victims)
    }

    fn include(&self, client: &Client, now: u64) -> bool {
        let view = client.view.lock();
        self.id.is_none_or(|id| id == client.id)
            && self.addr.is_none_or(|addr| addr == client.addr.as_bytes())
            && self.laddr.is_none_or(|laddr| laddr == client.laddr.as_bytes())
            && self.user.is_none_or(|user| *user == *view.user)
            && self.of_type.is_none_or(|of_type| of_type(&view))
            && self.max_age.is_none_or(|age| now.saturating_sub(client.created) / 1000 >= age)
    }
}

fn kill(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let old_form = args.len() == 3;
    let victims = if old_form {
        Victims { addr: args.get(2), ..Victims::default() }
    } else {
        Victims::parse(args, &ctx.server.users)?
    };
    let (mut killed, mut own) = (0, false);
    for client in ctx.server.clients.all() {
        let is_own = client.id == ctx.session.id();
        if (is_own && victims.spares_own) || !victims.include(&client, ctx.now) {
            continue;
        }
        killed += 1;
        own |= is_own;
        if !is_own {
            ctx.server.clients.end(&client, End::Killed);
        }
    }
    match (old_form, killed) {
        (true, 0) => return Err(CommandError::new("ERR No such client")),
        (true, _) => ctx.reply.ok(),
        (false, _) => ctx.reply.int(killed),
    }
    // Its own reply is still sent.
    Ok(if own { Outcome::Then(Action::Close) } else { Outcome::Unchanged })
}

fn pause(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let all = match args.len() {
        3 => true,
        4 if is(&args[3], "WRITE") => false,
        4 if is(&args[3], "ALL") => true,
        4 => return Err(CommandError::new("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(super::wrong_subcommand(ctx, args)),
    };
    let timeout = parse_int(&args[2]).ok_or(CommandError::TIMEOUT_NOT_AN_INTEGER)?;
    if timeout < 0 {
        return Err(CommandError::TIMEOUT_NEGATIVE);
    }
    let until = ctx.now.saturating_add(timeout as u64);
    ctx.server.waits.pause(Pause { until, all });
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

fn unpause(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.server.waits.unpause();
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

fn reply(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if is(&args[2], "ON") {
        ctx.session.reply_mode = ReplyMode::On;
        ctx.reply.ok();
    } else if is(&args[2], "OFF") {
        ctx.session.reply_mode = ReplyMode::Off;
    } else if is(&args[2], "SKIP") {
        if ctx.session.reply_mode != ReplyMode::Off {
            ctx.session.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(CommandError::SYNTAX);
    }
    Ok(Outcome::Unchanged)
}

fn on_off(args: Args<'_>) -> Result<bool, CommandError> {
    match args.at(2) {
        word if is(word, "ON") => Ok(true),
        word if is(word, "OFF") => Ok(false),
        _ => Err(CommandError::SYNTAX),
    }
}

fn no_evict(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    ctx.session.no_evict = on_off(args)?;
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

fn no_touch(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    ctx.session.no_touch = on_off(args)?;
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

fn unblock(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if args.len() > 4 {
        return Err(super::wrong_subcommand(ctx, args));
    }
    let why = match args.get(3) {
        None => Wake::Resume,
        Some(word) if is(word, "TIMEOUT") => Wake::Resume,
        Some(word) if is(word, "ERROR") => Wake::Error,
        Some(_) => {
            return Err(CommandError::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
        }
    };
    let id = int(args, 2)?;
    let client = ctx.server.clients.get(id as u64);
    let waiting = client.filter(|client| client.view.lock().flags.unblockable);
    if let Some(client) = &waiting {
        client.wake(why);
    }
    ctx.reply.one_or_zero(waiting.is_some());
    Ok(Outcome::Unchanged)
}

fn tracking(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let mut at = 3;
    while at < args.len() {
        let left = args.len() - at - 1;
        at += match args.at(at) {
            word if is(word, "REDIRECT") && left > 0 => 2,
            word if is(word, "PREFIX") && left > 0 => 2,
            word if is(word, "BCAST") || is(word, "OPTIN") || is(word, "OPTOUT") => 1,
            word if is(word, "NOLOOP") => 1,
            _ => return Err(CommandError::SYNTAX),
        };
    }
    if on_off(args)? {
        return Err(CommandError::new("ERR CLIENT TRACKING is not supported by this server"));
    }
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

fn caching(_: &mut Ctx<'_>, _: Args<'_>) -> Done {
    Err(CommandError::new(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
    ))
}

fn getredir(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.reply.int(-1);
    Ok(Outcome::Unchanged)
}

fn trackinginfo(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.reply.map(3);
    ctx.reply.text("flags");
    ctx.reply.set(1);
    ctx.reply.text("off");
    ctx.reply.text("redirect");
    ctx.reply.int(-1);
    ctx.reply.text("prefixes");
    ctx.reply.array(0);
    Ok(Outcome::Unchanged)
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    super::help(
        ctx,
        &[
            "GETNAME",
            "    Return the name of the current connection.",
            "ID",
            "    Return the ID of the current connection.",
            "INFO",
            "    Return information about the current client connection.",
            "KILL <ip:port>|<option> <value> [...]",
            "    Kill connections by address, ID, TYPE, USER, ADDR, LADDR; SKIPME (yes|no).",
            "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID <id> ...]",
            "    Return information about client connections.",
            "NO-EVICT (ON|OFF)",
            "    Protect current client connection from eviction.",
            "NO-TOUCH (ON|OFF)",
            "    Keep commands of this connection from counting as uses of keys.",
            "PAUSE <timeout> [WRITE|ALL]",
            "    Suspend all, or just write, clients for <timeout> milliseconds.",
            "REPLY (ON|OFF|SKIP)",
            "    Control the replies sent to the current connection.",
            "SETINFO (LIB-NAME|LIB-VER) <value>",
            "    Tell the name and version of the client library.",
            "SETNAME <name>",
            "    Assign the name <name> to the current connection.",
            "UNBLOCK <clientid> [TIMEOUT|ERROR]",
            "    Unblock the specified blocked client.",
            "UNPAUSE",
            "    Stop the current client pause, resuming traffic.",
        ],
    )
}
