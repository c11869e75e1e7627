//! The examples of the server, run as their readers run them.

use std::process::{Command, Stdio};

use cloakroom_tests::peers::{cloakroom, example, python, root};

/// Runs an example to its end; returns what it prints.
fn run(name: &str) -> String {
    let program = example("cloakroom", name).expect("it is built");
    let output = Command::new(program).stdin(Stdio::null()).output().expect("it runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{err}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn embed() {
    let told = run("embed");
    assert!(told.contains("redis://127.0.0.1:") && told.contains("\"visits\": \"1\""), "{told}");
}

#[test]
fn turned_clock() {
    assert_eq!(run("turned_clock"), "session:bob has expired\nsession:ann has expired\n");
}

#[test]
fn in_process() {
    assert_eq!(run("in_process"), "the session is ann's\n");
}

#[test]
#[ignore = "needs peers: tests/run"]
fn fixture_in_python() {
    let mut command = Command::new(python());
    command.arg(root().join("server/examples/fixture.py")).arg(cloakroom().expect("it is built"));
    let output = command.stdin(Stdio::null()).output().expect("Python is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\n");
}

#[test]
fn cargo_run_alone_starts_the_server() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(root());
    let told = cargo.stdin(Stdio::null()).output().expect("cargo runs").stdout;
    let told = String::from_utf8_lossy(&told);
    assert_eq!(told.matches("\"default_run\":\"").count(), 1, "one of them, or cargo asks which");
    assert!(told.contains("\"default_run\":\"cloakroom\""));
}
