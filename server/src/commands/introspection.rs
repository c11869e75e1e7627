//! COMMAND and its subcommands: what clients may know of the table.

use super::args::is;
use super::spec::{Begin, Categories, Find, Flags, Handler, KeyFlags, KeySpec};
use super::{Command, CommandError, Ctx, Done, Outcome, Spec};
use crate::resp::{Args, OwnedRequest};
use crate::store::glob::Glob;

const fn sub(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler)
        .always()
        .of(Categories::CONNECTION)
        .since("2.8.13")
        .group("server")
}

pub(super) const COMMANDS: &[Spec] = &[Spec::container(
    "COMMAND",
    &[
        sub("COUNT", 2, count).doc("", "Returns a count of commands."),
        sub("LIST", -2, list).tips(&["nondeterministic_output_order"]).since("7.0.0").doc(
            "[FILTERBY MODULE module-name | ACLCAT category | PATTERN pattern]",
            "Returns a list of command names.",
        ),
        sub("INFO", -2, info)
            .tips(&["nondeterministic_output_order"])
            .doc("[command-name [command-name ...]]", "Returns information about commands."),
        sub("DOCS", -2, docs).tips(&["nondeterministic_output_order"]).since("7.0.0").doc(
            "[command-name [command-name ...]]",
            "Returns documentary information about commands.",
        ),
        sub("GETKEYS", -4, getkeys)
            .doc("command [arg ...]", "Extracts the key names from a command."),
        sub("GETKEYSANDFLAGS", -4, getkeysandflags)
            .since("7.0.0")
            .doc("command [arg ...]", "Extracts the key names and access flags of a command."),
        sub("HELP", 2, help).since("5.0.0").doc("", "Returns helpful text about the subcommands."),
    ],
)
.callable(all)
.tips(&["nondeterministic_output_order"])
.group("server")
.always()
.of(Categories::CONNECTION)
.since("2.8.13")
.doc("", "Returns detailed information about all commands.")];

fn all(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    let commands: Vec<Command> = ctx.table.top_level().collect();
    ctx.reply.array(commands.len());
    commands.iter().for_each(|command| describe(ctx, *command));
    Ok(Outcome::Unchanged)
}

fn count(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.reply.len(ctx.table.top_level().count());
    Ok(Outcome::Unchanged)
}

fn info(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if args.len() == 2 {
        return all(ctx, args);
    }
    ctx.reply.array(args.len() - 2);
    for name in args.from(2).iter() {
        if ctx.reply.is_too_long() {
            break;
        }
        match ctx.table.named(name) {
            Some(command) => describe(ctx, command),
            None => ctx.reply.null(),
        }
    }
    Ok(Outcome::Unchanged)
}

/// One command as COMMAND INFO shows it: ten elements.
fn describe(ctx: &mut Ctx<'_>, command: Command) {
    let spec = command.spec;
    ctx.reply.array(10);
    ctx.reply.text(ctx.table.name(command));
    ctx.reply.int(spec.arity.into());
    // Redis keeps this one to itself.
    let flags: Vec<_> = spec.flags.without(Flags::MAY_REPLICATE).names().collect();
    ctx.reply.set(flags.len());
    flags.iter().for_each(|flag| ctx.reply.simple(flag));
    let (first, last, step) = old_key_range(spec);
    [first, last, step].iter().for_each(|number| ctx.reply.int(*number));
    let categories: Vec<_> = spec.all_categories().names().collect();
    ctx.reply.set(categories.len());
    categories.iter().for_each(|category| ctx.reply.simple(category));
    ctx.reply.set(spec.tips.len());
    spec.tips.iter().for_each(|tip| ctx.reply.text(tip));
    ctx.reply.set(spec.keys.len());
    spec.keys.iter().for_each(|keys| describe_keys(ctx, keys));
    let subcommands = ctx.table.subcommands(command).to_vec();
    match subcommands.len() {
        0 => ctx.reply.set(0),
        count => ctx.reply.array(count),
    }
    subcommands.iter().for_each(|subcommand| describe(ctx, *subcommand));
}

