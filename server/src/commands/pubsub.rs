//! Publish/subscribe: SUBSCRIBE, PUBLISH, PUBSUB and friends.

use super::spec::{Categories, Channels, Flags, Handler, key};
use super::{Ctx, Done, Outcome, Session, Spec};
use crate::resp::Args;
use crate::state::Subject;
use crate::store::glob::Glob;

const fn row(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler).flags(Flags::PUBSUB).always().of(Categories::PUBSUB)
}

const fn listen(name: &'static str, arity: i32, handler: Handler) -> Spec {
    row(name, arity, handler).no_script()
}

pub(super) const COMMANDS: &[Spec] = &[
    listen("SUBSCRIBE", -2, subscribe)
        .channels(Channels::All)
        .since("2.0.0")
        .doc("channel [channel ...]", "Listens for messages published to channels."),
    listen("UNSUBSCRIBE", -1, unsubscribe)
        .since("2.0.0")
        .doc("[channel [channel ...]]", "Stops listening to messages posted to channels."),
    listen("PSUBSCRIBE", -2, psubscribe)
        .channels(Channels::Patterns)
        .since("2.0.0")
        .doc("pattern [pattern ...]", "Listens for messages published to matching channels."),
    listen("PUNSUBSCRIBE", -1, punsubscribe)
        .since("2.0.0")
        .doc("[pattern [pattern ...]]", "Stops listening to matching channels."),
    listen("SSUBSCRIBE", -2, ssubscribe)
        .key_specs(key::SHARD_CHANNELS)
        .channels(Channels::All)
        .since("7.0.0")
        .doc(
            "shardchannel [shardchannel ...]",
            "Listens for messages published to shard channels.",
        ),
    listen("SUNSUBSCRIBE", -1, sunsubscribe)
        .key_specs(key::SHARD_CHANNELS)
        .since("7.0.0")
        .doc("[shardchannel [shardchannel ...]]", "Stops listening to shard channels."),
    row("PUBLISH", 3, publish)
        .channels(Channels::First)
        .fast()
        .flags(Flags::MAY_REPLICATE)
        .since("2.0.0")
        .doc("channel message", "Posts a message to a channel."),
    row("SPUBLISH", 3, spublish)
        .key_specs(key::SHARD_CHANNEL)
        .channels(Channels::First)
        .fast()
        .flags(Flags::MAY_REPLICATE)
        .since("7.0.0")
        .doc("shardchannel message", "Posts a message to a shard channel."),
    Spec::container(
        "PUBSUB",
        &[
            row("CHANNELS", -2, channels)
                .since("2.8.0")
                .doc("[pattern]", "Returns the active channels."),
            row("NUMSUB", -2, numsub)
                .since("2.8.0")
                .doc("[channel [channel ...]]", "Returns a count of subscribers to channels."),
            row("NUMPAT", 2, numpat)
                .since("2.8.0")
                .doc("", "Returns a count of unique pattern subscriptions."),
            row("SHARDCHANNELS", -2, shardchannels)
                .since("7.0.0")
                .doc("[pattern]", "Returns the active shard channels."),
            row("SHARDNUMSUB", -2, shardnumsub)
                .since("7.0.0")
                .doc("[shardchannel [shardchannel ...]]", "Returns a count of shard subscribers."),
            Spec::new("HELP", 2, help)
                .always()
                .since("6.2.0")
                .group("pubsub")
                .doc("", "Returns helpful text about the subcommands."),
        ],
    )
    .since("2.8.0")
    .doc("subcommand", "A container for Pub/Sub commands."),
];

/// The names that a session subscribes to, of one kind.
fn names(session: &mut Session, subject: Subject) -> &mut std::collections::HashSet<Box<[u8]>> {
    match subject {
        Subject::Channel => &mut session.channels,
        Subject::Pattern => &mut session.patterns,
        Subject::ShardChannel => &mut session.shard_channels,
    }
}

/// What a confirmation counts: channels and patterns together, shard channels alone.
fn count(session: &Session, subject: Subject) -> usize {
    match subject {
        Subject::Channel | Subject::Pattern => session.channels.len() + session.patterns.len(),
        Subject::ShardChannel => session.shard_channels.len(),
    }
}

fn add(ctx: &mut Ctx<'_>, args: Args<'_>, subject: Subject, word: &str) -> Done {
    for name in args.from(1).iter() {
        if names(ctx.session, subject).insert(name.into()) {
            ctx.session.name_bytes += name.len();
            ctx.server.pubsub.subscribe(subject, name, &ctx.session.client);
        }
        confirm(ctx, word, Some(name), subject);
    }
    ctx.session.publish(ctx.now);
    Ok(Outcome::Unchanged)
}

