//! How long sessions and fields live, with the time in our hands.

use std::time::Duration;

use cloakroom::Handle;
use cloakroom_client::{Builder, Error, Lifetime, Session, SessionStore};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

async fn server() -> Handle {
    cloakroom::Server::builder().frozen_clock().start().await.expect("the server starts")
}

/// Patient, so that a busy machine fails no test.
fn builder(server: &Handle) -> Builder {
    SessionStore::builder(&server.url())
        .connect_timeout(10 * SECOND)
        .response_timeout(10 * SECOND)
        .deadline(30 * SECOND)
}

/// Milliseconds that are left, as the server keeps them.
async fn ttl(server: &Handle, session: &Session) -> i64 {
    let client = redis::Client::open(server.url()).expect("a good URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it connects");
    redis::cmd("PTTL").arg(key(session)).query_async(&mut connection).await.expect("it answers")
}

/// As docs/guide.md tells other languages to find a session.
fn key(session: &Session) -> String {
    let (bucket, rest) = session.token().reveal().split_at(3);
    format!("session:{{{bucket}}}:{rest}")
}

#[tokio::test]
async fn a_sliding_session_lives_on_while_it_is_used() {
    let server = server().await;
    let store = builder(&server).lifetime(Lifetime::sliding(30 * MINUTE)).build().expect("good");
    let session = store.create().await.expect("it begins");
    for _ in 0..10 {
        server.advance(29 * MINUTE);
        assert_eq!(store.load(session.token()).await.expect("alive").expires_in(), 30 * MINUTE);
    }
    server.advance(30 * MINUTE);
    assert!(matches!(store.load(session.token()).await, Err(Error::NoSuchSession)));
}

#[tokio::test]
async fn every_use_renews() {
    let server = server().await;
    let store = builder(&server).lifetime(Lifetime::sliding(30 * MINUTE)).build().expect("good");
    let mut session = store.create().await.expect("it begins");
    let full = 30 * 60 * 1000;
    macro_rules! renews {
        ($use:expr) => {
            server.advance(20 * MINUTE);
            assert_eq!(ttl(&server, &session).await, full / 3, "before {}", stringify!($use));
            let _ = $use.await.expect(stringify!($use));
            assert_eq!(ttl(&server, &session).await, full, "after {}", stringify!($use));
        };
    }
    renews!(store.load(session.token()));
    renews!(session.touch());
    renews!(session.set("a", &1));
    renews!(session.get::<i32>("a"));
    renews!(session.get_all());
    renews!(session.incr("a", 1));
    renews!(session.update(|draft| draft.set("b", &2)));
    renews!(session.remove("a"));
    renews!(session.flash("note", "x"));
    renews!(session.take_flash::<String>("note"));
    renews!(session.set_for("c", &3, MINUTE));
    renews!(session.regenerate());
    renews!(session.log_in("ann"));
}

#[tokio::test]
async fn a_renewal_waits_until_a_part_of_the_time_is_used_up() {
    let server = server().await;
    let store = builder(&server).lifetime(Lifetime::sliding(100 * SECOND)).renew_after(0.2);
    let store = store.build().expect("good");
    let session = store.create().await.expect("it begins");
    server.advance(19 * SECOND);
    session.touch().await.expect("alive");
    assert_eq!(ttl(&server, &session).await, 81_000, "no write for a fifth of the time");
    session.set("a", &1).await.expect("alive");
    assert_eq!(ttl(&server, &session).await, 81_000);
    server.advance(SECOND);
    session.touch().await.expect("alive");
    assert_eq!(ttl(&server, &session).await, 100_000);
}

#[tokio::test]
async fn a_cap_ends_a_session_however_much_it_is_used() {
    let server = server().await;
    let life = Lifetime::sliding(30 * MINUTE).capped_at(60 * MINUTE);
    let store = builder(&server).lifetime(life).build().expect("good");
    let session = store.create().await.expect("it begins");
    for left in [30, 30, 20, 10] {
        server.advance(10 * MINUTE);
        let _ = left;
        session.touch().await.expect("alive");
    }
    server.advance(15 * MINUTE);
    assert_eq!(session.touch().await.expect("alive"), 5 * MINUTE, "no renewal beyond the cap");
    server.advance(5 * MINUTE);
    assert!(matches!(session.touch().await, Err(Error::NoSuchSession)));
}

