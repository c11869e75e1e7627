//! What the session client costs beside the bare `redis` crate that sends the same commands.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cloakroom_client::{Lifetime, SessionStore, Token};
use cloakroom_tests::proxy::Proxy;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisResult};
use rustix::time::{ClockId, clock_gettime};
use sha1_smol::Sha1;

use crate::Bench;
use crate::goals::{Figure, Goal};
use crate::report::Report;
use crate::table::{Table, middle, progress};
use crate::target::Target;
use crate::throughput::round;

/// Each with ten fields of sixteen bytes.
const SESSIONS: usize = 1000;

/// How long one reading of one side takes: short, so that whatever else the machine does meets all.
const READING: Duration = Duration::from_millis(100);

/// Longer than anything here should take: for the client and the bare crate alike.
const PATIENCE: Duration = Duration::from_secs(10);

const IDLE: Duration = Duration::from_secs(1800);

/// The client's own script: the bare crate sends it too.
const SLIDE: &str = concat!(
    include_str!("../../client/src/scripts/prologue.lua"),
    include_str!("../../client/src/scripts/slide.lua")
);

/// How a session is loaded and then touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// `store.load(...)`, then `store.touch(...)`.
    Client,
    /// EVALSHA and HGETALL in one pipeline, then EVALSHA: the client's very commands.
    Bare,
    /// HGETALL and PEXPIRE in one pipeline, then PEXPIRE: no cap, no throttle, no user's index.
    Plain,
}

const SIDES: [Side; 3] = [Side::Client, Side::Bare, Side::Plain];

impl Side {
    fn name(self) -> &'static str {
        match self {
            Side::Client => "cloakroom-client",
            Side::Bare => "redis, the same commands",
            Side::Plain => "redis, HGETALL and PEXPIRE",
        }
    }
}

/// What one side took for a load and a touch.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// Microseconds.
    wall: f64,
    /// Microseconds of this process's CPU, the system's work for it included.
    cpu: f64,
}

pub(crate) fn run(bench: &Bench, report: &mut Report) -> io::Result<()> {
    let head = ["server", "at once", "by", "µs", "ratio", "CPU µs", "CPU ratio", "round trips"];
    let mut table = Table::new(head);
    let turns = if bench.quick { 5 } else { 101 };
    let mut figures: Vec<Figure> = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for kind in &bench.kinds {
        let target = bench.start(kind, &[])?;
        let trips = runtime.block_on(round_trips(&target))?;
        let sender = runtime.block_on(Sender::new(target.address))?;
        for at_once in [1, 64] {
            let bar = progress(&format!("client: {}", kind.name()), turns);
            let mut readings = Vec::new();
            for turn in 0..turns {
                readings.push(runtime.block_on(sender.turn(turn, at_once))?);
                bar.inc(1);
            }
            bar.finish_and_clear();
            let ratio = rows(&mut table, &kind.name(), at_once, &readings, trips);
            if at_once == 1 {
                let text = format!("{ratio:.2} on {}", kind.name());
                // A load and a touch are two.
                figures.push((text, round(ratio) <= 1.15 && trips[0] == 2));
            }
        }
    }
    report.add("client", "A session loaded, then touched", table, Vec::new());
    report.reach(Goal::Client, figures);
    Ok(())
}

/// Medians of each side, and of its ratios to the same commands within a turn. Returns the client's.
fn rows(
    table: &mut Table,
    server: &str,
    at_once: usize,
    turns: &[[Reading; 3]],
    trips: [u64; 3],
) -> f64 {
    let bare = SIDES.iter().position(|side| *side == Side::Bare).unwrap_or_default();
    let median = |of: &dyn Fn(&[Reading; 3]) -> f64| middle(turns.iter().map(of));
    let ratio = |number: usize| median(&|turn| turn[number].wall / turn[bare].wall);
    for (number, side) in SIDES.into_iter().enumerate() {
        table.row([
            server.to_owned(),
            at_once.to_string(),
            side.name().to_owned(),
            format!("{:.1}", median(&|turn| turn[number].wall)),
            format!("{:.2}", ratio(number)),
            format!("{:.1}", median(&|turn| turn[number].cpu)),
            format!("{:.2}", median(&|turn| turn[number].cpu / turn[bare].cpu)),
            trips[number].to_string(),
        ]);
    }
    ratio(0)
}

/// How often each side waits for the server during a load and a touch.
async fn round_trips(target: &Target) -> io::Result<[u64; 3]> {
    const TIMES: u64 = 100;
    let proxy = Proxy::start(target.address, 0);
    let mut sender = Sender::new(proxy.address()).await?;
    let mut trips = [0; 3];
    for (side, trips) in SIDES.into_iter().zip(&mut trips) {
        let before = proxy.round_trips();
        for at in 0..TIMES {
            sender.load_and_touch(side, at as usize).await?;
        }
        *trips = (proxy.round_trips() - before) / TIMES;
    }
    Ok(trips)
}

