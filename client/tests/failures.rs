//! What is tried again, and what is said when nothing helps: against a server that does as told.

mod fake;

use std::time::Duration;

use cloakroom_client::{
    Builder, Credentials, CredentialsFuture, CredentialsProvider, Error, SessionStore, Token,
};
use fake::{Fake, Turn, closed};

/// What the scripts answer for a session that is there: milliseconds left, and the time.
const ALIVE: &[u8] = b"*2\r\n:1000\r\n:1700000000000\r\n";
/// What the writing script answers.
const WRITTEN: &[u8] = b"*2\r\n:0\r\n:1\r\n";

fn builder(fake: &Fake) -> Builder {
    SessionStore::builder(&fake.url())
        .connect_timeout(Duration::from_secs(10))
        .response_timeout(Duration::from_secs(10))
        .deadline(Duration::from_secs(20))
}

fn token() -> Token {
    Token::parse(&"x".repeat(35)).expect("it has the form of one")
}

#[tokio::test]
async fn what_the_server_did_not_do_is_tried_again_whatever_it_is() {
    for answer in [
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-MASTERDOWN Link with MASTER is down\r\n",
        "-BUSY Redis is busy running a script.\r\n",
        "-NOREPLICAS Not enough good replicas to write.\r\n",
    ] {
        let turns = [Turn::Say(answer.into()), Turn::Say(answer.into()), Turn::say(ALIVE)];
        let fake = Fake::start(turns).await;
        let store = builder(&fake).build().expect("good settings");
        store.touch(&token()).await.expect("the third try succeeds");
        assert_eq!((fake.connections(), fake.requests().len()), (1, 3), "{answer}");
    }
}

#[tokio::test]
async fn a_replica_is_left_for_the_primary() {
    let said = "-READONLY You can't write against a read only replica.\r\n";
    let fake = Fake::start([Turn::Say(said.into()), Turn::say(ALIVE)]).await;
    let store = builder(&fake).build().expect("good settings");
    store.touch(&token()).await.expect("the second try succeeds");
    assert_eq!(fake.connections(), 2, "the name is looked up anew");
}

#[tokio::test]
async fn a_script_that_is_not_known_is_sent() {
    let said = "-NOSCRIPT No matching script. Please use EVAL.\r\n";
    let fake = Fake::start([Turn::Say(said.into()), Turn::say(ALIVE)]).await;
    let store = builder(&fake).build().expect("good settings");
    store.touch(&token()).await.expect("the second try succeeds");
    let names: Vec<_> = fake.requests().into_iter().map(|words| words[0].clone()).collect();
    assert_eq!(names, ["EVALSHA", "EVAL"]);
}

