//! Typed web sessions on Cloakroom, Redis, Valkey or ElastiCache.
//!
#![doc = include_str!("../README.md")]

mod advice;
#[cfg(feature = "axum")]
pub mod axum;
mod builder;
mod codec;
mod credentials;
mod endpoint;
mod error;
mod fields;
#[cfg(feature = "iam")]
mod iam;
mod lifetime;
mod link;
mod observe;
mod op;
mod reply;
mod script;
mod session;
mod store;
mod tls;
mod token;
#[cfg(feature = "tower-sessions")]
mod tower_sessions;
mod update;
mod users;

pub use builder::Builder;
pub use codec::Codec;
pub use credentials::{Credentials, CredentialsFuture, CredentialsProvider, ProviderError};
pub use error::Error;
pub use fields::Fields;
#[cfg(feature = "iam")]
pub use iam::ElastiCacheIam;
pub use lifetime::Lifetime;
pub use session::Session;
pub use store::{NewSession, SessionStore};
pub use token::Token;
#[cfg(feature = "tower-sessions")]
pub use tower_sessions::TowerSessionStore;
pub use update::Draft;

/// The code of docs/guide.md.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide.md")]
mod guide {}
