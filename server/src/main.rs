//! The `cloakroom` binary: arguments become settings, settings become a server.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use cloakroom::config::Loaded;
use cloakroom::engine::Engine;
use cloakroom::net::{self, Running, platform};
use cloakroom::{Clock, Config, Error};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let loaded = match Config::from_args(std::env::args_os()) {
        Ok(loaded) => loaded,
        Err(help) if help.is_help => {
            say(&help.to_string());
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(&error.to_string()),
    };
    if let Err(why) = set_up_logs(&loaded.config) {
        return fail(&why);
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    match serve(loaded) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("cloakroom: {why}");
    ExitCode::FAILURE
}

#[allow(clippy::print_stdout)]
fn say(text: &str) {
    println!("{text}");
}

/// Logs go to standard error, or to a file.
fn set_up_logs(config: &Config) -> Result<(), String> {
    let level = match config.loglevel.as_str() {
        "debug" => "trace",
        "verbose" => "debug",
        "warning" => "warn",
        "nothing" => "off",
        _ => "info",
    };
    let logs = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(level)).with_target(false);
    let json = config.log_format == "json";
    if config.logfile.is_empty() {
        let logs = logs.with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
        if json {
            logs.json().init()
        } else {
            logs.init()
        }
        return Ok(());
    }
    let file = std::fs::File::options().append(true).create(true).open(&config.logfile);
    let file = file.map_err(|cause| {
        format!(
            "cannot write the log file {}: {cause}; name another with --logfile",
            config.logfile
        )
    })?;
    let logs = logs.with_writer(Arc::new(file)).with_ansi(false);
    if json {
        logs.json().init()
    } else {
        logs.init()
    }
    Ok(())
}

fn serve(loaded: Loaded) -> Result<(), Error> {
    let Loaded { config, file, .. } = loaded;
    if !config.dir.is_empty() {
        std::env::set_current_dir(&config.dir).map_err(|cause| {
            Error::Config(format!("cannot work in {}: {cause}; name another --dir", config.dir))
        })?;
    }
    let exit_with_parent = config.exit_with_parent;
    let engine = Arc::new(Engine::new(config, Arc::new(Clock::system())));
    engine.turn().server().config_file = file;
    let waiter = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Threads)?;
    waiter.block_on(async {
        let mut running = net::start(engine)?.await?;
        announce(&running);
        let parent = async {
            if exit_with_parent {
                platform::parent_gone().await;
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            () = running.ended() => return Ok(()),
            () = platform::stop_signal() => tracing::info!("asked to stop"),
            () = parent => tracing::info!("whoever started the server is gone"),
        }
        running.stop();
        running.ended().await;
        Ok(())
    })
}

/// A banner for people, and one line for programs that wait until the server accepts.
fn announce(running: &Running) {
    let url = match (running.addr(), running.unix_socket()) {
        (Some(addr), _) => format!("redis://{addr}"),
        (None, Some(path)) => format!("unix://{}", path.display()),
        (None, None) => return,
    };
    if std::io::stderr().is_terminal() {
        eprintln!("\n  Cloakroom {}: your sessions hang here.", env!("CARGO_PKG_VERSION"));
        eprintln!("  {url}    (redis-cli -u {url}; Ctrl-C stops it)\n");
    }
    say(&format!("ready {url}"));
}
