//! Servers, what is under way between them, and what befalls them.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cloakroom::commands::{Action, Session, digest};
use cloakroom::config::OutputLimit;
use cloakroom::engine::{Engine, Link, LinkError, Work, request};
use cloakroom::net::Connection;
use cloakroom::persistence::SystemDisk;
use cloakroom::session::{Client, Transport};
use cloakroom::{Clock, Config};
use cloakroom_tests::grammar::Grammar;
use cloakroom_tests::text;
use fastrand::Rng;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::pipe::Cable;

/// When every world begins, in milliseconds since the epoch.
const START: u64 = 1_700_000_000_000;

/// One server.
struct Node {
    engine: Arc<Engine>,
    /// An ordinary client of it, and whoever runs it.
    session: Session,
    admin: Session,
    actions: (UnboundedSender<Action>, UnboundedReceiver<Action>),
    /// Its link to its primary, if it has one just now.
    attachment: Option<Attachment>,
    /// At which offset its data were compared with its primary's last.
    compared_at: Option<u64>,
}

/// A replica's link, and its primary's end of the connection.
struct Attachment {
    link: Link,
    /// What the link wants to send and could not yet.
    unsent: Vec<u8>,
    cable: Cable,
    primary: usize,
    connection: Option<Pin<Box<Connection<Cable>>>>,
}

/// Some servers, one of which is meant to be the primary.
pub(crate) struct World {
    rng: Rng,
    grammar: Grammar,
    config: Config,
    nodes: Vec<Node>,
    primary: usize,
    /// What the data of a history were at an offset.
    known: HashMap<(String, u64), (String, u64)>,
    is_told: bool,
    /// The faults have ended.
    is_calm: bool,
    steps: u64,
    tally: Tally,
}

/// What has happened, so that it can be said that enough did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Replicas that were found to have what their primary had.
    pub(crate) compared: u64,
    /// Full and partial synchronizations, and those that could not be partial.
    pub(crate) full: u64,
    pub(crate) partial: u64,
    pub(crate) refused: u64,
    /// Failovers that came to their end.
    pub(crate) failovers: u64,
}

impl Tally {
    /// This and another together.
    pub(crate) fn and(self, other: Tally) -> Tally {
        Tally {
            compared: self.compared + other.compared,
            full: self.full + other.full,
            partial: self.partial + other.partial,
            refused: self.refused + other.refused,
            failovers: self.failovers + other.failovers,
        }
    }
}

impl World {
    /// The world of a seed.
    pub(crate) fn new(seed: u64, is_told: bool) -> World {
        let mut rng = Rng::with_seed(seed);
        let mut config = Config { databases: 3, ..Config::default() };
        config.repl_backlog_size = [1, 40_000, 1 << 20][rng.usize(..3)];
        if rng.bool() {
            config.repl_diskless_load = "disabled".to_owned();
        }
        if rng.u8(..4) == 0 {
            let limit = OutputLimit { hard: 64_000, soft: 0, soft_seconds: 0 };
            config.client_output_buffer_limit.replica = limit;
        }
        let mut world = World {
            grammar: Grammar::of_writes(rng.u64(..), rng.bool()),
            nodes: Vec::new(),
            config,
            rng,
            primary: 0,
            known: HashMap::new(),
            is_told,
            is_calm: false,
            steps: 0,
            tally: Tally::default(),
        };
        for index in 0..world.rng.usize(2..5) {
            let clock = Clock::frozen_at(START + world.rng.u64(..20));
            let node = world.node(index, clock);
            world.nodes.push(node);
        }
        world
    }

    fn node(&self, index: usize, clock: Clock) -> Node {
        let engine = Engine::new(self.config.clone(), Arc::new(clock));
        let engine = Arc::new(engine.expect("the settings are right"));
        engine.turn().server().port = index as u16 + 1;
        let [session, admin] = [(), ()].map(|()| engine.welcome(client(&engine)).0);
        Node {
            engine,
            session,
            admin,
            actions: unbounded_channel(),
            attachment: None,
            compared_at: None,
        }
    }

    /// Lets things happen, then ends all faults and checks that everybody comes to the same data.
    pub(crate) fn play(mut self) -> Tally {
        for index in 1..self.nodes.len() {
            self.follow(index, 0);
        }
        for _ in 0..self.rng.usize(100..500) {
            self.steps += 1;
            self.happen();
        }
        self.converge();
        (0..self.nodes.len()).for_each(|index| self.count(index));
        self.tally
    }

