//! Runs transcripts through a driver, compares what comes back, and records what real servers say.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::time::Duration;

use crate::text;
use crate::transcript::{Action, Case, Looseness, Step, Transcript};
use crate::wire::{Protocol, Value};

/// Something that transcripts run against: an engine in this process, or a server behind a socket.
pub trait Driver {
    /// The tags that hold here: the server's name and the protocol's.
    fn tags(&self) -> Vec<&str>;
    /// Which protocol new connections speak.
    fn protocol(&self) -> Protocol;
    /// A new connection.
    fn connect(&mut self) -> io::Result<Box<dyn Connection>>;
    /// Waits until the server has begun with a request that was sent without waiting for its reply.
    fn arrived(&mut self, _args: &[Vec<u8>]) -> io::Result<()> {
        Ok(())
    }
    /// Lets time pass. When it returns, everything that fell due has happened.
    fn advance(&mut self, by: Duration) -> io::Result<()>;
    /// Runs an administrative command outside the transcript.
    fn control(&mut self, args: &[&str]) -> io::Result<Value>;
}

/// One connection of a driver.
pub trait Connection {
    /// Sends a command.
    fn send(&mut self, args: &[Vec<u8>]) -> io::Result<()>;
    /// Reads what comes next, be it a reply or a push.
    fn receive(&mut self) -> io::Result<Value>;
}

impl Connection for crate::wire::Wire {
    fn send(&mut self, args: &[Vec<u8>]) -> io::Result<()> {
        crate::wire::Wire::send(self, args)
    }

    fn receive(&mut self) -> io::Result<Value> {
        self.read()
    }
}

/// A reply that was not the one due.
#[derive(Debug)]
pub struct Failure {
    /// The case's title.
    pub case: String,
    /// Where the step stands.
    pub line: usize,
    /// The step as it stands in the file.
    pub step: String,
    /// What came instead, or what went wrong.
    pub got: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let got = self.got.replace('\n', "\n    ");
        let step = self.step.trim_end().replace('\n', "\n    ");
        write!(f, "line {} ({})\n    {step}\n  got\n    {got}", self.line, self.case)
    }
}

/// How a run went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Cases that held.
    pub passed: usize,
    /// Cases that do not run here.
    pub skipped: usize,
    /// The first failure of every case that failed.
    pub failures: Vec<Failure>,
}

/// Runs every case of a transcript that runs here.
pub fn run(transcript: &Transcript, driver: &mut dyn Driver) -> Outcome {
    let mut outcome = Outcome::default();
    for case in &transcript.cases {
        if !case.condition.holds(&driver.tags()) {
            outcome.skipped += 1;
            continue;
        }
        match run_case(case, driver) {
            Ok(()) => outcome.passed += 1,
            Err(failure) => outcome.failures.push(*failure),
        }
    }
    outcome
}

fn run_case(case: &Case, driver: &mut dyn Driver) -> Result<(), Box<Failure>> {
    let mut failed = None;
    let played = play(case, driver, |step, reply, tags| match compare(step, &reply, tags) {
        Ok(()) => true,
        Err(got) => {
            failed.get_or_insert((step.line, step.to_string(), got));
            false
        }
    });
    if let Err((line, problem)) = played {
        let step = case.steps.iter().find(|s| s.line == line);
        failed.get_or_insert((line, step.map(Step::to_string).unwrap_or_default(), problem));
    }
    match failed {
        None => Ok(()),
        Some((line, step, got)) => {
            Err(Box::new(Failure { case: case.title.clone(), line, step, got }))
        }
    }
}

/// Ends what a case that failed may have left behind, so that the others are not held up by it.
const TIDY: [&[&str]; 4] = [
    &["CLIENT", "UNPAUSE"],
    &["REPLICAOF", "NO", "ONE"],
    &["DEBUG", "SET-ACTIVE-EXPIRE", "1"],
    &["FLUSHALL"],
];

