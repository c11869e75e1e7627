//! ACL and its subcommands, and the check of every request against its user's rights.

use std::path::Path;
use std::sync::Arc;

use super::args::{int, is, parse_int};
use super::foreign::FOREIGN;
use super::spec::{Categories, Channels, Handler};
use super::{
    Action, Command, CommandError, CommandTable, Ctx, Done, Flags, KeyFlags, Outcome, Spec,
};
use crate::acl::{
    Access, Asked, Catalog, Context, DEFAULT, Denial, Denied, Entry, Faults, Reason, User,
    is_user_name, join_selectors, read_users,
};
use crate::config::{ConfigError, Directive};
use crate::resp::Args;
use crate::session::End;
use crate::state::{Server, Subject};

const fn sub(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler).no_script().always().since("6.0.0")
}

const fn admin(name: &'static str, arity: i32, handler: Handler) -> Spec {
    sub(name, arity, handler).admin()
}

pub(super) const COMMANDS: &[Spec] = &[Spec::container(
    "ACL",
    &[
        sub("CAT", -2, cat)
            .doc("[categoryname]", "Lists the categories of rules, or the commands of one."),
        admin("DELUSER", -3, deluser)
            .doc("username [username ...]", "Deletes users and ends their connections."),
        admin("DRYRUN", -4, dryrun).since("7.0.0").doc(
            "username command [arg [arg ...]]",
            "Tells whether a user may execute a command, without executing it.",
        ),
        sub("GENPASS", -2, genpass).doc("[bits]", "Makes a password that nobody guesses."),
        admin("GETUSER", 3, getuser).doc("username", "Lists the rules of a user."),
        admin("LIST", 2, list).doc("", "Shows all users as the lines of a file."),
        admin("LOAD", 2, load).doc("", "Reads the users again from the file."),
        admin("LOG", -2, log).doc("[count | RESET]", "Lists what was refused lately."),
        admin("SAVE", 2, save).doc("", "Writes the users to the file."),
        admin("SETUSER", -3, setuser)
            .doc("username [rule [rule ...]]", "Makes a user, or changes its rules."),
        admin("USERS", 2, users).doc("", "Lists the names of all users."),
        sub("WHOAMI", 2, whoami).doc("", "Returns the user of the connection."),
        Spec::new("HELP", 2, help).always().since("6.0.0").doc("", "Returns helpful text."),
    ],
)
.since("6.0.0")
.doc("subcommand", "A container for access control commands.")];

/// What rules may name: this server's commands, and Redis's others. Commands go by their own names
/// here, whatever they were renamed to.
pub fn catalog(table: &CommandTable) -> Catalog {
    let names = Categories::NAMES.iter().map(|(_, name)| name.trim_start_matches('@')).collect();
    let own = table.all().iter().map(|command| Entry {
        name: table.name(*command).to_owned(),
        categories: command.spec.all_categories().0,
    });
    let bits = |text: &str| {
        let of = |word| Categories::NAMES.iter().find(|(_, name)| &name[1..] == word);
        text.split(' ').filter_map(of).fold(0, |all, (bit, _)| all | bit.0)
    };
    let foreign = FOREIGN.iter().flat_map(|(categories, names)| {
        let categories = bits(categories);
        names.split(' ').map(move |name| Entry { name: name.to_owned(), categories })
    });
    Catalog::new(names, own.chain(foreign))
}

/// Makes the users that the settings name: `requirepass`, `user` lines, the `aclfile`.
///
/// # Errors
///
/// A line or a file that cannot be understood.
pub fn load_at_start(server: &mut Server) -> Result<(), ConfigError> {
    let config = &server.config;
    if !config.requirepass.is_empty() {
        server.users.set_default_password(&config.requirepass);
    }
    let Some(path) = &config.aclfile else {
        let all_channels = config.new_users_use_all_channels();
        for line in &config.users {
            define(&mut server.users, line, all_channels)?;
        }
        return Ok(());
    };
    if !config.users.is_empty() {
        return Err(ConfigError::new(
            "users stand in the config file and in an aclfile; keep them in one of the two",
        ));
    }
    let users = read(path, server).map_err(|Faults(text)| ConfigError::new(text.trim_end()))?;
    server.users.replace(users);
    Ok(())
}

