//! The `cloakroom` binary: arguments become settings, settings become a server.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use cloakroom::config::{Loaded, Signal};
use cloakroom::engine::Engine;
use cloakroom::net::platform::{self, StopSignal};
use cloakroom::net::{self, Load, Running};
use cloakroom::persistence;
use cloakroom::{Clock, Config, Error};
use indicatif::{ProgressBar, ProgressStyle};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry, reload};

/// Files that the server itself needs beside its clients' sockets, as Redis reckons.
const OWN_FILES: u64 = 32;

fn main() -> ExitCode {
    let loaded = match Config::from_args(std::env::args_os()) {
        Ok(loaded) => loaded,
        Err(help) if help.is_help => {
            say(help.to_string().trim_end());
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(&error.to_string()),
    };
    match run(loaded) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(why: &str) -> ExitCode {
    // Where nobody listens, nobody is told.
    let _ = writeln!(std::io::stderr(), "cloakroom: {why}");
    ExitCode::FAILURE
}

/// A line on standard output, whether or not somebody reads it.
fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn run(loaded: Loaded) -> Result<(), Error> {
    let Loaded { mut config, file, warnings, .. } = loaded;
    if !config.dir.is_empty() {
        std::env::set_current_dir(&config.dir).map_err(|cause| {
            Error::Config(format!("cannot work in {}: {cause}; name another --dir", config.dir))
        })?;
        // From here on it is looked at from within.
        config.dir = std::env::current_dir().map_or(config.dir, |dir| dir.display().to_string());
    }
    let logs = set_up_logs(&config)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    if config.bind.is_empty() && config.unixsocket.is_none() {
        let text =
            "there is nothing to listen at; give an address to --bind, or a path to --unixsocket";
        return Err(Error::Config(text.to_owned()));
    }
    make_room_for_clients(&mut config)?;
    let exit_with_parent = config.exit_with_parent;
    let engine = Arc::new(Engine::new(config, Arc::new(Clock::system()))?);
    engine.turn().server().config_file = file;
    engine.on_changed_settings(move |config| {
        logs(config);
        platform::raise_open_files(config.maxclients as u64 + OWN_FILES);
    });
    let waiter = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Threads)?;
    waiter.block_on(serve(engine, exit_with_parent))
}

/// Lets the process hold as many sockets as clients are allowed, or allows fewer.
fn make_room_for_clients(config: &mut Config) -> Result<(), Error> {
    let wanted = config.maxclients as u64 + OWN_FILES;
    let open = platform::raise_open_files(wanted);
    if open >= wanted {
        return Ok(());
    }
    if open <= OWN_FILES {
        return Err(Error::Config(format!(
            "the system lets this process open {open} files only, which is too few for any client; \
             raise the limit (ulimit -n)"
        )));
    }
    let fits = open - OWN_FILES;
    let asked = config.maxclients;
    config.maxclients = fits as i64;
    tracing::warn!(
        "maxclients is {fits} instead of {asked}: the system lets this process open {open} files; \
         raise the limit (ulimit -n) for more"
    );
    Ok(())
}

async fn serve(engine: Arc<Engine>, exit_with_parent: bool) -> Result<(), Error> {
    let mut stop = StopSignal::new();
    let bar: Load = Some(Box::new(LoadingBar::default()));
    let (mut running, loading) = net::start(engine, bar)?.await?;
    let (loaded, mut is_loaded) = (loading.done(), false);
    tokio::pin!(loaded);
    let parent = async {
        if exit_with_parent {
            platform::parent_gone().await;
        } else {
            std::future::pending().await
        }
    };
    tokio::pin!(parent);
    loop {
        tokio::select! {
            has_data = &mut loaded, if !is_loaded => {
                is_loaded = true;
                if has_data? {
                    announce(&running);
                }
            }
            () = running.ended(), if is_loaded => {
                tracing::info!("stopped");
                return Ok(());
            }
            signal = stop.recv() => {
                tracing::info!(?signal, "asked to stop");
                if !running.ask_to_stop(signal) && signal == Signal::Interrupt {
                    // Neither the data nor who is connected is waited for any longer.
                    tracing::warn!("interrupted once more: ends at once");
                    std::process::exit(1);
                }
            }
            () = &mut parent => {
                tracing::info!("whoever started the server is gone");
                running.stop();
                running.ended().await;
                return Ok(());
            }
        }
    }
}

/// Shows on a terminal how loading goes on, if it takes long.
#[derive(Default)]
struct LoadingBar(Option<ProgressBar>);

/// Files up to this size are loaded before anybody would read a bar.
const QUICKLY_LOADED: u64 = 32 << 20;

impl persistence::Progress for LoadingBar {
    fn read(&mut self, bytes: u64, total: u64) {
        if total <= QUICKLY_LOADED || !std::io::stderr().is_terminal() {
            return;
        }
        let bar = self.0.get_or_insert_with(|| {
            let form = "  loading {bar:40} {bytes} of {total_bytes}, {eta} left";
            let style = ProgressStyle::with_template(form);
            let bar = ProgressBar::new(total);
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        bar.set_position(bytes);
        if bytes >= total {
            bar.finish_and_clear();
        }
    }
}

/// A banner for people, and one line for programs that wait until the server accepts.
fn announce(running: &Running) {
    let Some(url) = running.url() else { return };
    let version = env!("CARGO_PKG_VERSION");
    let mut people = std::io::stderr();
    if people.is_terminal() {
        let _ = writeln!(
            people,
            "\n  Cloakroom {version}: your sessions hang here.\n  {url}    (redis-cli -u {url}; \
             Ctrl-C stops it)\n"
        );
    } else {
        tracing::info!(version, pid = std::process::id(), "ready at {url}");
    }
    if let Some(path) = running.tls().and_then(|tls| tls.ca_file()) {
        say(&format!("ca-file {}", path.display()));
    }
    if let Some(tls_url) = running.tls_url().filter(|tls_url| *tls_url != url) {
        say(&format!("ready {tls_url}"));
    }
    say(&format!("ready {url}"));
}

/// Sends logs to standard error, or to a file; returns what takes up changed settings.
fn set_up_logs(config: &Config) -> Result<impl Fn(&Config) + Send + Sync + use<>, Error> {
    let writer = if config.logfile.is_empty() { None } else { Some(open_log(&config.logfile)?) };
    let is_for_people = writer.is_none() && std::io::stderr().is_terminal();
    let writer = move || -> Box<dyn Write> {
        match &writer {
            Some(file) => Box::new(Arc::clone(file)),
            None => Box::new(std::io::stderr()),
        }
    };
    let logs = fmt::layer().with_target(false).with_ansi(is_for_people).with_writer(writer);
    let logs = if config.log_format == "json" { logs.json().boxed() } else { logs.boxed() };
    let (level, handle) = reload::Layer::new(level(config));
    registry().with(logs).with(level).init();
    // It fails only where nothing logs any more.
    Ok(move |config: &Config| drop(handle.reload(self::level(config))))
}

fn open_log(path: &str) -> Result<Arc<std::fs::File>, Error> {
    let file = std::fs::File::options().append(true).create(true).open(path);
    file.map(Arc::new).map_err(|cause| {
        Error::Config(format!("cannot write the log file {path}: {cause}; name another --logfile"))
    })
}

/// What is logged, as `loglevel` says.
fn level(config: &Config) -> LevelFilter {
    match config.loglevel.as_str() {
        "debug" => LevelFilter::TRACE,
        "verbose" => LevelFilter::DEBUG,
        "warning" => LevelFilter::WARN,
        "nothing" => LevelFilter::OFF,
        _ => LevelFilter::INFO,
    }
}