fn remove(ctx: &mut Ctx<'_>, args: Args<'_>, subject: Subject, word: &str) -> Done {
    let mut gone: Vec<Box<[u8]>> = args.from(1).iter().map(Into::into).collect();
    if gone.is_empty() {
        gone = names(ctx.session, subject).iter().cloned().collect();
        gone.sort();
    }
    if gone.is_empty() {
        confirm(ctx, word, None, subject);
    }
    for name in gone {
        drop_one(ctx, subject, &name);
        confirm(ctx, word, Some(&name), subject);
    }
    ctx.session.publish(ctx.now);
    Ok(Outcome::Unchanged)
}

fn drop_one(ctx: &mut Ctx<'_>, subject: Subject, name: &[u8]) {
    if names(ctx.session, subject).remove(name) {
        ctx.session.name_bytes -= name.len();
        ctx.server.pubsub.unsubscribe(subject, name, ctx.session.id());
    }
}

fn confirm(ctx: &mut Ctx<'_>, word: &str, name: Option<&[u8]>, subject: Subject) {
    let count = count(ctx.session, subject);
    ctx.push(|reply| {
        reply.push(3);
        reply.text(word);
        reply.bulk_or_null(name);
        reply.len(count);
    });
}

/// Ends all subscriptions of a session without a word: RESET, or the end of its connection.
pub(super) fn forget(ctx: &mut Ctx<'_>) {
    for subject in [Subject::Channel, Subject::Pattern, Subject::ShardChannel] {
        for name in std::mem::take(names(ctx.session, subject)) {
            ctx.session.name_bytes -= name.len();
            ctx.server.pubsub.unsubscribe(subject, &name, ctx.session.id());
        }
    }
}

fn subscribe(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    add(ctx, args, Subject::Channel, "subscribe")
}

fn psubscribe(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    add(ctx, args, Subject::Pattern, "psubscribe")
}

fn ssubscribe(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    add(ctx, args, Subject::ShardChannel, "ssubscribe")
}

fn unsubscribe(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    remove(ctx, args, Subject::Channel, "unsubscribe")
}

fn punsubscribe(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    remove(ctx, args, Subject::Pattern, "punsubscribe")
}

fn sunsubscribe(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    remove(ctx, args, Subject::ShardChannel, "sunsubscribe")
}

fn publish(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let received = ctx.publish(&args[1], &args[2]);
    ctx.reply.len(received);
    Ok(Outcome::Told)
}

fn spublish(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (limit, now) = (ctx.server.config.client_output_buffer_limit.pubsub, ctx.now);
    let received =
        ctx.deliver(|pubsub, own| pubsub.publish_to_shard(&args[1], &args[2], limit, now, own));
    ctx.reply.len(received);
    Ok(Outcome::Told)
}

fn channels(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    list(ctx, args, Subject::Channel)
}

fn shardchannels(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    list(ctx, args, Subject::ShardChannel)
}

fn list(ctx: &mut Ctx<'_>, args: Args<'_>, subject: Subject) -> Done {
    if args.len() > 3 {
        return Err(super::wrong_subcommand(ctx, args));
    }
    let glob = args.get(2).map(|pattern| Glob::new(pattern, false));
    let matches = |name: &&[u8]| glob.as_ref().is_none_or(|glob| glob.matches(name));
    let found: Vec<_> = ctx.server.pubsub.names(subject).filter(matches).collect();
    ctx.reply.array(found.len());
    found.iter().for_each(|name| ctx.reply.bulk(name));
    Ok(Outcome::Unchanged)
}

fn numsub(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    counts(ctx, args, Subject::Channel)
}

fn shardnumsub(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    counts(ctx, args, Subject::ShardChannel)
}

fn counts(ctx: &mut Ctx<'_>, args: Args<'_>, subject: Subject) -> Done {
    ctx.reply.array((args.len() - 2) * 2);
    for name in args.from(2).iter() {
        ctx.reply.bulk(name);
        ctx.reply.len(ctx.server.pubsub.subscribers(subject, name));
    }
    Ok(Outcome::Unchanged)
}

fn numpat(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.reply.len(ctx.server.pubsub.count(Subject::Pattern));
    Ok(Outcome::Unchanged)
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    super::help(
        ctx,
        &[
            "CHANNELS [<pattern>]",
            "    Return the currently active channels matching a <pattern> (default: '*').",
            "NUMPAT",
            "    Return number of subscriptions to patterns.",
            "NUMSUB [<channel> ...]",
            "    Return the number of subscribers for the specified channels, excluding",
            "    pattern subscriptions(default: no channels).",
            "SHARDCHANNELS [<pattern>]",
            "    Return the currently active shard level channels matching a <pattern> (default: '*').",
            "SHARDNUMSUB [<shardchannel> ...]",
            "    Return the number of subscribers for the specified shard level channel(s)",
        ],
    )
}
