//! What COMMAND tells of every command that we have, beside what Redis tells of it, or Valkey where
//! Redis does not know it.

use std::collections::BTreeMap;

use cloakroom_tests::peers::{Kind, Peer};
use cloakroom_tests::wire::{Value, Wire};

/// What is told of a command, part by part; of subcommands too, under their own names.
type Table = BTreeMap<String, BTreeMap<String, String>>;

const PARTS: [&str; 9] =
    ["name", "arity", "flags", "first key", "last key", "step", "categories", "tips", "key specs"];

/// Fields of COMMAND DOCS that are facts. The others are each server's own words.
const FACTS: [&str; 5] = ["since", "group", "doc_flags", "deprecated_since", "replaced_by"];

fn text(value: &Value) -> String {
    String::from_utf8_lossy(&value.bytes().unwrap_or_default()).into_owned()
}

fn items(value: &Value) -> &[Value] {
    value.items().unwrap_or_default()
}

/// A key specification without its notes, which are prose.
fn without_notes(spec: &Value) -> String {
    let pairs = items(spec).chunks(2).filter(|pair| text(&pair[0]) != "notes");
    pairs.flatten().map(Value::to_string).collect::<Vec<_>>().join(" ")
}

fn note_info(told: &Value, table: &mut Table) {
    let parts = items(told);
    let row = table.entry(text(&parts[0])).or_default();
    for (part, value) in PARTS.iter().zip(parts) {
        let shown = match *part {
            "key specs" => items(value).iter().map(without_notes).collect::<Vec<_>>().join("; "),
            // A set in which nothing depends on the order.
            "categories" | "tips" => value.sorted(1).to_string(),
            _ => value.to_string(),
        };
        row.insert((*part).to_owned(), shown);
    }
    items(&parts[9]).iter().for_each(|subcommand| note_info(subcommand, table));
}

fn note_docs(told: &Value, table: &mut Table) {
    for pair in items(told).chunks(2) {
        let row = table.entry(text(&pair[0])).or_default();
        let mut subcommands = None;
        for field in items(&pair[1]).chunks(2) {
            let name = text(&field[0]);
            if FACTS.contains(&name.as_str()) {
                row.insert(name, field[1].to_string());
            } else if name == "subcommands" {
                subcommands = Some(&field[1]);
            }
        }
        if let Some(subcommands) = subcommands {
            note_docs(subcommands, table);
        }
    }
}

fn table(kind: Kind) -> Table {
    let peer = Peer::start(kind).expect("it starts");
    let mut wire = Wire::connect(peer.address()).expect("it accepts");
    let mut table = Table::new();
    for told in items(&wire.call(&["COMMAND"]).expect("it answers")) {
        note_info(told, &mut table);
    }
    note_docs(&wire.call(&["COMMAND", "DOCS"]).expect("it answers"), &mut table);
    table
}

#[test]
#[ignore = "needs peers: tests/run"]
fn commands_are_described_as_redis_describes_them() {
    let [ours, redis, valkey] = [Kind::Ours, Kind::Redis7, Kind::Valkey9].map(table);
    let mut differences = Vec::new();
    for (name, told) in &ours {
        let Some(theirs) = redis.get(name).or_else(|| valkey.get(name)) else {
            assert!(name.starts_with("cloakroom"), "{name} is nobody else's");
            continue;
        };
        for part in PARTS.iter().chain(&FACTS) {
            let (told, due) = (told.get(*part), theirs.get(*part));
            if told != due {
                differences.push(format!("{name}, {part}: {told:?} is to be {due:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
