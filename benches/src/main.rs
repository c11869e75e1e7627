//! Measures Cloakroom beside other servers that speak the Redis protocol, in one run and in turns.

mod client;
mod expiry;
mod goals;
mod growth;
mod latency;
mod load;
mod mass;
mod memory;
mod plot;
mod replication;
mod replies;
mod report;
mod snapshot;
mod start;
mod table;
mod target;
mod threads;
mod throughput;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::report::Report;
use crate::target::Kind;
use cloakroom_benches::mix::Mix;

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

    /// Write docs/performance.md and its plots.
    #[arg(long, global = true)]
    write: bool,

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
    /// A million sessions that end in the same second, under load.
    Mass,
    /// The worst replies while the keyspace grows, and what refreshed deadlines cost.
    Growth,
    /// What a snapshot costs under full load, and how long its file takes to load.
    Snapshot,
    /// What a replica costs, and how long a full synchronization of a stock one takes.
    Replication,
    /// From process start to first PONG; resident memory when empty; an embedded server's first reply.
    Start,
    /// What the session client costs beside the bare `redis` crate that sends the same commands.
    Client,
    /// Two worker threads against one; how long the gate is shut; instructions by threads.
    Threads,
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
        Duration::from_millis(if self.quick { 400 } else { 4000 })
    }

    /// Starts a server of this kind on the servers' CPU.
    fn start(&self, kind: &Kind, flags: &[&str]) -> io::Result<target::Target> {
        self.start_on(Some(0), kind, flags)
    }

    /// Starts a server of this kind on a CPU, or on any.
    fn start_on(
        &self,
        cpu: Option<usize>,
        kind: &Kind,
        flags: &[&str],
    ) -> io::Result<target::Target> {
        let mut flags = flags.to_vec();
        if *kind == Kind::Cloakroom {
            flags.extend(self.server_flags.iter().map(String::as_str));
        }
        kind.start(cpu, &flags)
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
    let sessions = cli.sessions.unwrap_or(if cli.quick { 50_000 } else { 500_000 });
    let bench = Bench { kinds, quick: cli.quick, sessions, server_flags: cli.server_flag };
    pin_load();
    let mut report = Report::default();
    measure(&bench, cli.what, &mut report)?;
    report.conclude();
    if cli.write {
        report.write(&bench.kinds.iter().map(Kind::name).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn measure(bench: &Bench, what: Option<What>, report: &mut Report) -> io::Result<()> {
    match what {
        Some(What::Throughput { mix, pipeline }) => throughput::run(bench, &mix, &pipeline, report),
        Some(What::Latency) => latency::run(bench, report),
        Some(What::Memory { churn }) => memory::run(bench, churn, report),
        Some(What::Expiry) => expiry::run(bench, report),
        Some(What::Mass) => mass::run(bench, report),
        Some(What::Growth) => growth::run(bench, report),
        Some(What::Snapshot) => snapshot::run(bench, report),
        Some(What::Replication) => replication::run(bench, report),
        Some(What::Start) => start::run(bench, report),
        Some(What::Client) => client::run(bench, report),
        Some(What::Threads) => threads::run(bench, report),
        None => {
            throughput::run(bench, &[], &[1, 32], report)?;
            latency::run(bench, report)?;
            memory::run(bench, if bench.quick { 0 } else { 10 }, report)?;
            expiry::run(bench, report)?;
            mass::run(bench, report)?;
            growth::run(bench, report)?;
            snapshot::run(bench, report)?;
            replication::run(bench, report)?;
            start::run(bench, report)?;
            client::run(bench, report)?;
            threads::run(bench, report)
        }
    }
}

/// The load stays off the servers' CPU; where it cannot, the figures are noisier.
fn pin_load() {
    let mut cpus = rustix::thread::CpuSet::new();
    cpus.set(1);
    let _ = rustix::thread::sched_setaffinity(None, &cpus);
}
