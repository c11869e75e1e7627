//! The session of a request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::HeaderValue;
use http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cookies::CookieSettings;
use crate::error::Error;
use crate::fields::Fields;
use crate::lifetime::Lifetime;
use crate::session::Session as Stored;
use crate::store::{NewSession, SessionStore};
use crate::token::Token;
use crate::update::Draft;

/// The visitor's session, as an extractor. All extractors of one request share it.
///
/// It is loaded once, when a handler asks for it. Where there is none, reading finds nothing, and
/// the first write begins one. If it ends while the request runs, writes are
/// [`Error::NoSuchSession`], which as a response is 401.
#[derive(Clone, Debug)]
pub struct Session {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: SessionStore,
    /// What the visitor has shown.
    token: Option<Token>,
    state: Mutex<State>,
    /// Held while a session begins or gets another token, so that there is one such step at a time.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    loaded: bool,
    session: Option<Stored>,
    /// Whether the browser has to be told.
    changed: bool,
}

impl Session {
    pub(super) fn new(store: SessionStore, token: Option<Token>) -> Session {
        let (state, changing) = (Mutex::default(), tokio::sync::Mutex::default());
        Session { shared: Arc::new(Shared { store, token, state, changing }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can panic.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The header that tells the browser what became of its token.
    pub(super) fn cookie(&self, settings: &CookieSettings) -> Option<HeaderValue> {
        let state = self.state();
        match &state.session {
            _ if !state.changed => None,
            Some(session) => {
                let lives = session.created_at().zip(session.ends_at());
                let lasts = lives.and_then(|(begin, end)| end.duration_since(begin).ok());
                settings.give(session.token(), lasts)
            }
            None => settings.take_back(),
        }
    }

    async fn load(&self) -> Result<(), Error> {
        let _one = self.shared.changing.lock().await;
        if self.state().loaded {
            return Ok(());
        }
        let found = match &self.shared.token {
            Some(token) => match self.shared.store.load(token).await {
                Ok(session) => Some(session),
                Err(Error::NoSuchSession) => None,
                Err(error) => return Err(error),
            },
            None => None,
        };
        let mut state = self.state();
        state.loaded = true;
        state.session = found;
        Ok(())
    }

    /// The session in the store, if the visitor has one.
    pub fn stored(&self) -> Option<Stored> {
        self.state().session.clone()
    }

    /// Whether the visitor has one.
    pub fn exists(&self) -> bool {
        self.state().session.is_some()
    }

    /// Who is logged in.
    pub fn user(&self) -> Option<String> {
        self.stored().and_then(|session| session.user().map(str::to_owned))
    }

    /// All fields as they were when the session was loaded; none without a session.
    pub fn fields(&self) -> Fields {
        match self.stored() {
            Some(session) => session.fields().clone(),
            None => self.shared.store.no_fields(),
        }
    }

    /// The value of a field now; None without such a field or a session.
    ///
    /// # Errors
    ///
    /// As [`crate::Session::get`].
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        match self.stored() {
            Some(session) => session.get(name).await,
            None => Ok(None),
        }
    }

    /// All fields now; none without a session.
    ///
    /// # Errors
    ///
    /// As [`crate::Session::get_all`].
    pub async fn get_all(&self) -> Result<Fields, Error> {
        match self.stored() {
            Some(session) => session.get_all().await,
            None => Ok(self.shared.store.no_fields()),
        }
    }

    /// Writes a field; begins a session if there is none.
    ///
    /// # Errors
    ///
    /// As [`crate::Session::set`].
    pub async fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), Error> {
        self.begun().await?.set(name, value).await
    }

    /// Writes a field that ends by itself; begins a session if there is none.
    ///
    /// # Errors
    ///
    /// As [`crate::Session::set_for`].
    pub async fn set_for<T: Serialize + ?Sized>(
        &self,
        name: &str,
        value: &T,
        ttl: Duration,
    ) -> Result<(), Error> {
        self.begun().await?.set_for(name, value, ttl).await
    }

    /// Removes a field. Says whether it was there, after a lost answer as
    /// [`crate::Session::remove`] does.
    ///
    /// # Errors
    ///
    /// As [`crate::Session::remove`].
    pub async fn remove(&self, name: &str) -> Result<bool, Error> {
        match self.stored() {
            Some(session) => session.remove(name).await,
            None => Ok(false),
        }
    }

    /// Adds to a number and returns the sum; begins a session if there is none.
    ///
    /// # Errors
    ///
    /// As [`crate::Session::incr`].
    pub async fn incr(&self, name: &str, by: i64) -> Result<i64, Error> {
        self.begun().await?.incr(name, by).await
    }

    /// Changes several fields together; begins a session if there is none.
    ///
    /// # Errors
    ///
    /// As [`crate::Session::update`].
    pub async fn update<T>(
        &self,
        change: impl FnMut(&mut Draft<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.begun().await?.update(change).await
    }

    /// Leaves a message for the next page; begins a session if there is none.
    ///
    /// # Errors
    ///
    /// As [`crate::Session::flash`].
    pub async fn flash<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), Error> {
        self.begun().await?.flash(name, value).await
    }

    /// Fetches and removes a message.
    ///
    /// # Errors
    ///
    /// As [`crate::Session::take_flash`].
    pub async fn take_flash<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        match self.stored() {
            Some(session) => session.take_flash(name).await,
            None => Ok(None),
        }
    }

