//! docs/security.md: its command lines are understood, and its dialogues are what a server says.

use std::ffi::OsString;

use cloakroom::Config;
use cloakroom_tests::drivers::SocketDriver;
use cloakroom_tests::peers::{Kind, Peer, root};
use cloakroom_tests::wire::Protocol;
use cloakroom_tests::{runner, transcript};

/// The guide's blocks in this language.
fn blocks(language: &str) -> Vec<String> {
    let guide = root().join("docs/security.md");
    let guide = std::fs::read_to_string(guide).expect("the guide can be read");
    let begin = format!("```{language}\n");
    let found = guide.split(&begin).skip(1);
    found.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn every_command_line_is_understood() {
    let lines = blocks("sh");
    assert!(lines.len() >= 5, "{lines:?}");
    for line in lines {
        let words = cloakroom_tests::text::split(&line).expect("quotes close");
        let words =
            words.into_iter().map(|word| OsString::from(String::from_utf8_lossy(&word).as_ref()));
        let loaded = Config::from_args(words).unwrap_or_else(|why| panic!("{line}: {why}"));
        assert!(loaded.warnings.is_empty(), "{line}: {:?}", loaded.warnings);
    }
}

#[test]
fn every_dialogue_is_what_the_server_says() {
    let dialogues = blocks("redis");
    assert!(!dialogues.is_empty());
    let text: String = dialogues.iter().map(|text| format!("# of the guide\n{text}\n")).collect();
    let transcript = transcript::parse(&text).expect("it is a transcript");
    let peer = Peer::start(Kind::Ours).expect("it starts");
    let mut driver = SocketDriver::new(&peer, Protocol::Resp2).expect("it answers");
    let outcome = runner::run(&transcript, &mut driver);
    assert!(outcome.failures.is_empty() && outcome.passed == dialogues.len(), "{outcome:?}");
}