/// Does the steps of a case and shows every reply to `judge`, which says whether to go on.
fn play(
    case: &Case,
    driver: &mut dyn Driver,
    mut judge: impl FnMut(&Step, Value, &[&str]) -> bool,
) -> Result<(), (usize, String)> {
    let tags: Vec<String> = driver.tags().into_iter().map(String::from).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let at_case = |e: io::Error| (case.line, e.to_string());
    for tidied in TIDY {
        driver.control(tidied).map_err(at_case)?;
    }
    let before = apply_settings(case, driver).map_err(|e| (case.line, e))?;
    let mut stage = Stage::default();
    let mut result = Ok(());
    for step in &case.steps {
        if !step.condition.holds(&tags) {
            continue;
        }
        match stage.step(step, driver) {
            Ok(Some(reply)) => {
                if !judge(step, reply, &tags) {
                    break;
                }
            }
            Ok(None) => {}
            Err(problem) => {
                result = Err((step.line, problem));
                break;
            }
        }
    }
    drop(stage);
    for (name, value) in before {
        driver.control(&["CONFIG", "SET", &name, &value]).map_err(at_case)?;
    }
    result
}

fn apply_settings(case: &Case, driver: &mut dyn Driver) -> Result<Vec<(String, String)>, String> {
    let mut before = Vec::new();
    for (name, value) in &case.settings {
        let old = driver.control(&["CONFIG", "GET", name]).map_err(|e| e.to_string())?;
        let old = match old.items() {
            Some([_, old]) => old.bytes().unwrap_or_default(),
            _ => return Err(format!("no setting {name}: {old}")),
        };
        let set = driver.control(&["CONFIG", "SET", name, value]).map_err(|e| e.to_string())?;
        if set.is_error() {
            return Err(format!("CONFIG SET {name} {value}: {set}"));
        }
        before.push((name.clone(), String::from_utf8_lossy(&old).into_owned()));
    }
    Ok(before)
}

/// The connections of a case and what it has saved.
#[derive(Default)]
struct Stage {
    clients: HashMap<String, Client>,
    saved: HashMap<String, String>,
}

struct Client {
    connection: Box<dyn Connection>,
    pushed: VecDeque<Value>,
}

impl Stage {
    fn step(&mut self, step: &Step, driver: &mut dyn Driver) -> Result<Option<Value>, String> {
        let reply = self.act(step, driver)?;
        if let (Some(name), Some(reply)) = (&step.save, &reply) {
            let bytes = reply.bytes().ok_or("only a scalar can be saved")?;
            self.saved.insert(name.clone(), String::from_utf8_lossy(&bytes).into_owned());
        }
        Ok(reply)
    }

    fn act(&mut self, step: &Step, driver: &mut dyn Driver) -> Result<Option<Value>, String> {
        let resp3 = driver.protocol() == Protocol::Resp3;
        let text = |e: io::Error| e.to_string();
        match &step.action {
            Action::Advance(by) => driver.advance(*by).map(|()| None).map_err(text),
            Action::Sleep(time) => {
                std::thread::sleep(*time);
                Ok(None)
            }
            Action::Call { client, command } => {
                let args = text::split(&self.substitute(command))?;
                let client = self.client(client, driver).map_err(text)?;
                client.connection.send(&args).map_err(text)?;
                match subscribes(&args) {
                    true => client.connection.receive().map(Some).map_err(text),
                    false => client.reply().map(Some).map_err(text),
                }
            }
            Action::Send { client, command } => {
                let args = text::split(&self.substitute(command))?;
                let client = self.client(client, driver).map_err(text)?;
                client.connection.send(&args).map_err(text)?;
                driver.arrived(&args).map(|()| None).map_err(text)
            }
            Action::Reply { client } => {
                self.client(client, driver).map_err(text)?.reply().map(Some).map_err(text)
            }
            Action::Push { client } => {
                self.client(client, driver).map_err(text)?.push(resp3).map(Some)
            }
            Action::Quiet { client } => self.client(client, driver).map_err(text)?.quiet(),
            Action::Closed { client } => {
                match self.client(client, driver).map_err(text)?.connection.receive() {
                    Ok(reply) => Err(format!("not closed, but\n{reply}")),
                    Err(_) => {
                        self.clients.remove(client);
                        Ok(None)
                    }
                }
            }
        }
    }

    fn substitute(&self, command: &str) -> String {
        let mut command = command.to_string();
        for (name, value) in &self.saved {
            command = command.replace(&format!("{{{name}}}"), value);
        }
        command
    }