/// First, last and step as clients before Redis 7 know them.
fn old_key_range(spec: &Spec) -> (i64, i64, i64) {
    let mut range: Option<(i64, i64, i64)> = None;
    for keys in spec.keys {
        let (Begin::Index(first), Find::Range { last, step, .. }) = (keys.begin, keys.find) else {
            continue;
        };
        let first = first as i64;
        let last = if last >= 0 { first + i64::from(last) } else { last.into() };
        range = Some(match range {
            None => (first, last, step as i64),
            Some((start, _, step)) => (start, last, step),
        });
    }
    range.unwrap_or((0, 0, 0))
}

fn describe_keys(ctx: &mut Ctx<'_>, keys: &KeySpec) {
    let reply = &mut ctx.reply;
    reply.map(3);
    reply.text("flags");
    let flags: Vec<_> = keys.flags.names().collect();
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.simple(flag));
    reply.text("begin_search");
    reply.map(2);
    reply.text("type");
    match keys.begin {
        Begin::Index(index) => {
            reply.text("index");
            reply.text("spec");
            reply.map(1);
            reply.text("index");
            reply.len(index);
        }
        Begin::Keyword(word, from) => {
            reply.text("keyword");
            reply.text("spec");
            reply.map(2);
            reply.text("keyword");
            reply.text(word);
            reply.text("startfrom");
            reply.int(from.into());
        }
    }
    reply.text("find_keys");
    reply.map(2);
    reply.text("type");
    let (kind, fields) = match keys.find {
        Find::Range { last, step, limit } => (
            "range",
            [("lastkey", i64::from(last)), ("keystep", step as i64), ("limit", limit as i64)],
        ),
        Find::Count { count, first, step } => (
            "keynum",
            [("keynumidx", count as i64), ("firstkey", first as i64), ("keystep", step as i64)],
        ),
    };
    reply.text(kind);
    reply.text("spec");
    reply.map(fields.len());
    for (name, value) in fields {
        reply.text(name);
        reply.int(value);
    }
}

fn list(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let filter = match args.len() {
        2 => None,
        5 if is(&args[2], "FILTERBY") => Some((args.at(3), args.at(4))),
        _ => return Err(CommandError::SYNTAX),
    };
    let glob = filter.map(|(_, pattern)| Glob::new(pattern, true));
    let mut names = Vec::new();
    for command in ctx.table.all() {
        let name = ctx.table.name(*command);
        let shown = match filter {
            None => true,
            Some((by, _)) if is(by, "MODULE") => false,
            Some((by, category)) if is(by, "ACLCAT") => {
                let categories = command.spec.all_categories();
                categories.names().any(|known| is(category, known.trim_start_matches('@')))
            }
            Some((by, _)) if is(by, "PATTERN") => {
                glob.as_ref().is_some_and(|glob| glob.matches(name.as_bytes()))
            }
            Some(_) => return Err(CommandError::SYNTAX),
        };
        if shown {
            names.push(name);
        }
    }
    ctx.reply.array(names.len());
    names.iter().for_each(|name| ctx.reply.text(name));
    Ok(Outcome::Unchanged)
}

fn docs(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let commands: Vec<Command> = match args.len() {
        2 => ctx.table.top_level().collect(),
        _ => args.from(2).iter().filter_map(|name| ctx.table.named(name)).collect(),
    };
    ctx.reply.map(commands.len());
    for command in commands {
        if ctx.reply.is_too_long() {
            break;
        }
        document(ctx, command);
    }
    Ok(Outcome::Unchanged)
}

/// A command's name and its documentation.
fn document(ctx: &mut Ctx<'_>, command: Command) {
    let (spec, table) = (command.spec, ctx.table);
    let subcommands = table.subcommands(command);
    let arguments = super::syntax::parse(spec.syntax);
    let has_arguments = subcommands.is_empty() && !arguments.is_empty();
    ctx.reply.text(table.name(command));
    let flag = match (spec.internal, spec.deprecated) {
        (true, _) => Some("syscmd"),
        (false, Some(_)) => Some("deprecated"),
        (false, None) => None,
    };
    let fields = 4 + usize::from(flag.is_some()) + 2 * usize::from(spec.deprecated.is_some());
    let parts = usize::from(has_arguments) + usize::from(!subcommands.is_empty());
    ctx.reply.map(fields + parts);
    for (field, value) in [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", group(spec)),
        ("complexity", spec.complexity),
    ] {
        ctx.reply.text(field);
        ctx.reply.text(value);
    }
    if let Some(flag) = flag {
        ctx.reply.text("doc_flags");
        ctx.reply.set(1);
        ctx.reply.simple(flag);
    }
    if let Some((since, by)) = spec.deprecated {
        for (field, value) in [("deprecated_since", since), ("replaced_by", by)] {
            ctx.reply.text(field);
            ctx.reply.text(value);
        }
    }
    if has_arguments {
        ctx.reply.text("arguments");
        super::syntax::write(&arguments, &mut ctx.reply);
    }
    if !subcommands.is_empty() {
        ctx.reply.text("subcommands");
        ctx.reply.map(subcommands.len());
        subcommands.iter().for_each(|subcommand| document(ctx, *subcommand));
    }
}

