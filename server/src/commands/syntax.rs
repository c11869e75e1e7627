//! A command's arguments as a tree, read from the way that the documentation writes them.

use crate::resp::Reply;

/// An argument, a group of them, or a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Argument {
    name: String,
    kind: Kind,
    /// A word that stands before it.
    token: Option<String>,
    optional: bool,
    multiple: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Plain(&'static str),
    OneOf(Vec<Argument>),
    Block(Vec<Argument>),
}

/// Reads `key [NX | XX] [EX seconds] value [value ...]`.
pub(super) fn parse(syntax: &str) -> Vec<Argument> {
    let spaced = syntax.replace('[', " [ ").replace(']', " ] ").replace('|', " | ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    sequence(&mut words.as_slice())
}

/// Arguments up to the end or a closing bracket; alternatives become a choice.
fn sequence(words: &mut &[&str]) -> Vec<Argument> {
    let mut alternatives = vec![Vec::new()];
    while let Some((word, rest)) = words.split_first() {
        *words = rest;
        match *word {
            "]" => break,
            "|" => alternatives.push(Vec::new()),
            _ => {
                let here = alternatives.last_mut().expect("there is always one");
                next(word, words, here);
            }
        }
    }
    if alternatives.len() == 1 {
        return alternatives.remove(0);
    }
    let choices = alternatives.into_iter().map(block).collect();
    vec![Argument {
        name: "condition".to_owned(),
        kind: Kind::OneOf(choices),
        token: None,
        optional: false,
        multiple: false,
    }]
}

fn next(word: &str, words: &mut &[&str], here: &mut Vec<Argument>) {
    if word == "..." {
        if let Some(last) = here.last_mut() {
            last.multiple = true;
        }
        return;
    }
    if word == "[" {
        let inner = sequence(words);
        // `field [field ...]` says that the argument before repeats.
        let repeats = inner.last().is_some_and(|last| last.multiple)
            && here.len() >= inner.len()
            && here[here.len() - inner.len()..].iter().zip(&inner).all(|(a, b)| a.name == b.name);
        if repeats {
            let mut repeated = block(here.split_off(here.len() - inner.len()));
            repeated.multiple = true;
            here.push(repeated);
        } else if !inner.is_empty() {
            here.push(Argument { optional: true, ..block(inner) });
        }
        return;
    }
    if word.chars().all(|c| c.is_ascii_uppercase() || c == '-') {
        here.push(plain(&word.to_lowercase(), "pure-token", Some(word)));
        return;
    }
    let argument = plain(word, kind_of(word), None);
    match here.last_mut() {
        // A word in capitals belongs to what follows it.
        Some(last) if last.kind == Kind::Plain("pure-token") => {
            *last = Argument { token: last.token.take(), ..argument };
        }
        _ => here.push(argument),
    }
}

fn plain(name: &str, kind: &'static str, token: Option<&str>) -> Argument {
    Argument {
        name: name.to_owned(),
        kind: Kind::Plain(kind),
        token: token.map(str::to_owned),
        optional: false,
        multiple: false,
    }
}

fn block(mut arguments: Vec<Argument>) -> Argument {
    if arguments.len() == 1 {
        return arguments.remove(0);
    }
    Argument {
        name: "data".to_owned(),
        kind: Kind::Block(arguments),
        token: None,
        optional: false,
        multiple: false,
    }
}

fn kind_of(name: &str) -> &'static str {
    match name {
        "key" | "newkey" | "source" | "destination" | "dst" | "src" => "key",
        "pattern" => "pattern",
        "score" | "weight" => "double",
        "count" | "numfields" | "numkeys" | "seconds" | "milliseconds" | "index" | "index1"
        | "index2" | "offset" | "limit" | "start" | "stop" | "end" | "cursor" | "timeout"
        | "db" | "destination-db" | "numreplicas" | "protover" | "client-id" | "decrement" => {
            "integer"
        }
        "unix-time-seconds" | "unix-time-milliseconds" => "unix-time",
        _ => "string",
    }
}

/// Writes arguments as COMMAND DOCS shows them.
pub(super) fn write(arguments: &[Argument], reply: &mut Reply<'_>) {
    reply.array(arguments.len());
    for argument in arguments {
        let flags: Vec<_> = [(argument.optional, "optional"), (argument.multiple, "multiple")]
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, flag)| *flag)
            .collect();
        let (kind, inner) = match &argument.kind {
            Kind::Plain(kind) => (*kind, None),
            Kind::OneOf(inner) => ("oneof", Some(inner)),
            Kind::Block(inner) => ("block", Some(inner)),
        };
        let is_key = kind == "key";
        let fields = 2
            + usize::from(is_key)
            + usize::from(argument.token.is_some())
            + usize::from(!flags.is_empty())
            + usize::from(inner.is_some());
        reply.map(fields);
        reply.text("name");
        reply.text(&argument.name);
        reply.text("type");
        reply.text(kind);
        if is_key {
            reply.text("key_spec_index");
            reply.int(0);
        }
        if let Some(token) = &argument.token {
            reply.text("token");
            reply.text(token);
        }
        if !flags.is_empty() {
            reply.text("flags");
            reply.array(flags.len());
            flags.iter().for_each(|flag| reply.simple(flag));
        }
        if let Some(inner) = inner {
            reply.text("arguments");
            write(inner, reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_and_what_is_optional_is_told_apart() {
        let found = parse("key field value [field value ...]");
        assert_eq!(found.len(), 2);
        assert!(
            found[1].multiple && matches!(&found[1].kind, Kind::Block(inner) if inner.len() == 2)
        );
        let found = parse("key [NX | XX] [EX seconds | KEEPTTL]");
        assert!(
            found[1].optional && matches!(&found[1].kind, Kind::OneOf(inner) if inner.len() == 2)
        );
        let Kind::OneOf(times) = &found[2].kind else { panic!("a choice") };
        assert_eq!(times[0].token.as_deref(), Some("EX"));
    }
}