    fn client(&mut self, name: &str, driver: &mut dyn Driver) -> io::Result<&mut Client> {
        if !self.clients.contains_key(name) {
            let client = Client { connection: driver.connect()?, pushed: VecDeque::new() };
            self.clients.insert(name.into(), client);
        }
        self.clients.get_mut(name).ok_or_else(|| io::Error::other("no such client"))
    }
}

impl Client {
    /// The next reply; pushes that come before it are kept.
    fn reply(&mut self) -> io::Result<Value> {
        loop {
            match self.connection.receive()? {
                push @ Value::Push(_) => self.pushed.push_back(push),
                reply => return Ok(reply),
            }
        }
    }

    fn push(&mut self, resp3: bool) -> Result<Value, String> {
        if let Some(push) = self.pushed.pop_front() {
            return Ok(push);
        }
        match self.connection.receive().map_err(|e| e.to_string())? {
            reply if resp3 && !matches!(reply, Value::Push(_)) => {
                Err(format!("no push, but\n{reply}"))
            }
            push => Ok(push),
        }
    }

    /// Nothing stands before the answer to a PING.
    fn quiet(&mut self) -> Result<Option<Value>, String> {
        let ping = b"nothing-waits".to_vec();
        let text = |e: io::Error| e.to_string();
        self.connection.send(&[b"PING".to_vec(), ping.clone()]).map_err(text)?;
        let reply = match self.pushed.pop_front() {
            Some(push) => push,
            None => self.connection.receive().map_err(text)?,
        };
        let pong = Value::Array(vec![Value::Bulk(b"pong".to_vec()), Value::Bulk(ping.clone())]);
        match reply == Value::Bulk(ping) || reply == pong {
            true => Ok(None),
            false => Err(format!("a message was waiting\n{reply}")),
        }
    }
}

/// The answers of these are messages, in RESP3 pushes.
fn subscribes(args: &[Vec<u8>]) -> bool {
    args.first().is_some_and(|name| {
        let name = name.to_ascii_uppercase();
        name.ends_with(b"SUBSCRIBE")
    })
}

/// Ok, or what came instead.
fn compare(step: &Step, reply: &Value, tags: &[&str]) -> Result<(), String> {
    match &step.looseness {
        Looseness::Any if reply.is_error() => return Err(text::format(reply)),
        Looseness::Any => return Ok(()),
        Looseness::Like(pattern) => {
            let shown = text::format(&reply.clone().as_resp2());
            return if text::matches(pattern, &shown) { Ok(()) } else { Err(shown) };
        }
        _ => {}
    }
    let Some((lines, exact)) = step.due(tags) else {
        return Err(format!("no reply is given here, the server's is\n{}", text::format(reply)));
    };
    let due = crate::transcript::value(lines)?;
    let got = if exact { reply.clone() } else { as_resp2(step, reply.clone()) };
    match agree(&canonical(due), &canonical(got.clone()), &step.looseness) {
        true => Ok(()),
        false => Err(text::format(&got)),
    }
}

/// The reply as RESP2 has it. A few commands nest their pairs in RESP3 only.
fn as_resp2(step: &Step, reply: Value) -> Value {
    let reply = reply.as_resp2();
    let (Action::Call { command, .. }, Value::Array(items)) = (&step.action, &reply) else {
        return reply;
    };
    let command = command.to_ascii_uppercase();
    let first = command.split(' ').next().unwrap_or_default();
    let pairs = first.starts_with('Z') || first == "HRANDFIELD";
    let nested = |item: &Value| matches!(item, Value::Array(pair) if pair.len() == 2);
    if !pairs || first == "ZSCAN" || items.is_empty() || !items.iter().all(nested) {
        return reply;
    }
    let flat = items.iter().filter_map(Value::items).flatten().cloned().collect();
    Value::Array(flat)
}

/// One kind of null, so that text and reply compare.
fn canonical(value: Value) -> Value {
    let all = |items: Vec<Value>| items.into_iter().map(canonical).collect();
    match value {
        Value::NullArray | Value::NullBulk => Value::Null,
        Value::Array(items) => Value::Array(all(items)),
        Value::Set(items) => Value::Set(all(items)),
        Value::Push(items) => Value::Push(all(items)),
        Value::Map(pairs) => {
            Value::Map(pairs.into_iter().map(|(k, v)| (canonical(k), canonical(v))).collect())
        }
        scalar => scalar,
    }
}