    /// Counts a server's synchronizations.
    fn count(&mut self, index: usize) {
        let counts = self.nodes[index].engine.turn().server().replication.counts;
        self.tally.full += counts.full;
        self.tally.partial += counts.partial_ok;
        self.tally.refused += counts.partial_err;
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.is_told {
            eprintln!("{:4} {}", self.steps, what());
        }
    }

    /// One thing happens.
    fn happen(&mut self) {
        let node = self.rng.usize(..self.nodes.len());
        match self.rng.u32(..1_000) {
            0..500 => self.write(),
            500..900 => self.carry(node),
            900..930 => self.advance(),
            930..950 => self.look_after(node),
            950..965 => self.tick(node),
            965..980 => self.cut(node),
            980..987 => {
                let other = self.rng.usize(..self.nodes.len());
                self.follow(node, other);
            }
            987..992 => self.promote(node),
            992..996 => self.fail_over(),
            996..998 => self.kill(node),
            _ => self.burst(),
        }
    }

    /// A client writes to the primary, or tries to.
    fn write(&mut self) {
        let now = self.nodes[self.primary].engine.clock().now();
        let command = self.grammar.command_at(now);
        self.call(self.primary, &command);
    }

    /// Much is written at once.
    fn burst(&mut self) {
        for _ in 0..self.rng.usize(..60) {
            let key = format!("t{}", self.rng.u8(..5));
            let value = "x".repeat(self.rng.usize(..3_000));
            self.call(self.primary, &["SET", &key, &value].map(|word| word.as_bytes().to_vec()));
        }
    }

    fn call(&mut self, index: usize, command: &[Vec<u8>]) {
        let node = &mut self.nodes[index];
        // Held back by a failover: it has to be asked again.
        if node.session.waiting.is_some() {
            match node.session.client.take_wake() {
                Some(why) => node.engine.turn().resume(&mut node.session, why, &mut Vec::new()),
                None => return,
            }
        }
        let mut out = Vec::new();
        let asked = request(command);
        node.engine.turn().execute(&mut node.session, asked.args(), &mut out);
        let reply = String::from_utf8_lossy(&out).into_owned();
        self.tell(|| format!("{index}> {} → {reply:?}", text::join(command)));
        self.learn(index);
    }

    /// Remembers what a primary's data are at this offset.
    fn learn(&mut self, index: usize) {
        let engine = &self.nodes[index].engine;
        let mut turn = engine.turn();
        let server = turn.server();
        if !server.replication.is_replica() && server.effects.stream.is_open() {
            let at = (server.replication.history.id().to_string(), server.effects.stream.offset());
            self.known.entry(at).or_insert_with(|| (turn.as_server(whole), self.steps));
        }
    }

    /// A replica's data are those that its primary had at the same offset.
    fn check(&mut self, index: usize) {
        let mut turn = self.nodes[index].engine.turn();
        let server = turn.server();
        let Some(upstream) = server.replication.role.upstream() else { return };
        if !upstream.is_connected() {
            return;
        }
        let at = (server.replication.history.id().to_string(), server.effects.stream.offset());
        if self.nodes[index].compared_at == Some(at.1) {
            return;
        }
        if let Some((digest, step)) = self.known.get(&at) {
            let own = turn.as_server(whole);
            self.tally.compared += 1;
            drop(turn);
            assert_eq!(
                &own, digest,
                "node {index} differs from its primary at step {step}, {at:?}"
            );
            self.nodes[index].compared_at = Some(at.1);
        }
    }

    /// Bytes go to and fro between a replica and its primary.
    fn carry(&mut self, index: usize) {
        let amount = if self.rng.bool() { 1 << 20 } else { self.rng.usize(1..200) };
        if self.nodes[index].attachment.is_none() {
            self.attach(index);
        }
        self.copy(index);
        let Some(attachment) = &mut self.nodes[index].attachment else { return };
        attachment.unsent.extend(attachment.link.take_output());
        let sent = attachment.cable.up(|up| up.send(&attachment.unsent));
        attachment.unsent.drain(..sent);
        attachment.cable.up(|up| up.deliver(amount));
        if let Some(connection) = &mut attachment.connection
            && connection.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
        {
            attachment.connection = None;
            attachment.cable.cut();
        }
        attachment.cable.down(|down| down.deliver(amount));
        attachment.link.feed(&attachment.cable.down(|down| down.receive(usize::MAX)));
        self.work(index);
    }