fn define(
    users: &mut crate::acl::Users,
    line: &Directive,
    all_channels: bool,
) -> Result<(), ConfigError> {
    let wrong = |why: String| ConfigError::new(format!("{}: {why}", line.at));
    let (name, rules) =
        line.words.split_first().ok_or_else(|| wrong("a user has a name".into()))?;
    if !is_user_name(name.as_bytes()) {
        return Err(wrong("a user's name has no spaces".into()));
    }
    if users.get(name.as_bytes()).is_some() && name.as_bytes() != DEFAULT {
        return Err(wrong(format!("user {name} is defined twice; keep one of the lines")));
    }
    let rules = join_selectors(rules.iter().map(String::as_bytes))
        .map_err(|_| wrong(format!("a selector of user {name} has no end; close it by )")))?;
    users.define(name.as_bytes(), &rules, all_channels).map_err(|(rule, why)| {
        let rule = String::from_utf8_lossy(&rule);
        wrong(format!("rule \"{rule}\" of user {name} cannot be applied: {why}"))
    })
}

fn read(path: &Path, server: &Server) -> Result<Vec<User>, Faults> {
    let shown = path.display().to_string();
    let text = std::fs::read(path).map_err(|cause| {
        let cause = cause.to_string();
        let cause = cause.split(" (os error").next().unwrap_or_default();
        Faults(format!("Error loading ACLs, opening file '{shown}': {cause}"))
    })?;
    let all_channels = server.config.new_users_use_all_channels();
    let read = read_users(&text, &shown, server.users.catalog(), all_channels);
    read.map_err(|Faults(text)| {
        Faults(format!(
            "{text}WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
        ))
    })
}

/// What a request asks of its user's rights.
fn asked<'a>(command: Command, args: Args<'a>) -> Asked<'a> {
    let spec = command.spec;
    let mut asked = Asked {
        command: command.id,
        is_free: spec.flags.has(Flags::NO_AUTH),
        first_arg: args.get(1),
        ..Asked::default()
    };
    spec.each_key(args, &mut |key, flags| {
        if !flags.has(KeyFlags::NOT_KEY) {
            let writes = KeyFlags::INSERT.with(KeyFlags::DELETE).with(KeyFlags::UPDATE);
            let access =
                Access { reads: flags.has(KeyFlags::ACCESS), writes: flags.0 & writes.0 != 0 };
            asked.keys.push((key, access));
        }
    });
    asked.channels = match spec.channels {
        Channels::None => Vec::new(),
        Channels::First => args.get(1).into_iter().collect(),
        Channels::All | Channels::Patterns => args.from(1).iter().collect(),
    };
    asked.are_patterns = spec.channels == Channels::Patterns;
    asked
}

/// Whether the connection has yet to authenticate.
pub(super) fn must_authenticate(ctx: &Ctx<'_>) -> bool {
    !ctx.session.identity.is_authenticated && !ctx.server.users.is_open()
}

/// Checks a request of a session that was not found to be allowed everything.
///
/// # Errors
///
/// Redis's text: who must authenticate first, and what is not allowed.
#[cold]
pub fn check(ctx: &mut Ctx<'_>, command: Command, args: Args<'_>) -> Result<(), CommandError> {
    if ctx.session.is_primary_link {
        return Ok(());
    }
    if must_authenticate(ctx) && !command.spec.flags.has(Flags::NO_AUTH) {
        return Err(CommandError::NO_AUTH);
    }
    match find_denied(ctx, command, args) {
        None => Ok(()),
        Some(denied) if ctx.session.in_script => Err(CommandError::new(match denied {
            Denied::Command => {
                "ERR The user executing the script can't run this command or subcommand"
            }
            Denied::Key(_) => {
                "ERR The user executing the script can't access at least one of the keys mentioned in the command arguments"
            }
            Denied::Channel(_) => {
                "ERR The user executing the script can't publish to the channel mentioned in the command"
            }
        })),
        Some(Denied::Command) => Err(CommandError::new(format!(
            "NOPERM this user has no permissions to run the '{}' command",
            ctx.table.name(command)
        ))),
        Some(Denied::Key(_)) => Err(CommandError::new(
            "NOPERM this user has no permissions to access one of the keys used as arguments",
        )),
        Some(Denied::Channel(_)) => Err(CommandError::new(
            "NOPERM this user has no permissions to access one of the channels used as arguments",
        )),
    }
}