/// All that is needed to send as each side does. Clones share the connections.
#[derive(Clone)]
struct Sender {
    store: SessionStore,
    connection: MultiplexedConnection,
    /// The script's name.
    sha: String,
    /// With the keys of their sessions.
    tokens: Vec<(Token, String)>,
}

impl Sender {
    /// Connects both sides to the same server and fills it.
    async fn new(server: SocketAddr) -> io::Result<Sender> {
        // RESP3 is what the client speaks unless told otherwise.
        let url = format!("redis://{server}?protocol=resp3");
        let store = SessionStore::builder(&url)
            .lifetime(Lifetime::sliding(IDLE))
            .connect_timeout(PATIENCE)
            .response_timeout(PATIENCE)
            .build()
            .map_err(io::Error::other)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_pipeline_buffer_size(1024);
        let connection = redis::Client::open(url)
            .map_err(io::Error::other)?
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(io::Error::other)?;
        let mut tokens = Vec::with_capacity(SESSIONS);
        for _ in 0..SESSIONS {
            tokens.push(fill(&store).await.map_err(io::Error::other)?);
        }
        // So that the server knows the script.
        store.touch(&tokens[0].0).await.map_err(io::Error::other)?;
        let sha = Sha1::from(SLIDE).digest().to_string();
        Ok(Sender { store, connection, sha, tokens })
    }

    /// A reading of each side, each time in another order.
    async fn turn(&self, turn: u64, at_once: usize) -> io::Result<[Reading; 3]> {
        let mut readings = [Reading { wall: 0.0, cpu: 0.0 }; 3];
        for step in 0..SIDES.len() {
            let number = (step + turn as usize) % SIDES.len();
            readings[number] = self.reading(SIDES[number], at_once).await?;
        }
        Ok(readings)
    }

    async fn reading(&self, side: Side, at_once: usize) -> io::Result<Reading> {
        let mut tasks = tokio::task::JoinSet::new();
        let (begin, cpu) = (Instant::now(), own_cpu());
        for task in 0..at_once {
            let mut sender = self.clone();
            tasks.spawn(async move {
                let mut count = 0;
                while begin.elapsed() < READING {
                    sender.load_and_touch(side, task * 37 + count).await?;
                    count += 1;
                }
                io::Result::Ok(count)
            });
        }
        let mut count = 0;
        while let Some(done) = tasks.join_next().await {
            count += done.map_err(io::Error::other)??;
        }
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
        Ok(Reading { wall: each(begin.elapsed()), cpu: each(own_cpu() - cpu) })
    }

    async fn load_and_touch(&mut self, side: Side, at: usize) -> io::Result<()> {
        let (token, key) = &self.tokens[at % SESSIONS];
        match side {
            Side::Client => {
                let session = self.store.load(token).await.map_err(io::Error::other)?;
                assert_eq!(session.fields().len(), 10);
                self.store.touch(token).await.map(drop).map_err(io::Error::other)
            }
            Side::Bare => {
                let (load, touch) = (slide(&self.sha, key), slide(&self.sha, key));
                self.send::<(i64, i64)>(load, hgetall(key), touch).await.map_err(io::Error::other)
            }
            Side::Plain => {
                let (load, touch) = (pexpire(key), pexpire(key));
                self.send::<i64>(load, hgetall(key), touch).await.map_err(io::Error::other)
            }
        }
    }

    /// Renews and reads in one pipeline, then renews alone.
    async fn send<R: redis::FromRedisValue>(
        &mut self,
        renew: Cmd,
        read: Cmd,
        touch: Cmd,
    ) -> RedisResult<()> {
        let mut load = redis::pipe();
        load.add_command(renew).add_command(read);
        let (_, fields): (R, HashMap<String, Vec<u8>>) =
            load.query_async(&mut self.connection).await?;
        assert_eq!(fields.len(), 13, "with the store's own");
        touch.query_async::<R>(&mut self.connection).await.map(drop)
    }
}

/// Begins a session of ten fields; its token and its key.
async fn fill(store: &SessionStore) -> Result<(Token, String), cloakroom_client::Error> {
    let mut session = store.new_session();
    for field in 0..10 {
        session = session.set(&format!("field{field}"), "0123456789abcd")?;
    }
    let token = session.create().await?.token().clone();
    let (bucket, secret) = token.reveal().split_at(3);
    let key = format!("session:{{{bucket}}}:{secret}");
    Ok((token, key))
}

fn hgetall(key: &str) -> Cmd {
    let mut command = redis::cmd("HGETALL");
    command.arg(key);
    command
}

fn pexpire(key: &str) -> Cmd {
    let mut command = redis::cmd("PEXPIRE");
    command.arg(key).arg(IDLE.as_millis() as u64);
    command
}

/// The script with the arguments that the client gives it for a session without a user.
fn slide(sha: &str, key: &str) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(sha).arg(1).arg(key).arg("").arg(100).arg(IDLE.as_millis() as u64);
    command
}

/// The CPU time of this thread, on which both sides run, connections and all.
fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = Duration::from_secs(time.tv_sec.unsigned_abs());
    seconds + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}
