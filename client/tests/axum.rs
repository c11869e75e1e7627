//! The axum extractor over real requests: when a session begins, what the cookie says, who is let in.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{COOKIE, RETRY_AFTER, SET_COOKIE};
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use cloakroom::Handle;
use cloakroom_client::axum::{Session, SessionLayer};
use cloakroom_client::{Error, Lifetime, SessionStore};
use http_body_util::BodyExt;
use tower::ServiceExt;

async fn home(session: Session) -> Result<String, Error> {
    let notice: Option<String> = session.take_flash("notice").await?;
    let user = session.user().unwrap_or_else(|| "nobody".to_owned());
    let visits: i64 = session.fields().get("visits")?.unwrap_or(0);
    Ok(format!("{user} {visits} {}", notice.unwrap_or_default()))
}

async fn visit(session: Session, again: Session) -> Result<String, Error> {
    session.incr("visits", 1).await?;
    Ok(again.incr("visits", 1).await?.to_string())
}

async fn log_in(session: Session) -> Result<&'static str, Error> {
    session.log_in("ann").await?;
    session.flash("notice", "welcome").await?;
    Ok("in")
}

async fn remember(session: Session) -> Result<&'static str, Error> {
    session.log_in_for("ann", Lifetime::fixed(Duration::from_secs(1000))).await?;
    Ok("in")
}

async fn log_out(session: Session) -> Result<&'static str, Error> {
    session.destroy().await?;
    Ok("out")
}

async fn log_out_everywhere(session: Session) -> Result<String, Error> {
    Ok(session.destroy_everywhere().await?.to_string())
}

async fn too_late(session: Session) -> Result<&'static str, Error> {
    let stored = session.stored().ok_or(Error::NoSuchSession)?;
    stored.store().destroy(stored.token()).await?;
    session.set("a", &1).await?;
    Ok("never")
}

struct Site {
    app: Router,
    store: SessionStore,
    server: Handle,
}

struct Page {
    status: StatusCode,
    body: String,
    set_cookie: Option<String>,
}

impl Page {
    /// What a browser would send back.
    fn cookie(&self) -> String {
        let set = self.set_cookie.as_deref().expect("a cookie is set");
        set.split(';').next().unwrap_or_default().to_owned()
    }
}

impl Site {
    async fn open(layer: impl FnOnce(SessionLayer) -> SessionLayer) -> Site {
        let server = cloakroom::Server::builder().start().await.expect("the server starts");
        let store = SessionStore::builder(&server.url())
            .connect_timeout(Duration::from_secs(10))
            .response_timeout(Duration::from_secs(10))
            .deadline(Duration::from_secs(30))
            .build()
            .expect("good settings");
        let app = Router::new()
            .route("/", get(home))
            .route("/visit", get(visit))
            .route("/login", post(log_in))
            .route("/remember", post(remember))
            .route("/logout", post(log_out))
            .route("/everywhere", post(log_out_everywhere))
            .route("/late", get(too_late))
            .layer(layer(SessionLayer::new(store.clone())));
        Site { app, store, server }
    }

    async fn ask(&self, method: &str, path: &str, cookie: &str) -> Page {
        let request = Request::builder().method(method).uri(path).header(COOKIE, cookie);
        let request = request.body(Body::empty()).expect("a request");
        let response = self.app.clone().oneshot(request).await.expect("it answers");
        let status = response.status();
        let cookies: Vec<_> = response.headers().get_all(SET_COOKIE).iter().collect();
        assert!(cookies.len() <= 1, "{cookies:?}");
        let text = |header: &&axum::http::HeaderValue| header.to_str().expect("text").to_owned();
        let set_cookie = cookies.first().map(text);
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let body = String::from_utf8(body.to_vec()).expect("text");
        Page { status, body, set_cookie }
    }

    async fn get(&self, path: &str, cookie: &str) -> Page {
        self.ask("GET", path, cookie).await
    }

    async fn post(&self, path: &str, cookie: &str) -> Page {
        self.ask("POST", path, cookie).await
    }
}

#[tokio::test]
async fn who_only_looks_gets_no_session() {
    let site = Site::open(|layer| layer).await;
    let nonsense = format!("__Host-session={}", "x".repeat(35));
    for cookie in ["", "__Host-session=nonsense", &nonsense] {
        let page = site.get("/", cookie).await;
        assert_eq!((page.status, page.body.as_str()), (StatusCode::OK, "nobody 0 "));
        assert_eq!(page.set_cookie, None);
    }
}

