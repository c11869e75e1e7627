//! DEBUG: for tests of the server itself.

use std::time::Duration;

use sha1_smol::Sha1;

use super::args::{int, is, parse_float, parse_int};
use super::spec::{Categories, Flags, Handler};
use super::{Action, CommandError, Ctx, Done, Outcome, Spec};
use crate::resp::{Args, format_double};
use crate::store::{ObjectRef, ValueRef};

const fn row(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler).admin().no_script().always()
}

pub(super) const COMMANDS: &[Spec] = &[row("DEBUG", -2, debug)
    .flags(Flags::NO_ASYNC_LOADING)
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
    let count = args.len();
    match args.at(1).to_ascii_uppercase().as_slice() {
        b"SLEEP" if count == 3 => sleep(ctx, args),
        b"SET-ACTIVE-EXPIRE" if count == 3 => {
            // As in C: what is no number is zero.
            ctx.server.active_expire = parse_int(&args[2]).is_some_and(|number| number != 0);
            ok(ctx)
        }
        b"OBJECT" if count >= 3 => object(ctx, args),
        b"QUICKLIST-PACKED-THRESHOLD"
        | b"REPLICATE"
        | b"CHANGE-REPL-ID"
        | b"LOG"
        | b"PAUSE-CRON"
        | b"REPLYBUFFER"
        | b"DROP-CLUSTER-PACKET-FILTER"
        | b"DICT-RESIZING" => ok(ctx),
        b"RELOAD" => reload(ctx, args),
        b"LOADAOF" => ok(ctx),
        b"DIGEST" if count == 2 => {
            let digest = digest(ctx);
            ctx.reply.simple(&digest);
            Ok(Outcome::Unchanged)
        }
        b"DIGEST-VALUE" => digest_value(ctx, args),
        b"POPULATE" if count >= 3 => populate(ctx, args),
        b"STRINGMATCH-LEN" if count == 4 => {
            let length = int(args, 2)?.clamp(0, 1 << 20) as usize;
            let text = vec![b'a'; length];
            ctx.reply.one_or_zero(crate::store::glob::matches(&args[3], &text, false));
            Ok(Outcome::Unchanged)
        }
        b"PROTOCOL" if count == 3 => protocol(ctx, args),
        b"ERROR" if count == 3 => Err(CommandError::of(&[&args[2]])),
        b"LISTPACK" if count == 3 => {
            ctx.reply.simple("Listpack structure printed on stdout");
            Ok(Outcome::Unchanged)
        }
        b"HTSTATS" | b"HTSTATS-KEY" => {
            ctx.reply.verbatim("[Dictionary HT]\nNo stats available for this table\n");
            Ok(Outcome::Unchanged)
        }
        b"HELP" => super::help(ctx, HELP),
        _ => Err(super::wrong_subcommand(ctx, args)),
    }
}

const HELP: &[&str] = &[
    "DIGEST",
    "    Output a hex signature representing the current DB content.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Output a hex signature of the values of all the specified keys.",
    "ERROR <string>",
    "    Return a protocol error with <string> as message.",
    "OBJECT <key>",
    "    Show low level info about <key> and associated value.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Create <count> string keys named key:<num>.",
    "PROTOCOL <type>",
    "    Reply with a test value of the specified type.",
    "RELOAD [MERGE] [NOFLUSH] [NOSAVE]",
    "    Save the data to disk and load it again.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Setting it to 0 disables expiring keys in background.",
    "SLEEP <seconds>",
    "    Stop the server for <seconds>. Decimals allowed.",
    "STRINGMATCH-LEN <length> <pattern>",
    "    Match a string of <length> bytes against <pattern>.",
];

fn ok(ctx: &mut Ctx<'_>) -> Done {
    ctx.reply.ok();
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
    let lru = object.access().bits();
    let idle = object.access().idle_seconds(ctx.now);
    let line = format!(
        "Value at:0x0 refcount:1 encoding:{} serializedlength:{} lru:{lru} lru_seconds_idle:{idle}",
        object.value().encoding(),
        object.bytes(),
    );
    ctx.reply.simple(&line);
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

fn populate(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let count = int(args, 2)?;
    if !(0..=100_000_000).contains(&count) {
        return Err(CommandError::OUT_OF_RANGE);
    }
    let prefix = args.get(3).unwrap_or(b"key");
    let size = args.get(4).and_then(parse_int).map(|size| size.clamp(0, 1 << 29) as usize);
    for number in 0..count {
        let key = [prefix, b":", number.to_string().as_bytes()].concat();
        if ctx.data.peek(&key).is_some() {
            continue;
        }
        let mut value = format!("value:{number}").into_bytes();
        if let Some(size) = size {
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

type Digest = [u8; 20];

fn mix(digest: &mut Digest, parts: &[&[u8]]) {
    let mut sha = Sha1::new();
    for part in parts {
        sha.update(&(part.len() as u64).to_le_bytes());
        sha.update(part);
    }
    digest.iter_mut().zip(sha.digest().bytes()).for_each(|(byte, other)| *byte ^= other);
}

/// A digest of a value that does not depend on the order of its elements.
fn value_digest(object: ObjectRef<'_>) -> Digest {
    let mut digest = Digest::default();
    match object.value() {
        ValueRef::Str(value) => mix(&mut digest, &[b"string", value.bytes()]),
        ValueRef::Hash(hash) => {
            for (field, value) in hash.pairs(0) {
                let at = hash.deadline(field).unwrap_or(0).to_le_bytes();
                mix(&mut digest, &[b"hash", field, value, &at]);
            }
        }
        ValueRef::Set(set) => set.iter().for_each(|member| mix(&mut digest, &[b"set", &member])),
        ValueRef::SortedSet(set) => {
            for (member, score) in set.iter() {
                mix(&mut digest, &[b"zset", member, format_double(score).as_bytes()]);
            }
        }
    }
    let at = object.deadline().unwrap_or(0).to_le_bytes();
    let mut whole = Digest::default();
    mix(&mut whole, &[&digest, &at]);
    whole
}

fn hex(digest: Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A digest of all databases: equal data, equal digest. What is past its time at `ctx.data.now` is
/// not in it.
pub fn digest(ctx: &Ctx<'_>) -> String {
    let mut all = Digest::default();
    for db in 0..ctx.data.keyspace.databases() {
        for object in ctx.data.keyspace.db(db).iter().filter(|object| !object.is_due(ctx.data.now))
        {
            let value = value_digest(object);
            mix(&mut all, &[&(db as u64).to_le_bytes(), object.key(), &value]);
        }
    }
    hex(all)
}

fn digest_value(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    ctx.reply.array(args.len() - 2);
    for key in args.from(2).iter() {
        let digest = ctx.data.peek(key).map(value_digest).unwrap_or_default();
        ctx.reply.simple(&hex(digest));
    }
    Ok(Outcome::Unchanged)
}
