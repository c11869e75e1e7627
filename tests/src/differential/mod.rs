//! Plays random commands to several servers at once and names the replies and the keyspace events
//! that none of the real ones gives.

mod compare;
mod side;

use std::collections::BTreeMap;
use std::io;

use crate::grammar::Grammar;
use crate::peers::Peer;
use crate::text;
use crate::wire::{Protocol, Value};
use compare::{Asked, Like, all_like, each_like};
use side::{Event, Side};

type Command = Vec<Vec<u8>>;

/// Commands from empty databases on: what an earlier round has left behind is no cause of anything.
const ROUND: usize = 300;

/// A reply of ours that no real server gives, with the commands that lead to it.
pub struct Finding {
    /// The last one is answered differently.
    pub commands: Vec<Command>,
    answers: Answers,
}

/// What every server made of a command, ours first.
#[derive(Clone)]
struct Answers {
    replies: Vec<Value>,
    events: Vec<Vec<Event>>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for command in &self.commands {
            writeln!(f, "> {}", text::join(command))?;
        }
        let Answers { replies, events } = &self.answers;
        for (at, name) in ["ours", "redis7", "valkey9"].iter().enumerate() {
            let reply = text::format(&replies[at]).replace('\n', "\n    ");
            writeln!(f, "  {name}: {reply}")?;
            if events.iter().any(|others| *others != events[at]) {
                let shown = |(channel, key): &Event| text::join(&[channel, key]);
                let shown: Vec<String> = events[at].iter().map(shown).collect();
                writeln!(f, "    events: {}", shown.join(", "))?;
            }
        }
        Ok(())
    }
}

/// Ours and both real servers.
pub struct Contest<'a> {
    protocol: Protocol,
    sides: Vec<Side<'a>>,
    queued: Option<Vec<Asked>>,
    /// Since the databases were emptied.
    history: Vec<Command>,
    /// Redis 7.0 knows no deadlines of fields: once one is set it stands apart.
    redis_apart: bool,
}

impl<'a> Contest<'a> {
    /// Ours, redis-server and valkey-server.
    pub fn new(peers: [&'a Peer; 3], protocol: Protocol) -> io::Result<Contest<'a>> {
        let sides = peers.into_iter().map(Side::new).collect::<io::Result<_>>()?;
        let history = Vec::new();
        Ok(Contest { protocol, sides, queued: None, history, redis_apart: false })
    }

    /// Connections as if they were new, empty databases.
    fn begin(&mut self) -> io::Result<()> {
        self.queued = None;
        self.redis_apart = false;
        self.history.clear();
        self.sides.iter_mut().try_for_each(|side| side.begin(self.protocol))
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
            if played % ROUND == 0 {
                self.begin()?;
            }
            let command = grammar.command();
            let answers = self.step(&command).map_err(|e| self.unanswered(e))?;
            let Some(answers) = answers else { continue };
            let name = command[0].to_ascii_uppercase();
            let commands = std::mem::take(&mut self.history);
            if !findings.contains_key(&name) && findings.len() < 30 {
                findings.insert(name, self.minimised(commands, answers)?);
            }
            self.begin()?;
        }
        Ok(findings.into_values().collect())
    }

    fn unanswered(&self, error: io::Error) -> io::Error {
        let history: Vec<String> = self.history.iter().map(|command| text::join(command)).collect();
        io::Error::other(format!("{error}, after\n{}", history.join("\n")))
    }

    /// Sends a command everywhere. Answers what they made of it if ours is like none.
    fn step(&mut self, command: &Command) -> io::Result<Option<Answers>> {
        let name = command[0].to_ascii_uppercase();
        let in_transaction = self.queued.is_some();
        if in_transaction && NOT_QUEUED.contains(&&name[..]) || needs_names(&name, command) {
            return Ok(None);
        }
        self.history.push(command.clone());
        let answers = self.ask(&name, command)?;
        let asked = Asked::new(&name, command, self.redis_apart);
        let Some(like) = self.compare(&name, asked, &answers) else { return Ok(Some(answers)) };
        let reply = &answers.replies[0];
        self.follow(&name, asked, reply);
        if name == b"SPOP" && command.len() > 1 && !in_transaction {
            // They popped different members.
            self.everywhere(&[b"DEL".to_vec(), command[1].clone()])?;
        }
        // Where the real servers part, or ours leaves Valkey for Redis, all begin anew.
        let apart = self.redis_apart && !(in_transaction && reply.is_error());
        if self.queued.is_none() && (!like.valkey || (!like.redis && !apart)) {
            self.begin()?;
        }
        Ok(None)
    }

    /// What every server makes of a command. Redis is asked nothing about what it does not know, or
    /// its transactions would end differently.
    fn ask(&mut self, name: &[u8], command: &Command) -> io::Result<Answers> {
        let in_transaction = self.queued.is_some();
        self.redis_apart |= OF_FIELDS.contains(&name);
        let unknown_to_redis = OF_FIELDS.contains(&name) || is_of_valkey(name, command);
        for (at, side) in self.sides.iter_mut().enumerate() {
            match at {
                1 if unknown_to_redis => side.send(&["PING"])?,
                _ => side.send(command)?,
            }
        }
        let read = |side: &mut Side<'_>| {
            let kind = side.kind();
            let named = |e| io::Error::other(format!("{kind:?} does not answer: {e}"));
            side.read(command, in_transaction).map_err(named)
        };
        let replies: Vec<Value> = self.sides.iter_mut().map(read).collect::<io::Result<_>>()?;
        // Where no event is to be expected it will be found with the next command's.
        let is_queued = replies.iter().all(|reply| *reply == Value::Status(b"QUEUED".to_vec()));
        if is_queued || QUIET.contains(&name) {
            return Ok(Answers { replies, events: vec![Vec::new(); 3] });
        }
        self.sides.iter_mut().try_for_each(Side::ask_for_events)?;
        let events = self.sides.iter_mut().map(Side::events).collect::<io::Result<_>>()?;
        Ok(Answers { replies, events })
    }

