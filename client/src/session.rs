//! One session: its fields, read and written one by one, each change in one atomic step with the
//! renewal of its deadline.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::fields::{Fields, Record, check_name, check_user, decode, encode, reserved};
use crate::lifetime::Lifetime;
use crate::link::Request;
use crate::op::Op;
use crate::reply;
use crate::store::{SessionStore, lifetime_args, member};
use crate::token::Token;
use crate::update::{Draft, Steps};

/// A session that was there when it was loaded.
///
/// [`fields`](Session::fields) shows it as it was then; everything with an `await` asks the server
/// now. A change is made only while the session is there: after `destroy` or its end each change is
/// [`Error::NoSuchSession`], and nothing brings it back.
#[derive(Clone, Debug)]
pub struct Session {
    store: SessionStore,
    token: Token,
    /// Shared by the handles of one request.
    record: Arc<Record>,
}

impl Session {
    pub(crate) fn new(store: SessionStore, token: Token, record: Record) -> Session {
        Session { store, token, record: Arc::new(record) }
    }

    /// What the visitor shows to get it back: belongs into the cookie.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// All fields as they were when the session was loaded.
    pub fn fields(&self) -> &Fields {
        &self.record.fields
    }

    /// Whose session it was when it was loaded.
    pub fn user(&self) -> Option<&str> {
        self.record.user.as_deref()
    }

    /// When it began, by the server's clock.
    pub fn created_at(&self) -> Option<SystemTime> {
        self.record.created.map(time_of)
    }

    /// When it ends however much it is used, by the server's clock.
    pub fn ends_at(&self) -> Option<SystemTime> {
        self.record.ends.map(time_of)
    }

    /// How long it would have lived on unused, when it was loaded.
    pub fn expires_in(&self) -> Duration {
        self.record.left
    }

    /// The store it is in.
    pub fn store(&self) -> &SessionStore {
        &self.store
    }

