//! DEBUG: for tests of the server itself.

use std::time::Duration;

use super::args::{int, is, parse_float, parse_int};
use super::spec::{Categories, Handler};
use super::{Action, CommandError, Ctx, Done, Outcome, Spec, digest};
use crate::rdb::{Place, Version, Writer, write_value};
use crate::resp::Args;
use crate::store::ValueRef;

const fn row(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler).admin().no_script().always()
}

pub(super) const COMMANDS: &[Spec] = &[row("DEBUG", -2, debug)
    .internal()
    .of(Categories::ADMIN)
    .doc("subcommand [argument ...]", "A container for debugging commands.")];

/// Whether `enable-debug-command` allows it to this connection.
fn check_allowed(ctx: &Ctx<'_>) -> Result<(), CommandError> {
    match super::is_trusted(ctx, &ctx.server.config.enable_debug_command) {
        true => Ok(()),
        false => Err(CommandError::new(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
        )),
    }
}

fn debug(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    check_allowed(ctx)?;
    match (args.at(1).to_ascii_uppercase().as_slice(), args.len()) {
        (b"CHANGE-REPL-ID", 2) => {
            tracing::warn!("another replication ID, by DEBUG CHANGE-REPL-ID");
            ctx.server.replication.begin_history();
            ok(ctx)
        }
        (b"CLIENT-EVICTION", 2) => client_eviction(ctx),
        (b"CONFIG-REWRITE-FORCE-ALL", 2) => super::config::rewrite_all(ctx),
        // Nothing here is made larger or smaller as a whole, so there is nothing to hold off.
        (b"DICT-RESIZING", 3) => ok(ctx),
        (b"DIGEST", 2) => {
            let digest = digest::of_all(ctx);
            simple(ctx, &digest.to_string())
        }
        (b"DIGEST-VALUE", _) => digest_value(ctx, args),
        (b"ERROR", 3) => Err(CommandError::of(&[&args[2]])),
        (b"HELP", 2) => super::help(ctx, HELP),
        (b"HTSTATS", 3..) => table_stats(ctx, args),
        (b"HTSTATS-KEY", 3..) => table_stats_of_key(ctx, args),
        (b"LOG", 3) => {
            tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(&args[2]));
            ok(ctx)
        }
        (b"OBJECT", 3) => object(ctx, args),
        (b"PAUSE-CRON", 3) => {
            ctx.server.debug.pauses_care = is_on(&args[2]);
            ok(ctx)
        }
        (b"POPULATE", 3..=5) => populate(ctx, args),
        (b"PROTOCOL", 3) => protocol(ctx, args),
        (b"RELOAD", _) => reload(ctx, args),
        (b"REPLICATE", 3..) => {
            // A replica's own replicas get what it gets, and nothing else.
            if !ctx.server.replication.is_replica() {
                ctx.server.effects.tell(ctx.data.db, args.from(2).iter());
            }
            ok(ctx)
        }
        (b"SDSLEN", 3) => lengths(ctx, args),
        (b"SET-ACTIVE-EXPIRE", 3) => {
            ctx.server.active_expire = is_on(&args[2]);
            ok(ctx)
        }
        (b"SET-SKIP-CHECKSUM-VALIDATION", 3) => {
            ctx.server.debug.skips_checksums = is_on(&args[2]);
            ok(ctx)
        }
        (b"SLEEP", 3) => sleep(ctx, args),
        _ => Err(super::wrong_subcommand(ctx, args)),
    }
}

/// As in C: what is no number is zero.
fn is_on(word: &[u8]) -> bool {
    parse_int(word).is_some_and(|number| number != 0)
}

const HELP: &[&str] = &[
    "CHANGE-REPL-ID",
    "    Begin a new history of replication. Replicas that come back get all data anew.",
    "CLIENT-EVICTION",
    "    Show what connections take of maxmemory-clients, by powers of two.",
    "CONFIG-REWRITE-FORCE-ALL",
    "    Like CONFIG REWRITE, but write all settings, those with their default value too.",
    "DICT-RESIZING <0|1>",
    "    Accepted; no table here is resized as a whole.",
    "DIGEST",
    "    Output a hex signature representing the current DB content.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Output a hex signature of the values of all the specified keys.",
    "ERROR <string>",
    "    Return a protocol error with <string> as message.",
    "HTSTATS <dbid>",
    "    Return how many keys a database has, and how many of them have a deadline.",
    "HTSTATS-KEY <key>",
    "    Return how many elements the value stored at <key> has.",
    "LOG <message>",
    "    Write <message> to the server log.",
    "OBJECT <key>",
    "    Show low level info about <key> and associated value.",
    "PAUSE-CRON <0|1>",
    "    Setting it to 1 ends the regular care for connections, replicas and figures.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Create <count> string keys named key:<num>, on replicas too.",
    "PROTOCOL <type>",
    "    Reply with a test value of the specified type.",
    "RELOAD [MERGE] [NOFLUSH] [NOSAVE]",
    "    Save the data to disk and load it again.",
    "REPLICATE <command> [<arg> ...]",
    "    Send a command to replicas without executing it here.",
    "SDSLEN <key>",
    "    Show how long <key> and its string are.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Setting it to 0 disables expiring keys in background.",
    "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
    "    Setting it to 1 takes RDB files and payloads of RESTORE whose checksum is wrong.",
    "SLEEP <seconds>",
    "    Stop the server for <seconds>. Decimals allowed.",
];

