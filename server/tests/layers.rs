//! Rules about the source itself: layers, opening lines, who may read time and name tokio, and a
//! transcript for every command.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules in order: each may name only those before it.
const LAYERS: &[&str] = &[
    "clock",
    "lzf",
    "resp",
    "config",
    "tls",
    "store",
    "acl",
    "rdb",
    "replication",
    "session",
    "state",
    "commands",
    "engine",
    "error",
    "persistence",
    "net",
    "embed",
    "lib",
    "main",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// All source files with their layer and text.
fn sources() -> Vec<(PathBuf, String, String)> {
    let (mut folders, mut found) = (vec![root().join("src")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a source folder can be read") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).expect("a source file is text");
                let inside = path.strip_prefix(root().join("src")).expect("it lies there");
                let first = inside.iter().next().expect("a path has parts").to_string_lossy();
                found.push((inside.to_owned(), first.trim_end_matches(".rs").to_owned(), text));
            }
        }
    }
    found
}

fn rank(layer: &str) -> usize {
    LAYERS
        .iter()
        .position(|known| *known == layer)
        .unwrap_or_else(|| panic!("{layer} has no place"))
}

#[test]
fn every_file_says_what_lives_there() {
    for (path, _, text) in sources() {
        assert!(text.starts_with("//! "), "{} opens without a //! line", path.display());
    }
}

#[test]
fn a_module_names_only_what_stands_below_it() {
    for (path, layer, text) in sources() {
        if matches!(layer.as_str(), "lib" | "main") {
            continue;
        }
        for named in text.split("crate::").skip(1) {
            let name: String =
                named.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            if LAYERS.contains(&name.as_str()) && name != layer {
                // `error` holds the library's own error, which the first layers do not need.
                assert!(rank(&name) < rank(&layer), "{} names crate::{name}", path.display());
            }
        }
    }
}

#[test]
fn only_net_and_above_know_the_runtime_and_only_the_clock_reads_time() {
    for (path, layer, text) in sources() {
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        if rank(&layer) < rank("net") {
            // What tasks wait with needs no runtime, sockets or timers.
            let rest = code.replace("tokio::sync", "");
            assert!(!rest.contains("tokio::"), "{} names tokio", path.display());
        }
        if layer != "clock" {
            for reading in ["Instant::now", "SystemTime::now"] {
                assert!(!code.contains(reading), "{} reads time", path.display());
            }
        }
    }
}

/// The compiler forbids it as well (the workspace's lints), which `#[allow]` cannot take back; this
/// holds the lint itself.
#[test]
fn nothing_is_unsafe() {
    let workspace = fs::read_to_string(root().join("../Cargo.toml")).expect("it can be read");
    assert!(workspace.contains("unsafe_code = \"forbid\""), "unsafe code is not forbidden");
    for package in ["server", "client", "tests", "benches"] {
        let manifest = root().join("..").join(package).join("Cargo.toml");
        let text = fs::read_to_string(manifest).expect("it can be read");
        assert!(text.contains("[lints]\nworkspace = true"), "{package} has lints of its own");
    }
    for (path, _, text) in sources() {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let words = |line: &str| {
            line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
        };
        assert!(!code.clone().any(words), "{} is unsafe", path.display());
    }
}

#[test]
fn every_command_has_a_transcript() {
    let folder = root().join("../tests/transcripts");
    let mut text = String::new();
    for family in fs::read_dir(folder).expect("there are transcripts") {
        for file in fs::read_dir(family.expect("readable").path()).expect("a family is a folder") {
            text += &fs::read_to_string(file.expect("readable").path()).expect("it is text");
        }
    }
    let text = text.to_uppercase();
    let used =
        |name: &str| text.contains(&format!("> {name}")) || text.contains(&format!("'{name}'"));
    // Run outside transcripts, where a reply is no text: see the clients' and control tests.
    let elsewhere = ["CLOAKROOM"];
    let table = cloakroom::commands::CommandTable::new();
    let missing: Vec<&str> = table
        .top_level()
        .map(|command| command.spec.name)
        .filter(|name| !used(name) && !elsewhere.contains(name))
        .collect();
    assert!(missing.is_empty(), "no transcript uses {missing:?}");
}