/// A session at the fake, which answers to its creation.
async fn session(turns: impl IntoIterator<Item = Turn>) -> (Fake, cloakroom_client::Session) {
    let turns = [Turn::say(ALIVE)].into_iter().chain(turns);
    let fake = Fake::start(turns).await;
    let store = builder(&fake).build().expect("good settings");
    let session = store.create().await.expect("it begins");
    (fake, session)
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_where_twice_is_as_good_as_once() {
    let (fake, session) = session([Turn::Close, Turn::say(WRITTEN)]).await;
    session.set("a", &1).await.expect("the second try succeeds");
    assert_eq!((fake.connections(), fake.requests().len()), (2, 3));
}

#[tokio::test]
async fn what_a_lost_first_try_took_is_not_there_for_the_second() {
    let turns = [Turn::Close, Turn::say(WRITTEN), Turn::Close, Turn::say(b":0\r\n")];
    let (fake, session) = session(turns).await;
    assert!(!session.remove("a").await.expect("the second try succeeds"));
    let ended = session.store().destroy(session.token()).await;
    assert!(!ended.expect("the second try succeeds"));
    assert_eq!(fake.requests().len(), 5);
}

#[tokio::test]
async fn a_field_is_read_in_the_step_that_finds_its_session() {
    let (fake, session) =
        session([Turn::say(b"*1\r\n$1\r\n7\r\n"), Turn::say(b"*1\r\n_\r\n")]).await;
    assert_eq!(session.get::<u32>("a").await.expect("it is there"), Some(7));
    assert_eq!(session.get::<u32>("b").await.expect("the session is there"), None);
    assert_eq!(fake.requests().len(), 3, "one command each");
}

#[tokio::test]
async fn a_lost_answer_is_told_where_it_is_not() {
    let (fake, session) = session([Turn::Close, Turn::say(b":7\r\n")]).await;
    let lost = session.incr("visits", 1).await.expect_err("its answer is lost");
    assert!(matches!(lost, Error::ConnectionLost { .. }), "{lost}");
    assert!(lost.is_unavailable() && lost.may_have_been_applied());
    assert_eq!(fake.requests().len(), 2, "it was not tried again");
    assert_eq!(session.incr("visits", 1).await.expect("on a new connection"), 7);
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_not_waited_for() {
    let silent = [Turn::Silence, Turn::Silence, Turn::Silence, Turn::say(ALIVE)];
    let fake = Fake::start(silent).await;
    let store = builder(&fake).response_timeout(Duration::from_millis(50));
    let store = store.build().expect("good settings");
    store.touch(&token()).await.expect("the fourth try succeeds");
    assert_eq!(fake.connections(), 2, "a connection that is silent three times is left");
}

#[tokio::test]
async fn a_refusal_is_told_at_once_and_in_its_own_words() {
    let (fake, session) = session([Turn::say(b"-NOPERM no right to run 'evalsha'\r\n")]).await;
    let refused = session.set("a", &1).await.expect_err("it is refused");
    let Error::Refused { code, message } = &refused else { panic!("{refused}") };
    assert_eq!((code.as_str(), message.as_str()), ("NOPERM", "no right to run 'evalsha'"));
    assert!(!refused.is_unavailable() && !refused.may_have_been_applied());
    assert_eq!(fake.requests().len(), 2);
}

#[tokio::test]
async fn a_server_that_repeats_what_it_was_sent_gives_no_token_away() {
    let said =
        "-ERR unknown command 'EVALSHA', with args beginning with: 'd1ed' '1' 'session:{xxx}:x";
    let (fake, session) = session([Turn::Say(format!("{said}\r\n").into())]).await;
    let refused = session.set("a", &1).await.expect_err("it has no scripts");
    let told = "the server refused: ERR unknown command 'EVALSHA'; if it is a sentinel, let the URL \
                begin with redis+sentinel:// and end in /SERVICE";
    assert_eq!(refused.to_string(), told);
    assert!(!format!("{refused:?}").contains("xxx"), "{refused:?}");
    assert_eq!(fake.requests().len(), 2);
}

#[tokio::test]
async fn a_server_with_no_place_left_is_asked_again() {
    let full = Turn::say(b"-ERR max number of clients reached\r\n");
    let fake = Fake::start_at(closed(), [full], [Turn::say(ALIVE)]);
    let store = builder(&fake).build().expect("good settings");
    store.touch(&token()).await.expect("the second connection is taken");
    assert_eq!((fake.connections(), fake.requests().len()), (2, 1));
}

#[tokio::test]
async fn who_has_no_time_for_another_try_is_told_how_the_last_one_ended() {
    let fake = Fake::start_at(closed(), [Turn::say(b"-WRONGPASS no\r\n"), Turn::Hang], []);
    let store = builder(&fake).deadline(Duration::from_secs(5)).build().expect("good settings");
    for _ in 0..2 {
        let refused = store.touch(&token()).await.expect_err("the password is wrong");
        assert!(
            matches!(&refused, Error::Refused { code, .. } if code == "WRONGPASS"),
            "{refused}"
        );
    }
    assert_eq!(fake.connections(), 2);
}

#[tokio::test]
async fn a_wrong_password_is_a_refusal() {
    let server = cloakroom::Server::builder().password("sesame").start().await.expect("it starts");
    let url = server.url();
    let wrong = url.replace("redis://", "redis://:open@");
    let refused = SessionStore::connect(&wrong).await.expect_err("it is wrong");
    assert!(matches!(&refused, Error::Refused { code, .. } if code == "WRONGPASS"), "{refused}");
    let none = SessionStore::connect(&url).await.expect_err("there is none");
    assert!(matches!(&none, Error::Refused { code, .. } if code == "NOAUTH"), "{none}");
    SessionStore::connect(&url.replace("redis://", "redis://:sesame@")).await.expect("it is right");
}

#[tokio::test]
async fn nobody_there_opens_the_circuit_until_somebody_is() {
    let socket = closed();
    let url = format!("redis://{}", socket.local_addr().expect("it has an address"));
    let store = SessionStore::builder(&url)
        .deadline(Duration::from_millis(100))
        .circuit(2, Duration::from_millis(100))
        .build()
        .expect("good settings");
    for _ in 0..2 {
        let away = store.touch(&token()).await.expect_err("nobody is there");
        assert!(matches!(away, Error::Unreachable { .. }), "{away}");
        assert!(away.is_unavailable() && !away.may_have_been_applied());
    }
    let refused = store.touch(&token()).await.expect_err("it is not even tried");
    assert!(matches!(refused, Error::CircuitOpen { .. }), "{refused}");

    let _fake = Fake::start_at(socket, [], [Turn::say(ALIVE)]);
    for _ in 0..1000 {
        if store.touch(&token()).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the circuit stays open");
}

#[tokio::test]
async fn more_than_may_wait_are_sent_away() {
    let fake = Fake::start([Turn::Silence]).await;
    let store = builder(&fake).max_in_flight(1).build().expect("good settings");
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.touch(&token()).await }
    });
    while fake.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    let sent_away = store.touch(&token()).await.expect_err("one waits already");
    assert!(matches!(sent_away, Error::Overloaded), "{sent_away}");
    waiting.abort();
}