    /// The primary goes on a little with a copy of its data.
    fn copy(&mut self, index: usize) {
        if let Some(attachment) = &self.nodes[index].attachment
            && (self.is_calm || self.rng.bool())
        {
            let mut turn = self.nodes[attachment.primary].engine.turn();
            turn.copy_some(if self.is_calm { 100 } else { self.rng.usize(1..6) });
            turn.look_after();
        }
    }

    /// The link makes use of what has come.
    fn work(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let Some(attachment) = &mut node.attachment else { return };
        let rung = node.engine.turn().server().replication.bell.count();
        let worked = if attachment.link.is_void(rung) {
            Err(LinkError::Void)
        } else {
            loop {
                match attachment.link.work(&node.engine) {
                    Ok(Work::Part) => {}
                    worked => break worked,
                }
            }
        };
        let end = match worked {
            Ok(work) => {
                assert_eq!(work, Work::Done);
                let is_over = attachment.connection.is_none();
                is_over.then(|| LinkError::Lost("the primary closed".to_owned()))
            }
            Err(error) => Some(error),
        };
        self.check(index);
        self.learn(index);
        if let Some(why) = end {
            self.detach(index, &why);
        }
    }

    /// A replica connects to its primary.
    fn attach(&mut self, index: usize) {
        let Some(mut link) = self.nodes[index].engine.begin_link() else { return };
        let primary = link.port as usize - 1;
        let window = [10, 1_000, 100_000][self.rng.usize(..3)];
        let cable = Cable::new(if self.is_calm { 100_000 } else { window });
        let node = &self.nodes[primary];
        if node.engine.admit_connection(true).is_err() || primary == index {
            link.end(&self.nodes[index].engine, &LinkError::Lost("refused".to_owned()));
            return;
        }
        let connection = Connection::new(
            cable.clone(),
            Arc::clone(&node.engine),
            Arc::new(SystemDisk),
            client(&node.engine),
            node.actions.0.clone(),
        );
        self.tell(|| format!("{index} connects to {primary}"));
        let connected = link.connected(&self.nodes[index].engine);
        assert!(matches!(connected, Ok(Work::Done)));
        self.nodes[index].attachment = Some(Attachment {
            link,
            unsent: Vec::new(),
            cable,
            primary,
            connection: Some(Box::pin(connection)),
        });
    }

    fn detach(&mut self, index: usize, why: &LinkError) {
        self.tell(|| format!("{index}'s link ends: {why}"));
        let node = &mut self.nodes[index];
        if let Some(mut attachment) = node.attachment.take() {
            attachment.link.end(&node.engine, why);
        }
        self.learn(index);
    }

    /// The network between a replica and its primary is cut; what is under way is lost.
    fn cut(&mut self, index: usize) {
        if let Some(attachment) = &self.nodes[index].attachment {
            self.tell(|| {
                let lost = attachment.cable.down(|down| down.under_way());
                format!("{index} is cut off, {lost} bytes are lost")
            });
            attachment.cable.cut();
            self.detach(index, &LinkError::Lost("cut".to_owned()));
        }
    }

    fn tick(&mut self, index: usize) {
        if let Some(attachment) = &mut self.nodes[index].attachment {
            attachment.link.tick();
        }
    }

    /// Time passes, everywhere.
    fn advance(&mut self) {
        let by = Duration::from_millis(self.rng.u64(1..500));
        self.tell(|| format!("{by:?} pass"));
        for index in 0..self.nodes.len() {
            self.nodes[index].engine.clock().advance(by);
            while self.nodes[index].engine.turn().settle(16) {}
            self.learn(index);
        }
    }

    fn look_after(&mut self, index: usize) {
        self.nodes[index].engine.turn().look_after();
        self.learn(index);
    }

    /// A server is told to be a replica of another.
    fn follow(&mut self, index: usize, of: usize) {
        // Replicas of each other would wait for ever. A failover that cannot reach its replica makes
        // such a circle by itself, for as long as it lasts.
        let mut above = of;
        for _ in 0..self.nodes.len() {
            match self.upstream(above) {
                Some(next) if above != index && above != self.primary => above = next,
                _ => break,
            }
        }
        if index != of && index != self.primary && above != index {
            let port = (of + 1).to_string();
            self.command(index, &["REPLICAOF", "node", &port]);
        }
    }

    fn command(&mut self, index: usize, words: &[&str]) {
        let node = &mut self.nodes[index];
        let mut out = Vec::new();
        node.engine.turn().execute(&mut node.admin, request(words).args(), &mut out);
        let reply = String::from_utf8_lossy(&out).into_owned();
        self.tell(|| format!("{index}> {} → {reply:?}", words.join(" ")));
        self.learn(index);
    }

