//! The store for `tower-sessions`: what its trait asks for, and its middleware over real requests.

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use cloakroom::Handle;
use cloakroom_client::{SessionStore, TowerSessionStore};
use http::header::{COOKIE, SET_COOKIE};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use time::OffsetDateTime;
use tower::ServiceExt;
use tower_sessions::session::{Id, Record};
use tower_sessions::{
    CachingSessionStore, MemoryStore, Session, SessionManagerLayer, SessionStore as TowerStore,
};

async fn server() -> (Handle, TowerSessionStore) {
    let server = cloakroom::Server::builder().start().await.expect("the server starts");
    let store = SessionStore::builder(&server.url())
        .response_timeout(Duration::from_secs(10))
        .connect_timeout(Duration::from_secs(10))
        .deadline(Duration::from_secs(30))
        .build()
        .expect("good settings");
    (server, TowerSessionStore::new(store))
}

fn record() -> Record {
    // The store keeps milliseconds.
    let expiry = OffsetDateTime::now_utc() + Duration::from_secs(3600);
    let expiry_date = expiry.replace_millisecond(7).expect("a millisecond");
    let data = HashMap::from([
        ("user".to_owned(), json!({ "name": "ann", "roles": ["admin"] })),
        ("_ends".to_owned(), json!("not the store's")),
        ("n".to_owned(), json!(1.5)),
    ]);
    Record { id: Id::default(), data, expiry_date }
}

#[tokio::test]
async fn a_record_is_created_loaded_saved_and_deleted() {
    let (_server, store) = server().await;
    let mut record = record();
    store.create(&mut record).await.expect("it is created");
    assert_eq!(store.load(&record.id).await.expect("ok"), Some(record.clone()));
    record.data.remove("n");
    record.data.insert("theme".to_owned(), json!("dark"));
    record.expiry_date += Duration::from_secs(60);
    store.save(&record).await.expect("it is saved");
    assert_eq!(store.load(&record.id).await.expect("ok"), Some(record.clone()), "as a whole");
    store.delete(&record.id).await.expect("it is deleted");
    assert_eq!(store.load(&record.id).await.expect("ok"), None);
    store.delete(&record.id).await.expect("twice is no error");
    assert_eq!(store.load(&Id::default()).await.expect("ok"), None);
}

#[tokio::test]
async fn an_id_that_is_taken_is_not_taken_away() {
    let (_server, store) = server().await;
    let mut first = record();
    store.create(&mut first).await.expect("it is created");
    let mut second = Record { data: HashMap::new(), ..first.clone() };
    store.create(&mut second).await.expect("it is created");
    assert_ne!(first.id, second.id);
    assert_eq!(store.load(&first.id).await.expect("ok"), Some(first));
    assert_eq!(store.load(&second.id).await.expect("ok"), Some(second));
}

#[tokio::test]
async fn a_record_ends_at_its_date() {
    let (server, store) = server().await;
    server.freeze();
    let mut record = record();
    store.create(&mut record).await.expect("it is created");
    server.advance(Duration::from_secs(3500));
    assert!(store.load(&record.id).await.expect("ok").is_some());
    server.advance(Duration::from_secs(101));
    assert_eq!(store.load(&record.id).await.expect("ok"), None);
    let mut past = Record { expiry_date: OffsetDateTime::UNIX_EPOCH, ..record };
    store.create(&mut past).await.expect("it is created");
    assert_eq!(store.load(&past.id).await.expect("ok"), None, "and is over");
}

#[tokio::test]
async fn a_deleted_record_is_not_saved_back() {
    let (_server, store) = server().await;
    let mut record = record();
    store.create(&mut record).await.expect("it is created");
    store.delete(&record.id).await.expect("it is deleted");
    store.save(&record).await.expect("no error");
    assert_eq!(store.load(&record.id).await.expect("ok"), None);
}

#[tokio::test]
async fn it_serves_as_a_cache_where_that_is_wanted() {
    let (_server, store) = server().await;
    let behind = MemoryStore::default();
    let mut record = record();
    behind.create(&mut record).await.expect("it is created");
    let cached = CachingSessionStore::new(store.clone().save_creates(true), behind);
    assert_eq!(cached.load(&record.id).await.expect("ok"), Some(record.clone()));
    assert_eq!(store.load(&record.id).await.expect("ok"), Some(record), "it was filled");
}

async fn count(session: Session) -> String {
    let visits: u32 = session.get("visits").await.expect("ok").unwrap_or(0) + 1;
    session.insert("visits", visits).await.expect("ok");
    visits.to_string()
}

async fn log_in(session: Session) -> &'static str {
    session.cycle_id().await.expect("ok");
    session.insert("user", "ann").await.expect("ok");
    "hello"
}

async fn log_out(session: Session) -> &'static str {
    session.flush().await.expect("ok");
    "bye"
}

#[tokio::test]
async fn its_middleware_keeps_sessions_here() {
    let (_server, store) = server().await;
    let app = Router::new()
        .route("/", get(count))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .layer(SessionManagerLayer::new(store));
    let ask = async |method: &str, path: &str, cookie: &str| {
        let request = Request::builder().method(method).uri(path).header(COOKIE, cookie);
        let request = request.body(axum::body::Body::empty()).expect("a request");
        let response = app.clone().oneshot(request).await.expect("it answers");
        assert_eq!(response.status(), StatusCode::OK);
        let cookie = response.headers().get(SET_COOKIE).map(|header| {
            let text = header.to_str().expect("text");
            text.split(';').next().unwrap_or_default().to_owned()
        });
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (String::from_utf8(body.to_vec()).expect("text"), cookie)
    };
    let (body, cookie) = ask("GET", "/", "").await;
    let cookie = cookie.expect("it begins");
    assert_eq!(body, "1");
    assert_eq!(ask("GET", "/", &cookie).await.0, "2");
    let new = ask("POST", "/login", &cookie).await.1.expect("a new id");
    assert_ne!(new, cookie);
    assert_eq!(ask("GET", "/", &new).await.0, "3");
    assert_eq!(ask("GET", "/", &cookie).await.0, "1", "the old id leads nowhere");
    ask("POST", "/logout", &new).await;
    assert_eq!(ask("GET", "/", &new).await.0, "1");
}
