//! A store for the `tower-sessions` middleware.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::{self, Error as TowerError};

use crate::error::Error;
use crate::fields::{number, reserved};
use crate::link::Request;
use crate::op::Op;
use crate::reply;
use crate::store::{SessionStore, hgetall};

/// Before the name of a value that the store would take for its own.
const ESCAPED: &str = "_value:";

/// Keeps the sessions of `tower-sessions` where a [`SessionStore`] keeps its own: each a hash below
/// the same prefix, its values JSON. Needs the feature `tower-sessions`.
///
/// `tower-sessions` writes a session as a whole at the end of each request, so of two requests at
/// once the later one wins. The axum extractor of this crate writes field by field instead.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = cloakroom::Server::builder().start().await?;
/// use cloakroom_client::{SessionStore, TowerSessionStore};
/// use tower_sessions::SessionManagerLayer;
///
/// let store = TowerSessionStore::new(SessionStore::connect(&server.url()).await?);
/// let layer = SessionManagerLayer::new(store);
/// # let _ = layer;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct TowerSessionStore {
    store: SessionStore,
    save_creates: bool,
}

impl TowerSessionStore {
    /// Sessions beside those of `store`.
    pub fn new(store: SessionStore) -> TowerSessionStore {
        TowerSessionStore { store, save_creates: false }
    }

    /// Lets `save` write a session that is not there (any more). Needed where this store is the
    /// cache of a `CachingSessionStore`, which fills it so; elsewhere a destroyed session would come
    /// back when a slower request saves it.
    pub fn save_creates(mut self, creates: bool) -> Self {
        self.save_creates = creates;
        self
    }

    fn key(&self, id: &Id) -> String {
        self.store.inner.keys.other(&id.to_string())
    }

    /// Says whether it was written.
    async fn write(&self, op: Op, condition: &str, record: &Record) -> Result<bool, TowerError> {
        let deadline = record.expiry_date.unix_timestamp_nanos() / 1_000_000;
        let mut args: Vec<Vec<u8>> = vec![condition.into(), deadline.to_string().into()];
        for (name, value) in &record.data {
            let escaped = if reserved::is(name) { ESCAPED } else { "" };
            args.push(format!("{escaped}{name}").into());
            let value = serde_json::to_vec(value);
            args.push(value.map_err(|e| TowerError::Encode(e.to_string()))?);
        }
        let scripts = &self.store.inner.scripts;
        let keys = vec![self.key(&record.id)];
        let request = Request { script: Some(&scripts.save_whole), keys, args, then: None };
        let reply = self.store.run(op, request).await.map_err(backend)?;
        Ok(reply::integer(reply).map_err(backend)? > 0)
    }
}

fn backend(error: Error) -> TowerError {
    TowerError::Backend(error.to_string())
}

#[async_trait]
impl session_store::SessionStore for TowerSessionStore {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        // An id that is taken is as likely as 1 in 2^128, or comes from a try whose answer was lost.
        while !self.write(Op::Create, "absent", record).await? {
            record.id = Id::default();
        }
        Ok(())
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        let condition = if self.save_creates { "any" } else { "present" };
        self.write(Op::Set, condition, record).await.map(drop)
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        let then = Some(hgetall(&self.key(id)));
        let request = Request { script: None, keys: Vec::new(), args: Vec::new(), then };
        let replies = self.store.inner.link.run(Op::Load, &[request]).await.map_err(backend)?;
        let [fields] = reply::exactly(replies).map_err(backend)?;
        record_of(*id, reply::pairs(fields).map_err(backend)?)
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        let scripts = &self.store.inner.scripts;
        let (keys, args) = (vec![self.key(id)], vec![Vec::new()]);
        let request = Request { script: Some(&scripts.destroy), keys, args, then: None };
        self.store.run(Op::Destroy, request).await.map(drop).map_err(backend)
    }
}

fn record_of(id: Id, pairs: Vec<reply::Pair>) -> session_store::Result<Option<Record>> {
    let (mut data, mut expiry) = (HashMap::new(), None);
    for (name, value) in pairs {
        let name = String::from_utf8(name).map_err(|e| TowerError::Decode(e.to_string()))?;
        if name == reserved::ENDS {
            expiry =
                number(&value).map(|ends| OffsetDateTime::UNIX_EPOCH + Duration::from_millis(ends));
            continue;
        }
        let value =
            serde_json::from_slice(&value).map_err(|e| TowerError::Decode(e.to_string()))?;
        data.insert(name.strip_prefix(ESCAPED).unwrap_or(&name).to_owned(), value);
    }
    Ok(expiry.map(|expiry_date| Record { id, data, expiry_date }))
}