#[tokio::test]
async fn a_fixed_session_is_not_renewed() {
    let server = server().await;
    let store = builder(&server).lifetime(Lifetime::fixed(10 * MINUTE)).build().expect("good");
    let mut session = store.create().await.expect("it begins");
    server.advance(6 * MINUTE);
    session.set("a", &1).await.expect("alive");
    session.regenerate().await.expect("alive");
    assert_eq!(store.load(session.token()).await.expect("alive").expires_in(), 4 * MINUTE);
    server.advance(4 * MINUTE);
    assert!(matches!(session.set("a", &2).await, Err(Error::NoSuchSession)));
}

#[tokio::test]
async fn each_session_remembers_its_own_lifetime() {
    let server = server().await;
    let store = builder(&server).lifetime(Lifetime::sliding(10 * MINUTE)).build().expect("good");
    let remembered = store.new_session().lifetime(Lifetime::sliding(600 * MINUTE));
    let mut remembered = remembered.create().await.expect("it begins");
    let mut short = store.create().await.expect("it begins");
    server.advance(5 * MINUTE);
    assert_eq!(remembered.touch().await.expect("alive"), 595 * MINUTE);
    assert_eq!(short.touch().await.expect("alive"), 10 * MINUTE);
    short.log_in_for("ann", Lifetime::fixed(MINUTE)).await.expect("alive");
    remembered.log_in("ann").await.expect("alive");
    assert_eq!(short.expires_in(), MINUTE);
    assert_eq!(remembered.expires_in(), 10 * MINUTE, "a login begins the store's lifetime");
    assert_eq!(ttl(&server, &short).await, 60_000);
}

#[tokio::test]
async fn a_login_begins_the_cap_anew_and_a_new_token_does_not() {
    let server = server().await;
    let life = Lifetime::sliding(30 * MINUTE).capped_at(60 * MINUTE);
    let store = builder(&server).lifetime(life).build().expect("good");
    let mut session = store.create().await.expect("it begins");
    let ends = session.ends_at().expect("it has a cap");
    server.advance(20 * MINUTE);
    session.regenerate().await.expect("alive");
    assert_eq!(store.load(session.token()).await.expect("alive").ends_at(), Some(ends));
    session.log_in("ann").await.expect("alive");
    let loaded = store.load(session.token()).await.expect("alive");
    assert_eq!(loaded.ends_at(), Some(ends + 20 * MINUTE));
    assert_eq!((loaded.ends_at(), loaded.created_at()), (session.ends_at(), session.created_at()));
}

#[tokio::test]
async fn a_session_is_never_without_a_deadline() {
    let server = server().await;
    let store = builder(&server).build().expect("good");
    let session = store.create().await.expect("it begins");
    assert_eq!(ttl(&server, &session).await, 30 * 60 * 1000, "from its first moment");

    // Even one that others made without a deadline gets one as soon as it is used.
    let client = redis::Client::open(server.url()).expect("a good URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it connects");
    let () = redis::cmd("PERSIST")
        .arg(key(&session))
        .query_async(&mut connection)
        .await
        .expect("it answers");
    assert_eq!(ttl(&server, &session).await, -1);
    store.load(session.token()).await.expect("alive");
    assert_eq!(ttl(&server, &session).await, 30 * 60 * 1000);
}

