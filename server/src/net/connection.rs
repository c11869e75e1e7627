//! One connection: bytes in, requests executed in batches, bytes out.
//!
//! A connection is a hand-written future without buffers of its own while it is idle. What a read
//! brings is parsed and executed where it lies, in a buffer that the thread's connections share;
//! only what is incomplete, or could not be sent, is kept. A client that does not read what it
//! asked for is not served on until it does (back-pressure), so nobody's replies pile up.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Sleep;

use super::crowd::Crowd;
use super::line::{Line, Place};
use crate::commands::{Action, CommandError, Session, greet};
use crate::engine::{ConnectionLimits, Engine, Flow, QueuePlace, Turn};
use crate::persistence::{self, Disk};
use crate::replication::Fed;
use crate::resp::{Args, Limits, Parsed, Protocol, ProtocolError, Reply, RequestParser};
use crate::session::{Client, End, ReplyMode, Traffic, Transaction, Waiting};
use crate::state::Running;

/// How long a connection looks for what is in flight when the server stops.
const LAST_LOOK: Duration = Duration::from_millis(1);

/// How much one read takes in at most.
const READ_AT_ONCE: usize = 64 * 1024;

/// With more than this still to be sent, no further request is executed.
const OUTPUT_HIGH_WATER: usize = 256 * 1024;

/// With more than this unparsed, a connection that waits is not read on.
const INPUT_WHILE_WAITING: usize = 64 * 1024;

/// With more bytes of requests than this a connection waits for its turn in a queue.
const WAITED_FOR: usize = 1024;

/// So many batches are executed before others get their turns.
const BATCHES_AT_ONCE: usize = 4;
/// How much a replica is sent at once.
const FED_AT_ONCE: usize = 64 * 1024;

/// What of a thread's shared reply buffer is kept between batches.
const KEPT_OUTPUT: usize = 1024 * 1024;

thread_local! {
    static SHARED: RefCell<Shared> = RefCell::new(Shared {
        input: vec![0; READ_AT_ONCE].into(),
        output: Vec::new(),
        crowd: Crowd::default(),
    });
}

/// The buffers that a thread's connections share: each uses them within one call and leaves
/// nothing behind.
#[derive(Debug)]
struct Shared {
    input: Box<[u8]>,
    output: Vec<u8>,
    crowd: Crowd,
}

/// A connection as a future that ends with it.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    engine: Arc<Engine>,
    disk: Arc<dyn Disk>,
    actions: UnboundedSender<Action>,
    /// Where it stands among those who are ready.
    place: Place,
    session: Parting,
    parser: RequestParser,
    /// What a request may be at most; kept here because requests are parsed before the gate.
    request_limits: Limits,
    limits: ConnectionLimits,
    /// Received and not yet executed.
    input: Vec<u8>,
    /// Something has come, or a wait has ended, since `input` was found to be incomplete.
    has_news: bool,
    /// To be sent, from `sent` on.
    output: Vec<u8>,
    sent: usize,
    /// The stream itself holds nothing back.
    is_flushed: bool,
    /// Nothing more is executed; what is written is sent, then the connection ends.
    closing: bool,
    /// The peer sends nothing more.
    at_end: bool,
    /// What has gone through it in all.
    traffic: Traffic,
    /// The state of the buffers when it was last shown: bytes received, room for more, bytes to be
    /// sent.
    shown: (usize, usize, usize),
    /// What is called when others have something to say, and how often they had when it was last
    /// taken from the outbox.
    waker: Option<Waker>,
    heard: u64,
    /// Batches that it may still execute before others get their turns.
    batches_left: usize,
    /// The server stops, and nothing was found to be in flight: when to look for the last time.
    last_look: Option<Pin<Box<Sleep>>>,
    /// It is a replica's, and lets others add to the stream before it sends that.
    is_gathering: bool,
    /// What was written is held back until others have listened to what they were told.
    holds_reply: bool,
    /// Its place among those who wait for a turn, and whether it has just taken one there.
    queue: QueuePlace,
    is_queued: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Connection<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.place.is_next(cx) {
            return Poll::Pending;
        }
        let waker = match self.waker.take() {
            Some(known) if self.place.wakes(&known, cx.waker()) => known,
            _ => {
                let waker = self.place.waker(cx.waker());
                self.session.client.listen(&waker);
                waker
            }
        };
        let told = self.session.client.told();
        let traffic = self.traffic;
        self.place.go_on();
        let is_in_crowd = self.place.is_in_crowd();
        self.batches_left = BATCHES_AT_ONCE;
        let cx = &mut Context::from_waker(&waker);
        let ended = SHARED.with_borrow_mut(|shared| self.advance(cx, shared));
        self.queue.leave_unless_used();
        if !self.place.waits() {
            let is_active = is_in_crowd || self.traffic != traffic;
            self.show(is_active);
        }
        self.waker = Some(waker);
        self.session.client.set_heard(told);
        if self.unsent() < OUTPUT_HIGH_WATER {
            self.heard = told;
        }
        ended
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        if let Some(session) = self.session.0.take() {
            self.engine.farewell(session);
        }
    }
}

