//! Histories of requests at one session, recorded and checked: there is an order of all of them, in
//! keeping with who had an answer before whom, in which each answer is what a plain map would have
//! given.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloakroom_client::{Error, Session, SessionStore};
use cloakroom_tests::groups::Cluster;
use cloakroom_tests::peers::{Kind, Peer};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// A session as a plain map; None once it is destroyed.
#[derive(Clone, Debug)]
struct Model(Option<BTreeMap<u8, i64>>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Request {
    Get(u8),
    GetAll,
    Set(u8, i64),
    Remove(u8),
    Incr(u8, i64),
    /// Moves all of one field to another, if it is there.
    Move(u8, u8),
    Destroy,
}

#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Done,
    Value(Option<i64>),
    All(BTreeMap<u8, i64>),
    Was(bool),
    Sum(i64),
    NoSuchSession,
}

impl SequentialSpec for Model {
    type Op = Request;
    type Ret = Answer;

    fn invoke(&mut self, request: &Request) -> Answer {
        if *request == Request::Destroy {
            return Answer::Was(self.0.take().is_some());
        }
        let Some(fields) = &mut self.0 else { return Answer::NoSuchSession };
        match *request {
            Request::Get(name) => Answer::Value(fields.get(&name).copied()),
            Request::GetAll => Answer::All(fields.clone()),
            Request::Set(name, value) => {
                fields.insert(name, value);
                Answer::Done
            }
            Request::Remove(name) => Answer::Was(fields.remove(&name).is_some()),
            Request::Incr(name, by) => {
                let sum = fields.entry(name).or_default();
                *sum += by;
                Answer::Sum(*sum)
            }
            Request::Move(from, to) => {
                if let Some(value) = fields.remove(&from) {
                    fields.insert(to, value);
                }
                Answer::Done
            }
            Request::Destroy => unreachable!("answered above"),
        }
    }
}

async fn carry_out(session: &Session, request: Request) -> Result<Answer, Error> {
    let name = |field: u8| field.to_string();
    let answer = match request {
        Request::Get(field) => session.get(&name(field)).await.map(Answer::Value),
        Request::GetAll => session.get_all().await.map(|fields| {
            let pairs = fields.names().map(|name| {
                let value = fields.get(name).expect("a number").expect("it is there");
                (name.parse().expect("a number"), value)
            });
            Answer::All(pairs.collect())
        }),
        Request::Set(field, value) => {
            session.set(&name(field), &value).await.map(|()| Answer::Done)
        }
        Request::Remove(field) => session.remove(&name(field)).await.map(Answer::Was),
        Request::Incr(field, by) => session.incr(&name(field), by).await.map(Answer::Sum),
        Request::Move(from, to) => {
            let moved = session.update(|draft| {
                // Nothing to do is an answer too: it has to be true when it is given.
                if let Some(value) = draft.get::<i64>(&name(from))? {
                    draft.remove(&name(from))?;
                    draft.set(&name(to), &value)?;
                }
                Ok(())
            });
            moved.await.map(|()| Answer::Done)
        }
        Request::Destroy => session.store().destroy(session.token()).await.map(Answer::Was),
    };
    match answer {
        Err(Error::NoSuchSession) => Ok(Answer::NoSuchSession),
        answer => answer,
    }
}

/// What disturbs a history.
#[derive(Clone)]
enum Weather {
    Fair,
    /// Whoever is told so here breaks all connections. An answer that was lost is asked for again,
    /// and a write that is repeated so may undo what came between: such histories leave plain
    /// writes out.
    Breaks(UnboundedSender<()>),
}

const CLIENTS: usize = 4;
/// Of each client, in one history.
const REQUESTS: usize = 6;

fn choose(random: &mut fastrand::Rng, weather: &Weather) -> Request {
    let plain_writes = matches!(weather, Weather::Fair);
    let field = random.u8(0..2);
    match random.u8(0..20) {
        0..4 => Request::Get(field),
        4..6 => Request::GetAll,
        6..9 if plain_writes => Request::Set(field, random.i64(0..100)),
        9..11 if plain_writes => Request::Remove(field),
        11..15 => Request::Move(field, 1 - field),
        19 => Request::Destroy,
        _ => Request::Incr(field, random.i64(1..10)),
    }
}

