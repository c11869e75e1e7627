//! Runs transcripts against a server, or records what the real servers say into them.
//!
//! ```text
//! transcript run redis7|valkey9|ours [resp3] FILE...
//! transcript record FILE...      replaces the replies by those of redis-server and valkey-server
//! ```

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;

use cloakroom_tests::drivers::SocketDriver;
use cloakroom_tests::peers::{Kind, Peer};
use cloakroom_tests::runner::{self, Driver};
use cloakroom_tests::transcript::{self, Transcript};
use cloakroom_tests::wire::Protocol;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match &args[..] {
        ["record", files @ ..] => record(files),
        ["run", server, "resp3", files @ ..] => run(server, Protocol::Resp3, files),
        ["run", server, files @ ..] => run(server, Protocol::Resp2, files),
        _ => Err("transcript run redis7|valkey9|ours [resp3] FILE... | record FILE...".into()),
    }
}

fn read(file: &str) -> Result<Transcript> {
    let source = std::fs::read_to_string(Path::new(file))?;
    transcript::parse(&source).map_err(|why| format!("{file}: {why}").into())
}

fn run(server: &str, protocol: Protocol, files: &[&str]) -> Result<()> {
    let kinds = [Kind::Redis7, Kind::Valkey9, Kind::Ours];
    let kind = kinds.into_iter().find(|k| k.tag() == server).ok_or("no such server")?;
    let peer = Peer::start(kind)?;
    let mut driver = SocketDriver::new(&peer, protocol)?;
    let (mut passed, mut failed) = (0, 0);
    for file in files {
        let outcome = runner::run(&read(file)?, &mut driver);
        passed += outcome.passed;
        failed += outcome.failures.len();
        outcome.failures.iter().for_each(|failure| println!("{file} {failure}\n"));
    }
    println!("{passed} cases passed, {failed} failed");
    if failed > 0 { Err("not every case passed".into()) } else { Ok(()) }
}

fn record(files: &[&str]) -> Result<()> {
    let peers = [Peer::start(Kind::Redis7)?, Peer::start(Kind::Valkey9)?];
    for file in files {
        let mut transcript = read(file)?;
        let mut drivers: Vec<Box<dyn Driver>> = Vec::new();
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            for peer in &peers {
                drivers.push(Box::new(SocketDriver::new(peer, protocol)?));
            }
        }
        runner::record(&mut transcript, &mut drivers).map_err(|why| format!("{file}: {why}"))?;
        std::fs::write(file, transcript.to_string())?;
    }
    Ok(())
}