fn group(spec: &Spec) -> &'static str {
    if let Some(group) = spec.group {
        return group;
    }
    let groups = [
        (Categories::HASH, "hash"),
        (Categories::STRING, "string"),
        (Categories::SET, "set"),
        (Categories::SORTED_SET, "sorted-set"),
        (Categories::TRANSACTION, "transactions"),
        (Categories::PUBSUB, "pubsub"),
        (Categories::SCRIPTING, "scripting"),
        (Categories::CONNECTION, "connection"),
        (Categories::KEYSPACE, "generic"),
    ];
    // A container is of the group of its subcommands.
    let categories = spec.subcommands.first().unwrap_or(spec).categories;
    let found = groups.iter().find(|(category, _)| categories.has(*category));
    found.map_or("server", |(_, group)| group)
}

/// The keys of the request that stands behind `COMMAND GETKEYS`.
fn keys_of(ctx: &Ctx<'_>, args: Args<'_>) -> Result<Vec<(Vec<u8>, KeyFlags)>, CommandError> {
    let request = OwnedRequest::new(args.from(2).iter());
    let request = request.args();
    let invalid = || CommandError::new("ERR Invalid command specified");
    let command = ctx.table.find(request).map_err(|_| invalid())?;
    if !command.spec.takes(request.len()) {
        return Err(CommandError::new("ERR Invalid number of arguments specified for command"));
    }
    if command.spec.keys.iter().all(|keys| keys.flags.has(KeyFlags::NOT_KEY)) {
        return Err(CommandError::new("ERR The command has no key arguments"));
    }
    let mut keys = Vec::new();
    command.spec.each_key(request, &mut |key, flags| keys.push((key.to_vec(), flags)));
    if keys.is_empty() && !command.spec.flags.has(Flags::NO_MANDATORY_KEYS) {
        return Err(CommandError::new("ERR Invalid arguments specified for command"));
    }
    Ok(keys)
}

fn getkeys(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let keys = keys_of(ctx, args)?;
    ctx.reply.array(keys.len());
    keys.iter().for_each(|(key, _)| ctx.reply.bulk(key));
    Ok(Outcome::Unchanged)
}

fn getkeysandflags(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let keys = keys_of(ctx, args)?;
    ctx.reply.array(keys.len());
    for (key, flags) in keys {
        let flags: Vec<_> = flags.names().collect();
        ctx.reply.array(2);
        ctx.reply.bulk(&key);
        ctx.reply.set(flags.len());
        flags.iter().for_each(|flag| ctx.reply.simple(flag));
    }
    Ok(Outcome::Unchanged)
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    super::help(
        ctx,
        &[
            "(no subcommand)",
            "    Return details about all Redis commands.",
            "COUNT",
            "    Return the total number of commands in this Redis server.",
            "LIST",
            "    Return a list of all commands in this Redis server.",
            "INFO [<command-name> ...]",
            "    Return details about multiple Redis commands.",
            "    If no command names are given, documentation details for all",
            "    commands are returned.",
            "DOCS [<command-name> ...]",
            "    Return documentation details about multiple Redis commands.",
            "    If no command names are given, documentation details for all",
            "    commands are returned.",
            "GETKEYS <full-command>",
            "    Return the keys from a full Redis command.",
            "GETKEYSANDFLAGS <full-command>",
            "    Return the keys and the access flags from a full Redis command.",
        ],
    )
}
