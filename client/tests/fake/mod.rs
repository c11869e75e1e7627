//! A server that greets as Redis does and then answers what it was told, request by request.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// What to do about one request.
pub(crate) enum Turn {
    /// Answer these bytes.
    Say(Vec<u8>),
    /// Close the connection.
    Close,
    /// Nothing.
    Silence,
    /// Nothing, nor to anything that follows on this connection.
    Hang,
}

impl Turn {
    pub(crate) fn say(bytes: &[u8]) -> Turn {
        Turn::Say(bytes.to_vec())
    }
}

#[derive(Default)]
struct Seen {
    turns: VecDeque<Turn>,
    /// To connections that begin; those beyond are welcome.
    greetings: VecDeque<Turn>,
    connections: usize,
    requests: Vec<Vec<String>>,
    logins: Vec<String>,
}

/// The server. It ends when it is dropped.
pub(crate) struct Fake {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    listening: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// An address where nobody listens, and nobody else can meanwhile.
pub(crate) fn closed() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    socket
}

impl Fake {
    pub(crate) async fn start(turns: impl IntoIterator<Item = Turn>) -> Fake {
        Fake::start_at(closed(), [], turns)
    }

    /// Answers so to the first connections' greetings, and so to requests.
    pub(crate) fn start_at(
        socket: TcpSocket,
        greetings: impl IntoIterator<Item = Turn>,
        turns: impl IntoIterator<Item = Turn>,
    ) -> Fake {
        let listener = socket.listen(1024).expect("its port is its own");
        let address = listener.local_addr().expect("it has an address");
        let (turns, greetings) = (turns.into_iter().collect(), greetings.into_iter().collect());
        let seen = Arc::new(Mutex::new(Seen { turns, greetings, ..Seen::default() }));
        let listening = tokio::spawn(listen(listener, Arc::clone(&seen)));
        Fake { address, seen, listening }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nobody panics with it")
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen().connections
    }

    /// All that was asked beside the greeting.
    pub(crate) fn requests(&self) -> Vec<Vec<String>> {
        self.seen().requests.clone()
    }

    /// Users and passwords, in the order in which they came.
    pub(crate) fn logins(&self) -> Vec<String> {
        self.seen().logins.clone()
    }
}

async fn listen(listener: TcpListener, seen: Arc<Mutex<Seen>>) {
    let mut tasks = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        seen.lock().expect("nobody panics with it").connections += 1;
        tasks.spawn(serve(stream, Arc::clone(&seen)));
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Seen>>) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let Some((words, length)) = request(&buffer) else {
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
            continue;
        };
        buffer.drain(..length);
        let answer = answer(words, &mut seen.lock().expect("nobody panics with it"));
        match answer {
            Turn::Say(bytes) => stream.write_all(&bytes).await.ok()?,
            Turn::Close => return None,
            Turn::Silence => {}
            Turn::Hang => std::future::pending().await,
        }
    }
}

fn answer(words: Vec<String>, seen: &mut Seen) -> Turn {
    match words[0].as_str() {
        "HELLO" | "AUTH" => {
            if let [.., user, password] = &words[..]
                && words.len() >= 3
            {
                seen.logins.push(format!("{user} {password}"));
            }
            let welcome = || Turn::say(b"%1\r\n+server\r\n+fake\r\n");
            match words[0].as_str() {
                "HELLO" => seen.greetings.pop_front().unwrap_or_else(welcome),
                _ => Turn::say(b"+OK\r\n"),
            }
        }
        "CLIENT" => Turn::say(b"+OK\r\n"),
        _ => {
            seen.requests.push(words);
            seen.turns.pop_front().unwrap_or(Turn::Silence)
        }
    }
}

/// One whole request in these bytes, and its length.
fn request(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
    let (count, mut at) = number(bytes, b'*')?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (length, head) = number(bytes.get(at..)?, b'$')?;
        let word = bytes.get(at + head..at + head + length)?;
        words.push(String::from_utf8_lossy(word).into_owned());
        at += head + length + 2;
    }
    (at <= bytes.len()).then_some((words, at))
}

/// `*3` or `$3` with its line's end: the number, and how long it is.
fn number(bytes: &[u8], sign: u8) -> Option<(usize, usize)> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    assert_eq!(bytes[0], sign, "requests are arrays of strings");
    let digits = std::str::from_utf8(&bytes[1..end]).expect("digits");
    Some((digits.parse().expect("a number"), end + 2))
}