/// Looks at a queued request again before EXEC executes it: rules may have changed meanwhile.
///
/// # Errors
///
/// Redis's text of what is no longer allowed.
pub(super) fn check_queued(
    ctx: &mut Ctx<'_>,
    command: Command,
    args: Args<'_>,
) -> Result<(), CommandError> {
    if ctx.session.identity.cleared_at == ctx.server.users.version() || ctx.session.is_primary_link
    {
        return Ok(());
    }
    let reason = match find_denied(ctx, command, args) {
        None => return Ok(()),
        Some(Denied::Command) => "no permission to execute the command or subcommand",
        Some(Denied::Key(_)) => "no permission to touch the specified keys",
        Some(Denied::Channel(_)) => "no permission to access one of the channels used as arguments",
    };
    Err(CommandError::new(format!(
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: {reason}"
    )))
}

/// What of a request the session's user may not do; notes it in the log. Who may do everything is
/// not looked at again until a rule changes.
fn find_denied(ctx: &mut Ctx<'_>, command: Command, args: Args<'_>) -> Option<Denied> {
    let users = &ctx.server.users;
    let Some(user) = users.get(&ctx.session.identity.user) else {
        // Deleted a moment ago: its connection is about to close.
        return Some(Denied::Command);
    };
    if user.is_unrestricted() {
        // Who has yet to authenticate is looked at again with every request.
        if !must_authenticate(ctx) {
            ctx.session.identity.cleared_at = users.version();
        }
        return None;
    }
    let asked = asked(command, args);
    let denied = user.check(&asked).err()?;
    let (reason, object) = match denied {
        Denied::Command => (Reason::Command, ctx.table.name(command).as_bytes()),
        Denied::Key(at) => (Reason::Key, asked.keys[at].0),
        Denied::Channel(at) => (Reason::Channel, asked.channels[at]),
    };
    let user = Arc::clone(&ctx.session.identity.user);
    note(ctx, reason, object, &user);
    Some(denied)
}

/// Keeps a denial in the log.
pub(super) fn note(ctx: &mut Ctx<'_>, reason: Reason, object: &[u8], user: &[u8]) {
    let context = match &*ctx.session {
        session if session.in_script => Context::Lua,
        session if session.transaction.is_some() || session.in_exec => Context::Multi,
        _ => Context::TopLevel,
    };
    let client = super::clients::own_line(ctx);
    let most = ctx.server.config.acllog_max_len as usize;
    let (object, user) = (object.to_vec(), user.to_vec());
    let denial = Denial { reason, context, object, user, client, at: ctx.now, count: 1 };
    ctx.server.users.log.add(denial, most);
}

/// Whether the session's user may execute a request; nothing is noted.
pub(super) fn allows(ctx: &Ctx<'_>, command: Command, args: Args<'_>) -> bool {
    let user = ctx.server.users.get(&ctx.session.identity.user);
    user.is_some_and(|user| user.check(&asked(command, args)).is_ok())
}