/// Lets others go on so many times.
async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_operation_that_is_dropped_leaves_nothing_behind() {
    let server = cloakroom::Server::builder().start().await.expect("it starts");
    let store = SessionStore::builder(&server.url())
        .connect_timeout(Duration::from_secs(10))
        .response_timeout(Duration::from_secs(10))
        .deadline(Duration::from_secs(30))
        .max_in_flight(1)
        .build()
        .expect("good settings");
    let mut session = store.new_session().user("ann").create().await.expect("it begins");
    let mut counted = 0;
    for count in 0..200 {
        tokio::select! {
            biased;
            sum = session.incr("n", 1) => {
                let sum = sum.expect("it counts");
                assert!(sum > counted, "the answer is its own: {sum} after {counted}");
                counted = sum;
            }
            () = turns(count % 20) => {}
        }
        let now = store.load(session.token()).await.expect("there is a place for it");
        let now = now.fields().counter("n").expect("a number").unwrap_or(0);
        assert!((counted..=counted + 1).contains(&now), "{now} after {counted}");
        counted = now;
    }
    for count in 0..20 {
        let mut moving = session.clone();
        tokio::select! {
            biased;
            moved = moving.regenerate() => moved.expect("it is there"),
            () = turns(count) => {}
        }
        let mut all = store.sessions_of("ann").await.expect("it answers");
        assert_eq!(all.len(), 1, "one session, and the index knows it");
        session = all.remove(0);
    }
}

/// Makes a new token each time.
struct Counting(std::sync::atomic::AtomicU32);

impl CredentialsProvider for Counting {
    fn credentials(&self) -> CredentialsFuture<'_> {
        let number = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Box::pin(async move {
            Ok(Credentials { user: "ann".into(), password: format!("token {number}") })
        })
    }
}

#[tokio::test]
async fn each_connection_logs_in_with_new_credentials() {
    let fake = Fake::start([Turn::Close, Turn::say(ALIVE)]).await;
    let provider = Counting(Default::default());
    let store = builder(&fake).credentials(provider).build().expect("good settings");
    store.touch(&token()).await.expect("the second try succeeds");
    assert_eq!(fake.connections(), 2);
    let logins = fake.logins();
    let first = logins.first().expect("the first connection logs in");
    let last = logins.last().expect("the second one too");
    assert_eq!(first, "ann token 0");
    assert!(last.starts_with("ann token ") && last != first, "{logins:?}");
}

#[tokio::test]
async fn nothing_secret_is_shown() {
    let server = cloakroom::Server::builder().password("sesame").start().await.expect("it starts");
    let url = server.url().replace("redis://", "redis://:sesame@");
    let builder = SessionStore::builder(&url);
    let shown = format!("{builder:?}");
    assert!(!shown.contains("sesame"), "{shown}");
    let store = builder.build().expect("good settings");
    let session = store.new_session().user("ann").create().await.expect("it begins");
    let secret = &session.token().reveal()[3..];
    for shown in [format!("{store:?}"), format!("{session:?}"), format!("{:?}", session.token())] {
        assert!(!shown.contains(secret) && !shown.contains("sesame"), "{shown}");
    }
}
