//! Connection commands: PING, ECHO, SELECT, QUIT, RESET, AUTH, HELLO.

use super::spec::{Categories, Flags};
use super::{Action, CommandError, Ctx, Done, Outcome, Spec, args::int};
use crate::resp::Args;

pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("PING", -1, ping)
        .fast()
        .of(Categories::CONNECTION)
        .doc("[message]", "Returns the server's liveliness response."),
    Spec::new("ECHO", 2, echo)
        .fast()
        .flags(Flags::LOADING.with(Flags::STALE))
        .of(Categories::CONNECTION)
        .doc("message", "Returns the given string."),
    Spec::new("SELECT", 2, select)
        .fast()
        .flags(Flags::LOADING.with(Flags::STALE))
        .of(Categories::CONNECTION)
        .doc("index", "Changes the selected database."),
    Spec::new("QUIT", -1, quit)
        .fast()
        .flags(
            Flags::NO_SCRIPT
                .with(Flags::LOADING)
                .with(Flags::STALE)
                .with(Flags::NO_AUTH)
                .with(Flags::ALLOW_BUSY),
        )
        .of(Categories::CONNECTION)
        .doc("", "Closes the connection."),
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
    let index = int(args, 1)?;
    let count = ctx.data.keyspace.databases() as i64;
    if !(0..count).contains(&index) {
        return Err(CommandError::DB_OUT_OF_RANGE);
    }
    ctx.select(index as usize);
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

fn quit(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.reply.ok();
    Ok(Outcome::Then(Action::Close))
}