fn ok(ctx: &mut Ctx<'_>) -> Done {
    simple(ctx, "OK")
}

fn simple(ctx: &mut Ctx<'_>, text: &str) -> Done {
    ctx.reply.simple(text);
    Ok(Outcome::Unchanged)
}

/// The whole server sleeps: this thread holds the gate.
fn sleep(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let seconds = parse_float(&args[2]).unwrap_or(0.0).clamp(0.0, 3600.0);
    std::thread::sleep(Duration::from_secs_f64(seconds));
    ok(ctx)
}

fn object(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    // What has ended is shown as long as it is there.
    let object = ctx.data.db().get(&args[2], 0).ok_or(CommandError::NO_SUCH_KEY)?;
    let mut payload = Vec::new();
    let mut writer = Writer::new(Version::Valkey80, ctx.server.config.rdbcompression);
    write_value(&mut writer, &mut payload, Place::Dump, object.value(), 0);
    let line = format!(
        "Value at:0x0 refcount:1 encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{}",
        object.value().encoding(),
        // Without its type.
        payload.len().saturating_sub(1),
        object.access().bits(),
        object.access().idle_seconds(ctx.now),
    );
    simple(ctx, &line)
}

/// How long a key and its string are. Nothing is kept in reserve behind either.
fn lengths(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let object = ctx.data.db().get(&args[2], 0).ok_or(CommandError::NO_SUCH_KEY)?;
    let (key, value) = match object.value() {
        ValueRef::Str(value) if value.encoding() != "int" => (args[2].len(), value.bytes().len()),
        _ => return Err(CommandError::new("ERR Not an sds encoded string.")),
    };
    let line = format!(
        "key_sds_len:{key}, key_sds_avail:0, key_zmalloc: {key}, \
         val_sds_len:{value}, val_sds_avail:0, val_zmalloc: {value}"
    );
    simple(ctx, &line)
}

/// A table as Redis shows it. Ours have no chains of which more could be told.
fn table(elements: usize) -> String {
    let figures = match elements {
        0 => "No stats available for empty dictionaries\n".to_owned(),
        _ => format!(" number of elements: {elements}\n"),
    };
    format!("Hash table 0 stats (main hash table):\n{figures}")
}

fn table_stats(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let number = int(args, 2)?;
    if !(0..ctx.data.keyspace.databases() as i64).contains(&number) {
        return Err(CommandError::new("ERR Out of range database"));
    }
    let figures = ctx.data.keyspace.db(number as usize).figures(ctx.now);
    let (keys, volatile) = (table(figures.keys), table(figures.volatile));
    ctx.reply.verbatim(format!("[Dictionary HT]\n{keys}[Expires HT]\n{volatile}"));
    Ok(Outcome::Unchanged)
}

fn table_stats_of_key(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let object = ctx.data.db().get(&args[2], 0).ok_or(CommandError::NO_SUCH_KEY)?;
    let elements = match object.value() {
        value if !matches!(value.encoding(), "hashtable" | "skiplist") => None,
        ValueRef::Hash(hash) => Some(hash.len()),
        ValueRef::Set(set) => Some(set.len()),
        ValueRef::SortedSet(set) => Some(set.len()),
        ValueRef::Str(_) => None,
    };
    let elements = elements.ok_or_else(|| {
        CommandError::new(
            "ERR The value stored at the specified key is not represented using an hash table",
        )
    })?;
    ctx.reply.verbatim(table(elements));
    Ok(Outcome::Unchanged)
}

/// The smallest and the largest of the powers of two by which connections are counted.
const BUCKETS: std::ops::RangeInclusive<u32> = 15..=33;