    fn upstream(&self, index: usize) -> Option<usize> {
        let mut turn = self.nodes[index].engine.turn();
        turn.server().replication.role.upstream().map(|upstream| upstream.port as usize - 1)
    }

    /// A replica becomes the primary by hand, the old one its replica.
    fn promote(&mut self, index: usize) {
        let old = std::mem::replace(&mut self.primary, index);
        self.command(index, &["REPLICAOF", "NO", "ONE"]);
        if old != index {
            self.follow(old, index);
        }
    }

    /// The primary gives up its role.
    fn fail_over(&mut self) {
        self.command(self.primary, &["FAILOVER", "TIMEOUT", "2000"]);
        for _ in 0..self.rng.usize(..200) {
            self.steps += 1;
            let node = self.rng.usize(..self.nodes.len());
            match self.rng.u32(..10) {
                0..6 => self.carry(node),
                6..8 => self.tick(node),
                8 => self.write(),
                _ => self.advance(),
            }
        }
        let old = self.primary;
        self.find_primary();
        self.tally.failovers += u64::from(self.primary != old);
    }

    /// Whoever is a primary now is the one that is meant.
    fn find_primary(&mut self) {
        let is_primary = |index: &usize| self.upstream(*index).is_none();
        if !is_primary(&self.primary)
            && let Some(index) = (0..self.nodes.len()).find(is_primary)
        {
            self.primary = index;
        }
    }

    /// A server loses everything and begins anew.
    fn kill(&mut self, index: usize) {
        self.tell(|| format!("{index} is killed"));
        self.cut(index);
        for other in 0..self.nodes.len() {
            let attached = &self.nodes[other].attachment;
            if attached.as_ref().is_some_and(|attachment| attachment.primary == index) {
                self.cut(other);
            }
        }
        self.count(index);
        let clock = Clock::frozen_at(self.nodes[index].engine.clock().now());
        self.nodes[index] = self.node(index, clock);
        if index == self.primary {
            self.promote((index + 1) % self.nodes.len());
        } else {
            self.follow(index, self.primary);
        }
    }

    /// No more faults: all follow the primary and come to its data.
    fn converge(&mut self) {
        self.tell(|| "all faults end".to_owned());
        self.is_calm = true;
        (0..self.nodes.len()).for_each(|index| self.cut(index));
        for index in 0..self.nodes.len() {
            self.command(index, &["FAILOVER", "ABORT"]);
        }
        self.find_primary();
        self.promote(self.primary);
        for index in 0..self.nodes.len() {
            self.follow(index, self.primary);
        }
        // All that has a deadline ends, on the primary first.
        for _ in 0..30 {
            self.advance();
            (0..self.nodes.len()).for_each(|index| self.look_after(index));
        }
        let is_done = (0..20_000).any(|_| {
            for index in 0..self.nodes.len() {
                self.carry(index);
                self.tick(index);
            }
            self.has_converged()
        });
        assert!(is_done, "the replicas do not come up with their primary");
        let digest = self.nodes[self.primary].engine.turn().as_server(whole);
        for (index, node) in self.nodes.iter().enumerate() {
            assert_eq!(node.engine.turn().as_server(whole), digest, "node {index} differs");
        }
    }

    fn has_converged(&self) -> bool {
        let place = |node: &Node| {
            let mut turn = node.engine.turn();
            let server = turn.server();
            let upstream = server.replication.role.upstream();
            let is_up = upstream.is_none_or(|upstream| upstream.is_connected());
            (is_up, server.replication.history.id(), server.effects.stream.offset())
        };
        let (_, id, offset) = place(&self.nodes[self.primary]);
        self.nodes.iter().all(|node| place(node) == (true, id, offset))
    }
}

/// The digest of all data, those included that are past their time and still there.
fn whole(ctx: &mut cloakroom::commands::Ctx<'_>) -> String {
    let now = std::mem::replace(&mut ctx.data.now, 0);
    let digest = digest(ctx);
    ctx.data.now = now;
    digest
}

fn client(engine: &Engine) -> Arc<Client> {
    let (id, now) = (engine.clients().next_id(), engine.clock().now());
    let client = Client::new(id, Transport::Tcp, "node:1".to_owned(), String::new(), -1, now);
    let client = Arc::new(client);
    engine.clients().add(Arc::clone(&client));
    client
}
