//! Makes the files of `server/tests/corpus` with real servers:
//! `corpus PROGRAM NAME COMMANDS... [-- ARGUMENT...]` starts PROGRAM (a redis-server or
//! valkey-server), sends each COMMANDS.redis to a fresh one, and keeps what it saves as
//! NAME-COMMANDS.rdb. Since Redis 7.0 DEBUG asks for `-- --enable-debug-command yes`.

use std::error::Error;
use std::path::Path;

use cloakroom_tests::peers::{Peer, root};
use cloakroom_tests::text;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut parts = args.split(|arg| arg == "--");
    let (named, more) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let [program, name, scripts @ ..] = named else {
        return Err("corpus PROGRAM NAME COMMANDS... [-- ARGUMENT...]".into());
    };
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    for script in scripts {
        make(Path::new(program), name, script, &more)?;
    }
    Ok(())
}

fn make(program: &Path, name: &str, script: &str, args: &[&str]) -> Result<()> {
    let folder = root().join("server/tests/corpus");
    let peer = Peer::start_program(program, args)?;
    let mut wire = peer.connect()?;
    let commands = std::fs::read_to_string(folder.join(script).with_extension("redis"))?;
    for line in commands.lines().filter(|line| !line.starts_with('#')) {
        let line = line.trim_start_matches('!');
        wire.send(&text::split(line)?)?;
        let reply = wire.read()?;
        if reply.is_error() {
            return Err(format!("{line}: {reply}").into());
        }
    }
    let saved = wire.call(&["SAVE"])?;
    if saved.is_error() {
        return Err(format!("SAVE: {saved}").into());
    }
    let kept = folder.join(format!("{name}-{script}.rdb"));
    std::fs::copy(peer.folder().join("dump.rdb"), &kept)?;
    Ok(())
}
