//! CONFIG GET, SET, RESETSTAT, REWRITE.

use super::args::is;
use super::spec::{Categories, Handler};
use super::{CommandError, Ctx, Done, Outcome, Spec};
use crate::config::NotifyFlags;
use crate::resp::Args;
use crate::state::{Encodings, Stats};
use crate::store::glob;

const fn sub(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler).admin().no_script().always().since("2.0.0")
}

pub(super) const COMMANDS: &[Spec] = &[Spec::container(
    "CONFIG",
    &[
        sub("GET", -3, get)
            .doc("parameter [parameter ...]", "Returns the effective values of settings."),
        sub("SET", -4, set)
            .doc("parameter value [parameter value ...]", "Sets settings in-flight."),
        sub("RESETSTAT", 2, resetstat).doc("", "Resets the server's statistics."),
        sub("REWRITE", 2, rewrite).since("2.8.0").doc("", "Persists the effective settings."),
        sub("HELP", 2, help).since("5.0.0").doc("", "Returns helpful text."),
    ],
)
.of(Categories::ADMIN)
.doc("subcommand", "A container for server configuration commands.")
.since("2.0.0")];

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let patterns: Vec<_> = args.from(2).iter().collect();
    let found = ctx
        .server
        .config
        .get(|name| patterns.iter().any(|pattern| glob::matches(pattern, name.as_bytes(), true)));
    ctx.reply.map(found.len());
    for (name, value) in found {
        // A name that was asked for as such comes back as it was written.
        let asked = patterns.iter().find(|pattern| is(pattern, name));
        ctx.reply.bulk(asked.copied().unwrap_or(name.as_bytes()));
        ctx.reply.text(&value);
    }
    Ok(Outcome::Unchanged)
}

fn set(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::SYNTAX);
    }
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let words: Vec<String> = args.from(2).iter().map(text).collect();
    let pairs: Vec<_> = words.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    let dir = ctx.server.config.dir.clone();
    ctx.server.config.set(&pairs).map_err(CommandError::new)?;
    if ctx.server.config.dir != dir
        && let Err(cause) = std::env::set_current_dir(&ctx.server.config.dir)
    {
        ctx.server.config.dir = dir;
        return Err(CommandError::new(format!(
            "ERR CONFIG SET failed (possibly related to argument 'dir') - {cause}"
        )));
    }
    apply(ctx);
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

/// Lets settings that are kept elsewhere for speed take effect there.
fn apply(ctx: &mut Ctx<'_>) {
    ctx.server.config_changed = true;
    let config = &ctx.server.config;
    ctx.data.lookups.encodings = Encodings::from(config);
    ctx.data.lookups.notes_misses = config.notify_keyspace_events.wants(NotifyFlags::KEY_MISS);
    ctx.data.lookups.notes_new = config.notify_keyspace_events.wants(NotifyFlags::NEW);
    ctx.server.slowlog.trim(config.slowlog_max_len as usize);
}

fn resetstat(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.server.stats = Stats::new(ctx.table.len());
    (ctx.data.lookups.hits, ctx.data.lookups.misses) = (0, 0);
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

fn rewrite(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    let failed =
        |cause: std::io::Error| CommandError::new(format!("ERR Rewriting config file: {cause}"));
    let Some(path) = ctx.server.config_file.clone() else {
        return Err(CommandError::new("ERR The server is running without a config file"));
    };
    let original = match std::fs::read_to_string(&path) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.map_err(failed)?,
    };
    // Written beside it and renamed: a crash leaves the old file or the new one.
    let beside = path.with_extension("rewriting");
    std::fs::write(&beside, ctx.server.config.rewrite(&original)).map_err(failed)?;
    std::fs::rename(&beside, &path).map_err(failed)?;
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
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
