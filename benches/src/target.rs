//! What is measured: servers started for it, or any address.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cloakroom_benches::mix;
use cloakroom_tests::process::Folder;

/// How long a server may take to accept connections.
const START: Duration = Duration::from_secs(10);

/// Fields of `/proc/PID/stat` between the program's name and its time in user mode.
const UTIME: usize = 11;

/// A kind of server that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The release build beside this program.
    Cloakroom,
    /// A program of the Redis family: redis-server or valkey-server.
    Redis(PathBuf),
    /// Something that listens already.
    Address(SocketAddr),
}

/// A server under measurement. Started ones end with it.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pid: Option<u32>,
    child: Option<Child>,
    /// Where a started one runs: it must not find what others saved.
    _folder: Option<Folder>,
}

impl Kind {
    /// A server of this kind on `cpu` (None: on any), with further flags.
    pub(crate) fn start(&self, cpu: Option<usize>, flags: &[&str]) -> io::Result<Target> {
        match self {
            Kind::Cloakroom => {
                let mut command = Command::new(cloakroom_binary()?);
                command.args(["--port", "0", "--exit-with-parent", "--save", ""]).args(flags);
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
                let (mut child, folder) = spawn_on(cpu, &mut command)?;
                let mut line = String::new();
                if let Some(stdout) = child.stdout.take() {
                    BufReader::new(stdout).read_line(&mut line)?;
                }
                let address =
                    line.trim().strip_prefix("ready redis://").and_then(|at| at.parse().ok());
                let Some(address) = address else {
                    return Err(io::Error::other(format!("cloakroom said {line:?}")));
                };
                Ok(Target::started(address, child, folder))
            }
            Kind::Redis(program) => {
                let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
                let mut command = Command::new(program);
                command.args(["--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
                command.args(flags);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                let (child, folder) = spawn_on(cpu, &mut command)?;
                let address = SocketAddr::from(([127, 0, 0, 1], port));
                let target = Target::started(address, child, folder);
                target.await_first_pong()?;
                Ok(target)
            }
            Kind::Address(address) => {
                let mut target =
                    Target { address: *address, pid: None, child: None, _folder: None };
                let pid = target.info("process_id")?;
                // Only a process of this machine can be asked for its CPU time.
                target.pid = pid.filter(|pid| Path::new(&format!("/proc/{pid}")).exists());
                Ok(target)
            }
        }
    }

    /// What it calls itself, with its version.
    pub(crate) fn name(&self) -> String {
        match self {
            Kind::Cloakroom => "Cloakroom".to_owned(),
            Kind::Redis(program) => {
                let output = Command::new(program).arg("--version").output();
                let text = output.map(|output| output.stdout).unwrap_or_default();
                let text = String::from_utf8_lossy(&text).into_owned();
                let product = if text.starts_with("Valkey") { "Valkey" } else { "Redis" };
                let version = text.split("v=").nth(1).and_then(|rest| rest.split(' ').next());
                format!("{product} {}", version.unwrap_or("?"))
            }
            Kind::Address(address) => address.to_string(),
        }
    }
}

/// Starts a program in a folder of its own, on one CPU or on any, where the system can do that: it
/// inherits this thread's.
fn spawn_on(cpu: Option<usize>, command: &mut Command) -> io::Result<(Child, Folder)> {
    let folder = Folder::new();
    let child = on_cpus(cpu, || command.current_dir(folder.path()).spawn())?;
    Ok((child, folder))
}

/// Does something on one CPU or on any; what it starts stays there.
pub(crate) fn on_cpus<T>(cpu: Option<usize>, act: impl FnOnce() -> T) -> T {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let own = sched_getaffinity(None);
    let mut wanted = CpuSet::new();
    let all = 0..CpuSet::MAX_CPU;
    cpu.map_or(all, |cpu| cpu..cpu + 1).for_each(|cpu| wanted.set(cpu));
    // Where it cannot be had, the figures are noisier.
    let _ = sched_setaffinity(None, &wanted);
    let done = act();
    if let Ok(own) = own {
        let _ = sched_setaffinity(None, &own);
    }
    done
}

/// The server's release build beside this program.
pub(crate) fn cloakroom_binary() -> io::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let program = here.with_file_name("cloakroom");
    if program.exists() {
        return Ok(program);
    }
    Err(io::Error::other(format!(
        "{} is not there: build it with `cargo build --release` first",
        program.display()
    )))
}

/// The program of this name, if it is installed.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

impl Target {
    fn started(address: SocketAddr, child: Child, folder: Folder) -> Target {
        Target { address, pid: Some(child.id()), child: Some(child), _folder: Some(folder) }
    }

    /// Its CPU time so far, user and system, of all its threads, of those too that have ended.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid?)).ok()?;
        // The name of the program, in parentheses, may hold anything.
        let (_, fields) = text.rsplit_once(')')?;
        let ticks = fields.split_whitespace().skip(UTIME).take(2).map(str::parse::<u64>);
        let ticks: u64 = ticks.sum::<Result<_, _>>().ok()?;
        Some(Duration::from_secs(ticks) / rustix::param::clock_ticks_per_second() as u32)
    }

    /// Its resident memory in bytes.
    pub(crate) fn resident(&self) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid?)).ok()?;
        let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
    }

    /// Bytes that its child processes have for themselves.
    pub(crate) fn children_private(&self) -> u64 {
        let Some(pid) = self.pid else { return 0 };
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let private = |child: &str| {
            let text = fs::read_to_string(format!("/proc/{child}/smaps_rollup")).ok()?;
            let lines = text.lines().filter(|line| line.starts_with("Private_"));
            let kib = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
            Some(lines.filter_map(kib).sum::<u64>() * 1024)
        };
        children.unwrap_or_default().split_whitespace().filter_map(private).sum()
    }

    /// Sends one request and reads what comes until `done` says that it is the whole reply.
    pub(crate) fn ask(&self, args: &[&[u8]]) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut bytes = Vec::new();
        mix::request(args, &mut bytes);
        stream.write_all(&bytes)?;
        let mut counter = crate::replies::Counter::default();
        let mut reply = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let read = stream.read(&mut piece)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            reply.extend_from_slice(&piece[..read]);
            if counter.take_in(&piece[..read]) > 0 {
                return Ok(reply);
            }
        }
    }

    /// A number of INFO.
    pub(crate) fn info<N: std::str::FromStr>(&self, field: &str) -> io::Result<Option<N>> {
        let reply = self.ask(&[b"INFO", b"everything"])?;
        let text = String::from_utf8_lossy(&reply).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(line.and_then(|value| value.trim().parse().ok()))
    }

    /// Keys in its first database.
    pub(crate) fn dbsize(&self) -> io::Result<u64> {
        let reply = self.ask(&[b"DBSIZE"])?;
        let text = String::from_utf8_lossy(&reply[1..]).into_owned();
        text.trim().parse().map_err(io::Error::other)
    }

    /// Waits until it answers PING; returns how long that took.
    pub(crate) fn await_first_pong(&self) -> io::Result<Duration> {
        let began = Instant::now();
        while began.elapsed() < START {
            if self.ask(&[b"PING"]).is_ok_and(|reply| reply == b"+PONG\r\n") {
                return Ok(began.elapsed());
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the server does not answer PING"))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The first address that `text` names: `host:port` or `redis://host:port`.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let plain = text.strip_prefix("redis://").unwrap_or(text).trim_end_matches('/');
    let mut found = plain.to_socket_addrs().map_err(|error| format!("{text}: {error}"))?;
    found.next().ok_or_else(|| format!("{text} names no address"))
}
