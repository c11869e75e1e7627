//! What a transcript is: cases of commands with the replies that are due, read from and written to
//! a text that looks like a session of redis-cli.
//!
//! ```text
//! # A title begins a case, on an empty database and with new connections
//! ## a comment
//! @not redis7               the case (before its first step) or the next step does not run there
//! @config maxmemory 100mb   set for this case only
//! > HSET s a 1              the main connection
//! (integer) 1
//! b> HGET s a               another one, opened when it is first named
//! "1"
//! @on valkey9 resp3         what is due there instead; with resp3, exact types
//! @advance 1100ms           turns the clock (a real server: sleeps)
//! @sleep 200ms              waits in real time, for what real time limits: a script that runs
//! @unordered                the elements of the next reply may come in any order; `pairs` as well
//! @approx 5                 the numbers of the next reply may be off by so much
//! @like *text*              the next reply, as printed here, matches; nothing is listed below it
//! @any                      the next reply is anything but an error
//! @save id                  keeps the next reply: {id} in a later command stands for it
//! @async                    the next command is only sent; `@reply` reads what it answers
//! @push b                   reads the next pushed message of connection b (main if none is named)
//! @quiet b                  no message is waiting on connection b
//! @closed b                 the server has closed connection b
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::text;
use crate::wire::Value;

/// A whole file.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    /// Comments before the first case.
    pub preamble: Vec<String>,
    /// In the order of the file.
    pub cases: Vec<Case>,
    /// Lines after the last step.
    pub tail: Vec<String>,
}

/// Steps that belong together and start from nothing.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// What it shows.
    pub title: String,
    /// Where it starts, from 1.
    pub line: usize,
    /// Where it runs.
    pub condition: Condition,
    /// Settings for its time.
    pub settings: Vec<(String, String)>,
    /// Lines before the first step, as they stood.
    pub prelude: Vec<String>,
    /// One after the other.
    pub steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub struct Step {
    /// Comments, blank lines and directives before it, as they stood.
    pub prelude: Vec<String>,
    /// The line itself, as it stood.
    pub text: String,
    /// Where it stands, from 1.
    pub line: usize,
    /// Where it runs.
    pub condition: Condition,
    /// What to do.
    pub action: Action,
    /// How a reply is compared.
    pub looseness: Looseness,
    /// Under which name the reply is kept.
    pub save: Option<String>,
    /// The reply that is due.
    pub expected: Option<Vec<String>>,
    /// The reply that is due elsewhere.
    pub alternatives: Vec<(BTreeSet<String>, Vec<String>)>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are what they are called")]
pub enum Action {
    /// Sends a command and reads its reply.
    Call { client: String, command: String },
    /// Sends a command.
    Send { client: String, command: String },
    /// Reads the next reply.
    Reply { client: String },
    /// Reads the next pushed message.
    Push { client: String },
    /// Nothing was pushed.
    Quiet { client: String },
    /// The connection has been closed.
    Closed { client: String },
    /// Time passes.
    Advance(Duration),
    /// Real time passes.
    Sleep(Duration),
}

impl Action {
    /// Whether a reply is due.
    pub fn replies(&self) -> bool {
        matches!(self, Action::Call { .. } | Action::Reply { .. } | Action::Push { .. })
    }
}

/// How a reply is compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Looseness {
    /// Equal.
    #[default]
    Exact,
    /// The same elements in any order.
    Unordered,
    /// The same pairs of elements in any order.
    UnorderedPairs,
    /// Numbers within so much.
    Approx(i64),
    /// The text matches.
    Like(String),
    /// No error.
    Any,
}

/// Where something runs. Tags are the names of servers and protocols.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Condition {
    only: BTreeSet<String>,
    not: BTreeSet<String>,
}

impl Condition {
    /// Whether it holds where these tags do.
    pub fn holds(&self, tags: &[&str]) -> bool {
        let has = |set: &BTreeSet<String>| tags.iter().any(|tag| set.contains(*tag));
        (self.only.is_empty() || has(&self.only)) && !has(&self.not)
    }
}

/// Every tag that a condition may name.
pub const TAGS: [&str; 5] = ["redis7", "valkey9", "ours", "resp2", "resp3"];

impl Step {
    /// What is due where these tags hold, and whether the types must be exact.
    pub fn due(&self, tags: &[&str]) -> Option<(&[String], bool)> {
        let fits = |wanted: &BTreeSet<String>| wanted.iter().all(|w| tags.contains(&w.as_str()));
        let best = self.alternatives.iter().filter(|(wanted, _)| fits(wanted));
        match best.max_by_key(|(wanted, _)| wanted.len()) {
            Some((wanted, lines)) => Some((lines, wanted.contains("resp3"))),
            None => self.expected.as_deref().map(|lines| (lines, false)),
        }
    }
}

