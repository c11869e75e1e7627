//! Commands on keys of any type: DEL, RENAME, COPY, SCAN and friends.

use super::args::{int, is, parse_int};
use super::scan::ScanOptions;
use super::spec::{Categories, KeyFlags, KeySpec, key};
use super::{CommandError, Ctx, Done, Outcome, Spec};
use crate::config::NotifyFlags;
use crate::resp::Args;
use crate::store::glob::Glob;

const fn row(name: &'static str, arity: i32, handler: super::spec::Handler) -> Spec {
    Spec::new(name, arity, handler).of(Categories::KEYSPACE)
}

const REMOVE_ALL: &[KeySpec] = &[KeySpec::range(1, -1, 1, KeyFlags::RM.with(KeyFlags::DELETE))];
const LOOK_ALL: &[KeySpec] = &[KeySpec::range(1, -1, 1, KeyFlags::RO)];
const RENAME: &[KeySpec] = &[
    KeySpec::one(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE)),
    KeySpec::one(2, KeyFlags::OW.with(KeyFlags::UPDATE)),
];
const RENAME_NEW: &[KeySpec] = &[
    KeySpec::one(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE)),
    KeySpec::one(2, KeyFlags::OW.with(KeyFlags::INSERT)),
];
const COPY: &[KeySpec] = &[
    KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS)),
    KeySpec::one(2, KeyFlags::OW.with(KeyFlags::UPDATE)),
];

/// What a client that knows of shards does with a command of many keys.
const EACH_SHARD: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];

pub(super) const COMMANDS: &[Spec] = &[
    row("DEL", -2, del)
        .tips(EACH_SHARD)
        .write()
        .key_specs(REMOVE_ALL)
        .doc("key [key ...]", "Deletes one or more keys."),
    row("UNLINK", -2, del)
        .tips(EACH_SHARD)
        .write()
        .fast()
        .key_specs(REMOVE_ALL)
        .since("4.0.0")
        .doc("key [key ...]", "Asynchronously deletes one or more keys."),
    row("EXISTS", -2, exists)
        .tips(EACH_SHARD)
        .read()
        .fast()
        .key_specs(LOOK_ALL)
        .doc("key [key ...]", "Determines whether one or more keys exist."),
    row("TOUCH", -2, exists)
        .tips(EACH_SHARD)
        .read()
        .fast()
        .key_specs(LOOK_ALL)
        .since("3.2.1")
        .doc("key [key ...]", "Returns the number of existing keys after updating their last use."),
    row("TYPE", 2, type_of)
        .read()
        .fast()
        .key_specs(key::LOOK)
        .doc("key", "Determines the type of value stored at a key."),
    row("RENAME", 3, rename)
        .write()
        .key_specs(RENAME)
        .doc("key newkey", "Renames a key and overwrites the destination."),
    row("RENAMENX", 3, renamenx)
        .write()
        .fast()
        .key_specs(RENAME_NEW)
        .doc("key newkey", "Renames a key only when the target key name doesn't exist."),
    row("COPY", -3, copy).write().deny_oom().key_specs(COPY).since("6.2.0").doc(
        "source destination [DB destination-db] [REPLACE]",
        "Copies the value of a key to a new key.",
    ),
    row("MOVE", 3, move_key)
        .write()
        .fast()
        .key_specs(key::ACCESS_UPDATE)
        .doc("key db", "Moves a key to another database."),
    row("SWAPDB", 3, swapdb)
        .group("server")
        .write()
        .fast()
        .of(Categories::DANGEROUS)
        .since("4.0.0")
        .doc("index1 index2", "Swaps two databases."),
    row("KEYS", 2, keys)
        .read()
        .of(Categories::DANGEROUS)
        .cost("O(N) with N being the number of keys in the database")
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .doc("pattern", "Returns all key names that match a pattern."),
    row("SCAN", -2, scan)
        .read()
        .since("2.8.0")
        .tips(&["nondeterministic_output", "request_policy:special"])
        .doc(
            "cursor [MATCH pattern] [COUNT count] [TYPE type]",
            "Iterates over the key names in the database.",
        ),
    row("RANDOMKEY", 1, randomkey)
        .read()
        .tips(&["request_policy:all_shards", "nondeterministic_output"])
        .doc("", "Returns a random key name from the database."),
    row("DBSIZE", 1, dbsize)
        .group("server")
        .read()
        .fast()
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .doc("", "Returns the number of keys in the database."),
    row("FLUSHDB", -1, flushdb)
        .group("server")
        .write()
        .of(Categories::DANGEROUS)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .doc("[ASYNC | SYNC]", "Removes all keys from the current database."),
    row("FLUSHALL", -1, flushall)
        .group("server")
        .write()
        .of(Categories::DANGEROUS)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .doc("[ASYNC | SYNC]", "Removes all keys from all databases."),
];

