//! Sessions in axum: a layer that reads and writes the cookie, and an extractor for handlers. Needs the
//! feature `axum`.
//!
//! ```
//! use axum::{Router, response::Html, routing::get};
//! use cloakroom_client::axum::{Session, SessionLayer};
//! use cloakroom_client::{Error, SessionStore};
//!
//! async fn home(session: Session) -> Result<Html<String>, Error> {
//!     let visits = session.incr("visits", 1).await?; // begins a session if there is none
//!     Ok(Html(format!("visit number {visits}")))
//! }
//!
//! fn app(store: SessionStore) -> Router {
//!     Router::new().route("/", get(home)).layer(SessionLayer::new(store))
//! }
//! # let _ = app;
//! ```
//!
//! A visitor without a session gets none until something is written into one: robots and health
//! checks cost nothing.

mod cookies;
mod error;
mod extract;
mod layer;

pub use cookie::SameSite;
pub use extract::Session;
pub use layer::{SessionLayer, SessionService};