/// A session that is given back to the engine in the end.
#[derive(Debug)]
struct Parting(Option<Session>);

impl std::ops::Deref for Parting {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.0.as_ref().expect("it is there until the connection is dropped")
    }
}

impl std::ops::DerefMut for Parting {
    fn deref_mut(&mut self) -> &mut Session {
        self.0.as_mut().expect("it is there until the connection is dropped")
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection over `stream`. What its commands want saved goes to `disk`, what they want done
    /// to the whole server to `actions`.
    pub fn new(
        stream: S,
        engine: Arc<Engine>,
        disk: Arc<dyn Disk>,
        client: Arc<Client>,
        actions: UnboundedSender<Action>,
    ) -> Self {
        let (session, limits) = engine.welcome(client);
        Connection {
            stream,
            engine,
            disk,
            actions,
            place: Place::new(None),
            session: Parting(Some(session)),
            parser: RequestParser::new(),
            request_limits: Limits::default(),
            limits,
            input: Vec::new(),
            has_news: false,
            output: Vec::new(),
            sent: 0,
            is_flushed: true,
            closing: false,
            at_end: false,
            traffic: Traffic::default(),
            shown: (0, 0, 0),
            waker: None,
            heard: 0,
            batches_left: 0,
            last_look: None,
            holds_reply: false,
            is_gathering: false,
            queue: QueuePlace::default(),
            is_queued: false,
        }
    }

    /// Has it stand in a line with others.
    pub(super) fn in_line(mut self, line: Option<Arc<Line>>) -> Self {
        self.place = Place::new(line);
        self
    }

    /// Goes as far as it can without waiting. Ready: the connection is over.
    fn advance(&mut self, cx: &mut Context<'_>, shared: &mut Shared) -> Poll<()> {
        loop {
            if self.session.client.is_ending() {
                return Poll::Ready(());
            }
            if std::mem::take(&mut self.is_queued) {
                return Poll::Pending;
            }
            let has_left_news = self.take_news();
            if self.holds_reply {
                if !self.engine.clients().have_heard(self.session.id()) {
                    return later(cx);
                }
                self.holds_reply = false;
            }
            if self.flush(cx, &mut shared.crowd).is_err() {
                return Poll::Ready(());
            }
            if has_left_news && self.unsent() < OUTPUT_HIGH_WATER {
                continue;
            }
            if self.gathers() {
                return later(cx);
            }
            if !self.feed_replica(cx, &mut shared.output) {
                tracing::warn!(replica = self.session.id(), "closed: it lags too far behind");
                return Poll::Ready(());
            }
            if self.batches_left == 0 {
                return later(cx);
            }
            let all_sent = self.unsent() == 0 && self.is_flushed;
            if self.closing {
                return if all_sent { self.end(cx) } else { Poll::Pending };
            }
            let is_free = self.session.waiting.is_none() && self.unsent() < OUTPUT_HIGH_WATER;
            if is_free && self.has_news {
                self.execute_kept(cx, shared);
                if self.place.waits() {
                    return Poll::Pending;
                }
                continue;
            }
            if self.at_end {
                let is_over = all_sent || self.session.waiting.is_some();
                return if is_over { self.end(cx) } else { Poll::Pending };
            }
            if !is_free
                && (self.session.waiting.is_none() || self.input.len() >= INPUT_WHILE_WAITING)
            {
                return Poll::Pending;
            }
            match self.read(cx, &mut shared.input) {
                Poll::Ready(Ok(0)) => self.at_end = true,
                Poll::Ready(Ok(read)) => {
                    if is_free && self.joins_crowd(shared, read) {
                        self.place.join_crowd(cx);
                        return Poll::Pending;
                    }
                    self.take_in(cx, read, is_free, shared);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                // What it waits for will not come.
                Poll::Pending if self.session.client.is_finishing() && all_sent => {
                    return self.end_after_last_look(cx);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// What has come before the server's end may not have been noticed yet. It is when a timer has
    /// gone off: tokio looks at sockets first.
    #[cold]
    fn end_after_last_look(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let soon = || Box::pin(tokio::time::sleep(LAST_LOOK));
        ready!(self.last_look.get_or_insert_with(soon).as_mut().poll(cx));
        self.end(cx)
    }

    /// Whether to let others go first, once: what they write goes to the replica in the same write.
    /// Otherwise every client's turn would be followed by one of its own.
    fn gathers(&mut self) -> bool {
        let has_stream =
            self.unsent() == 0 && self.session.feed().is_some_and(|feed| feed.has_stream());
        self.is_gathering = has_stream && !self.is_gathering;
        self.is_gathering
    }

    /// Sends a replica the data and the stream, as far as it goes. False: it is cut off.
    fn feed_replica(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> bool {
        if self.session.feed().is_some_and(|feed| feed.is_cut_off(cx.waker())) {
            return false;
        }
        while self.unsent() == 0 && self.session.is_replica() {
            self.join_copy();
            let Some(feed) = self.session.feed() else { return true };
            let fed = feed.fill(out, FED_AT_ONCE);
            if feed.is_copying() {
                // The copy is made as it is taken.
                self.engine.wake_driver();
            }
            match fed {
                Fed::Over => self.closing = true,
                Fed::CutOff => return false,
                Fed::Going if out.is_empty() && !feed.has_more(cx.waker()) => return true,
                Fed::Going => {}
            }
            self.send(cx, out);
            if self.closing {
                return true;
            }
        }
        true
    }

    /// Comes for a copy of the data, if it waits for one.
    fn join_copy(&mut self) {
        let waits = self.session.feed().is_some_and(|feed| feed.is_waiting());
        if waits && let Some(mut turn) = self.engine.turn_unless_busy() {
            turn.join_copy(&mut self.session);
        }
    }

    /// What others have to say to this connection: messages, and the end of a wait. True: messages
    /// are left where they are, for it has not sent what it has.
    fn take_news(&mut self) -> bool {
        if self.session.client.told() == self.heard {
            return false;
        }
        if let Some(why) = self.session.client.take_wake()
            && self.session.waiting.is_some()
        {
            match self.engine.turn_unless_busy() {
                Some(mut turn) => {
                    turn.resume(&mut self.session, why, &mut self.output);
                    self.has_news = true;
                }
                // Behind a slow script: it is asked again, at the script's end at the latest.
                None => self.session.client.wake(why),
            }
        }
        // What a client does not read stays in its outbox, where its limit is looked after.
        if self.unsent() >= OUTPUT_HIGH_WATER {
            return true;
        }
        self.session.client.take_pushed(&mut self.output);
        false
    }

    fn read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) => {
                self.traffic.received += buf.filled().len() as u64;
                self.traffic.reads += u64::from(!buf.filled().is_empty());
                Poll::Ready(Ok(buf.filled().len()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Keeps what was just read, if others' requests are to be read before it is executed, or
    /// executed before it.
    fn joins_crowd(&mut self, shared: &mut Shared, read: usize) -> bool {
        let requests = &shared.input[..read];
        let joins = self.input.is_empty()
            && !self.session.is_replica()
            && (shared.crowd.takes_in(&self.engine, self.session.db, requests)
                || self.place.is_behind_crowd());
        if joins {
            self.input = shared.crowd.buffer();
            self.input.extend_from_slice(requests);
            self.has_news = true;
        }
        joins
    }

    /// Executes what was just read where it lies, if nothing waits before it; keeps the rest.
    fn take_in(&mut self, cx: &mut Context<'_>, read: usize, is_free: bool, shared: &mut Shared) {
        let Shared { input, output, crowd } = shared;
        let mut rest = &input[..read];
        if is_free && self.input.is_empty() {
            let used = self.execute(cx, rest, output, crowd);
            self.send(cx, output);
            rest = &rest[used..];
        } else {
            self.has_news = true;
        }
        self.input.extend_from_slice(rest);
        self.check_input();
    }

    /// Requests that wait, queued ones too, must stay within their limit.
    fn check_input(&mut self) {
        if self.input.len() + self.session.queued_bytes() > self.limits.query_buffer {
            tracing::warn!(
                client = self.session.id(),
                "closed: its query buffer is over the limit"
            );
            self.session.client.kill(End::QueryLimit);
        }
    }

    fn execute_kept(&mut self, cx: &mut Context<'_>, shared: &mut Shared) {
        let Shared { output, crowd, .. } = shared;
        let mut input = std::mem::take(&mut self.input);
        let used = self.execute(cx, &input, output, crowd);
        if used < input.len() {
            input.drain(..used);
            self.input = input;
            self.send(cx, output);
        } else if self.is_answered_with_crowd(output, crowd) {
            // Its reply takes the place of the requests.
            input.clear();
            input.append(output);
            (self.output, self.sent) = (input, 0);
            self.place.reply_with_crowd(cx);
        } else {
            crowd.give_back(input);
            self.send(cx, output);
        }
        self.check_input();
    }

    fn is_answered_with_crowd(&self, reply: &[u8], crowd: &Crowd) -> bool {
        self.place.is_in_crowd()
            && crowd.holds_back(reply)
            && self.unsent() == 0
            && reply.len() <= self.limits.reply
    }

    /// Executes the whole requests in `input`; returns how many bytes they had.
    fn execute(
        &mut self,
        cx: &mut Context<'_>,
        input: &[u8],
        out: &mut Vec<u8>,
        crowd: &mut Crowd,
    ) -> usize {
        let engine = Arc::clone(&self.engine);
        let mut turn: Option<Turn<'_>> = None;
        let mut used = 0;
        let mut looked = 0;
        self.has_news = false;
        self.session.input = input.len();
        self.batches_left -= 1;
        while !self.closing && self.session.waiting.is_none() {
            if self.unsent() + out.len() >= OUTPUT_HIGH_WATER {
                self.has_news = true;
                break;
            }
            self.request_limits.bulk = self.limits.bulk;
            self.request_limits.stranger = !self.session.identity.is_authenticated;
            let length = match self.parser.parse(&input[used..], &self.request_limits) {
                Ok(Parsed::Complete(length)) => length,
                Ok(Parsed::Incomplete) => break,
                Err(error) => {
                    self.refuse_bytes(error, out);
                    used = input.len();
                    break;
                }
            };
            let args = self.parser.args(&input[used..]);
            let start = used;
            used += length;
            if args.is_empty() {
                continue;
            }
            if turn.is_none() {
                match poll_turn(&engine, input.len(), &mut self.queue, cx) {
                    Poll::Ready(begun) => turn = begun,
                    Poll::Pending => {
                        used = start;
                        self.has_news = true;
                        self.is_queued = true;
                        break;
                    }
                }
                if let Some(turn) = &turn {
                    crowd.fetch(turn);
                }
            }
            if let Some(turn) = &turn {
                looked = turn.look_ahead(self.session.db, input, start, looked);
            }
            let flow = match &mut turn {
                Some(turn) => match turn.execute(&mut self.session, args, out) {
                    Flow::Act(action) => self.act(turn, action, out),
                    flow => flow,
                },
                None => engine.answer_while_busy(&mut self.session, args, out),
            };
            if self.follow(flow) {
                used -= length;
            }
            if turn.as_ref().is_some_and(Turn::is_long) {
                self.has_news = true;
                self.batches_left = 0;
                break;
            }
        }
        if let Some(turn) = turn {
            turn.refresh(&mut self.limits);
            turn.publish(&mut self.session);
        }
        used
    }

    /// Saves or loads, if that is what a request asked for; what it asked of others comes back.
    fn act(&self, turn: &mut Turn<'_>, action: Action, out: &mut Vec<u8>) -> Flow {
        let mark = out.len();
        let flow = persistence::act(turn, &*self.disk, &self.session, action, out);
        if self.session.reply_mode != ReplyMode::On {
            out.truncate(mark);
        }
        flow
    }

    /// Does what a request wants of its connection. True: the request is to be executed again.
    fn follow(&mut self, flow: Flow) -> bool {
        match flow {
            Flow::Continue => {}
            Flow::Close => self.closing = true,
            Flow::Wait => {
                self.has_news = true;
                return self.session.waiting == Some(Waiting::Paused);
            }
            Flow::Act(Action::ClockTurned) => {
                self.engine.wake_driver();
                self.holds_reply = true;
            }
            Flow::Act(action) => {
                // Nobody hears it only when the server has ended already.
                let _ = self.actions.send(action);
            }
        }
        false
    }

    fn refuse_bytes(&mut self, error: ProtocolError, out: &mut Vec<u8>) {
        Reply::new(out, self.session.protocol).error(format!("ERR {error}"));
        self.closing = true;
    }

    /// Sends what was just written, behind what still waits; keeps what does not go at once.
    fn send(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) {
        if out.len() > self.limits.reply {
            tracing::warn!(client = self.session.id(), "closed: its reply is over the limit");
            self.session.client.kill(End::OutputLimit);
        } else if self.unsent() == 0 && !out.is_empty() {
            self.sent = 0;
            self.output.clear();
            // An error shows again at the next flush.
            let mut sent = 0;
            while sent < out.len() && !self.holds_reply {
                match Pin::new(&mut self.stream).poll_write(cx, &out[sent..]) {
                    Poll::Ready(Ok(written)) if written > 0 => sent += written,
                    _ => break,
                }
            }
            self.traffic.sent += sent as u64;
            self.traffic.writes += u64::from(sent > 0);
            if out.len() - sent > KEPT_OUTPUT {
                (self.output, self.sent) = (std::mem::take(out), sent);
            } else {
                self.output.extend_from_slice(&out[sent..]);
            }
        } else {
            self.output.extend_from_slice(out);
        }
        out.clear();
        out.shrink_to(KEPT_OUTPUT);
    }

    /// Sends what waits, as far as it goes.
    fn flush(&mut self, cx: &mut Context<'_>, crowd: &mut Crowd) -> io::Result<()> {
        while self.unsent() > 0 {
            match Pin::new(&mut self.stream).poll_write(cx, &self.output[self.sent..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    self.sent += written;
                    self.traffic.sent += written as u64;
                    self.traffic.writes += 1;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        if self.unsent() == 0 && !self.output.is_empty() {
            self.sent = 0;
            crowd.give_back(std::mem::take(&mut self.output));
        }
        // Streams that buffer by themselves (TLS) are flushed; sockets do nothing here.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.is_flushed = flushed.is_ready();
        match flushed {
            Poll::Ready(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Says farewell where the stream has a word for it (TLS), without waiting for an answer.
    fn end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
        Poll::Ready(())
    }

    fn unsent(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Shows the state of the buffers to CLIENT LIST, to the output limits and to
    /// `maxmemory-clients`, as far as it has changed.
    fn show(&mut self, is_active: bool) {
        let client = &self.session.client;
        if is_active {
            client.pulse.set_traffic(self.traffic);
            if self.unsent() > 0 || !self.input.is_empty() {
                // Whoever takes long to send or to read is not idle.
                client.pulse.set_active(self.engine.clock().now());
            }
        }
        let buffers = (self.input.len(), self.input.capacity() - self.input.len(), self.unsent());
        let is_told = client.told() != self.heard;
        if buffers != self.shown || is_told || std::mem::take(&mut self.session.memory_changed) {
            self.shown = buffers;
            self.show_buffers();
        }
    }

    fn show_buffers(&self) {
        let client = &self.session.client;
        let mut view = client.view.lock();
        (view.query.0, view.query.1, view.output) = self.shown;
        let (memory, output) = (view.memory(), view.output as u64);
        drop(view);
        let (outbox, is_over_soft) = client.outbox();
        let limit =
            if self.session.subscriptions() > 0 { self.limits.pubsub } else { self.limits.normal };
        let is_over = |limit: u64| limit != 0 && output > limit;
        if is_over(limit.hard) || is_over(limit.soft) || is_over_soft {
            client.check_output(limit, self.engine.clock().now());
        }
        let clients = self.engine.clients();
        if clients.set_memory(client, memory + outbox) > self.limits.memory {
            clients.evict(self.limits.memory);
        }
    }
}

/// Lets others go first: the task is polled again behind them, those included whose bytes have come
/// meanwhile.
fn later(cx: &mut Context<'_>) -> Poll<()> {
    let mut yielding = std::pin::pin!(tokio::task::yield_now());
    yielding.as_mut().poll(cx)
}

/// A turn for so many bytes of requests, None while a script runs for longer than its time. Pending:
/// the task is woken when it is to try again.
fn poll_turn<'e>(
    engine: &'e Engine,
    requests: usize,
    place: &mut QueuePlace,
    cx: &mut Context<'_>,
) -> Poll<Option<Turn<'e>>> {
    // Where few are sent at a time, a turn takes less than a place in a queue.
    if requests > WAITED_FOR {
        engine.poll_turn(place, cx)
    } else {
        Poll::Ready(engine.turn_unless_busy())
    }
}

fn is_hello(args: Args<'_>) -> bool {
    args[0].eq_ignore_ascii_case(b"hello") && args.len() <= 2
}

impl Engine {
    /// Answers a request while a script runs for longer than its time: only that script can be
    /// ended, or the server.
    fn answer_while_busy(&self, session: &mut Session, args: Args<'_>, out: &mut Vec<u8>) -> Flow {
        if !session.identity.is_authenticated && !self.is_open() {
            Reply::new(out, session.protocol).error(CommandError::NO_AUTH.text());
            return Flow::Continue;
        }
        let may_end = self.knows_almighty(session);
        match may_end.then(|| self.end_script(args, session.protocol, out)).flatten() {
            Some(flow) => flow,
            // A client that connects meanwhile must be able to say hello, so that it can end it.
            None if is_hello(args) && session.identity.is_authenticated => {
                session.protocol =
                    if args.get(1) == Some(b"3") { Protocol::Resp3 } else { session.protocol };
                let mut reply = Reply::new(out, session.protocol);
                greet(session, self.is_replica(), &mut reply);
                Flow::Continue
            }
            None => {
                let mut reply = Reply::new(out, session.protocol);
                let busy = match self.script().running() {
                    Running::Script => CommandError::BUSY_SCRIPT,
                    Running::Function { .. } => CommandError::BUSY_FUNCTION,
                };
                let is = |word: &[u8]| args.len() == 1 && args[0].eq_ignore_ascii_case(word);
                match &mut session.transaction {
                    // What it then queues is refused while the script runs, so that it cannot be
                    // executed in part.
                    None if is(b"multi") && session.identity.is_authenticated => {
                        session.transaction = Some(Transaction::default());
                        reply.ok();
                        return Flow::Continue;
                    }
                    Some(_) if is(b"exec") => {
                        session.transaction = None;
                        reply.error(CommandError::exec_abort(&busy).text());
                        return Flow::Continue;
                    }
                    Some(transaction) => transaction.aborted = true,
                    None => {}
                }
                reply.error(busy.text());
                Flow::Continue
            }
        }
    }
}