fn client_eviction(ctx: &mut Ctx<'_>) -> Done {
    let config = &ctx.server.config;
    if config.maxmemory_clients.bytes(config.maxmemory) == 0 {
        return Err(CommandError::new("ERR maxmemory-clients is disabled."));
    }
    let of = |bytes: usize| bytes.max(1).ilog2().clamp(BUCKETS.start() - 1, BUCKETS.end() - 1) + 1;
    let taken: Vec<usize> = ctx.server.clients.all().iter().map(|it| it.memory()).collect();
    let lines = BUCKETS.map(|bucket| {
        let own = || taken.iter().filter(|bytes| of(**bytes) == bucket);
        let range = match (1_u64 << bucket) - 1 {
            _ if bucket == *BUCKETS.end() => format!("{:10}+            ", 1_u64 << (bucket - 1)),
            last if bucket == *BUCKETS.start() => format!("{:10} - {last:10}", 0),
            last => format!("{:10} - {last:10}", 1_u64 << (bucket - 1)),
        };
        let sum: usize = own().sum();
        format!("bucket {range}: tot-mem: {sum:10}, clients: {}\n", own().count())
    });
    let text: String = lines.collect();
    ctx.reply.verbatim(text);
    Ok(Outcome::Unchanged)
}

fn reload(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (mut save, mut flush, mut merge) = (true, true, false);
    for option in args.from(2).iter() {
        if is(option, "MERGE") {
            merge = true;
        } else if is(option, "NOFLUSH") {
            flush = false;
        } else if is(option, "NOSAVE") {
            save = false;
        } else {
            return Err(CommandError::new(
                "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
            ));
        }
    }
    if ctx.session.in_exec {
        return Err(CommandError::new("ERR Command not allowed inside a transaction"));
    }
    Ok(Outcome::Then(Action::Reload { save, flush, merge }))
}

/// A count as POPULATE takes it.
fn natural(args: Args<'_>, at: usize) -> Result<usize, CommandError> {
    let number = parse_int(&args[at]).and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| CommandError::new("ERR value is out of range, must be positive"))
}

/// Redis leaves its replicas as they are. Whoever fills ours would only wonder how they differ.
fn populate(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let count = natural(args, 2)?;
    let prefix = args.get(3).unwrap_or(b"key");
    let size = if args.len() == 5 { natural(args, 4)?.min(1 << 29) } else { 0 };
    for number in 0..count {
        let key = [prefix, b":", number.to_string().as_bytes()].concat();
        if ctx.data.peek(&key).is_some() {
            continue;
        }
        let mut value = format!("value:{number}").into_bytes();
        if size > 0 {
            value.resize(size, 0);
        }
        ctx.data.insert_text(&key, &value);
        ctx.server.effects.state(ctx.data.db, [b"SET", &*key, &*value]);
    }
    ok(ctx)
}

/// The double that Redis answers, which is not meant to be pi.
#[allow(clippy::approx_constant)]
const DOUBLE: f64 = 3.141;

fn protocol(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let reply = &mut ctx.reply;
    match args.at(2).to_ascii_lowercase().as_slice() {
        b"string" => reply.text("Hello World"),
        b"integer" => reply.int(12345),
        b"double" => reply.double(DOUBLE),
        b"null" => reply.null(),
        b"array" | b"set" | b"map" => {
            let kind = args.at(2).to_ascii_lowercase();
            match kind.as_slice() {
                b"array" => reply.array(3),
                b"set" => reply.set(3),
                _ => reply.map(3),
            }
            for number in 0..3 {
                reply.int(number);
                if kind == b"map" {
                    reply.bool(number == 1);
                }
            }
        }
        b"attrib" => {
            if reply.is_resp3() {
                reply.raw(b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n");
            }
            reply.text("Some real reply following the attribute");
        }
        b"push" if reply.is_resp3() => {
            reply.push(2);
            reply.text("server-cpu-usage");
            reply.int(42);
            // Who does not look for pushes waits for a reply all the same.
            reply.text("Some real reply following the push reply");
        }
        b"push" => {
            return Err(CommandError::new("ERR RESP2 is not supported by this command"));
        }
        b"verbatim" => reply.verbatim("This is a verbatim\nstring"),
        b"true" => reply.bool(true),
        b"false" => reply.bool(false),
        b"bignum" if reply.is_resp3() => {
            reply.raw(b"(1234567999999999999999999999999999999\r\n");
        }
        b"bignum" => reply.text("1234567999999999999999999999999999999"),
        _ => {
            return Err(CommandError::new(
                "ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(Outcome::Unchanged)
}

fn digest_value(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    ctx.reply.array(args.len() - 2);
    for key in args.from(2).iter() {
        let digest = ctx.data.peek(key).map(digest::of_value).unwrap_or_default();
        ctx.reply.simple(&digest.to_string());
    }
    Ok(Outcome::Unchanged)
}
