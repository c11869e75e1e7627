//! The way to the server: one shared connection, opened again when it is lost; every request under
//! a deadline, tried again where that can do no harm.

mod backoff;
mod circuit;
mod connection;
mod failure;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Shared;
use redis::{AsyncConnectionConfig, Pipeline, PushInfo, PushKind, RedisError, Value};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use self::backoff::Backoff;
use self::circuit::Circuit;
pub(crate) use self::connection::{Backend, Connection};
#[cfg(feature = "tracing")]
pub(crate) use self::failure::said;
use self::failure::{Effect, Failure, Mend};
use crate::error::Error;
use crate::observe;
use crate::op::Op;
use crate::script::Script;

/// Before another try of one operation.
const RETRY: Backoff =
    Backoff { first: Duration::from_millis(10), longest: Duration::from_millis(500) };
/// Before another connection is opened, for all operations together.
const RECONNECT: Backoff =
    Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(2) };
/// So many requests in a row without an answer in time, and the connection is given up.
const TIMEOUTS_TO_RECONNECT: u32 = 3;

/// How patient the way to the server is.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    /// For one operation with all its tries.
    pub(crate) deadline: Duration,
    /// For one answer; what connections keep to by themselves.
    pub(crate) answer: Duration,
    /// Operations that wait at once.
    pub(crate) max_in_flight: usize,
    /// Operations in a row that find no server until their deadline and so open the circuit.
    pub(crate) circuit_threshold: u32,
    /// How long it stays open before one operation tries again.
    pub(crate) circuit_pause: Duration,
}

/// What is sent in one go: a script and a command that reads after it, or one of them.
#[derive(Clone)]
pub(crate) struct Request<'a> {
    pub(crate) script: Option<&'a Script>,
    pub(crate) keys: Vec<String>,
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) then: Option<redis::Cmd>,
}

type Opening = Shared<Pin<Box<dyn Future<Output = Result<Connection, RedisError>> + Send>>>;

/// The connection of the moment.
#[derive(Default)]
struct Current(Mutex<Moment>);

#[derive(Default)]
struct Moment {
    /// Tells a connection from those before it.
    number: u64,
    opening: Option<Opening>,
    /// Why the one before it could not be opened, or was of no use.
    last_error: Option<RedisError>,
}

impl Current {
    fn lock(&self) -> MutexGuard<'_, Moment> {
        // Nothing that holds it can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a connection, unless there is another one by now.
    fn give_up(&self, number: u64) {
        let mut current = self.lock();
        if current.number == number {
            current.opening = None;
        }
    }
}

pub(crate) struct Link {
    backend: Arc<Backend>,
    tells_of_its_end: bool,
    tls: bool,
    config: AsyncConnectionConfig,
    patience: Patience,
    current: Arc<Current>,
    /// Connections opened since the last one that was of use.
    openings: AtomicU32,
    timeouts: AtomicU32,
    circuit: Circuit,
    waiting: Semaphore,
}

impl Link {
    pub(crate) fn new(
        backend: Backend,
        tls: bool,
        config: AsyncConnectionConfig,
        patience: Patience,
    ) -> Link {
        Link {
            tells_of_its_end: backend.speaks_resp3(),
            backend: Arc::new(backend),
            tls,
            config,
            current: Arc::default(),
            openings: AtomicU32::new(0),
            timeouts: AtomicU32::new(0),
            circuit: Circuit::new(patience.circuit_threshold, patience.circuit_pause),
            waiting: Semaphore::new(patience.max_in_flight),
            patience,
        }
    }

    /// Whether keys may lie on several servers.
    pub(crate) fn is_cluster(&self) -> bool {
        self.backend.is_cluster()
    }

