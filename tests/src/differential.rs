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

/// How the replies of a command are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Exact,
    /// Elements, in groups, in any order.
    Groups(usize),
    /// Numbers within so much.
    Near(u64),
    /// The same kinds of values, as many.
    Shape,
}

/// Ours and both real servers, on one connection each.
pub struct Contest<'a> {
    peers: [&'a Peer; 3],
    protocol: Protocol,
    wires: Vec<Wire>,
    queued: Option<Vec<Mode>>,
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
        // MULTI and WATCH inside abort in Valkey only; what follows would be neither's.
        let left_out = [&b"SPOP"[..], b"EVAL", b"EVALSHA", b"SWAPDB", b"MULTI", b"WATCH"];
        if self.queued.is_some() && left_out.contains(&&name[..]) {
            return Ok(None);
        }
        self.history.push(command.clone());
        let replies: Vec<Value> =
            self.wires.iter_mut().map(|wire| wire.call(command)).collect::<Result<_, _>>()?;
        let novalues = command.iter().any(|arg| arg.eq_ignore_ascii_case(b"NOVALUES"));
        let mode = if novalues { Mode::Groups(1) } else { mode(&name) };
        let same = |other: &Value| match (&self.queued, &name[..]) {
            (Some(modes), b"EXEC") => same_all(modes, &replies[0], other),
            (Some(_), _) => replies[0] == *other,
            (None, _) => same(mode, &replies[0], other),
        };
        let (like_redis, mut like_valkey) = (same(&replies[1]), same(&replies[2]));
        // Valkey names no digest in a script's error: of texts that fail, their beginning counts.
        if name.starts_with(b"EVAL") && self.queued.is_none() {
            like_valkey |= same_beginning(&replies[0], &replies[2]);
        }
        // Hashes may differ by now; what else Redis says still counts.
        let redis_counts = !self.redis_apart || replies[0].is_error() || !name.starts_with(b"H");
        if !(like_valkey || like_redis && redis_counts) {
            return Ok(Some(replies));
        }
        let unknown = |v: &Value| v.bytes().is_some_and(|b| b.starts_with(b"ERR unknown command"));
        if !like_redis && (self.redis_apart || unknown(&replies[1]) || !like_valkey) {
            self.redis_apart = true;
        }
        self.follow(&name, mode, &replies[0]);
        if name == b"SPOP" && command.len() > 1 && self.queued.is_none() {
            // They popped different members.
            self.everywhere(&[b"DEL".to_vec(), command[1].clone()])?;
        }
        // Where the real servers part, or ours leaves Valkey for Redis, all begin anew.
        if (!like_valkey || (!like_redis && !self.redis_apart)) && self.queued.is_none() {
            self.begin()?;
        }
        Ok(None)
    }

    fn everywhere(&mut self, command: &[Vec<u8>]) -> io::Result<()> {
        self.history.push(command.to_vec());
        self.wires.iter_mut().try_for_each(|wire| wire.call(command).map(drop))
    }

    /// Keeps track of the transaction.
    fn follow(&mut self, name: &[u8], mode: Mode, reply: &Value) {
        match (&mut self.queued, name) {
            (None, b"MULTI") if !reply.is_error() => self.queued = Some(Vec::new()),
            (Some(_), b"EXEC" | b"DISCARD") => {
                let left =
                    !reply.is_error() || reply.bytes().is_some_and(|b| b.starts_with(b"EXECABORT"));
                if left {
                    self.queued = None;
                }
            }
            (Some(modes), _) if *reply == Value::Status(b"QUEUED".to_vec()) => modes.push(mode),
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

fn mode(name: &[u8]) -> Mode {
    match name {
        b"HGETALL" | b"HSCAN" => Mode::Groups(2),
        b"HKEYS" | b"HVALS" | b"SMEMBERS" | b"SINTER" | b"SUNION" | b"SDIFF" | b"KEYS"
        | b"SCAN" | b"SSCAN" | b"PUBSUB" | b"EVAL" => Mode::Groups(1),
        b"TTL" | b"EXPIRETIME" | b"HTTL" | b"HEXPIRETIME" => Mode::Near(3),
        b"PTTL" | b"PEXPIRETIME" | b"HPTTL" | b"HPEXPIRETIME" => Mode::Near(3000),
        b"RANDOMKEY" | b"SRANDMEMBER" | b"HRANDFIELD" | b"SPOP" | b"TIME" | b"LASTSAVE"
        | b"MEMORY" => Mode::Shape,
        b"OBJECT" => Mode::Near(100_000_000),
        _ => Mode::Exact,
    }
}

fn same_all(modes: &[Mode], ours: &Value, other: &Value) -> bool {
    match (ours, other) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() && a.len() == modes.len() => {
            modes.iter().zip(a.iter().zip(b)).all(|(mode, (a, b))| same(*mode, a, b))
        }
        _ => ours == other,
    }
}

fn same(mode: Mode, ours: &Value, other: &Value) -> bool {
    match mode {
        Mode::Exact => ours == other,
        Mode::Groups(size) => sorted(ours, size) == sorted(other, size),
        Mode::Near(by) => near(ours, other, by),
        Mode::Shape => shape(ours, other),
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
        (Value::Integer(a), Value::Integer(b)) if *a > 0 && *b > 0 => a.abs_diff(*b) <= by,
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| near(a, b, by))
        }
        _ => ours == other,
    }
}

fn shape(ours: &Value, other: &Value) -> bool {
    match (ours, other) {
        (Value::Error(_), Value::Error(_)) => ours == other,
        (Value::Array(a), Value::Array(b)) | (Value::Set(a), Value::Set(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| shape(a, b))
        }
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