/// Reads a file.
pub fn parse(source: &str) -> Result<Transcript, String> {
    let mut reader = Reader::default();
    for (index, line) in source.lines().enumerate() {
        let line = line.trim_end();
        reader.take(index + 1, line).map_err(|why| format!("line {}: {why}", index + 1))?;
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    whole: Transcript,
    prelude: Vec<String>,
    condition: Condition,
    looseness: Looseness,
    save: Option<String>,
    asynchronous: bool,
    in_reply: bool,
}

impl Reader {
    fn take(&mut self, number: usize, line: &str) -> Result<(), String> {
        if line.is_empty() || line.starts_with("## ") || line == "##" {
            self.in_reply = false;
            self.prelude.push(line.into());
        } else if let Some(title) = line.strip_prefix("# ") {
            self.begin_case(number, title);
        } else if let Some((client, command)) = command_line(line) {
            let (client, command) = (client.into(), command.into());
            let action = match std::mem::take(&mut self.asynchronous) {
                true => Action::Send { client, command },
                false => Action::Call { client, command },
            };
            self.push_step(number, line, action)?;
        } else if let Some(directive) = line.strip_prefix('@') {
            let (name, rest) = directive.split_once(' ').unwrap_or((directive, ""));
            self.directive(number, line, name, rest.trim())?;
        } else {
            self.reply_line(line)?;
        }
        Ok(())
    }

    fn begin_case(&mut self, number: usize, title: &str) {
        self.in_reply = false;
        let lines = std::mem::take(&mut self.prelude);
        match self.whole.cases.last_mut() {
            None => self.whole.preamble = lines,
            Some(_) => self.whole.tail = lines,
        }
        // Lines between two cases belong to the second.
        let prelude = match self.whole.cases.is_empty() {
            true => Vec::new(),
            false => std::mem::take(&mut self.whole.tail),
        };
        let case = Case { title: title.into(), line: number, prelude, ..Case::default() };
        self.whole.cases.push(case);
    }

    fn case(&mut self) -> Result<&mut Case, String> {
        self.whole.cases.last_mut().ok_or("a case begins with `# title`".into())
    }

    fn push_step(&mut self, number: usize, text: &str, action: Action) -> Result<(), String> {
        let step = Step {
            prelude: std::mem::take(&mut self.prelude),
            text: text.into(),
            line: number,
            condition: std::mem::take(&mut self.condition),
            action,
            looseness: std::mem::take(&mut self.looseness),
            save: self.save.take(),
            expected: None,
            alternatives: Vec::new(),
        };
        self.in_reply = step.action.replies();
        self.case()?.steps.push(step);
        Ok(())
    }

    fn reply_line(&mut self, line: &str) -> Result<(), String> {
        if !self.in_reply {
            return Err(format!("a reply to nothing: {line}"));
        }
        let step = self.case()?.steps.last_mut().ok_or("a reply before any command")?;
        match step.alternatives.last_mut() {
            Some((_, lines)) => lines.push(line.into()),
            None => step.expected.get_or_insert_default().push(line.into()),
        }
        Ok(())
    }

    fn directive(
        &mut self,
        number: usize,
        line: &str,
        name: &str,
        rest: &str,
    ) -> Result<(), String> {
        let client = || String::from(rest);
        let action = match name {
            "advance" => Action::Advance(duration(rest)?),
            "sleep" => Action::Sleep(duration(rest)?),
            "push" => Action::Push { client: client() },
            "reply" => Action::Reply { client: client() },
            "quiet" => Action::Quiet { client: client() },
            "closed" => Action::Closed { client: client() },
            "on" => return self.begin_alternative(rest),
            _ => {
                self.in_reply = false;
                self.prelude.push(line.into());
                return self.modifier(name, rest);
            }
        };
        self.push_step(number, line, action)
    }

    fn begin_alternative(&mut self, rest: &str) -> Result<(), String> {
        let wanted = tags(rest)?;
        let step = self.case()?.steps.last_mut().ok_or("`@on` before any command")?;
        step.alternatives.push((wanted, Vec::new()));
        Ok(())
    }

    fn modifier(&mut self, name: &str, rest: &str) -> Result<(), String> {
        match (name, rest) {
            ("unordered", "") => self.looseness = Looseness::Unordered,
            ("unordered", "pairs") => self.looseness = Looseness::UnorderedPairs,
            ("approx", n) => {
                let n = n.parse().map_err(|_| "`@approx` takes a number")?;
                self.looseness = Looseness::Approx(n);
            }
            ("like", pattern) => self.looseness = Looseness::Like(pattern.into()),
            ("any", "") => self.looseness = Looseness::Any,
            ("save", name) if !name.is_empty() => self.save = Some(name.into()),
            ("async", "") => self.asynchronous = true,
            ("config", setting) => return self.setting(setting),
            ("only", which) => return self.condition(|c| &mut c.only, which),
            ("not", which) => return self.condition(|c| &mut c.not, which),
            _ => return Err(format!("unknown directive @{name} {rest}")),
        }
        Ok(())
    }

    fn setting(&mut self, setting: &str) -> Result<(), String> {
        let (name, value) = setting.split_once(' ').unwrap_or((setting, ""));
        let value = value.trim_matches('"');
        let prelude = std::mem::take(&mut self.prelude);
        let case = self.case()?;
        if !case.steps.is_empty() {
            return Err("`@config` stands before the first step of a case".into());
        }
        case.settings.push((name.into(), value.into()));
        case.prelude.extend(prelude);
        Ok(())
    }

    fn condition(
        &mut self,
        part: impl Fn(&mut Condition) -> &mut BTreeSet<String>,
        which: &str,
    ) -> Result<(), String> {
        let which = tags(which)?;
        let first = self.case()?.steps.is_empty();
        if first {
            let prelude = std::mem::take(&mut self.prelude);
            let case = self.case()?;
            part(&mut case.condition).extend(which);
            case.prelude.extend(prelude);
        } else {
            part(&mut self.condition).extend(which);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Transcript, String> {
        while self.prelude.last().is_some_and(String::is_empty) {
            self.prelude.pop();
        }
        self.whole.tail = self.prelude;
        Ok(self.whole)
    }
}

/// `> PING` or `b> PING`: the connection's name and the command.
fn command_line(line: &str) -> Option<(&str, &str)> {
    let (client, command) = line.split_once("> ")?;
    let named = client.bytes().all(|b| b.is_ascii_lowercase());
    named.then_some((client, command))
}

fn tags(text: &str) -> Result<BTreeSet<String>, String> {
    let all: BTreeSet<String> =
        text.split([' ', ',']).filter(|t| !t.is_empty()).map(String::from).collect();
    match all.iter().find(|tag| !TAGS.contains(&tag.as_str())) {
        Some(unknown) => Err(format!("unknown place {unknown}, known are {TAGS:?}")),
        None if all.is_empty() => Err(format!("a place is missing, known are {TAGS:?}")),
        None => Ok(all),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let millis = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(n), _) => n.parse(),
        (None, Some(n)) => n.parse().map(|n: u64| n * 1000),
        (None, None) => text.parse(),
    };
    millis.map(Duration::from_millis).map_err(|_| format!("no duration: {text}"))
}

/// The value that is due, read from its lines.
pub fn value(lines: &[String]) -> Result<Value, String> {
    text::parse(lines)
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.preamble)?;
        for case in &self.cases {
            let blank = |line: &&String| line.is_empty();
            let before = case.prelude.iter().take_while(blank).count();
            write_lines(f, &case.prelude[..before])?;
            writeln!(f, "# {}", case.title)?;
            write_lines(f, &case.prelude[before..])?;
            for step in &case.steps {
                write!(f, "{step}")?;
            }
        }
        write_lines(f, &self.tail)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.prelude)?;
        writeln!(f, "{}", self.text)?;
        write_lines(f, self.expected.as_deref().unwrap_or_default())?;
        for (wanted, lines) in &self.alternatives {
            let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
            writeln!(f, "@on {}", wanted.join(" "))?;
            write_lines(f, lines)?;
        }
        Ok(())
    }
}