/// Makes a connection a user's.
///
/// # Errors
///
/// There is no such user, it is off, or the password is wrong.
pub(super) fn authenticate(
    ctx: &mut Ctx<'_>,
    name: &[u8],
    password: &[u8],
    by: &[u8],
) -> Result<(), CommandError> {
    let Some(user) = ctx.server.users.get(name).filter(|user| user.admits(password)) else {
        note(ctx, Reason::Auth, by, name);
        return Err(CommandError::WRONG_PASS);
    };
    let user = Arc::clone(user.name());
    ctx.session.identity.become_user(user);
    ctx.session.publish(ctx.now);
    Ok(())
}

/// Lets a change of users take effect where more than the rules of a request hangs on them.
fn changed(ctx: &mut Ctx<'_>) {
    // Connections learn on arrival whether they must authenticate.
    ctx.server.config_changed = true;
}

/// Ends the connections of users to whom this applies; true: this very one is among them, and is
/// to end behind its reply.
fn end_connections(ctx: &mut Ctx<'_>, applies: impl Fn(&Ctx<'_>, u64, &[u8]) -> bool) -> bool {
    ctx.session.publish(ctx.now);
    let mut own = false;
    for client in ctx.server.clients.all() {
        let user = Arc::clone(&client.view.lock().user);
        if !applies(ctx, client.id, &user) {
            continue;
        }
        if client.id == ctx.session.id() {
            own = true;
        } else {
            ctx.server.clients.end(&client, End::Killed);
        }
    }
    own
}

fn done(own_ends: bool) -> Done {
    Ok(if own_ends { Outcome::Then(Action::Close) } else { Outcome::Unchanged })
}

fn setuser(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let name = args.at(2);
    if !is_user_name(name) {
        return Err(CommandError::new("ERR Usernames can't contain spaces or null characters"));
    }
    let rules = join_selectors(args.from(3).iter()).map_err(|first| {
        CommandError::quoting(
            "ERR Unmatched parenthesis in acl selector starting at '",
            first,
            "'.",
        )
    })?;
    let all_channels = ctx.server.config.new_users_use_all_channels();
    let mut user = ctx.server.users.get_or_new(name, all_channels);
    for rule in rules {
        user.apply(&rule, ctx.server.users.catalog(), all_channels).map_err(|why| {
            let before = "ERR Error in ACL SETUSER modifier '";
            CommandError::quoting(before, &rule, &format!("': {why}"))
        })?;
    }
    let old = ctx.server.users.get(name).cloned();
    ctx.server.users.put(user.clone());
    changed(ctx);
    ctx.reply.ok();
    match old {
        Some(old) if !user.keeps_channels_of(&old) => {
            let own_ends = end_connections(ctx, |ctx, id, name| {
                let forbidden = |subject, channel: &[u8]| {
                    !user.allows_channel(channel, subject == Subject::Pattern)
                };
                **user.name() == *name && ctx.server.pubsub.any_of(id, forbidden)
            });
            done(own_ends)
        }
        _ => Ok(Outcome::Unchanged),
    }
}

fn deluser(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if args.from(2).iter().any(|name| name == DEFAULT) {
        return Err(CommandError::new("ERR The 'default' user cannot be removed"));
    }
    let mut gone: Vec<&[u8]> = Vec::new();
    for name in args.from(2).iter() {
        if ctx.server.users.remove(name) {
            gone.push(name);
        }
    }
    ctx.reply.len(gone.len());
    done(!gone.is_empty() && end_connections(ctx, |_, _, name| gone.contains(&name)))
}

fn getuser(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let Some(user) = ctx.server.users.get(&args[2]) else {
        ctx.reply.null();
        return Ok(Outcome::Unchanged);
    };
    let catalog = ctx.server.users.catalog();
    let reply = &mut ctx.reply;
    reply.map(6);
    reply.text("flags");
    let flags = user.flags();
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.text(flag));
    reply.text("passwords");
    reply.array(user.passwords().len());
    for digest in user.passwords() {
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        reply.text(&digits);
    }
    let describe = |selector: &crate::acl::Selector, reply: &mut crate::resp::Reply<'_>| {
        for (field, value) in [
            ("commands", selector.describe_commands(catalog)),
            ("keys", selector.describe_keys()),
            ("channels", selector.describe_channels()),
        ] {
            reply.text(field);
            reply.bulk(&value);
        }
    };
    describe(user.root(), reply);
    reply.text("selectors");
    reply.array(user.selectors().len());
    for selector in user.selectors() {
        reply.map(3);
        describe(selector, reply);
    }
    Ok(Outcome::Unchanged)
}

