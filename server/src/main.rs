//! The `cloakroom` binary: arguments become settings, settings become a server.

use std::process::ExitCode;
use std::sync::Arc;

use cloakroom::engine::Engine;
use cloakroom::net::{self, platform};
use cloakroom::{Clock, Config, Error};

fn main() -> ExitCode {
    let mut config = Config::default();
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "--port") {
        config.port = args.get(at + 1).and_then(|port| port.parse().ok()).unwrap_or(6379);
    }
    config.test_control = args.iter().any(|arg| arg == "--test-control");
    config.enable_debug_command = args.iter().any(|arg| arg == "--enable-debug-command");
    let exit_with_parent = args.iter().any(|arg| arg == "--exit-with-parent");
    match serve(config, exit_with_parent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cloakroom: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config, exit_with_parent: bool) -> Result<(), Error> {
    let engine = Arc::new(Engine::new(config, Arc::new(Clock::system())));
    let waiter = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Threads)?;
    waiter.block_on(async {
        let running = net::start(engine)?.await?;
        announce(&running);
        let parent = async {
            if exit_with_parent {
                platform::parent_gone().await;
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            () = running.ended() => {}
            () = platform::stop_signal() => {}
            () = parent => {}
        }
        Ok(())
    })
}

/// One line for programs that start the server and wait for it.
#[allow(clippy::print_stdout)]
fn announce(running: &net::Running) {
    if let Some(addr) = running.addr() {
        println!("ready redis://{addr}");
    }
}