fn write_lines(f: &mut fmt::Formatter<'_>, lines: &[String]) -> fmt::Result {
    lines.iter().try_for_each(|line| writeln!(f, "{line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "\
## about this file

# One
@not redis7
@config maxmemory 100mb
> HSET s a 1
(integer) 1
@unordered pairs
> HGETALL s
1) \"a\"
2) \"1\"
@on resp3
1# \"a\" => \"1\"

# Two
## waits
@advance 1100ms
b> GET k
(nil)
@push b
1) \"message\"
";

    #[test]
    fn what_was_read_is_written_again() {
        let read = parse(SAMPLE).expect("a good transcript");
        assert_eq!(read.to_string(), SAMPLE);
        assert!(!read.cases[0].condition.holds(&["redis7", "resp2"]));
        assert!(read.cases[0].condition.holds(&["ours", "resp2"]));
        assert_eq!(read.cases[0].settings, [("maxmemory".into(), "100mb".into())]);
        let step = &read.cases[0].steps[1];
        assert_eq!(step.looseness, Looseness::UnorderedPairs);
        assert!(step.due(&["ours", "resp3"]).is_some_and(|(_, exact)| exact));
        assert!(step.due(&["ours", "resp2"]).is_some_and(|(_, exact)| !exact));
        let advance = &read.cases[1].steps[0].action;
        assert_eq!(*advance, Action::Advance(Duration::from_millis(1100)));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let problem = |text: &str| parse(text).expect_err("a mistake");
        assert!(problem("# a\n@nonsense\n").starts_with("line 2"));
        assert!(problem("> PING\n").contains("# title"));
        assert!(problem("# a\n> PING\nPONG\n@on mars\n").contains("mars"));
        assert!(problem("# a\nPONG\n").contains("reply to nothing"));
    }
}
