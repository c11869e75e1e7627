//! Random commands from a small grammar: mostly sensible, sometimes of the wrong type, of the wrong
//! length or with odd values.
//!
//! Words in capitals stand for themselves, and `a/b` is one of them. `[..]` is there or not,
//! `(..)+` comes once to three times; both may hold alternatives: `[EX t|PX T]`. Other words are
//! kinds of arguments: see [`words`].

mod lines;
mod words;

use fastrand::Rng;

/// Makes commands, the same for the same seed.
pub struct Grammar {
    rng: Rng,
    data: Vec<Phrase>,
    server: Vec<Phrase>,
    /// Milliseconds since the epoch, for points in time that come soon.
    now: u64,
    /// Whether commands are spoiled now and then.
    spoils: bool,
}

type Phrase = Vec<Part>;

/// A piece of a line.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    /// One of these words.
    Word(Vec<&'static str>),
    /// One of these phrases, or nothing.
    Optional(Vec<Phrase>),
    /// One of these phrases each time, once to three times.
    Repeated(Vec<Phrase>),
}

impl Grammar {
    /// With the deadlines of fields, or with what Redis 7.0 knows only.
    pub fn new(seed: u64, field_deadlines: bool) -> Grammar {
        let more = if field_deadlines { lines::FIELD_DEADLINES } else { "" };
        let data = lines::DATA.lines().chain(more.lines()).map(parse).collect();
        let server = lines::SERVER.lines().map(parse).collect();
        Grammar { rng: Rng::with_seed(seed), data, server, now: 0, spoils: true }
    }

    /// Commands that write, with deadlines that come soon.
    pub fn of_writes(seed: u64, field_deadlines: bool) -> Grammar {
        let more = if field_deadlines { lines::FIELD_WRITES } else { "" };
        let data = lines::WRITES.lines().chain(more.lines()).map(parse).collect();
        Grammar { rng: Rng::with_seed(seed), data, server: Vec::new(), now: 0, spoils: false }
    }

    /// The next command, at this time in milliseconds.
    pub fn command_at(&mut self, now: u64) -> Vec<Vec<u8>> {
        self.now = now;
        self.command()
    }

    /// The next command: about data three times of four.
    pub fn command(&mut self) -> Vec<Vec<u8>> {
        let of_server = !self.server.is_empty() && self.rng.u8(..4) == 0;
        let lines = if of_server { &self.server } else { &self.data };
        let line = lines[self.rng.usize(..lines.len())].clone();
        let mut args = Vec::new();
        self.expand(&line, &mut args);
        if self.spoils {
            self.spoil(&mut args);
        }
        args
    }

    fn expand(&mut self, phrase: &[Part], args: &mut Vec<Vec<u8>>) {
        for part in phrase {
            match part {
                Part::Word(choices) => {
                    let word = choices[self.rng.usize(..choices.len())];
                    args.push(words::argument(&mut self.rng, word, self.now));
                }
                Part::Optional(phrases) if self.rng.u8(..10) < 4 => self.one_of(phrases, args),
                Part::Optional(_) => {}
                Part::Repeated(phrases) => {
                    for _ in 0..self.rng.usize(1..=3) {
                        self.one_of(phrases, args);
                    }
                }
            }
        }
    }

    fn one_of(&mut self, phrases: &[Phrase], args: &mut Vec<Vec<u8>>) {
        let chosen = self.rng.usize(..phrases.len());
        self.expand(&phrases[chosen], args);
    }

