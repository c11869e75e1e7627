//! Documents that are written from the tables: this rewrites each, and fails if it was stale.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use cloakroom::Config;
use cloakroom::commands::{FAMILIES, Flags, Spec};
use cloakroom::config::{LINES, REASONS, SETTINGS};

/// Writes the document if it differs from what is there.
///
/// # Panics
///
/// If it differed: whoever changed the table commits the document too.
fn keep_fresh(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    // Git may have turned the line ends on Windows.
    let old = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    if old != text {
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("it can be made");
        fs::write(&path, text).expect("it can be written");
        panic!("docs/{name} was stale; it has been rewritten, commit it");
    }
}

/// Text inside a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", cell(text)) }
}

#[test]
fn settings() {
    let defaults = Config::default();
    let mut text = String::from(
        "# Settings\n\n\
         Written from the table in `server/src/config/settings.rs` by `server/tests/docs.rs`.\n\n\
         Each is a flag (`--port 7000`), a line of the config file (`port 7000`) and a name of CONFIG\n\
         GET. CONFIG SET changes it while the server runs, unless *at run time* says no.\n\n\
         | setting | takes | default | at run time | what for |\n|---|---|---|---|---|\n",
    );
    for setting in SETTINGS {
        // The working directory is each reader's own.
        let default = if setting.name == "dir" { String::new() } else { (setting.get)(&defaults) };
        let older = setting.alias.map(|alias| format!(" Also `{alias}`.")).unwrap_or_default();
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {}{older} |",
            setting.name,
            cell(setting.takes),
            code(&default),
            if setting.fixed { "no" } else { "yes" },
            cell(setting.doc),
        );
    }
    text += "\n## Directives that may be repeated\n\n\
             Lines of the config file, and flags. CONFIG REWRITE writes\n\
             users as they are by then.\n\n| directive | takes | what for |\n|---|---|---|\n";
    for (name, takes, doc) in LINES {
        let _ = writeln!(text, "| `{name}` | {} | {} |", code(takes), cell(doc));
    }
    text += "\n## Redis's settings without meaning here\n\n\
             Accepted, shown by CONFIG GET, and told of by a warning at the start where the value is\n\
             not Redis's default.\n\n| setting | default |\n|---|---|\n";
    for (name, default) in &defaults.inert {
        let _ = writeln!(text, "| `{name}` | {} |", code(default));
    }
    text += "\nWhere an effect might be expected:\n\n";
    for (name, reason) in REASONS {
        let _ = writeln!(text, "- `{name}`: {reason}");
    }
    keep_fresh("config.md", &text);
}

#[test]
fn commands() {
    let count: usize = FAMILIES.iter().map(|(_, commands)| commands.len()).sum();
    let mut text = format!(
        "# Commands\n\n\
         Written from the tables in `server/src/commands/` by `server/tests/docs.rs`.\n\n\
         {count} commands. Any other is answered with Redis's unknown-command error.\n"
    );
    for (family, commands) in FAMILIES {
        let _ = write!(
            text,
            "\n## {family}\n\n| command | what it does | since | cost | keys |\n|---|---|---|---|---|\n"
        );
        for spec in *commands {
            row(&mut text, "", spec);
            for sub in spec.subcommands {
                row(&mut text, spec.name, sub);
            }
        }
    }
    keep_fresh("commands.md", &text);
}

fn row(text: &mut String, container: &str, spec: &Spec) {
    let call = [container, spec.name, spec.syntax].join(" ");
    let keys = match (spec.flags.has(Flags::WRITE), spec.flags.has(Flags::READONLY)) {
        (true, _) => "changes",
        (_, true) => "reads",
        _ => "",
    };
    let _ = writeln!(
        text,
        "| {} | {} | {} | {} | {keys} |",
        code(call.trim()),
        cell(spec.summary),
        spec.since,
        cell(spec.complexity),
    );
}