fn agree(due: &Value, got: &Value, looseness: &Looseness) -> bool {
    match looseness {
        Looseness::Unordered => due.sorted(1) == got.sorted(1),
        Looseness::UnorderedPairs => due.sorted(2) == got.sorted(2),
        Looseness::Approx(by) => near(due, got, *by),
        _ => due == got,
    }
}

fn near(due: &Value, got: &Value, by: i64) -> bool {
    match (due, got) {
        (Value::Integer(a), Value::Integer(b)) => a.abs_diff(*b) <= by.unsigned_abs(),
        (Value::Bulk(a), Value::Bulk(b)) => match (number(a), number(b)) {
            (Some(a), Some(b)) => a.abs_diff(b) <= by.unsigned_abs(),
            _ => a == b,
        },
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| near(a, b, by))
        }
        _ => due == got,
    }
}

fn number(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Writes the replies of real servers into a transcript: those of the first driver as what is due,
/// those that differ elsewhere below an `@on`. Alternatives that name `ours` are kept, and an
/// `@on resp3` that stands there already asks for the exact types. What none of them runs is kept.
pub fn record(transcript: &mut Transcript, drivers: &mut [Box<dyn Driver>]) -> Result<(), String> {
    for case in &mut transcript.cases {
        let recorded = |step: &&mut Step| {
            let runs = |tags: &[&str]| case.condition.holds(tags) && step.condition.holds(tags);
            drivers.iter().any(|driver| runs(&driver.tags()))
        };
        for step in case.steps.iter_mut().filter(recorded) {
            step.expected = None;
            step.alternatives.retain(|(wanted, _)| wanted.contains("ours") || exact(wanted));
            step.alternatives.iter_mut().filter(|(w, _)| exact(w)).for_each(|(_, l)| l.clear());
        }
        for driver in drivers.iter_mut().map(Box::as_mut) {
            if case.condition.holds(&driver.tags()) {
                record_case(case, driver)?;
            }
        }
    }
    Ok(())
}

fn record_case(case: &mut Case, driver: &mut dyn Driver) -> Result<(), String> {
    let mut replies = HashMap::new();
    let title = case.title.clone();
    play(case, driver, |step, reply, _| {
        replies.insert(step.line, reply);
        true
    })
    .map_err(|(line, problem)| format!("line {line} ({title}): {problem}"))?;
    let tags: Vec<String> = driver.tags().into_iter().map(String::from).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let first = tags[0] == "redis7" || !case.condition.holds(&["redis7", tags[1]]);
    for step in &mut case.steps {
        if matches!(step.looseness, Looseness::Any | Looseness::Like(_)) {
            continue;
        }
        let Some(reply) = replies.remove(&step.line) else { continue };
        let resp3 = tags.contains(&"resp3");
        if step.expected.is_none() {
            let shown = text::format(&as_resp2(step, reply.clone()));
            step.expected = Some(shown.split('\n').map(String::from).collect());
        }
        let asked = step.alternatives.iter_mut().find(|(wanted, _)| exact(wanted));
        if let (true, true, Some((_, lines))) = (first, resp3, asked) {
            *lines = text::format(&reply).split('\n').map(String::from).collect();
        } else if compare(step, &reply, &tags).is_err() {
            let exact = if resp3 { reply } else { as_resp2(step, reply) };
            let lines = text::format(&exact).split('\n').map(String::from).collect();
            step.alternatives.push((place(first, resp3), lines));
        }
    }
    Ok(())
}

fn exact(wanted: &BTreeSet<String>) -> bool {
    wanted.len() == 1 && wanted.contains("resp3")
}

/// Replies of the first server in RESP3 hold for every server, those of the second only there.
fn place(first: bool, resp3: bool) -> BTreeSet<String> {
    let mut place = BTreeSet::new();
    if resp3 {
        place.insert("resp3".into());
    }
    if !first {
        place.insert("valkey9".into());
    }
    place
}
