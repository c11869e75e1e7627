//! Plays random commands to several servers at once and names the replies that none of the real
//! ones gives.

use std::collections::BTreeMap;
use std::io;

use crate::grammar::Grammar;
use crate::peers::Peer;
use crate::text;
use crate::wire::{Protocol, Value, Wire};

type Command = Vec<Vec<u8>>;

/// A reply of ours that no real server gives, with the commands that lead to it.
pub struct Finding {
    /// The last one is answered differently.
    pub commands: Vec<Command>,
    /// Every server's reply to it, ours first.
    pub replies: Vec<Value>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for command in &self.commands {
            writeln!(f, "> {}", text::join(command))?;
        }
        for (name, reply) in ["ours", "redis7", "valkey9"].iter().zip(&self.replies) {
            writeln!(f, "  {name}: {}", text::format(reply).replace('\n', "\n    "))?;
        }
        Ok(())
    }
}

/// How the replies of a command are compared. Errors are always compared as they are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Exact,
    /// Elements, in groups, in any order: each server has its own.
    Groups(usize),
    /// Numbers within so much, because the servers read their clocks one after the other.
    Near(u64),
    /// The same kinds of values, as many: what was drawn by lot.
    Shape,
    /// The same kind of value: what only one server can know, such as its settings.
    Kind,
}

/// Ours and both real servers, on one connection each.
pub struct Contest<'a> {
    peers: [&'a Peer; 3],
    protocol: Protocol,
    wires: Vec<Wire>,
    queued: Option<Vec<Asked>>,
    /// Since the databases were emptied.
    history: Vec<Command>,
    /// Redis 7.0 knows no deadlines of fields: once one is set it stands apart.
    redis_apart: bool,
}