fn list(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    let lines = ctx.server.users.lines();
    ctx.reply.array(lines.len());
    lines.iter().for_each(|line| ctx.reply.bulk(line));
    Ok(Outcome::Unchanged)
}

fn users(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    let names: Vec<_> = ctx.server.users.all().map(|user| user.name()).collect();
    ctx.reply.array(names.len());
    names.iter().for_each(|name| ctx.reply.bulk(name));
    Ok(Outcome::Unchanged)
}

fn whoami(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.reply.bulk(&ctx.session.identity.user);
    Ok(Outcome::Unchanged)
}

fn cat(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let catalog = ctx.server.users.catalog();
    let names: Vec<&str> = match args.len() {
        2 => catalog.categories().to_vec(),
        3 => {
            let category = catalog
                .category(&args[2])
                .ok_or_else(|| CommandError::quoting("ERR Unknown category '", &args[2], "'"))?;
            // Rules may name Redis's other commands too, but they cannot be executed here.
            let of_category = catalog.of_category(category).filter(|id| *id < ctx.table.len());
            of_category.map(|id| catalog.entry(id).name.as_str()).collect()
        }
        _ => return Err(super::wrong_subcommand(ctx, args)),
    };
    ctx.reply.array(names.len());
    names.iter().for_each(|name| ctx.reply.text(name));
    Ok(Outcome::Unchanged)
}

fn genpass(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    /// The longest password, in bits.
    const MOST: i64 = 4096;
    let bits = match args.len() {
        2 => 256,
        3 => int(args, 2)?,
        _ => return Err(super::wrong_subcommand(ctx, args)),
    };
    if !(1..=MOST).contains(&bits) {
        return Err(CommandError::new(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to {MOST}"
        )));
    }
    let digits = (bits as usize).div_ceil(4);
    let mut random = vec![0; digits.div_ceil(2)];
    getrandom::fill(&mut random).map_err(|cause| {
        CommandError::new(format!("ERR the system has no random bytes: {cause}"))
    })?;
    let mut password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    password.truncate(digits);
    ctx.reply.text(&password);
    Ok(Outcome::Unchanged)
}

fn dryrun(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let Some(user) = ctx.server.users.get(&args[2]).map(Arc::clone) else {
        return Err(CommandError::quoting("ERR User '", &args[2], "' not found"));
    };
    let request = crate::resp::OwnedRequest::new(args.from(3).iter());
    let request = request.args();
    let command = match ctx.table.find(request) {
        Ok(command) => command,
        Err(error) if error.text().starts_with(b"ERR wrong number") => return Err(error),
        Err(_) => return Err(CommandError::quoting("ERR Command '", &args[3], "' not found")),
    };
    let name = ctx.table.name(command);
    if !command.spec.takes(request.len()) {
        return Err(CommandError::wrong_arity(name));
    }
    let asked = asked(command, request);
    let what = match user.check(&asked) {
        Ok(()) => {
            ctx.reply.ok();
            return Ok(Outcome::Unchanged);
        }
        Err(Denied::Command) => format!("run the '{name}' command").into_bytes(),
        Err(Denied::Key(at)) => [b"access the '", asked.keys[at].0, b"' key"].concat(),
        Err(Denied::Channel(at)) => [b"access the '", asked.channels[at], b"' channel"].concat(),
    };
    ctx.reply.bulk(&[b"This user has no permissions to ", what.as_slice()].concat());
    Ok(Outcome::Unchanged)
}