    /// Whom ours is like, if any.
    fn compare(&self, name: &[u8], asked: Asked, answers: &Answers) -> Option<Like> {
        let Answers { replies, events } = answers;
        let mut like = match (&self.queued, name) {
            (Some(queued), b"EXEC") => all_like(queued, replies),
            (Some(_), _) => Like {
                redis: asked.of_redis && replies[0] == replies[1],
                valkey: replies[0] == replies[2],
            },
            (None, _) => asked.like(&replies[0], &replies[1], &replies[2]),
        };
        let each = || matches!(&self.queued, Some(q) if name == b"EXEC" && each_like(q, replies));
        let of_events = Like {
            redis: asked.of_redis && events[0] == events[1],
            valkey: events[0] == events[2],
        };
        let executed = self.queued.as_ref().filter(|_| name == b"EXEC");
        let is_late = executed.map_or(asked.is_late, |queued| queued.iter().any(|a| a.is_late));
        // In a transaction any command may be one that they part in.
        let each_event = || executed.is_some() && merged(&events[0], &events[1], &events[2]);
        if !(like.any() || each()) || !(of_events.any() || is_late || each_event()) {
            return None;
        }
        like.redis &= of_events.redis;
        like.valkey &= of_events.valkey;
        Some(like)
    }

    fn everywhere(&mut self, command: &[Vec<u8>]) -> io::Result<()> {
        let command = command.to_vec();
        self.history.push(command.clone());
        self.ask(b"", &command).map(drop)
    }

    /// Keeps track of the transaction.
    fn follow(&mut self, name: &[u8], asked: Asked, reply: &Value) {
        match (&mut self.queued, name) {
            (None, b"MULTI") if !reply.is_error() => self.queued = Some(Vec::new()),
            (Some(_), b"RESET") if !reply.is_error() => self.queued = None,
            (Some(_), b"EXEC" | b"DISCARD") => {
                let left =
                    !reply.is_error() || reply.bytes().is_some_and(|b| b.starts_with(b"EXECABORT"));
                if left {
                    self.queued = None;
                }
            }
            (Some(queued), _) if *reply == Value::Status(b"QUEUED".to_vec()) => {
                queued.push(asked.queued());
            }
            _ => {}
        }
    }

    /// Leaves out what the finding does not need.
    fn minimised(
        &mut self,
        mut commands: Vec<Command>,
        mut answers: Answers,
    ) -> io::Result<Finding> {
        let mut size = commands.len() / 2;
        while size > 0 {
            let mut at = 0;
            while at + 1 < commands.len() {
                let end = (at + size).min(commands.len() - 1);
                let mut fewer = commands.clone();
                fewer.drain(at..end);
                match self.replay(&fewer)? {
                    Some(now) => (commands, answers) = (fewer, now),
                    None => at = end,
                }
            }
            size /= 2;
        }
        Ok(Finding { commands, answers })
    }

    /// Whether the last of these commands, and none before, is answered like nowhere else.
    fn replay(&mut self, commands: &[Command]) -> io::Result<Option<Answers>> {
        self.begin()?;
        for (at, command) in commands.iter().enumerate() {
            if let Some(answers) = self.step(command)? {
                return Ok((at + 1 == commands.len()).then_some(answers));
            }
        }
        Ok(None)
    }
}

/// Whether these could be the events of commands of which each is like one of the two servers'.
fn merged(ours: &[Event], redis: &[Event], valkey: &[Event]) -> bool {
    let is_in = |events: &[Event], event: &Event| events.contains(event);
    ours.iter().all(|event| is_in(redis, event) || is_in(valkey, event))
        && redis.iter().all(|event| is_in(ours, event) || !is_in(valkey, event))
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

/// Not sent between MULTI and EXEC: a command of our own follows SPOP; MULTI and WATCH inside
/// abort in Valkey only, whatever else was asked that Redis does not know; subscribing and HELLO
/// change how the transaction's own replies look.
const NOT_QUEUED: [&[u8]; 10] = [
    b"SPOP",
    b"MULTI",
    b"WATCH",
    b"SUBSCRIBE",
    b"UNSUBSCRIBE",
    b"PSUBSCRIBE",
    b"PUNSUBSCRIBE",
    b"SSUBSCRIBE",
    b"SUNSUBSCRIBE",
    b"HELLO",
];

/// What touches no data.
const QUIET: [&[u8]; 20] = [
    b"AUTH",
    b"CLIENT",
    b"CLUSTER",
    b"COMMAND",
    b"CONFIG",
    b"ECHO",
    b"HELLO",
    b"INFO",
    b"LASTSAVE",
    b"LATENCY",
    b"MEMORY",
    b"MODULE",
    b"PING",
    b"PUBLISH",
    b"PUBSUB",
    b"ROLE",
    b"SLOWLOG",
    b"SPUBLISH",
    b"TIME",
    b"WAIT",
];

/// Subcommands that Redis 7.0 does not know.
fn is_of_valkey(name: &[u8], command: &Command) -> bool {
    let newer = ["NO-TOUCH", "SETINFO"];
    let is = |word: &str| command.get(1).is_some_and(|it| it.eq_ignore_ascii_case(word.as_bytes()));
    name == b"CLIENT" && newer.into_iter().any(is)
}

/// Without names, as many confirmations come as there are subscriptions, in each server's order.
fn needs_names(name: &[u8], command: &Command) -> bool {
    name.ends_with(b"UNSUBSCRIBE") && command.len() == 1
}
