//! A small shop with sessions: log in, count visits, fill a cart, order, see where you are logged in,
//! log out everywhere.
//!
//! `cargo run --example webapp` starts all of it, the session server and the database included. Where
//! else things may be is told by the environment:
//!
//! | variable | default |
//! |---|---|
//! | `SESSIONS_URL` | a Cloakroom inside this program |
//! | `DATABASE_URL` | an SQLite file in the system's folder for temporary files |
//! | `PORT` | 3000; 0 picks a free one |
//! | `SECURE_COOKIES` | no; `yes` behind TLS |
//!
//! What belongs to a visit (the counter, the cart) is in the session and ends with it; what outlives
//! it (who the customer is, what they ordered) is in the database, written at checkout and logout.

#![allow(clippy::print_stdout, reason = "it says where to look")]

mod pages;
mod shop;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Form, State};
use axum::http::header::USER_AGENT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, serve};
use cloakroom_client::axum::{Session, SessionLayer};
use cloakroom_client::{Error, Lifetime, SessionStore};
use serde::Deserialize;
use tokio::net::TcpListener;

use shop::{Cart, Shop};

#[derive(Clone)]
struct App {
    shop: Shop,
}

/// What can go wrong while a page is made.
enum Failure {
    Session(Error),
    Database(sqlx::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Session(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Failure::Database(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            // The session ended while its page was asked for: begin again.
            Failure::Session(Error::NoSuchSession) => Redirect::to("/").into_response(),
            Failure::Session(error) => error.into_response(),
            Failure::Database(error) => {
                eprintln!("database: {error}");
                let page = pages::sorry("The order book is closed for a moment.");
                (StatusCode::SERVICE_UNAVAILABLE, Html(page)).into_response()
            }
        }
    }
}

type Page = Result<Html<String>, Failure>;
type Action = Result<Redirect, Failure>;

async fn home(session: Session) -> Page {
    let visits = session.incr("visits", 1).await?;
    let notice: Option<String> = session.take_flash("notice").await?;
    let visit = pages::Visit::of(&session, visits, notice);
    Ok(Html(pages::home(&visit, &cart_of(&session)?)))
}

fn cart_of(session: &Session) -> Result<Cart, Error> {
    Ok(session.fields().get("cart")?.unwrap_or_default())
}

#[derive(Deserialize)]
struct LogIn {
    name: String,
    #[serde(default)]
    remember: Option<String>,
}

/// A real shop would ask for a password here and check it, slowly.
async fn log_in(
    State(app): State<App>,
    session: Session,
    headers: HeaderMap,
    Form(form): Form<LogIn>,
) -> Action {
    let name = form.name.trim();
    if name.is_empty() || name.len() > 40 {
        session.flash("notice", "A name has 1 to 40 letters.").await?;
        return Ok(Redirect::to("/"));
    }
    match form.remember {
        Some(_) => {
            session.log_in_for(name, Lifetime::fixed(Duration::from_secs(14 * 86400))).await?
        }
        None => session.log_in(name).await?,
    }
    let device = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    session.set("device", pages::device(device.unwrap_or_default())).await?;
    let before = app.shop.welcome(name).await?;
    session.flash("notice", &pages::welcome(name, before)).await?;
    Ok(Redirect::to("/"))
}

async fn log_out(State(app): State<App>, session: Session) -> Action {
    if let Some(user) = session.user() {
        let visits = session.fields().counter("visits")?.unwrap_or(0);
        app.shop.add_visits(&user, visits).await?;
    }
    session.destroy().await?;
    Ok(Redirect::to("/"))
}

async fn log_out_everywhere(State(app): State<App>, session: Session) -> Action {
    if let (Some(user), Some(stored)) = (session.user(), session.stored()) {
        let mut visits = 0;
        for other in stored.store().sessions_of(&user).await? {
            visits += other.fields().counter("visits")?.unwrap_or(0);
        }
        app.shop.add_visits(&user, visits).await?;
    }
    session.destroy_everywhere().await?;
    Ok(Redirect::to("/"))
}

#[derive(Deserialize)]
struct Item {
    item: String,
}

async fn put_into_cart(session: Session, Form(form): Form<Item>) -> Action {
    if let Some(item) = shop::item(&form.item) {
        session
            .update(|draft| {
                let mut cart: Cart = draft.get("cart")?.unwrap_or_default();
                *cart.entry(item.id.to_owned()).or_default() += 1;
                if draft.get::<String>("cart_id")?.is_none() {
                    draft.set("cart_id", &shop::new_id())?;
                }
                draft.set("cart", &cart)
            })
            .await?;
        session.flash("notice", &format!("{} is in your cart.", item.name)).await?;
    }
    Ok(Redirect::to("/"))
}

async fn take_from_cart(session: Session, Form(form): Form<Item>) -> Action {
    session
        .update(|draft| {
            let mut cart: Cart = draft.get("cart")?.unwrap_or_default();
            cart.remove(&form.item);
            draft.set("cart", &cart)
        })
        .await?;
    Ok(Redirect::to("/"))
}

async fn check_out(State(app): State<App>, session: Session) -> Action {
    let Some(user) = session.user() else {
        session.flash("notice", "Please log in to order; your cart comes along.").await?;
        return Ok(Redirect::to("/"));
    };
    let (cart, id) = (cart_of(&session)?, session.fields().get::<String>("cart_id")?);
    if let (false, Some(id)) = (cart.is_empty(), id) {
        // The order has the cart's number: a second click orders nothing twice.
        app.shop.order(&id, &user, &cart).await?;
        session
            .update(|draft| {
                if draft.get::<String>("cart_id")?.as_deref() == Some(id.as_str()) {
                    draft.remove("cart")?;
                    draft.remove("cart_id")?;
                }
                Ok(())
            })
            .await?;
        session.flash("notice", "Thank you! Your order is on its way.").await?;
    }
    Ok(Redirect::to("/orders"))
}

async fn orders(State(app): State<App>, session: Session) -> Page {
    let Some(user) = session.user() else { return Ok(Html(pages::please_log_in())) };
    let visits = session.fields().counter("visits")?.unwrap_or(0);
    let notice = session.take_flash("notice").await?;
    let visit = pages::Visit::of(&session, visits, notice);
    let orders = app.shop.orders(&user).await?;
    let profile = app.shop.profile(&user).await?;
    Ok(Html(pages::orders(&visit, &profile, &orders)))
}

async fn sessions(session: Session) -> Page {
    let (Some(user), Some(own)) = (session.user(), session.stored()) else {
        return Ok(Html(pages::please_log_in()));
    };
    let visits = session.fields().counter("visits")?.unwrap_or(0);
    let visit = pages::Visit::of(&session, visits, session.take_flash("notice").await?);
    let all = own.store().sessions_of(&user).await?;
    Ok(Html(pages::sessions(&visit, own.token(), &all)))
}

#[derive(Deserialize)]
struct Which {
    /// A fingerprint: no page ever shows a token.
    session: String,
}

async fn end_session(session: Session, Form(form): Form<Which>) -> Action {
    if let (Some(user), Some(own)) = (session.user(), session.stored()) {
        for other in own.store().sessions_of(&user).await? {
            if other.token().fingerprint() == form.session {
                other.destroy().await?;
            }
        }
        session.flash("notice", "That session is over.").await?;
    }
    Ok(Redirect::to("/sessions"))
}

fn app(store: SessionStore, shop: Shop, secure: bool) -> Router {
    Router::new()
        .route("/", get(home))
        .merge(cart())
        .merge(account())
        .layer(SessionLayer::new(store).secure(secure).persistent(true))
        // Without a session of its own: it is the same for everybody.
        .route("/style.css", get(pages::style))
        .with_state(App { shop })
}

fn cart() -> Router<App> {
    Router::new()
        .route("/cart", post(put_into_cart))
        .route("/cart/remove", post(take_from_cart))
        .route("/checkout", post(check_out))
        .route("/orders", get(orders))
}

fn account() -> Router<App> {
    Router::new()
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .route("/logout-everywhere", post(log_out_everywhere))
        .route("/sessions", get(sessions))
        .route("/sessions/end", post(end_session))
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut known = BTreeMap::new();
    // Kept until the end: the server stops when this is dropped.
    let _embedded;
    let url = match setting("SESSIONS_URL") {
        Some(url) => url,
        None => {
            let server = cloakroom::Server::builder().start().await?;
            let url = server.url();
            known.insert("sessions", format!("{url} (a Cloakroom in this program)"));
            _embedded = server;
            url
        }
    };
    let lifetime =
        Lifetime::sliding(Duration::from_secs(30 * 60)).capped_at(Duration::from_secs(12 * 3600));
    let store = SessionStore::builder(&url).prefix("session:shop").lifetime(lifetime);
    let store = store.connect().await?;
    let database = setting("DATABASE_URL").unwrap_or_else(|| {
        let file = std::env::temp_dir().join("cloakroom-webapp.sqlite");
        known.insert("database", file.display().to_string());
        format!("sqlite:{}?mode=rwc", file.display())
    });
    let shop = Shop::open(&database).await?;
    let port = setting("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    for (what, place) in &known {
        println!("{what:9} {place}");
    }
    println!("ready     http://{}", listener.local_addr()?);
    let secure = setting("SECURE_COOKIES").is_some_and(|value| value == "yes");
    serve(listener, app(store, shop, secure)).await?;
    Ok(())
}