#[tokio::test]
async fn a_hash_of_others_that_loses_its_last_field_and_comes_back_keeps_its_deadline() {
    let server = server().await;
    let store = builder(&server).build().expect("good");
    let session = store.create().await.expect("it begins");
    let client = redis::Client::open(server.url()).expect("a good URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it connects");
    let mut left_by_others = async |fields: &[(&str, &str)]| {
        let mut pipe = redis::pipe();
        pipe.del(key(&session)).hset_multiple(key(&session), fields).pexpire(key(&session), 60_000);
        pipe.exec_async(&mut connection).await.expect("it answers");
    };

    left_by_others(&[("old", "1")]).await;
    let both = session.update(|session| {
        session.remove("old")?;
        session.set("new", &2)
    });
    both.await.expect("alive");
    assert_eq!(ttl(&server, &session).await, 60_000);

    // A number that has ended is gone before it is counted on.
    left_by_others(&[("count", "5"), ("_until:count", "1")]).await;
    assert_eq!(session.incr("count", 1).await.expect("alive"), 1);
    assert_eq!(ttl(&server, &session).await, 60_000);
}

#[tokio::test]
async fn a_field_may_end_before_its_session() {
    let server = server().await;
    let store = builder(&server).build().expect("good");
    let session = store.create().await.expect("it begins");
    session.set_for("code", &1234, MINUTE).await.expect("alive");
    session.set("name", "ann").await.expect("alive");
    assert_eq!(session.get::<u32>("code").await.expect("alive"), Some(1234));
    server.advance(MINUTE);
    assert_eq!(session.get::<u32>("code").await.expect("alive"), None);
    assert_eq!(session.get_all().await.expect("alive").names().collect::<Vec<_>>(), ["name"]);

    // A write without a time takes the old time away.
    session.set_for("code", &1, MINUTE).await.expect("alive");
    session.set("code", &2).await.expect("alive");
    server.advance(2 * MINUTE);
    assert_eq!(session.get::<u32>("code").await.expect("alive"), Some(2));
}

#[tokio::test]
async fn a_field_has_its_time_though_the_user_may_not_say_hpexpire() {
    let server = server().await;
    let client = redis::Client::open(server.url()).expect("a good URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it connects");
    let () = redis::cmd("ACL")
        .arg(&["SETUSER", "app", "on", ">sesame", "~*", "+@all", "-hpexpire"])
        .query_async(&mut connection)
        .await
        .expect("it answers");
    let url = server.url().replace("redis://", "redis://app:sesame@");
    let store = SessionStore::builder(&url).connect_timeout(10 * SECOND).deadline(30 * SECOND);
    let store = store.response_timeout(10 * SECOND).build().expect("good");
    let session = store.create().await.expect("it begins");
    for _ in 0..2 {
        session.set_for("code", &1234, MINUTE).await.expect("alive");
        assert_eq!(session.get::<u32>("code").await.expect("alive"), Some(1234));
        server.advance(MINUTE);
        assert_eq!(session.get::<u32>("code").await.expect("alive"), None);
    }
}

#[tokio::test]
async fn an_index_forgets_sessions_that_ended_by_themselves() {
    let server = server().await;
    let store = builder(&server).buckets(1).lifetime(Lifetime::sliding(10 * MINUTE));
    let store = store.build().expect("good");
    let old = store.new_session().user("ann").create().await.expect("it begins");
    server.advance(5 * MINUTE);
    let new = store.new_session().user("ann").create().await.expect("it begins");
    server.advance(5 * MINUTE);
    let left = store.sessions_of("ann").await.expect("it answers");
    assert_eq!(left.iter().map(Session::token).collect::<Vec<_>>(), [new.token()]);

    // What is over is removed from it at the next renewal, and with its last session it goes.
    assert!(matches!(old.touch().await, Err(Error::NoSuchSession)));
    new.touch().await.expect("alive");
    let client = redis::Client::open(server.url()).expect("a good URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it connects");
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("*:user:*").query_async(&mut connection).await.expect("it answers");
    let [index] = &keys[..] else { panic!("one index: {keys:?}") };
    let count: i64 =
        redis::cmd("ZCARD").arg(index).query_async(&mut connection).await.expect("it answers");
    assert_eq!(count, 1);
    server.advance(10 * MINUTE);
    let size: i64 = redis::cmd("DBSIZE").query_async(&mut connection).await.expect("it answers");
    assert_eq!(size, 0, "nothing is left");
}