    /// The visitor has shown who they are: the session gets a new token, its user and its whole
    /// lifetime anew, in one step. One begins if there was none, or if it is over by now.
    ///
    /// # Errors
    ///
    /// As [`crate::Session::log_in`].
    pub async fn log_in(&self, user: &str) -> Result<(), Error> {
        self.log_in_for(user, self.shared.store.lifetime()).await
    }

    /// [`Session::log_in`] with another lifetime: "remember me". With a cookie that is
    /// [`persistent`](super::SessionLayer::persistent) the browser remembers as long.
    ///
    /// # Errors
    ///
    /// As [`crate::Session::log_in_for`].
    pub async fn log_in_for(&self, user: &str, lifetime: Lifetime) -> Result<(), Error> {
        let _one = self.shared.changing.lock().await;
        if let Some(mut session) = self.stored() {
            match session.log_in_for(user, lifetime).await {
                Err(Error::NoSuchSession) => {}
                Ok(()) => {
                    self.keep(session);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        let new = self.shared.store.new_session().user(user).lifetime(lifetime);
        self.begin(new).await.map(drop)
    }

    /// Gives the session a new token, as is right whenever the visitor gets more rights.
    ///
    /// # Errors
    ///
    /// As [`crate::Session::regenerate`].
    pub async fn regenerate(&self) -> Result<(), Error> {
        let _one = self.shared.changing.lock().await;
        if let Some(mut session) = self.stored() {
            session.regenerate().await?;
            self.keep(session);
        }
        Ok(())
    }

    /// Ends the session and takes the cookie back. Without a session it does nothing.
    ///
    /// # Errors
    ///
    /// As [`crate::Session::destroy`].
    pub async fn destroy(&self) -> Result<(), Error> {
        let _one = self.shared.changing.lock().await;
        if let Some(session) = self.stored() {
            session.destroy().await?;
        }
        let mut state = self.state();
        state.session = None;
        // Also where the visitor showed a token that leads nowhere.
        state.changed = self.shared.token.is_some();
        Ok(())
    }

    /// Ends all sessions of the user who is logged in, this one too: "log out everywhere". Returns
    /// how many there were.
    ///
    /// # Errors
    ///
    /// As [`SessionStore::destroy_all_for`].
    pub async fn destroy_everywhere(&self) -> Result<u64, Error> {
        let ended = match self.user() {
            Some(user) => self.shared.store.destroy_all_for(&user).await?,
            None => 0,
        };
        self.destroy().await?;
        Ok(ended)
    }

    /// The session in the store, begun if there was none.
    async fn begun(&self) -> Result<Stored, Error> {
        if let Some(session) = self.stored() {
            return Ok(session);
        }
        let _one = self.shared.changing.lock().await;
        if let Some(session) = self.stored() {
            return Ok(session);
        }
        self.begin(self.shared.store.new_session()).await
    }

    async fn begin(&self, new: NewSession) -> Result<Stored, Error> {
        let session = new.create().await?;
        self.keep(session.clone());
        Ok(session)
    }

    fn keep(&self, session: Stored) {
        let mut state = self.state();
        state.session = Some(session);
        state.changed = true;
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Session, Response> {
        let Some(session) = parts.extensions.get::<Session>().cloned() else {
            let said = "SessionLayer is missing around this route\n";
            return Err((StatusCode::INTERNAL_SERVER_ERROR, said).into_response());
        };
        session.load().await.map_err(IntoResponse::into_response)?;
        Ok(session)
    }
}