fn log(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let most = match args.get(2) {
        None => 10,
        Some(_) if args.len() > 3 => return Err(super::wrong_subcommand(ctx, args)),
        Some(word) if is(word, "RESET") => {
            ctx.server.users.log.clear();
            ctx.reply.ok();
            return Ok(Outcome::Unchanged);
        }
        Some(word) => parse_int(word).ok_or(CommandError::NOT_AN_INTEGER)?.max(0) as usize,
    };
    let entries: Vec<&Denial> = ctx.server.users.log.latest().take(most).collect();
    ctx.reply.array(entries.len());
    for entry in entries {
        ctx.reply.map(7);
        ctx.reply.text("count");
        ctx.reply.int(entry.count as i64);
        for (field, value) in [
            ("reason", entry.reason.name().as_bytes()),
            ("context", entry.context.name().as_bytes()),
            ("object", &entry.object),
            ("username", &entry.user),
        ] {
            ctx.reply.text(field);
            ctx.reply.bulk(value);
        }
        ctx.reply.text("age-seconds");
        ctx.reply.double(ctx.now.saturating_sub(entry.at) as f64 / 1000.0);
        ctx.reply.text("client-info");
        ctx.reply.text(&entry.client);
    }
    Ok(Outcome::Unchanged)
}

fn load(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    let path = ctx.server.config.aclfile.clone().ok_or(CommandError::NO_ACL_FILE)?;
    let users =
        read(&path, ctx.server).map_err(|Faults(text)| CommandError::new(format!("ERR {text}")))?;
    ctx.server.users.replace(users);
    changed(ctx);
    ctx.reply.ok();
    // Whose rules were read anew must say again who they are; as in Redis 7.0 all but the default
    // user's connections end.
    done(end_connections(ctx, |_, _, name| name != DEFAULT))
}

fn save(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    let path = ctx.server.config.aclfile.clone().ok_or(CommandError::NO_ACL_FILE)?;
    let mut text = ctx.server.users.lines().join(&b'\n');
    text.push(b'\n');
    write_beside(&path, &text).map_err(|cause| {
        tracing::warn!(%cause, path = %path.display(), "cannot save the users");
        CommandError::new("ERR There was an error trying to save the ACLs. Please check the server logs for more information")
    })?;
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

/// Writes a file beside the old one, with its permissions, and renames it: a crash leaves the old
/// one or the new one.
fn write_beside(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("writing");
    std::fs::write(&beside, text)?;
    if let Ok(old) = std::fs::metadata(path) {
        std::fs::set_permissions(&beside, old.permissions())?;
    }
    std::fs::rename(&beside, path)
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    super::help(
        ctx,
        &[
            "CAT [<category>]",
            "    List all commands that belong to <category>, or all command categories",
            "    when no category is specified.",
            "DELUSER <username> [<username> ...]",
            "    Delete a list of users.",
            "DRYRUN <username> <command> [<arg> ...]",
            "    Returns whether the user can execute the given command without executing the command.",
            "GETUSER <username>",
            "    Get the user's details.",
            "GENPASS [<bits>]",
            "    Generate a secure 256-bit user password. The optional `bits` argument can",
            "    be used to specify a different size.",
            "LIST",
            "    Show users details in config file format.",
            "LOAD",
            "    Reload users from the ACL file.",
            "LOG [<count> | RESET]",
            "    Show the ACL log entries.",
            "SAVE",
            "    Save the current config to the ACL file.",
            "SETUSER <username> <attribute> [<attribute> ...]",
            "    Create or modify a user with the specified attributes.",
            "USERS",
            "    List all the registered usernames.",
            "WHOAMI",
            "    Return the current connection username.",
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_of_ours_is_foreign() {
        let table = CommandTable::new();
        let foreign = FOREIGN.iter().flat_map(|(_, names)| names.split(' '));
        let both: Vec<&str> =
            foreign.filter(|name| table.named(name.as_bytes()).is_some()).collect();
        assert!(both.is_empty(), "these are served: {both:?}");
        let catalog = catalog(&table);
        assert!(
            table
                .all()
                .iter()
                .all(|command| catalog.entry(command.id).name == table.name(*command))
        );
    }
}
