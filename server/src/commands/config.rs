//! CONFIG GET, SET, RESETSTAT, REWRITE.

use std::path::Path;

use super::args::is;
use super::spec::Handler;
use super::{CommandError, Ctx, Done, Outcome, Spec};
use crate::config::{Config, Rewritten};
use crate::resp::Args;
use crate::state::Stats;
use crate::store::glob::Glob;

const fn sub(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler).admin().no_script().always().since("2.0.0")
}

pub(super) const COMMANDS: &[Spec] = &[Spec::container(
    "CONFIG",
    &[
        sub("GET", -3, get)
            .doc("parameter [parameter ...]", "Returns the effective values of settings."),
        sub("SET", -4, set)
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .doc("parameter value [parameter value ...]", "Sets settings in-flight."),
        sub("RESETSTAT", 2, resetstat).doc("", "Resets the server's statistics."),
        sub("REWRITE", 2, rewrite).since("2.8.0").doc("", "Persists the effective settings."),
        Spec::new("HELP", 2, help).always().since("5.0.0").doc("", "Returns helpful text."),
    ],
)
.doc("subcommand", "A container for server configuration commands.")
.since("2.0.0")];

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let patterns: Vec<_> = args.from(2).iter().collect();
    let globs: Vec<_> = patterns.iter().map(|pattern| Glob::new(pattern, true)).collect();
    let wanted = |name: &str| globs.iter().any(|glob| glob.matches(name.as_bytes()));
    let found = ctx.server.config.get(wanted);
    ctx.reply.map(found.len());
    for (name, value) in found {
        // A name that was asked for as such comes back as it was written.
        let first = globs.iter().position(|glob| glob.matches(name.as_bytes()));
        let asked = first.map(|at| patterns[at]).filter(|pattern| is(pattern, name));
        ctx.reply.bulk(asked.unwrap_or(name.as_bytes()));
        ctx.reply.text(&value);
    }
    Ok(Outcome::Unchanged)
}

fn set(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::SYNTAX);
    }
    // A name that is no text is told as it came.
    for name in args.from(2).iter().step_by(2) {
        if std::str::from_utf8(name).is_err() {
            let text = "ERR Unknown option or number of arguments for CONFIG SET - '";
            return Err(CommandError::quoting(text, name, "'"));
        }
    }
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let words: Vec<String> = args.from(2).iter().map(text).collect();
    let pairs: Vec<_> = words.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    let dir = ctx.server.config.dir.clone();
    let password = ctx.server.config.requirepass.clone();
    let old = ctx.server.config.clone();
    let protected = super::is_trusted(ctx, &ctx.server.config.enable_protected_configs);
    ctx.server.config.set(&pairs, protected).map_err(CommandError::new)?;
    if let Err(why) = reload_tls(ctx, &pairs) {
        tracing::warn!(%why, "cannot update the TLS configuration");
        ctx.server.config = old;
        return Err(why);
    }
    if ctx.server.config.dir != dir {
        // Redis changes the process's folder; here others may live in the same process.
        match std::fs::canonicalize(&ctx.server.config.dir) {
            Ok(path) if path.is_dir() => ctx.server.config.dir = path.display().to_string(),
            _ => {
                ctx.server.config.dir = dir;
                return Err(CommandError::new(
                    "ERR CONFIG SET failed (possibly related to argument 'dir') - No such file or directory",
                ));
            }
        }
    }
    if let Err(why) = listen_again(ctx, &old) {
        ctx.server.config = old;
        return Err(why);
    }
    if ctx.server.config.requirepass != password {
        ctx.server.users.set_default_password(&ctx.server.config.requirepass);
    }
    apply(ctx);
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

/// Listens where the settings say now, if that is elsewhere.
fn listen_again(ctx: &mut Ctx<'_>, old: &Config) -> Result<(), CommandError> {
    let config = &ctx.server.config;
    let Some(listen) = ctx.server.listen.clone() else { return Ok(()) };
    if config.port == old.port && config.bind == old.bind {
        return Ok(());
    }
    // Ports that were picked at the start stay.
    let tls_port = Some(ctx.server.tls_port);
    let of = |config: &Config, moves: bool| {
        let port = if moves { config.port } else { ctx.server.port };
        Config { port, tls_port, ..config.clone() }
    };
    let (to, from) = (of(config, config.port != old.port), of(old, false));
    let moved = listen.move_to(&to, &from).map_err(|why| {
        tracing::warn!(%why, "cannot listen elsewhere");
        let (name, text) = match config.port == old.port {
            true => ("bind", "Failed to bind to specified addresses."),
            false => ("port", "Unable to listen on this port. Check server logs."),
        };
        CommandError::new(format!(
            "ERR CONFIG SET failed (possibly related to argument '{name}') - {text}"
        ))
    });
    ctx.server.port = moved?;
    Ok(())
}