fn del(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let mut removed = 0;
    for key in args.from(1).iter() {
        if ctx.data.remove(key) {
            removed += 1;
            ctx.changed(NotifyFlags::GENERIC, "del", key);
        }
    }
    ctx.reply.len(removed);
    Ok(if removed > 0 { ctx.wrote(removed) } else { Outcome::Unchanged })
}

fn exists(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    ctx.data.usage.counts = ctx.command.spec.name == "TOUCH";
    let found = args.from(1).iter().filter(|key| ctx.data.read_object(key).is_some()).count();
    ctx.reply.len(found);
    Ok(Outcome::Unchanged)
}

fn type_of(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    ctx.data.usage.counts = false;
    let name = ctx.data.read_object(&args[1]).map_or("none", |object| object.value().type_name());
    ctx.reply.simple(name);
    Ok(Outcome::Unchanged)
}

fn rename(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    rename_generic(ctx, args, false)
}

fn renamenx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    rename_generic(ctx, args, true)
}

fn rename_generic(ctx: &mut Ctx<'_>, args: Args<'_>, only_new: bool) -> Done {
    let (from, to) = (args.at(1), args.at(2));
    if ctx.data.peek(from).is_none() {
        return Err(CommandError::NO_SUCH_KEY);
    }
    let is_taken = ctx.data.peek(to).is_some();
    if from == to || (only_new && is_taken) {
        if only_new {
            ctx.reply.int(0);
        } else {
            ctx.reply.ok();
        }
        return Ok(Outcome::Unchanged);
    }
    if let Some(object) = ctx.data.take(from) {
        ctx.data.lookups.created(ctx.data.db, to);
        ctx.data.adopt(ctx.data.db, to, object);
    }
    ctx.changed(NotifyFlags::GENERIC, "rename_from", from);
    ctx.changed(NotifyFlags::GENERIC, "rename_to", to);
    if only_new {
        ctx.reply.int(1);
    } else {
        ctx.reply.ok();
    }
    Ok(Outcome::Wrote)
}

/// A database by its number.
pub(super) fn database(ctx: &Ctx<'_>, args: Args<'_>, at: usize) -> Result<usize, CommandError> {
    let index = i32::try_from(int(args, at)?).map_err(|_| CommandError::INT_OUT_OF_RANGE)?;
    existing(ctx, i64::from(index))
}

fn existing(ctx: &Ctx<'_>, index: i64) -> Result<usize, CommandError> {
    let index = usize::try_from(index).ok();
    let exists = |index: &usize| *index < ctx.data.keyspace.databases();
    index.filter(exists).ok_or(CommandError::DB_OUT_OF_RANGE)
}

fn copy(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (from, to) = (args.at(1), args.at(2));
    let (mut db, mut replace, mut at) = (ctx.data.db, false, 3);
    while at < args.len() {
        if is(&args[at], "REPLACE") {
            replace = true;
        } else if is(&args[at], "DB") && at + 1 < args.len() {
            db = database(ctx, args, at + 1)?;
            at += 1;
        } else {
            return Err(CommandError::SYNTAX);
        }
        at += 1;
    }
    if db == ctx.data.db && from == to {
        return Err(CommandError::SAME_OBJECT);
    }
    let source = ctx.data.read_object(from).map(|object| object.to_object());
    let (Some(object), true) = (source, replace || ctx.data.in_db(db).peek(to).is_none()) else {
        ctx.reply.int(0);
        return Ok(Outcome::Unchanged);
    };
    ctx.data.lookups.created(db, to);
    ctx.data.adopt(db, to, object);
    ctx.data.keyspace.db(db).touch(to);
    ctx.notify_in(db, NotifyFlags::GENERIC, "copy_to", to);
    ctx.reply.int(1);
    Ok(Outcome::Wrote)
}