impl<'a> Contest<'a> {
    /// Ours, redis-server and valkey-server.
    pub fn new(peers: [&'a Peer; 3], protocol: Protocol) -> io::Result<Contest<'a>> {
        let (wires, history) = (Vec::new(), Vec::new());
        let mut contest =
            Contest { peers, protocol, wires, queued: None, history, redis_apart: false };
        contest.begin()?;
        Ok(contest)
    }

    /// New connections, empty databases.
    fn begin(&mut self) -> io::Result<()> {
        self.wires.clear();
        self.queued = None;
        self.redis_apart = false;
        self.history.clear();
        for peer in self.peers {
            let mut wire = peer.connect()?;
            wire.call(&["FLUSHALL"])?;
            if self.protocol == Protocol::Resp3 {
                wire.call(&["HELLO", "3"])?;
            }
            self.wires.push(wire);
        }
        Ok(())
    }

    /// Plays so many commands in rounds, each from empty databases. At most one finding for each
    /// command name.
    pub fn play(
        &mut self,
        seed: u64,
        count: usize,
        field_deadlines: bool,
    ) -> io::Result<Vec<Finding>> {
        let mut grammar = Grammar::new(seed, field_deadlines);
        let mut findings: BTreeMap<Vec<u8>, Finding> = BTreeMap::new();
        for played in 0..count {
            if played % 300 == 0 {
                self.begin()?;
            }
            let command = grammar.command();
            let Some(replies) = self.step(&command)? else { continue };
            let name = command[0].to_ascii_uppercase();
            let commands = std::mem::take(&mut self.history);
            if !findings.contains_key(&name) && findings.len() < 30 {
                findings.insert(name, self.minimised(commands, replies)?);
            }
            self.begin()?;
        }
        Ok(findings.into_values().collect())
    }

    /// Sends a command everywhere. Answers the replies if ours is like none.
    fn step(&mut self, command: &Command) -> io::Result<Option<Vec<Value>>> {
        let name = command.first().map(|n| n.to_ascii_uppercase()).unwrap_or_default();
        if self.queued.is_some() && NOT_QUEUED.contains(&&name[..]) {
            return Ok(None);
        }
        self.history.push(command.clone());
        let replies = self.ask(&name, command)?;
        let asked = Asked::new(&name, command, self.redis_apart);
        let like = match (&self.queued, &name[..]) {
            (Some(queued), b"EXEC") => all_like(queued, &replies),
            (Some(_), _) => Like {
                redis: asked.of_redis && replies[0] == replies[1],
                valkey: replies[0] == replies[2],
            },
            (None, _) => asked.like(&replies[0], &replies[1], &replies[2]),
        };
        let each = || matches!(&self.queued, Some(q) if name == b"EXEC" && each_like(q, &replies));
        if !like.redis && !like.valkey && !each() {
            return Ok(Some(replies));
        }
        let in_transaction = self.queued.is_some();
        self.follow(&name, asked, &replies[0]);
        if name == b"SPOP" && command.len() > 1 && !in_transaction {
            // They popped different members.
            self.everywhere(&[b"DEL".to_vec(), command[1].clone()])?;
        }
        // Where the real servers part, or ours leaves Valkey for Redis, all begin anew.
        let apart = self.redis_apart && !(in_transaction && replies[0].is_error());
        if self.queued.is_none() && (!like.valkey || (!like.redis && !apart)) {
            self.begin()?;
        }
        Ok(None)
    }

    /// Every server's reply. Redis is asked nothing about what it does not know, or its transactions
    /// would end differently.
    fn ask(&mut self, name: &[u8], command: &Command) -> io::Result<Vec<Value>> {
        let unknown_to_redis = OF_FIELDS.contains(&name);
        self.redis_apart |= unknown_to_redis;
        for (at, wire) in self.wires.iter_mut().enumerate() {
            match at {
                1 if unknown_to_redis => wire.send(&["PING"])?,
                _ => wire.send(command)?,
            }
        }
        let mut replies: Vec<Value> =
            self.wires.iter_mut().map(Wire::read).collect::<Result<_, _>>()?;
        if self.queued.is_none() && name.ends_with(b"SCAN") && scans_whole(name, &command[1..]) {
            for (wire, reply) in self.wires.iter_mut().zip(&mut replies) {
                scan_on(wire, name, command, reply)?;
            }
        }
        Ok(replies)
    }

    fn everywhere(&mut self, command: &[Vec<u8>]) -> io::Result<()> {
        self.history.push(command.to_vec());
        self.wires.iter_mut().try_for_each(|wire| wire.call(command).map(drop))
    }

    /// Keeps track of the transaction.
    fn follow(&mut self, name: &[u8], asked: Asked, reply: &Value) {
        match (&mut self.queued, name) {
            (None, b"MULTI") if !reply.is_error() => self.queued = Some(Vec::new()),
            (Some(_), b"EXEC" | b"DISCARD") => {
                let left =
                    !reply.is_error() || reply.bytes().is_some_and(|b| b.starts_with(b"EXECABORT"));
                if left {
                    self.queued = None;
                }
            }
            (Some(queued), _) if *reply == Value::Status(b"QUEUED".to_vec()) => {
                // Nothing follows a scan in a transaction, and the first page is each server's own.
                let mode = if asked.scan { Mode::Kind } else { asked.mode };
                queued.push(Asked { mode, ..asked });
            }
            _ => {}
        }
    }

    /// Leaves out what the finding does not need.
    fn minimised(
        &mut self,
        mut commands: Vec<Command>,
        mut replies: Vec<Value>,
    ) -> io::Result<Finding> {
        let mut size = commands.len() / 2;
        while size > 0 {
            let mut at = 0;
            while at + 1 < commands.len() {
                let end = (at + size).min(commands.len() - 1);
                let mut fewer = commands.clone();
                fewer.drain(at..end);
                match self.replay(&fewer)? {
                    Some(now) => (commands, replies) = (fewer, now),
                    None => at = end,
                }
            }
            size /= 2;
        }
        Ok(Finding { commands, replies })
    }

    /// Whether the last of these commands, and none before, is answered like nowhere else.
    fn replay(&mut self, commands: &[Command]) -> io::Result<Option<Vec<Value>>> {
        self.begin()?;
        for (at, command) in commands.iter().enumerate() {
            if let Some(replies) = self.step(command)? {
                return Ok((at + 1 == commands.len()).then_some(replies));
            }
        }
        Ok(None)
    }
}

/// What Valkey 9 knows and Redis 7.0 does not.
const OF_FIELDS: [&[u8]; 12] = [
    b"HEXPIRE",
    b"HPEXPIRE",
    b"HEXPIREAT",
    b"HPEXPIREAT",
    b"HTTL",
    b"HPTTL",
    b"HEXPIRETIME",
    b"HPEXPIRETIME",
    b"HPERSIST",
    b"HGETEX",
    b"HSETEX",
    b"HGETDEL",
];

/// Not sent between MULTI and EXEC: a command of our own follows SPOP, and MULTI and WATCH inside
/// abort in Valkey only, whatever else was asked that Redis does not know.
const NOT_QUEUED: [&[u8]; 3] = [b"SPOP", b"MULTI", b"WATCH"];

/// Follows a SCAN to its end: the pages are each server's own, all of them together are not.
fn scan_on(wire: &mut Wire, name: &[u8], command: &Command, reply: &mut Value) -> io::Result<()> {
    let Value::Array(parts) = reply else { return Ok(()) };
    let mut command = command.clone();
    while let [Value::Bulk(cursor), Value::Array(found)] = &mut parts[..] {
        if cursor == b"0" {
            break;
        }
        command[cursor_at(name)] = std::mem::take(cursor);
        let Value::Array(next) = wire.call(&command)? else { break };
        let [Value::Bulk(next), Value::Array(more)] = &next[..] else { break };
        found.extend_from_slice(more);
        *cursor = next.clone();
    }
    Ok(())
}

/// Whom our reply is like.
#[derive(Clone, Copy)]
struct Like {
    redis: bool,
    valkey: bool,
}

/// What to look at in the replies to a command.
#[derive(Clone, Copy, Debug)]
struct Asked {
    mode: Mode,
    /// Whether Redis has a say: about hashes it has none once a field had a deadline.
    of_redis: bool,
    script: bool,
    scan: bool,
}

impl Asked {
    fn new(name: &[u8], command: &Command, redis_apart: bool) -> Asked {
        Asked {
            mode: mode(name, &command[1..]),
            scan: name.ends_with(b"SCAN"),
            of_redis: !(redis_apart && name.starts_with(b"H")),
            script: name.starts_with(b"EVAL"),
        }
    }

    fn like(self, ours: &Value, redis: &Value, valkey: &Value) -> Like {
        // Valkey names no digest in a script's error: of texts that fail, their beginning counts.
        let beginning = self.script && same_beginning(ours, valkey);
        Like {
            redis: self.of_redis && same(self.mode, ours, redis),
            valkey: beginning || same(self.mode, ours, valkey),
        }
    }
}

/// How every reply of a transaction compares, if ours has one for each command.
fn elements(queued: &[Asked], replies: &[Value]) -> Option<Vec<Like>> {
    let item = |server: usize, at: usize| match &replies[server] {
        Value::Array(items) if items.len() == queued.len() => &items[at],
        whole => whole,
    };
    let compare = |(at, asked): (usize, &Asked)| asked.like(item(0, at), item(1, at), item(2, at));
    let complete = matches!(&replies[0], Value::Array(items) if items.len() == queued.len());
    complete.then(|| queued.iter().enumerate().map(compare).collect())
}

/// Whether the replies of a transaction are like a real server's as a whole.
fn all_like(queued: &[Asked], replies: &[Value]) -> Like {
    match elements(queued, replies) {
        Some(likes) => Like {
            redis: likes.iter().all(|like| like.redis) && !replies[1].is_error(),
            valkey: likes.iter().all(|like| like.valkey) && !replies[2].is_error(),
        },
        None => Like { redis: replies[0] == replies[1], valkey: replies[0] == replies[2] },
    }
}

/// Whether each reply of a transaction is like a real server's: any of its commands may be one that
/// they part in.
fn each_like(queued: &[Asked], replies: &[Value]) -> bool {
    elements(queued, replies)
        .is_some_and(|likes| likes.iter().all(|like| like.redis || like.valkey))
}

fn mode(name: &[u8], args: &[Vec<u8>]) -> Mode {
    let has = |word: &str| args.iter().any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    match name {
        _ if name.ends_with(b"SCAN") && !scans_whole(name, args) => Mode::Kind,
        b"HSCAN" if has("NOVALUES") => Mode::Groups(1),
        b"HGETALL" | b"HSCAN" | b"ZSCAN" => Mode::Groups(2),
        b"HKEYS" | b"HVALS" | b"SMEMBERS" | b"SINTER" | b"SUNION" | b"SDIFF" | b"KEYS"
        | b"SCAN" | b"SSCAN" | b"PUBSUB" | b"EVAL" => Mode::Groups(1),
        b"TTL" | b"EXPIRETIME" | b"HTTL" | b"HEXPIRETIME" => Mode::Near(3),
        b"PTTL" | b"PEXPIRETIME" | b"HPTTL" | b"HPEXPIRETIME" => Mode::Near(3000),
        b"OBJECT" if has("IDLETIME") => Mode::Near(3),
        b"RANDOMKEY" | b"SRANDMEMBER" | b"HRANDFIELD" | b"SPOP" | b"TIME" | b"LASTSAVE"
        | b"MEMORY" => Mode::Shape,
        b"CONFIG" if args.iter().any(|arg| arg.contains(&b'*')) => Mode::Kind,
        _ => Mode::Exact,
    }
}

/// Whether a SCAN begins at the beginning. What comes from elsewhere is each server's own.
fn scans_whole(name: &[u8], args: &[Vec<u8>]) -> bool {
    args.get(cursor_at(name) - 1).is_none_or(|cursor| cursor == b"0")
}

/// Where the cursor of a SCAN stands.
fn cursor_at(name: &[u8]) -> usize {
    if name == b"SCAN" { 1 } else { 2 }
}

fn same(mode: Mode, ours: &Value, other: &Value) -> bool {
    match mode {
        Mode::Exact => ours == other,
        Mode::Groups(size) => sorted(ours, size) == sorted(other, size),
        Mode::Near(by) => near(ours, other, by),
        Mode::Shape => shape(ours, other),
        Mode::Kind => same_kind(ours, other),
    }
}

/// The elements sorted in groups; of a SCAN, those of its page.
fn sorted(value: &Value, size: usize) -> Value {
    let sort = |items: &[Value]| {
        let mut groups: Vec<&[Value]> = items.chunks(size).collect();
        groups.sort();
        groups.concat()
    };
    match value {
        Value::Array(items) => match &items[..] {
            [cursor, Value::Array(page)] => {
                Value::Array(vec![cursor.clone(), Value::Array(sort(page))])
            }
            _ => Value::Array(sort(items)),
        },
        Value::Set(items) => Value::Set(sort(items)),
        Value::Map(pairs) => {
            let mut pairs = pairs.clone();
            pairs.sort();
            Value::Map(pairs)
        }
        other => other.clone(),
    }
}

fn near(ours: &Value, other: &Value, by: u64) -> bool {
    match (ours, other) {
        // Negative answers are no times.
        (Value::Integer(a), Value::Integer(b)) if *a >= 0 && *b >= 0 => a.abs_diff(*b) <= by,
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| near(a, b, by))
        }
        _ => ours == other,
    }
}

fn shape(ours: &Value, other: &Value) -> bool {
    match (ours, other) {
        (Value::Array(a), Value::Array(b)) | (Value::Set(a), Value::Set(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| shape(a, b))
        }
        _ => same_kind(ours, other),
    }
}

fn same_kind(ours: &Value, other: &Value) -> bool {
    match (ours, other) {
        (Value::Error(_), Value::Error(_)) => ours == other,
        _ => std::mem::discriminant(ours) == std::mem::discriminant(other),
    }
}

/// Whether both are errors alike up to where a script is named.
fn same_beginning(ours: &Value, other: &Value) -> bool {
    let beginning = |value: &Value| {
        let text = value.to_string();
        text.split(" script: ").next().unwrap_or_default().to_owned()
    };
    ours.is_error() && other.is_error() && beginning(ours) == beginning(other)
}