/// Reads certificates and keys anew if one of their settings was set, even to what it was: the
/// files may have changed.
fn reload_tls(ctx: &Ctx<'_>, pairs: &[(String, String)]) -> Result<(), CommandError> {
    let about_tls = pairs.iter().find(|(name, _)| name.to_ascii_lowercase().starts_with("tls-"));
    let (Some(tls), Some((name, _))) = (&ctx.server.tls, about_tls) else { return Ok(()) };
    tls.reload(&ctx.server.config).map_err(|why| {
        CommandError::new(format!(
            "ERR CONFIG SET failed (possibly related to argument '{name}') - Unable to update TLS configuration: {why}"
        ))
    })
}

/// Lets settings that are kept elsewhere for speed take effect there.
fn apply(ctx: &mut Ctx<'_>) {
    ctx.server.config_changed = true;
    let config = &ctx.server.config;
    ctx.data.lookups.configure(config);
    ctx.server.slowlog.trim(config.slowlog_max_len as usize);
    if config.maxmemory != 0 {
        // Room is made at once; where it cannot be, the next command that needs it is refused.
        super::eviction::make_room(ctx);
    }
}

fn resetstat(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    let peak_memory = ctx.server.stats.peak_memory.max(super::memory::used(ctx));
    // What has gone through connections that are still there counts from now on.
    let past_traffic = ctx.server.clients.traffic().negated();
    ctx.server.stats = Stats { peak_memory, past_traffic, ..Stats::new(ctx.table.len()) };
    ctx.server.clients.forget_arrivals();
    ctx.server.persistence.saves = 0;
    ctx.server.replication.counts = Default::default();
    (ctx.data.lookups.hits, ctx.data.lookups.misses) = (0, 0);
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

const NO_FILE: &str = "The server is running without a config file";

fn rewrite(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    let Some(path) = ctx.server.config_file.clone() else {
        return Err(CommandError::new(format!("ERR {NO_FILE}")));
    };
    rewrite_file(ctx, &path, Rewritten::Changed)
        .map_err(|cause| CommandError::new(format!("ERR Rewriting config file: {cause}")))?;
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

/// CONFIG REWRITE of all settings, for DEBUG.
pub(super) fn rewrite_all(ctx: &mut Ctx<'_>) -> Done {
    let file = ctx.server.config_file.clone().ok_or_else(|| std::io::Error::other(NO_FILE));
    file.and_then(|path| rewrite_file(ctx, &path, Rewritten::All)).map_err(|cause| {
        CommandError::new(format!("ERR CONFIG-REWRITE-FORCE-ALL failed: {cause}"))
    })?;
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

fn rewrite_file(ctx: &Ctx<'_>, path: &Path, which: Rewritten) -> std::io::Result<()> {
    let original = match std::fs::read_to_string(path) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    // Written beside it and renamed: a crash leaves the old file or the new one.
    let beside = path.with_extension("rewriting");
    // Users of a file of their own do not belong here.
    let users = match ctx.server.config.aclfile {
        None => ctx.server.users.lines(),
        Some(_) => Vec::new(),
    };
    let users: Vec<String> =
        users.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    write_through(&beside, &ctx.server.config.rewrite(&original, &users, which))?;
    // Whoever may not read the old one may not read the new one either.
    if let Ok(old) = std::fs::metadata(path) {
        std::fs::set_permissions(&beside, old.permissions())?;
    }
    std::fs::rename(&beside, path)
}

/// Writes a file and waits until it is on the disk.
fn write_through(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    file.sync_all()
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    super::help(
        ctx,
        &[
            "GET <pattern>",
            "    Return parameters matching the glob-like <pattern> and their values.",
            "SET <directive> <value>",
            "    Set the configuration <directive> to <value>.",
            "RESETSTAT",
            "    Reset statistics reported by the INFO command.",
            "REWRITE",
            "    Rewrite the configuration file.",
        ],
    )
}
