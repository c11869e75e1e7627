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
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::UnboundedSender;

use crate::commands::{Action, CommandError, Session, greet};
use crate::engine::{ConnectionLimits, Engine, Flow, Turn};
use crate::resp::{Args, Limits, Parsed, Protocol, ProtocolError, Reply, RequestParser};
use crate::session::{Client, Waiting};

/// How much one read takes in at most.
const READ_AT_ONCE: usize = 64 * 1024;

/// With more than this still to be sent, no further request is executed.
const OUTPUT_HIGH_WATER: usize = 256 * 1024;

/// With more than this unparsed, a connection that waits is not read on.
const INPUT_WHILE_WAITING: usize = 64 * 1024;

/// What of a thread's shared reply buffer is kept between batches.
const KEPT_OUTPUT: usize = 1024 * 1024;

thread_local! {
    static SHARED: RefCell<Shared> = RefCell::new(Shared {
        input: vec![0; READ_AT_ONCE].into(),
        output: Vec::new(),
    });
}

/// The buffers that a thread's connections share: each uses them within one call and leaves
/// nothing behind.
#[derive(Debug)]
struct Shared {
    input: Box<[u8]>,
    output: Vec<u8>,
}

/// A connection as a future that ends with it.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    engine: Arc<Engine>,
    actions: UnboundedSender<Action>,
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
    /// Nothing more is executed; what is written is sent, then the connection ends.
    closing: bool,
    /// The peer sends nothing more.
    at_end: bool,
    /// Bytes received and sent in all.
    traffic: (u64, u64),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Connection<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.session.client.listen(cx.waker());
        SHARED.with_borrow_mut(|shared| self.advance(cx, shared))
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
    /// A connection over `stream`. What its commands want done to the whole server goes to
    /// `actions`.
    pub fn new(
        stream: S,
        engine: Arc<Engine>,
        client: Arc<Client>,
        actions: UnboundedSender<Action>,
    ) -> Self {
        let (session, limits) = engine.welcome(client);
        Connection {
            stream,
            engine,
            actions,
            session: Parting(Some(session)),
            parser: RequestParser::new(),
            request_limits: Limits::default(),
            limits,
            input: Vec::new(),
            has_news: false,
            output: Vec::new(),
            sent: 0,
            closing: false,
            at_end: false,
            traffic: (0, 0),
        }
    }

    /// Goes as far as it can without waiting. Ready: the connection is over.
    fn advance(&mut self, cx: &mut Context<'_>, shared: &mut Shared) -> Poll<()> {
        loop {
            if self.session.client.is_ending() {
                return Poll::Ready(());
            }
            self.take_news();
            if self.flush(cx).is_err() {
                return Poll::Ready(());
            }
            let all_sent = self.unsent() == 0;
            if self.closing {
                return if all_sent { Poll::Ready(()) } else { Poll::Pending };
            }
            let is_free = self.session.waiting.is_none() && self.unsent() < OUTPUT_HIGH_WATER;
            if is_free && self.has_news {
                self.execute_kept(cx, &mut shared.output);
                continue;
            }
            if self.at_end {
                let is_over = all_sent || self.session.waiting.is_some();
                return if is_over { Poll::Ready(()) } else { Poll::Pending };
            }
            if !is_free
                && (self.session.waiting.is_none() || self.input.len() >= INPUT_WHILE_WAITING)
            {
                return Poll::Pending;
            }
            match self.read(cx, &mut shared.input) {
                Poll::Ready(Ok(0)) => self.at_end = true,
                Poll::Ready(Ok(read)) => self.take_in(cx, read, is_free, shared),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {
                    let is_over = self.session.client.is_finishing() && all_sent && is_free;
                    return if is_over { Poll::Ready(()) } else { Poll::Pending };
                }
            }
        }
    }

    /// What others have to say to this connection: messages, and the end of a wait.
    fn take_news(&mut self) {
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
        self.session.client.take_pushed(&mut self.output);
    }

    fn read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) => {
                self.traffic.0 += buf.filled().len() as u64;
                Poll::Ready(Ok(buf.filled().len()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Executes what was just read where it lies, if nothing waits before it; keeps the rest.
    fn take_in(&mut self, cx: &mut Context<'_>, read: usize, is_free: bool, shared: &mut Shared) {
        let Shared { input, output } = shared;
        let mut rest = &input[..read];
        if is_free && self.input.is_empty() {
            let used = self.execute(rest, output);
            self.send(cx, output);
            rest = &rest[used..];
        } else {
            self.has_news = true;
        }
        self.input.extend_from_slice(rest);
        if self.input.len() > self.limits.query_buffer {
            tracing::warn!(
                client = self.session.id(),
                "closed: its query buffer is over the limit"
            );
            self.session.client.kill();
        }
    }

    fn execute_kept(&mut self, cx: &mut Context<'_>, output: &mut Vec<u8>) {
        let mut input = std::mem::take(&mut self.input);
        let used = self.execute(&input, output);
        self.send(cx, output);
        if used < input.len() {
            input.drain(..used);
            self.input = input;
        }
    }

    /// Executes the whole requests in `input`; returns how many bytes they had.
    fn execute(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let engine = Arc::clone(&self.engine);
        let mut turn: Option<Turn<'_>> = None;
        let mut used = 0;
        self.has_news = false;
        while !self.closing && self.session.waiting.is_none() {
            if self.unsent() + out.len() >= OUTPUT_HIGH_WATER {
                self.has_news = true;
                break;
            }
            self.request_limits.bulk = self.limits.bulk;
            self.request_limits.stranger = self.session.user.is_none();
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
            used += length;
            if args.is_empty() {
                continue;
            }
            if turn.is_none() {
                turn = engine.turn_unless_busy();
            }
            let flow = match &mut turn {
                Some(turn) => turn.execute(&mut self.session, args, out),
                None => engine.answer_while_busy(&mut self.session, args, out),
            };
            if self.follow(flow) {
                used -= length;
            }
        }
        if let Some(turn) = turn {
            self.limits = turn.connection_limits();
            turn.publish(&self.session);
        }
        self.show(input.len() - used);
        used
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
            Flow::Act(action) => {
                // Nobody hears it only when the server has ended already.
                let _ = self.actions.send(action);
            }
        }
        false
    }

    fn refuse_bytes(&mut self, error: ProtocolError, out: &mut Vec<u8>) {
        Reply::new(out, self.session.protocol).error(&format!("ERR {error}"));
        self.closing = true;
    }

    /// Sends what was just written, behind what still waits; keeps what does not go at once.
    fn send(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) {
        if self.unsent() == 0 && !out.is_empty() {
            self.sent = 0;
            self.output.clear();
            // An error shows again at the next flush.
            let mut sent = 0;
            while sent < out.len() {
                match Pin::new(&mut self.stream).poll_write(cx, &out[sent..]) {
                    Poll::Ready(Ok(written)) if written > 0 => sent += written,
                    _ => break,
                }
            }
            self.traffic.1 += sent as u64;
            self.output.extend_from_slice(&out[sent..]);
        } else {
            self.output.extend_from_slice(out);
        }
        out.clear();
        out.shrink_to(KEPT_OUTPUT);
        if self.unsent() > self.limits.output_hard {
            tracing::warn!(client = self.session.id(), "closed: its output is over the limit");
            self.session.client.kill();
        }
    }

    /// Sends what waits, as far as it goes.
    fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.unsent() > 0 {
            match Pin::new(&mut self.stream).poll_write(cx, &self.output[self.sent..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    self.sent += written;
                    self.traffic.1 += written as u64;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        if self.unsent() == 0 && !self.output.is_empty() {
            (self.output, self.sent) = (Vec::new(), 0);
            self.show(self.input.len());
        }
        // Streams that buffer by themselves (TLS) are flushed; sockets do nothing here.
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn unsent(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Shows the state of the buffers to CLIENT LIST and to the output limits.
    fn show(&self, unparsed: usize) {
        let mut view = self.session.client.view.lock();
        view.query = (unparsed, self.input.capacity().saturating_sub(unparsed));
        view.output = self.unsent();
        view.traffic = self.traffic;
    }
}

fn is_hello(args: Args<'_>) -> bool {
    args[0].eq_ignore_ascii_case(b"hello") && args.len() <= 2
}

impl Engine {
    /// Answers a request while a script runs for longer than its time: only that script can be
    /// ended, or the server.
    fn answer_while_busy(&self, session: &mut Session, args: Args<'_>, out: &mut Vec<u8>) -> Flow {
        match self.end_script(args, session.protocol, out) {
            Some(flow) => flow,
            // A client that connects meanwhile must be able to say hello, so that it can end it.
            None if is_hello(args) && session.user.is_some() => {
                session.protocol =
                    if args.get(1) == Some(b"3") { Protocol::Resp3 } else { session.protocol };
                greet(session, &mut Reply::new(out, session.protocol));
                Flow::Continue
            }
            None => {
                if let Some(transaction) = &mut session.transaction {
                    transaction.aborted = true;
                }
                Reply::new(out, session.protocol).error(CommandError::BUSY_SCRIPT.text());
                Flow::Continue
            }
        }
    }
}