#[tokio::test]
async fn the_first_write_begins_one_and_only_one() {
    let site = Site::open(|layer| layer).await;
    let page = site.get("/visit", "").await;
    assert_eq!(page.body, "2", "both extractors of a request have the same session");
    let set = page.set_cookie.clone().expect("a cookie is set");
    assert!(set.starts_with("__Host-session="), "{set}");
    for word in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(set.contains(word), "{set}");
    }
    assert!(!set.contains("Max-Age"), "{set}");
    let next = site.get("/visit", &page.cookie()).await;
    assert_eq!((next.body.as_str(), next.set_cookie), ("4", None), "and it goes on");
}

#[tokio::test]
async fn a_planted_token_is_worth_nothing() {
    let site = Site::open(|layer| layer).await;
    // An attacker's own session, whose cookie the victim's browser was made to send.
    let planted = site.get("/visit", "").await.cookie();
    let page = site.post("/login", &planted).await;
    assert_ne!(page.cookie(), planted);
    assert_eq!(site.get("/", &page.cookie()).await.body, "ann 2 welcome");
    assert_eq!(site.get("/", &page.cookie()).await.body, "ann 2 ", "a flash is seen once");
    assert_eq!(site.get("/", &planted).await.body, "nobody 0 ");
    // A token that never was is not taken over either.
    let made_up = format!("__Host-session={}", "x".repeat(35));
    assert_ne!(site.post("/login", &made_up).await.cookie(), made_up);
}

#[tokio::test]
async fn log_out_ends_the_session_and_takes_the_cookie_back() {
    let site = Site::open(|layer| layer).await;
    let cookie = site.post("/login", "").await.cookie();
    let page = site.post("/logout", &cookie).await;
    let set = page.set_cookie.expect("it is taken back");
    assert!(set.contains("Max-Age=0"), "{set}");
    assert_eq!(site.get("/", &cookie).await.body, "nobody 0 ");
    assert_eq!(site.post("/logout", "").await.set_cookie, None, "nothing to take back");
}

#[tokio::test]
async fn log_out_everywhere_ends_them_all() {
    let site = Site::open(|layer| layer).await;
    let mut cookies = Vec::new();
    for _ in 0..3 {
        cookies.push(site.post("/login", "").await.cookie());
    }
    assert_eq!(site.post("/everywhere", &cookies[0]).await.body, "3");
    for cookie in &cookies {
        assert_eq!(site.get("/", cookie).await.body, "nobody 0 ");
    }
    assert!(site.store.sessions_of("ann").await.expect("it answers").is_empty());
}

#[tokio::test]
async fn a_persistent_cookie_lasts_until_the_cap() {
    let site = Site::open(|layer| layer.persistent(true).secure(false)).await;
    let set = site.post("/remember", "").await.set_cookie.expect("a cookie is set");
    assert!(set.starts_with("session=") && set.contains("Max-Age=1000"), "{set}");
    assert!(!set.contains("Secure"), "{set}");
    let set = site.get("/visit", "").await.set_cookie.expect("a cookie is set");
    assert!(set.contains(&format!("Max-Age={}", 30 * 24 * 3600)), "{set}");
}

#[tokio::test]
async fn a_session_that_ends_meanwhile_is_said_so() {
    let site = Site::open(|layer| layer).await;
    let cookie = site.get("/visit", "").await.cookie();
    assert_eq!(site.get("/late", &cookie).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn without_a_server_it_is_a_moment_to_wait() {
    let site = Site::open(|layer| layer).await;
    let cookie = site.get("/visit", "").await.cookie();
    let url = site.server.url();
    let Site { server, .. } = site;
    server.shutdown().await;
    let store = SessionStore::builder(&url).deadline(Duration::from_millis(50)).build();
    let layer = SessionLayer::new(store.expect("good settings"));
    let app = Router::new().route("/", get(home)).layer(layer);
    let request = Request::get("/").header(COOKIE, cookie).body(Body::empty()).expect("a request");
    let response = app.oneshot(request).await.expect("it answers");
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key(RETRY_AFTER));
}

#[tokio::test]
async fn a_forgotten_layer_is_said_so() {
    let app = Router::new().route("/", get(home));
    let request = Request::get("/").body(Body::empty()).expect("a request");
    let response = app.oneshot(request).await.expect("it answers");
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}