    /// Now and then a command is spoiled: too long, too short, an odd argument.
    fn spoil(&mut self, args: &mut Vec<Vec<u8>>) {
        // Sorted sets of equal scores stay so, and nobody waits for long.
        let keeps_scores = args.get(1).is_some_and(|key| key.starts_with(b"l"));
        if keeps_scores || args[0] == b"WAIT" || args.get(1).is_some_and(|arg| arg == b"PAUSE") {
            return;
        }
        let odd = words::odd(&mut self.rng);
        match self.rng.u8(..60) {
            0 if args.len() > 1 => {
                args.pop();
            }
            1 => args.push(odd),
            2 if args.len() > 1 => {
                let at = self.rng.usize(1..args.len());
                args[at] = odd;
            }
            3 => args[0].make_ascii_lowercase(),
            4 if args.len() > 2 => {
                let at = self.rng.usize(2..args.len());
                let word = args[at].clone();
                args.insert(at, word);
            }
            5 if args.len() > 1 => {
                let at = self.rng.usize(1..args.len());
                args[at].make_ascii_lowercase();
            }
            _ => {}
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    Word(&'static str),
    Open(char),
    Close,
    Bar,
}

/// Reads a line of the grammar.
fn parse(line: &'static str) -> Phrase {
    let mut tokens = Vec::new();
    for word in line.split(' ') {
        // A script has brackets of its own.
        if words::is_script(word) {
            tokens.push(Token::Word(word));
        } else {
            tokenize(word, &mut tokens);
        }
    }
    phrases(&mut tokens.into_iter()).swap_remove(0)
}

fn tokenize(word: &'static str, tokens: &mut Vec<Token>) {
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(['[', ']', '(', ')', '|', '+']).unwrap_or(rest.len());
        let (token, length) = match first {
            '[' | '(' => (Token::Open(first), 1),
            ']' => (Token::Close, 1),
            ')' => (Token::Close, 2),
            '|' => (Token::Bar, 1),
            _ => (Token::Word(&rest[..end]), end),
        };
        tokens.push(token);
        rest = &rest[length..];
    }
}

/// The phrases up to the closing bracket or the end.
fn phrases(tokens: &mut impl Iterator<Item = Token>) -> Vec<Phrase> {
    let (mut found, mut phrase) = (Vec::new(), Vec::new());
    while let Some(token) = tokens.next() {
        match token {
            Token::Word(word) if words::is_script(word) => phrase.push(Part::Word(vec![word])),
            Token::Word(word) => phrase.push(Part::Word(word.split('/').collect())),
            Token::Open('[') => phrase.push(Part::Optional(phrases(tokens))),
            Token::Open(_) => phrase.push(Part::Repeated(phrases(tokens))),
            Token::Bar => found.push(std::mem::take(&mut phrase)),
            Token::Close => break,
        }
    }
    found.push(phrase);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_commands() {
        let take = |seed| {
            let mut grammar = Grammar::new(seed, true);
            (0..5000).map(|_| grammar.command()).collect::<Vec<_>>()
        };
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
    }

    #[test]
    fn a_line_is_read_as_a_tree() {
        let word = |word| Part::Word(vec![word]);
        assert_eq!(
            parse("A [n [B]] (C x|D)+ E/F"),
            [
                word("A"),
                Part::Optional(vec![vec![word("n"), Part::Optional(vec![vec![word("B")]])]]),
                Part::Repeated(vec![vec![word("C"), word("x")], vec![word("D")]]),
                Part::Word(vec!["E", "F"]),
            ]
        );
        let script = "return_{KEYS[1],#ARGV}";
        assert_eq!(parse("EVAL return_{KEYS[1],#ARGV} 0"), [word("EVAL"), word(script), word("0")]);
    }

    /// Commands that the comparison leaves out, and why.
    const LEFT_OUT: [(&str, &str); 19] = [
        ("ACL", "what the transcripts of users compare would lock the comparison out"),
        ("QUIT", "it ends the connection"),
        ("REPLICAOF", "it makes the server another's copy: see the simulation"),
        ("SLAVEOF", "it makes the server another's copy"),
        ("FAILOVER", "it takes replicas"),
        ("REPLCONF", "it is spoken by replicas"),
        ("PSYNC", "it makes the connection a replica's"),
        ("SYNC", "it makes the connection a replica's"),
        ("SHUTDOWN", "it ends the server"),
        ("SAVE", "it writes a file"),
        ("BGSAVE", "it writes a file"),
        ("FUNCTION HELP", "the real servers can load libraries"),
        ("MONITOR", "what it shows is each server's own"),
        ("DEBUG", "it is each server's own"),
        ("CLIENT REPLY", "nothing is answered"),
        ("LOLWUT", "what is drawn is each server's own"),
        ("COMMAND", "the real servers know more commands"),
        ("CLOAKROOM", "only ours has it"),
        ("container", "what it answers without a subcommand is its subcommands' arity error"),
    ];

    /// Options of commands that the comparison leaves out, and why.
    const OPTIONS_LEFT_OUT: [(&str, &str); 1] = [("CLIENT TRACKING ON", "it is not there yet")];

    #[test]
    fn every_command_and_every_option_is_compared() {
        let mut missing = Vec::new();
        for (_, family) in cloakroom::commands::FAMILIES {
            for spec in *family {
                check(spec.name, spec, &mut missing);
                for sub in spec.subcommands {
                    check(&format!("{} {}", spec.name, sub.name), sub, &mut missing);
                }
            }
        }
        assert!(missing.is_empty(), "no line of the grammar has {missing:#?}");
    }

    fn check(name: &str, spec: &cloakroom::commands::Spec, missing: &mut Vec<String>) {
        let is_container = !spec.subcommands.is_empty();
        let left_out = |name: &str| LEFT_OUT.iter().any(|(left_out, _)| *left_out == name);
        let container = name.split(' ').next().unwrap_or(name);
        if is_container || left_out(name) || left_out(container) && container != "COMMAND" {
            return;
        }
        let begins = |line: &&str| *line == name || line.starts_with(&format!("{name} "));
        let all = [lines::DATA, lines::SERVER, lines::FIELD_DEADLINES];
        let lines: Vec<&str> = all.iter().flat_map(|text| text.lines()).filter(begins).collect();
        if lines.is_empty() {
            missing.push(name.to_owned());
            return;
        }
        let separators = |c: char| !c.is_ascii_alphanumeric() && c != '-';
        for option in spec.syntax.split(separators).filter(|word| is_option(word)) {
            let full = format!("{name} {option}");
            let has = |line: &&str| line.split(separators).any(|word| word == option);
            if !lines.iter().any(has)
                && !OPTIONS_LEFT_OUT.iter().any(|(left_out, _)| *left_out == full)
            {
                missing.push(full);
            }
        }
    }

    fn is_option(word: &str) -> bool {
        word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase() || c == '-')
    }
}
