//! Every piece of code in docs/guide.md is run, or says why not. Those in Rust are run as
//! documentation tests of the crate.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use cloakroom_client::SessionStore;
use cloakroom_tests::groups::RIGHTS;
use cloakroom_tests::peers::{Kind, Peer, python, root};

/// A fenced block.
#[derive(Debug)]
struct Block {
    language: String,
    /// What the comment before it says.
    note: String,
    code: String,
}

fn blocks() -> Vec<Block> {
    let guide = std::fs::read_to_string(root().join("docs/guide.md")).expect("there is a guide");
    let mut blocks: Vec<Block> = Vec::new();
    let (mut inside, mut note) = (false, String::new());
    for line in guide.lines() {
        if let Some(language) = line.strip_prefix("```") {
            if !inside {
                let (language, code) = (language.to_owned(), String::new());
                blocks.push(Block { language, note: std::mem::take(&mut note), code });
            }
            inside = !inside;
        } else if inside {
            let block = blocks.last_mut().expect("it was just begun");
            block.code += line;
            block.code.push('\n');
        } else if line.starts_with("<!--") || (!note.is_empty() && !note.ends_with("-->")) {
            note += line;
        } else if !line.is_empty() {
            note.clear();
        }
    }
    blocks
}

/// The block that the guide says this test runs.
fn block(name: &str) -> Block {
    let note = format!("<!-- run: {name} -->");
    let mut found = blocks().into_iter().filter(|block| block.note == note);
    found.next().unwrap_or_else(|| panic!("no block after {note}"))
}

/// A block as a file of its own, until it is dropped.
struct Snippet(PathBuf);

impl Snippet {
    fn new(name: &str, ending: &str) -> Snippet {
        let file = format!("cloakroom-guide-{}-{name}.{ending}", std::process::id());
        let path = std::env::temp_dir().join(file);
        std::fs::write(&path, block(name).code).expect("it can be written");
        Snippet(path)
    }
}

impl Drop for Snippet {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn must_say_ok(command: &mut Command) {
    let output = command.stdin(Stdio::null()).env("PYTHONDONTWRITEBYTECODE", "1").output();
    let output = output.unwrap_or_else(|e| panic!("{command:?} (see tests/run): {e}"));
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let ok = output.status.success() && out.trim_end().ends_with("ok");
    assert!(ok, "{command:?}: {}\n{out}\n{err}", output.status);
}

fn driver(name: &str) -> PathBuf {
    root().join("tests/clients/guide").join(name)
}

fn with_python(name: &str, ending: &str, script: &str) {
    let (peer, snippet) = (Peer::start(Kind::Ours).expect("it starts"), Snippet::new(name, ending));
    must_say_ok(Command::new(python()).arg(driver(script)).arg(&snippet.0).arg(peer.url()));
}

#[test]
fn every_block_is_run_or_says_why_not() {
    let known = ["flask", "django", "express", "php", "rights", "other_language"];
    for block in blocks() {
        let run = known.iter().any(|name| block.note == format!("<!-- run: {name} -->"));
        let not_run = block.note.starts_with("<!-- not run: ") && block.note.len() > 40;
        let rust = block.language == "rust" || block.language == "rust,no_run";
        let manifest = block.language == "toml" && block.code.contains("cloakroom-client = ");
        assert!(run || not_run || rust || manifest, "{block:?}");
    }
}

#[test]
fn rights() {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&block("rights").code), words(RIGHTS), "what the suite is run with");
}

#[test]
#[ignore = "needs Python with Flask: tests/run"]
fn flask() {
    with_python("flask", "py", "flask_app.py");
}

#[test]
#[ignore = "needs Python with Django: tests/run"]
fn django() {
    with_python("django", "py", "django_settings.py");
}

#[test]
#[ignore = "needs PHP with phpredis: tests/run"]
fn php() {
    with_python("php", "php", "php.py");
}

#[test]
#[ignore = "needs Node with Express: tests/run"]
fn express() {
    let peer = Peer::start(Kind::Ours).expect("it starts");
    let snippet = Snippet::new("express", "cjs");
    let mut command = Command::new("node");
    must_say_ok(command.arg(driver("express.cjs")).arg(&snippet.0).arg(peer.url()));
}

#[tokio::test]
#[ignore = "needs Python with redis-py: tests/run"]
async fn other_language() {
    let peer = Peer::start(Kind::Ours).expect("it starts");
    let store = SessionStore::builder(&peer.url())
        .connect_timeout(std::time::Duration::from_secs(10))
        .response_timeout(std::time::Duration::from_secs(10))
        .build()
        .expect("good settings");
    let session =
        store.new_session().user("Ann é").set("theme", "dark").expect("it can be written");
    let session = session.create().await.expect("it begins");
    session.incr("visits", 1).await.expect("it counts");
    let snippet = Snippet::new("other_language", "py");
    let mut command = Command::new(python());
    command.arg(driver("other_language.py")).arg(&snippet.0).arg(peer.url());
    must_say_ok(command.arg(session.token().reveal()).arg("Ann é"));
    let written = session.get::<String>("from").await.expect("it is there");
    assert_eq!(written.as_deref(), Some("python"));
}
