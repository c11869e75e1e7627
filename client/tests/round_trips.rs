//! How often one waits for the server: once for each operation, however much it does there.

use std::time::Duration;

use cloakroom_client::SessionStore;
use cloakroom_tests::proxy::Proxy;

/// Runs an operation and says how often it has waited.
async fn trips<T>(proxy: &Proxy, operation: impl Future<Output = T>) -> (T, u64) {
    let before = proxy.round_trips();
    (operation.await, proxy.round_trips() - before)
}

/// Runs an operation on a server that knows its script.
macro_rules! once {
    ($proxy:expr, $operation:expr) => {{
        let (done, count) = trips(&$proxy, $operation).await;
        assert_eq!(count, 1, stringify!($operation));
        done.expect(stringify!($operation))
    }};
}

async fn visit(proxy: &Proxy, store: &SessionStore) {
    let new = store.new_session().user("ann").set("a", &1).expect("it can be written");
    let mut session = once!(proxy, new.create());
    once!(proxy, store.load(session.token()));
    once!(proxy, store.touch(session.token()));
    once!(proxy, session.get::<u32>("a"));
    once!(proxy, session.get_all());
    once!(proxy, session.set("b", &2));
    once!(proxy, session.set_for("c", &3, Duration::from_secs(60)));
    once!(proxy, session.incr("d", 1));
    once!(proxy, session.flash("e", "seen"));
    once!(proxy, session.take_flash::<String>("e"));
    once!(proxy, session.remove("c"));
    once!(proxy, session.regenerate());
    once!(proxy, session.log_in("ann"));
    let session = once!(proxy, store.load(session.token()));
    // What was loaded still holds.
    let copy = session.update(|draft| {
        let b = draft.get::<u32>("b")?;
        draft.set("f", &b)
    });
    once!(proxy, copy);
    once!(proxy, session.destroy());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_waits_once() {
    let server = cloakroom::Server::builder().start().await.expect("the server starts");
    let proxy = Proxy::start(server.addr().expect("it listens"), 0);
    let store = SessionStore::builder(&format!("redis://{}", proxy.address()))
        .connect_timeout(Duration::from_secs(10))
        .response_timeout(Duration::from_secs(10))
        .build()
        .expect("good settings");
    // A server that has not seen a script is sent its text: once for all clients.
    let direct = SessionStore::connect(&server.url()).await.expect("it answers");
    let mut session = direct.create().await.expect("it begins");
    session.get::<u32>("a").await.expect("it is there");
    session.set("a", &1).await.expect("it is there");
    session.incr("b", 1).await.expect("it is there");
    session.take_flash::<String>("c").await.expect("it is there");
    session.regenerate().await.expect("it is there");
    session.touch().await.expect("it is there");
    session.destroy().await.expect("it is there");
    store.ping().await.expect("it answers");

    visit(&proxy, &store).await;
}