    /// Sends requests in one go and returns the replies of each. In a cluster all keys must lie in
    /// one slot.
    ///
    /// # Errors
    ///
    /// What [`Error`] says of servers that refuse or cannot be reached.
    pub(crate) async fn run(&self, op: Op, requests: &[Request<'_>]) -> Result<Vec<Value>, Error> {
        observe::operation(op, self.run_unobserved(op, requests)).await
    }

    async fn run_unobserved(&self, op: Op, requests: &[Request<'_>]) -> Result<Vec<Value>, Error> {
        let pass = self.circuit.enter()?;
        let _place = self.waiting.try_acquire().map_err(|_| Error::Overloaded)?;
        let until = Instant::now() + self.patience.deadline;
        let outcome = self.try_until(until, op, requests).await;
        match &outcome {
            // One lost answer, where none may be asked for twice, says little of the next request.
            Err(Error::ConnectionLost { .. }) if !op.may_repeat() => {}
            Err(error) if error.is_unavailable() => pass.failed(),
            _ => pass.answered(),
        }
        outcome
    }

    async fn try_until(
        &self,
        until: Instant,
        op: Op,
        requests: &[Request<'_>],
    ) -> Result<Vec<Value>, Error> {
        let mut commands = pipeline(requests, false);
        // What is known of all tries together.
        let mut effect = Effect::None;
        let (mut tries, mut ask) = (0, None);
        loop {
            let asked = ask.is_some();
            let failure = match self.try_once(until, &commands, ask.take()).await {
                Ok(values) => return Ok(values),
                Err(failure) => failure,
            };
            match failure.effect {
                Effect::None => {}
                Effect::Unknown => effect = Effect::Unknown,
                Effect::Refused => return Err(failure.into_error(Effect::Refused)),
            }
            match failure.mend {
                Mend::SendScript => {
                    commands = pipeline(requests, true);
                    continue;
                }
                Mend::Ask if !asked => {
                    ask = failure.error.redirect_node().map(|(node, _)| node.to_owned());
                    continue;
                }
                _ => {}
            }
            tries += 1;
            let wait = RETRY.after(tries);
            let harmful = effect == Effect::Unknown && !op.may_repeat();
            if harmful || Instant::now() + wait >= until {
                return Err(failure.into_error(effect));
            }
            observe::retry(op, &failure.error);
            tokio::time::sleep(wait).await;
        }
    }

    async fn try_once(
        &self,
        until: Instant,
        commands: &Pipeline,
        ask: Option<String>,
    ) -> Result<Vec<Value>, Failure> {
        let (number, opening) = self.opening();
        // Where it is open already, no clock is needed.
        let opened = match opening.peek() {
            Some(opened) => Ok(opened.clone()),
            None => timeout_at(until, opening).await,
        };
        let connection = match opened {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                self.current.give_up(number);
                return Err(Failure::opening(error, self.tls));
            }
            // Who has no time for another try is told how the last one ended.
            Err(_) => {
                let last = self.current.lock().last_error.clone();
                return Err(Failure::opening(last.unwrap_or_else(timed_out), self.tls));
            }
        };
        let answer = self.send(until, connection, commands, ask).await;
        let failure = match answer {
            Ok(values) => {
                self.timeouts.store(0, Ordering::Relaxed);
                self.openings.store(0, Ordering::Relaxed);
                return Ok(values);
            }
            Err(error) => Failure::sent(error, self.is_cluster()),
        };
        let too_many = failure.mend == Mend::Suspect
            && self.timeouts.fetch_add(1, Ordering::Relaxed) + 1 >= TIMEOUTS_TO_RECONNECT;
        // A cluster's connection mends itself, node by node.
        if (too_many || failure.mend == Mend::Reconnect) && !self.is_cluster() {
            self.timeouts.store(0, Ordering::Relaxed);
            self.current.give_up(number);
            // A replica, of which there may be only one: the next opening may find no time to say so.
            if failure.effect == Effect::None {
                self.current.lock().last_error = Some(failure.error.clone());
            }
        }
        Err(failure)
    }

    /// Sends commands, to one node of a cluster if it asked for them.
    async fn send(
        &self,
        until: Instant,
        mut connection: Connection,
        commands: &Pipeline,
        ask: Option<String>,
    ) -> Result<Vec<Value>, RedisError> {
        let sent = async {
            match ask {
                #[cfg(feature = "cluster")]
                Some(node) => connection.send_to(&node, commands).await,
                _ => connection.send(commands).await,
            }
        };
        // A connection to one server has its own timer, which is first but shortly before the
        // deadline: two for each request would be a fair part of what it costs.
        if !self.is_cluster() && Instant::now() + self.patience.answer < until {
            return sent.await;
        }
        timeout_at(until, sent).await.unwrap_or_else(|_| Err(timed_out()))
    }

    /// The connection of the moment, being opened or open. All who come while it is opened wait
    /// for the same one; its task goes on when they stop waiting.
    fn opening(&self) -> (u64, Opening) {
        let mut current = self.current.lock();
        if let Some(opening) = &current.opening {
            return (current.number, opening.clone());
        }
        let number = current.number + 1;
        let (backend, moment) = (Arc::clone(&self.backend), Arc::downgrade(&self.current));
        let config = self.config_of(number);
        let earlier = self.openings.fetch_add(1, Ordering::Relaxed);
        let opening: Opening = async move {
            if earlier > 0 {
                tokio::time::sleep(RECONNECT.after(earlier)).await;
            }
            let opened = backend.open(&config).await;
            observe::opened(opened.as_ref().map(drop));
            if let Some(moment) = moment.upgrade() {
                moment.lock().last_error = opened.as_ref().err().cloned();
            }
            opened
        }
        .boxed()
        .shared();
        (current.number, current.opening) = (number, Some(opening.clone()));
        tokio::spawn(opening.clone());
        (number, opening)
    }

    /// A connection that ends while nobody uses it is noticed at once, and not only by the request
    /// that is then sent in vain. The `redis` crate tells of it in RESP3.
    fn config_of(&self, number: u64) -> AsyncConnectionConfig {
        if !self.tells_of_its_end {
            return self.config.clone();
        }
        let current = Arc::downgrade(&self.current);
        self.config.clone().set_push_sender(move |push: PushInfo| {
            if push.kind == PushKind::Disconnection
                && let Some(current) = current.upgrade()
            {
                current.give_up(number);
            }
            Ok::<_, redis::aio::SendError>(())
        })
    }
}

fn timed_out() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// The commands of requests. Scripts go by name, unless the server did not know one.
fn pipeline(requests: &[Request<'_>], with_text: bool) -> Pipeline {
    let mut commands = Pipeline::with_capacity(requests.len() * 2);
    for request in requests {
        if let Some(script) = request.script {
            match with_text {
                true => commands.cmd("EVAL").arg(script.text),
                false => commands.cmd("EVALSHA").arg(&script.sha),
            };
            commands.arg(request.keys.len()).arg(&request.keys).arg(&request.args);
        }
        if let Some(command) = &request.then {
            commands.add_command(command.clone());
        }
    }
    commands
}