/// Some clients at once send requests of their own to one session; panics if no order explains it.
async fn check(stores: &[SessionStore], seed: u64, weather: &Weather) {
    let session = stores[0].create().await.expect("it begins");
    let history = LinearizabilityTester::<usize, Model>::new(Model(Some(BTreeMap::new())));
    let history = Arc::new(Mutex::new(history));
    let clients = (0..CLIENTS).map(|client| {
        let (history, token) = (Arc::clone(&history), session.token().clone());
        let store = stores[client % stores.len()].clone();
        let mut random = fastrand::Rng::with_seed(seed * 100 + client as u64);
        let weather = weather.clone();
        tokio::spawn(async move {
            let Ok(session) = store.load(&token).await else { return };
            for _ in 0..REQUESTS {
                let request = choose(&mut random, &weather);
                let record = || history.lock().expect("nobody panics with it");
                record().on_invoke(client, request).expect("one request at a time");
                if let Weather::Breaks(order) = &weather
                    && random.u8(0..8) == 0
                {
                    order.send(()).expect("somebody listens");
                }
                match carry_out(&session, request).await {
                    Ok(answer) => drop(record().on_return(client, answer).expect("it was asked")),
                    // Done or not: the checker tries both, for a client that says no more.
                    Err(error) if error.may_have_been_applied() => return,
                    Err(error) => panic!("{request:?}: {error}"),
                }
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("no client panics");
    }
    let history = history.lock().expect("nobody panics with it");
    assert!(history.is_consistent(), "seed {seed}: no order explains {history:#?}");
}

fn store(url: &str) -> SessionStore {
    SessionStore::builder(url)
        .connect_timeout(Duration::from_secs(10))
        .discovery_timeout(Duration::from_secs(10))
        .response_timeout(Duration::from_secs(10))
        .deadline(Duration::from_secs(60))
        .build()
        .expect("good settings")
}

async fn many(url: &str, histories: u64) {
    // Each its own connection: what one shares is in order anyhow.
    let stores: Vec<_> = (0..CLIENTS).map(|_| store(url)).collect();
    for seed in 0..histories {
        check(&stores, seed, &Weather::Fair).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_cloakroom() {
    let server = cloakroom::Server::builder().start().await.expect("the server starts");
    many(&server.url(), 300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_cloakroom_while_connections_break() {
    let server = cloakroom::Server::builder().start().await.expect("the server starts");
    let stores: Vec<_> = (0..CLIENTS).map(|_| store(&server.url())).collect();
    let client = redis::Client::open(server.url()).expect("a good URL");
    let mut breaker = client.get_multiplexed_async_connection().await.expect("it connects");
    let (order, mut orders) = unbounded_channel();
    let breaking = tokio::spawn(async move {
        let mut broken = 0;
        while orders.recv().await.is_some() {
            let mut command = redis::cmd("CLIENT");
            command.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
            broken += command.query_async::<i64>(&mut breaker).await.expect("it answers");
        }
        broken
    });
    let weather = Weather::Breaks(order);
    for seed in 0..30 {
        check(&stores, seed, &weather).await;
    }
    drop(weather);
    assert!(breaking.await.expect("it does not panic") > 30, "connections did break");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server: tests/run"]
async fn at_redis_7() {
    let peer = Peer::start(Kind::Redis7).expect("the server starts");
    many(&peer.url(), 100).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs valkey-server: tests/run"]
async fn at_valkey_9() {
    let peer = Peer::start(Kind::Valkey9).expect("the server starts");
    many(&peer.url(), 100).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server: tests/run"]
async fn at_a_cluster() {
    let cluster = Cluster::start().expect("the servers start");
    many(&cluster.url(), 100).await;
}

#[test]
fn the_checker_sees_a_lost_write() {
    let mut history = LinearizabilityTester::<usize, Model>::new(Model(Some(BTreeMap::new())));
    let mut answered = |client, request, answer| {
        history.on_invoke(client, request).expect("one at a time");
        history.on_return(client, answer).expect("it was asked");
        history.is_consistent()
    };
    assert!(answered(0, Request::Incr(0, 1), Answer::Sum(1)));
    assert!(answered(1, Request::Incr(0, 1), Answer::Sum(2)));
    assert!(!answered(0, Request::Get(0), Answer::Value(Some(1))));
}
