//! Measures Cloakroom beside other servers that speak the Redis protocol, in one run and in turns.

mod expiry;
mod load;
mod memory;
mod mix;
mod replies;
mod start;
mod table;
mod target;
mod throughput;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::mix::Mix;
use crate::target::Kind;

/// Measures Cloakroom beside Redis and any other address, in one run and in turns.
///
/// Servers that are started run on CPU 0, the load on CPU 1.
#[derive(Debug, Parser)]
#[command(name = "cloakroom-bench")]
struct Cli {
    #[command(subcommand)]
    what: Option<What>,

    /// Shorter and smaller: under two minutes in all.
    #[arg(long, global = true)]
    quick: bool,

    /// Measure this server too, which runs already (host:port or redis://host:port).
    #[arg(long, global = true, value_parser = target::address)]
    address: Vec<SocketAddr>,

    /// Start and measure this program too (a redis-server or a valkey-server).
    #[arg(long, global = true)]
    program: Vec<std::path::PathBuf>,

    /// Leave out the redis-server that is installed.
    #[arg(long, global = true)]
    alone: bool,

    /// Sessions in the keyspace.
    #[arg(long, global = true)]
    sessions: Option<u32>,

    /// Further flags for Cloakroom, for instance --server-flag=--io-threads=2.
    #[arg(long, global = true, allow_hyphen_values = true)]
    server_flag: Vec<String>,
}

#[derive(Debug, Subcommand, Clone)]
enum What {
    /// Operations a second and server CPU an operation, per mix (the default is everything).
    Throughput {
        /// Only these mixes.
        #[arg(long, value_enum)]
        mix: Vec<Mix>,
        /// Operations a write holds.
        #[arg(long, default_values_t = [1, 32])]
        pipeline: Vec<u32>,
    },
    /// Latency at half of Redis's peak load, evenly spaced requests.
    Latency,
    /// Resident bytes a session, per kind of session.
    Memory {
        /// Also after this many random logins, visits, field deletions and expiries, in millions.
        #[arg(long, default_value_t = 0)]
        churn: u32,
    },
    /// How late `expired` events come.
    Expiry,
    /// From process start to first PONG; resident memory when empty.
    Start,
}

/// What every measure is given.
struct Bench {
    kinds: Vec<Kind>,
    quick: bool,
    sessions: u32,
    server_flags: Vec<String>,
}

impl Bench {
    /// How long one reading takes.
    fn reading(&self) -> Duration {
        Duration::from_millis(if self.quick { 1500 } else { 4000 })
    }

    /// Starts a server of this kind on the servers' CPU.
    fn start(&self, kind: &Kind, flags: &[&str]) -> io::Result<target::Target> {
        let mut flags = flags.to_vec();
        if *kind == Kind::Cloakroom {
            flags.extend(self.server_flags.iter().map(String::as_str));
        }
        kind.start(0, &flags)
    }
}

fn main() -> io::Result<()> {
    let cli = Cli::parse();
    let mut kinds = vec![Kind::Cloakroom];
    if let (false, Some(redis)) = (cli.alone, target::installed("redis-server")) {
        kinds.push(Kind::Redis(redis));
    }
    kinds.extend(cli.program.into_iter().map(Kind::Redis));
    kinds.extend(cli.address.into_iter().map(Kind::Address));
    let sessions = cli.sessions.unwrap_or(if cli.quick { 100_000 } else { 500_000 });
    let bench = Bench { kinds, quick: cli.quick, sessions, server_flags: cli.server_flag };
    pin_load();
    match cli.what {
        Some(What::Throughput { mix, pipeline }) => throughput::run(&bench, &mix, &pipeline),
        Some(What::Latency) => throughput::latency(&bench),
        Some(What::Memory { churn }) => memory::run(&bench, churn),
        Some(What::Expiry) => expiry::run(&bench),
        Some(What::Start) => start::run(&bench),
        None => {
            throughput::run(&bench, &[], &[1, 32])?;
            throughput::latency(&bench)?;
            memory::run(&bench, 0)?;
            expiry::run(&bench)?;
            start::run(&bench)
        }
    }
}

/// The load stays off the servers' CPU; where it cannot, the figures are noisier.
fn pin_load() {
    let mut cpus = rustix::thread::CpuSet::new();
    cpus.set(1);
    let _ = rustix::thread::sched_setaffinity(None, &cpus);
}
