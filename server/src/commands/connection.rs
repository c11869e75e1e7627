//! Connection commands: PING, ECHO, SELECT, QUIT, RESET, AUTH, HELLO.

use super::acl::{authenticate, must_authenticate};
use super::args::{is, parse_int};
use super::keys::database;
use super::spec::{Categories, Flags};
use super::{Action, CommandError, Ctx, Done, Outcome, Session, Spec};
use crate::acl::DEFAULT;
use crate::resp::{Args, Protocol, Reply};
use crate::session::{Identity, ReplyMode};

const ANYTIME: Flags = Flags::NO_SCRIPT
    .with(Flags::LOADING)
    .with(Flags::STALE)
    .with(Flags::NO_AUTH)
    .with(Flags::ALLOW_BUSY);

pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("PING", -1, ping)
        .fast()
        .of(Categories::CONNECTION)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .doc("[message]", "Returns the server's liveliness response."),
    Spec::new("ECHO", 2, echo)
        .fast()
        .always()
        .of(Categories::CONNECTION)
        .doc("message", "Returns the given string."),
    Spec::new("SELECT", 2, select)
        .fast()
        .always()
        .of(Categories::CONNECTION)
        .doc("index", "Changes the selected database."),
    Spec::new("QUIT", -1, quit)
        .fast()
        .flags(ANYTIME)
        .of(Categories::CONNECTION)
        .doc("", "Closes the connection."),
    Spec::new("RESET", 1, reset)
        .fast()
        .flags(ANYTIME)
        .of(Categories::CONNECTION)
        .since("6.2.0")
        .doc("", "Resets the connection."),
    Spec::new("AUTH", -2, auth)
        .fast()
        .flags(ANYTIME)
        .of(Categories::CONNECTION)
        .doc("[username] password", "Authenticates the connection."),
    Spec::new("HELLO", -1, hello)
        .fast()
        .flags(ANYTIME)
        .of(Categories::CONNECTION)
        .since("6.0.0")
        .doc(
            "[protover [AUTH username password] [SETNAME clientname]]",
            "Handshakes with the server.",
        ),
];

fn ping(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if args.len() > 2 {
        return Err(CommandError::wrong_arity(ctx.name()));
    }
    let message = args.get(1);
    if ctx.session.is_subscriber() {
        ctx.reply.array(2);
        ctx.reply.text("pong");
        ctx.reply.bulk(message.unwrap_or_default());
    } else if let Some(message) = message {
        ctx.reply.bulk(message);
    } else {
        ctx.reply.simple("PONG");
    }
    Ok(Outcome::Unchanged)
}

fn echo(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    ctx.reply.bulk(&args[1]);
    Ok(Outcome::Unchanged)
}

fn select(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let index = database(ctx, args, 1)?;
    ctx.select(index);
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

fn quit(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.reply.ok();
    Ok(Outcome::Then(Action::Close))
}

fn reset(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    super::end_session(ctx);
    let session = &mut *ctx.session;
    session.transaction = None;
    session.monitor = false;
    session.no_evict = false;
    session.no_touch = false;
    session.reply_mode = ReplyMode::On;
    session.name = Default::default();
    session.protocol = Protocol::Resp2;
    session.identity = Identity::stranger(ctx.server.users.is_open());
    ctx.select(0);
    ctx.reply.set_protocol(Protocol::Resp2);
    ctx.session.publish(ctx.now);
    ctx.reply.simple("RESET");
    Ok(Outcome::Unchanged)
}

fn auth(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (user, password) = match args.len() {
        2 if ctx.server.users.get(DEFAULT).is_some_and(|user| user.takes_any_password()) => {
            return Err(CommandError::new(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
            ));
        }
        2 => (DEFAULT, args.at(1)),
        3 => (args.at(1), args.at(2)),
        _ => return Err(CommandError::SYNTAX),
    };
    authenticate(ctx, user, password, &args[0])?;
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

/// Whether a name or another label may be set: printable, without blanks.
pub(super) fn is_label(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_graphic())
}

/// The error of a name that may not be set.
pub(super) const BAD_NAME: CommandError = CommandError::BAD_CLIENT_NAME;

fn hello(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let protocol = match args.get(1) {
        None => ctx.session.protocol,
        Some(text) => match parse_int(text) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err(CommandError::NO_PROTO),
            None => {
                return Err(CommandError::new(
                    "ERR Protocol version is not an integer or out of range",
                ));
            }
        },
    };
    let (mut name, mut credentials, mut at) = (None, None, 2);
    while let Some(option) = args.get(at) {
        let left = args.len() - at - 1;
        if is(option, "AUTH") && left >= 2 {
            credentials = Some((args.at(at + 1), args.at(at + 2)));
            at += 3;
        } else if is(option, "SETNAME") && left >= 1 {
            if !is_label(args.at(at + 1)) {
                return Err(BAD_NAME);
            }
            name = Some(args.at(at + 1));
            at += 2;
        } else {
            return Err(CommandError::quoting("ERR Syntax error in HELLO option '", option, "'"));
        }
    }
    if let Some((user, password)) = credentials {
        authenticate(ctx, user, password, &args[0])?;
    }
    if must_authenticate(ctx) {
        return Err(CommandError::new(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = name {
        ctx.session.name = name.into();
    }
    ctx.session.protocol = protocol;
    ctx.reply.set_protocol(protocol);
    ctx.session.publish(ctx.now);
    greet(ctx.session, ctx.server.replication.is_replica(), &mut ctx.reply);
    Ok(Outcome::Unchanged)
}

/// What HELLO answers.
pub fn greet(session: &Session, is_replica: bool, reply: &mut Reply<'_>) {
    reply.map(7);
    for (field, value) in [("server", "redis"), ("version", super::info::REDIS_VERSION)] {
        reply.text(field);
        reply.text(value);
    }
    reply.text("proto");
    reply.int(if session.protocol == Protocol::Resp3 { 3 } else { 2 });
    reply.text("id");
    reply.int(session.id() as i64);
    let role = if is_replica { "replica" } else { "master" };
    for (field, value) in [("mode", "standalone"), ("role", role)] {
        reply.text(field);
        reply.text(value);
    }
    reply.text("modules");
    reply.array(0);
}