    /// The value of a field now; None if there is no such field.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSession`], [`Error::Decode`] if the field does not hold a `T`, and those for
    /// which [`Error::is_unavailable`] holds.
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let bytes = self.get_raw(name).await?;
        bytes.map(|bytes| decode(self.store.inner.codec, name, &bytes)).transpose()
    }

    /// The bytes of a field now.
    ///
    /// # Errors
    ///
    /// As [`Session::get`].
    pub async fn get_raw(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        check_name(name)?;
        // In one step with the look whether there is a session: one that is destroyed meanwhile is not
        // to be taken for one without this field.
        let script = &self.store.inner.scripts.get;
        let request = self.store.on(script, &self.token, [name.as_bytes().to_vec()]);
        let reply = reply::array(self.store.run(Op::Get, request).await?)?;
        match reply::exactly(reply)? {
            [redis::Value::Nil] => Ok(None),
            [value] => reply::bytes(value).map(Some),
        }
    }

    /// All fields now.
    ///
    /// # Errors
    ///
    /// As [`Session::get`].
    pub async fn get_all(&self) -> Result<Fields, Error> {
        Ok(self.store.read(&self.token).await?.fields)
    }

    /// Writes a field. Others that are written at the same time are not disturbed.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSession`], [`Error::Encode`], [`Error::ReservedName`], [`Error::Refused`], and
    /// those for which [`Error::is_unavailable`] holds.
    pub async fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), Error> {
        self.set_raw(name, encode(self.store.inner.codec, name, value)?).await
    }

    /// Writes bytes into a field.
    ///
    /// # Errors
    ///
    /// As [`Session::set`].
    pub async fn set_raw(&self, name: &str, value: impl Into<Vec<u8>>) -> Result<(), Error> {
        check_name(name)?;
        let mut steps = Steps::default();
        steps.set(name, value.into());
        self.write(Op::Set, &steps).await.map(drop)
    }

    /// Writes a field that ends by itself after `ttl`, or with the session if that is earlier.
    ///
    /// Where the server keeps deadlines of fields (Valkey 9, Redis 7.4, Cloakroom) and its user may
    /// say HPEXPIRE, the field is gone for everybody. Elsewhere its deadline is kept in a field beside
    /// it: this crate does not show it any more once it is over, but others that read the hash see it
    /// until it is written again.
    ///
    /// # Errors
    ///
    /// As [`Session::set`].
    pub async fn set_for<T: Serialize + ?Sized>(
        &self,
        name: &str,
        value: &T,
        ttl: Duration,
    ) -> Result<(), Error> {
        check_name(name)?;
        let mut steps = Steps::default();
        steps.keep(name, encode(self.store.inner.codec, name, value)?, ttl);
        self.write(Op::Set, &steps).await.map(drop)
    }

    /// Removes a field. Says whether it was there. If the answer to a first try was lost, that may
    /// have removed it, and the second says that it was not there; it is gone in any case.
    ///
    /// # Errors
    ///
    /// As [`Session::set`].
    pub async fn remove(&self, name: &str) -> Result<bool, Error> {
        check_name(name)?;
        let mut steps = Steps::default();
        steps.remove(name);
        Ok(self.write(Op::Remove, &steps).await? > 0)
    }

    /// Adds to a number and returns the sum. Where there was no field it counts from 0.
    ///
    /// It is never tried twice: if the answer is lost, [`Error::ConnectionLost`] says that it may
    /// have been counted or not.
    ///
    /// # Errors
    ///
    /// As [`Session::set`]; [`Error::Refused`] if the field is no whole number.
    pub async fn incr(&self, name: &str, by: i64) -> Result<i64, Error> {
        check_name(name)?;
        let args = [name.as_bytes().to_vec(), by.to_string().into_bytes()];
        let request = self.store.on(&self.store.inner.scripts.incr, &self.token, args);
        reply::integer(self.store.run(Op::Incr, request).await?)
    }

    /// Changes several fields together, depending on what they hold: reads through the draft, calls
    /// `change`, and writes all it set and removed in one step, if none of the fields it *read* was
    /// changed meanwhile; else it is called again with what they hold now. That nothing has to be
    /// written is decided on what the fields hold now, too.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = cloakroom::Server::builder().start().await?;
    /// # let store = cloakroom_client::SessionStore::connect(&server.url()).await?;
    /// # let session = store.create().await?;
    /// let items = session
    ///     .update(|draft| {
    ///         let mut cart: Vec<String> = draft.get("cart")?.unwrap_or_default();
    ///         cart.push("coat".to_owned());
    ///         draft.set("cart", &cart)?;
    ///         Ok(cart.len())
    ///     })
    ///     .await?;
    /// assert_eq!(items, 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// What `change` returns; [`Error::Conflict`] if others were always faster; as [`Session::incr`]
    /// for an answer that was lost.
    pub async fn update<T>(
        &self,
        mut change: impl FnMut(&mut Draft<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // What was loaded may still hold: then one round trip is enough.
        let mut read = None;
        for _ in 0..Draft::TRIES {
            let fields = read.as_ref().unwrap_or(&self.record.fields);
            let mut draft = Draft::new(self.store.inner.codec, fields);
            let result = change(&mut draft)?;
            // What has just been read needs no second look.
            let only_looked = read.is_some() && !draft.changes();
            let steps = draft.into_steps();
            if only_looked || steps.is_empty() || self.write(Op::Update, &steps).await? >= 0 {
                return Ok(result);
            }
            read = Some(self.get_all().await?);
        }
        Err(Error::Conflict)
    }

    /// Leaves a message for the next request, which [`take_flash`](Session::take_flash) fetches once.
    ///
    /// # Errors
    ///
    /// As [`Session::set`].
    pub async fn flash<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), Error> {
        let mut steps = Steps::default();
        let value = encode(self.store.inner.codec, name, value)?;
        steps.set(&format!("{}{name}", reserved::FLASH), value);
        self.write(Op::Set, &steps).await.map(drop)
    }

    /// Fetches and removes a message. Of two that ask at once one gets it.
    ///
    /// # Errors
    ///
    /// As [`Session::get`], and as [`Session::incr`] for an answer that was lost.
    pub async fn take_flash<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let field = format!("{}{name}", reserved::FLASH);
        let taken = self.take([field.into_bytes()]).await?;
        let value = taken.into_iter().next().map(|(_, value)| value);
        value.map(|value| decode(self.store.inner.codec, name, &value)).transpose()
    }

    /// Fetches and removes all messages, in the order of their names.
    ///
    /// # Errors
    ///
    /// As [`Session::take_flash`].
    pub async fn take_flashes<T: DeserializeOwned>(&self) -> Result<Vec<(String, T)>, Error> {
        let taken = self.take([Vec::new(), reserved::FLASH.as_bytes().to_vec()]).await?;
        let read = |(field, value): reply::Pair| {
            let field = String::from_utf8_lossy(&field).into_owned();
            let name = field.strip_prefix(reserved::FLASH).unwrap_or(&field).to_owned();
            let value = decode(self.store.inner.codec, &name, &value)?;
            Ok((name, value))
        };
        taken.into_iter().map(read).collect()
    }

    async fn take(
        &self,
        args: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Vec<reply::Pair>, Error> {
        let request = self.store.on(&self.store.inner.scripts.take, &self.token, args);
        reply::pairs(self.store.run(Op::Take, request).await?)
    }

    /// Renews a sliding session, if enough of its time is used up. Returns how long it would live
    /// on unused.
    ///
    /// # Errors
    ///
    /// As [`Session::get`].
    pub async fn touch(&self) -> Result<Duration, Error> {
        self.store.touch(&self.token).await
    }

    /// Gives the session a new token; the old one leads nowhere from now on. To be done whenever a
    /// visitor gets more rights, so that a token that somebody planted beforehand is worth nothing.
    ///
    /// If this future is dropped, or its answer is lost for good, the session may have a new token that
    /// nobody knows: the visitor begins again, and it ends by itself.
    ///
    /// # Errors
    ///
    /// As [`Session::set`].
    pub async fn regenerate(&mut self) -> Result<(), Error> {
        self.move_to(None, None).await
    }

    /// The visitor has shown who they are: gives the session a new token, its user, and its whole
    /// lifetime anew, and enters it into the index of the user's sessions, all in one step.
    ///
    /// # Errors
    ///
    /// As [`Session::set`].
    pub async fn log_in(&mut self, user: &str) -> Result<(), Error> {
        check_user(user)?;
        let lifetime = self.store.lifetime();
        self.move_to(Some(user), Some(lifetime)).await
    }

    /// [`Session::log_in`] with another lifetime: "remember me".
    ///
    /// # Errors
    ///
    /// As [`Session::set`], and [`Error::Config`] for a lifetime that cannot be.
    pub async fn log_in_for(&mut self, user: &str, lifetime: Lifetime) -> Result<(), Error> {
        check_user(user)?;
        lifetime.check()?;
        self.move_to(Some(user), Some(lifetime)).await
    }

    async fn move_to(
        &mut self,
        user: Option<&str>,
        lifetime: Option<Lifetime>,
    ) -> Result<(), Error> {
        let inner = &self.store.inner;
        let token = self.token.successor(user)?;
        let args = [member(&self.token), user.unwrap_or_default().to_owned()];
        let args = args.map(String::into_bytes).into_iter();
        let args = args.chain(lifetime.iter().flat_map(lifetime_args));
        let mut request = self.store.on(&inner.scripts.move_to, &token, args);
        request.keys.push(inner.keys.session(&self.token));
        request.keys.extend(inner.keys.index_of(&self.token));
        let (left, now) = reply::life(self.store.run(Op::Move, request).await?)?;
        let record = Arc::make_mut(&mut self.record);
        if let (Some(user), Some(lifetime)) = (user, lifetime) {
            record.begin(Some(user.to_owned()), &lifetime, now);
        }
        record.left = left;
        self.token = token;
        Ok(())
    }

    /// Ends the session. That it was over already is no error.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], and those for which [`Error::is_unavailable`] holds.
    pub async fn destroy(self) -> Result<(), Error> {
        self.store.destroy(&self.token).await.map(drop)
    }

    /// How many of the fields to remove were there; -1 if what was expected is not so.
    async fn write(&self, op: Op, steps: &Steps) -> Result<i64, Error> {
        let deadlines = &self.store.inner.field_deadlines;
        let missing = if deadlines.known_missing() { "1" } else { "0" };
        let args = [missing.as_bytes().to_vec()].into_iter().chain(steps.args());
        let request: Request<'_> =
            self.store.on(&self.store.inner.scripts.write, &self.token, args);
        let reply = reply::array(self.store.run(op, request).await?)?;
        let [removed, native] = reply::exactly(reply)?;
        let removed = reply::integer(removed)?;
        if removed >= 0 && reply::integer(native)? == 0 {
            deadlines.found_missing();
        }
        Ok(removed)
    }
}

fn time_of(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(milliseconds)
}