fn move_key(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let to = database(ctx, args, 2)?;
    let (key, from) = (args.at(1), ctx.data.db);
    if from == to {
        return Err(CommandError::SAME_OBJECT);
    }
    if ctx.data.peek(key).is_none() || ctx.data.in_db(to).peek(key).is_some() {
        ctx.reply.int(0);
        return Ok(Outcome::Unchanged);
    }
    if let Some(object) = ctx.data.take(key) {
        ctx.data.lookups.created(to, key);
        ctx.data.adopt(to, key, object);
    }
    ctx.touch(key);
    ctx.data.keyspace.db(to).touch(key);
    ctx.notify_in(from, NotifyFlags::GENERIC, "move_from", key);
    ctx.notify_in(to, NotifyFlags::GENERIC, "move_to", key);
    ctx.reply.int(1);
    Ok(Outcome::Wrote)
}

fn swapdb(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let parse = |index: usize, text| {
        parse_int(args.at(index))
            .filter(|n| i32::try_from(*n).is_ok())
            .ok_or(CommandError::new(text))
    };
    let a = parse(1, "ERR invalid first DB index")?;
    let b = parse(2, "ERR invalid second DB index")?;
    let a = existing(ctx, a)?;
    let b = existing(ctx, b)?;
    ctx.data.keyspace.swap(a, b, ctx.now);
    ctx.reply.ok();
    Ok(Outcome::Wrote)
}

fn keys(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (pattern, now) = (args.at(1), ctx.data.now);
    let glob = Glob::new(pattern, false);
    let later = ctx.reply.array_later();
    let mut found = 0;
    for object in ctx.data.db().iter() {
        if !object.is_due(now) && (pattern == b"*" || glob.matches(object.key())) {
            ctx.reply.bulk(object.key());
            found += 1;
        }
    }
    ctx.reply.end_array(later, found);
    Ok(Outcome::Unchanged)
}

fn scan(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let mut options = ScanOptions::of_keys(args)?;
    let (now, lazily) = (ctx.data.now, ctx.ends_lazily());
    let (mut found, mut due) = (Vec::new(), Vec::new());
    options.cursor = ctx.data.db().scan(options.cursor, options.count, &mut |object| {
        let name = object.value().type_name();
        let of_type = options.of_type.is_none_or(|wanted| is(wanted, name));
        let is_due = object.is_due(now);
        // What is due ends whatever its type is.
        let is_wanted = if is_due { lazily } else { of_type };
        if is_wanted && options.matches(object.key()) {
            if is_due { &mut due } else { &mut found }.push(object.key().to_vec());
        }
    });
    due.iter().for_each(|key| ctx.end_due(key));
    options.reply(&mut ctx.reply, found);
    Ok(Outcome::Unchanged)
}

fn randomkey(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    let (now, mut rng) = (ctx.data.now, ctx.data.lookups.rng.fork());
    while ctx.ends_lazily()
        && let Some(due) = ctx.data.db().random(&mut rng).filter(|object| object.is_due(now))
    {
        let key = due.key().to_vec();
        ctx.end_due(&key);
    }
    let db = ctx.data.db();
    // Few draws find a live key, unless most are past their time and wait to be taken out.
    let drawn = (0..100).find_map(|_| db.random(&mut rng).filter(|object| !object.is_due(now)));
    match drawn.or_else(|| db.iter().find(|object| !object.is_due(now))) {
        Some(object) => ctx.reply.bulk(object.key()),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Unchanged)
}

fn dbsize(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    ctx.reply.len(ctx.data.db().len());
    Ok(Outcome::Unchanged)
}

fn check_flush(args: Args<'_>) -> Result<(), CommandError> {
    match args.get(1) {
        None => Ok(()),
        Some(mode) if args.len() == 2 && (is(mode, "ASYNC") || is(mode, "SYNC")) => Ok(()),
        Some(_) => Err(CommandError::SYNTAX),
    }
}

fn flushdb(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    check_flush(args)?;
    let keys = ctx.data.db().len();
    ctx.data.db_mut().clear();
    ctx.reply.ok();
    Ok(ctx.wrote(keys))
}

fn flushall(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    check_flush(args)?;
    let keys = ctx.data.keyspace.len();
    for db in 0..ctx.data.keyspace.databases() {
        ctx.data.keyspace.db_mut(db).clear();
    }
    super::saving::save_emptied(ctx);
    ctx.reply.ok();
    Ok(ctx.wrote(keys))
}
