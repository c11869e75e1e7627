//! The store: sessions begin here and are found again by their token.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use serde::Serialize;

use crate::builder::Builder;
use crate::codec::Codec;
use crate::error::Error;
use crate::fields::{Fields, Hidden, Record, check_name, check_user, encode};
use crate::lifetime::Lifetime;
use crate::link::{Link, Request};
use crate::op::Op;
use crate::reply;
use crate::script::{Script, Scripts};
use crate::session::Session;
use crate::token::{Keys, Token};

/// Sessions on Cloakroom, Redis, Valkey or ElastiCache. Cheap to clone; clones share a connection.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = cloakroom::Server::builder().start().await?;
/// use cloakroom_client::SessionStore;
///
/// let store = SessionStore::connect(&server.url()).await?;
/// let session = store.create().await?;
/// session.set("theme", "dark").await?;
/// session.incr("visits", 1).await?;
///
/// let again = store.load(session.token()).await?;
/// assert_eq!(again.fields().get::<String>("theme")?.as_deref(), Some("dark"));
/// assert_eq!(again.fields().get::<u32>("visits")?, Some(1));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SessionStore {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) keys: Keys,
    pub(crate) link: Link,
    pub(crate) scripts: Scripts,
    pub(crate) codec: Codec,
    lifetime: Lifetime,
    /// For the scripts: after how many thousandths of its idle time a session is renewed.
    renew_after: String,
    /// For the scripts: the idle time of a session that has no deadline, in milliseconds.
    idle: String,
    pub(crate) field_deadlines: FieldDeadlines,
}

/// Whether the server keeps deadlines of fields, which the first such field finds out.
#[derive(Debug, Default)]
pub(crate) struct FieldDeadlines(std::sync::atomic::AtomicBool);

impl FieldDeadlines {
    pub(crate) fn known_missing(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(crate) fn found_missing(&self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

impl fmt::Debug for SessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStore")
            .field("keys", &self.inner.keys)
            .field("lifetime", &self.inner.lifetime)
            .finish_non_exhaustive()
    }
}

impl SessionStore {
    /// A store at this URL, with default settings, once a server has answered there.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a URL that cannot be used, and what [`SessionStore::ping`] says.
    pub async fn connect(url: &str) -> Result<SessionStore, Error> {
        SessionStore::builder(url).connect().await
    }

    /// A store that is set up step by step.
    ///
    /// | where | URL |
    /// |---|---|
    /// | one server | `redis://user:password@host:6379/0`; `rediss://` with TLS |
    /// | a Unix socket | `unix:///path/to/socket` |
    /// | sentinels | `redis+sentinel://user:password@host:26379,host:26379/SERVICE` |
    /// | a cluster | `redis+cluster://host:6379,host:6379`, and ElastiCache's names of clusters |
    ///
    /// After `?` may stand `ca`, `cert` and `key` (files in PEM), `sentinel_user`,
    /// `sentinel_password`, `protocol` (`resp2` or `resp3`), and with a Unix socket `user`, `pass` and
    /// `db`.
    pub fn builder(url: &str) -> Builder {
        Builder::new(url)
    }

    pub(crate) fn new(settings: &Builder, keys: Keys, link: Link) -> SessionStore {
        let idle = settings.lifetime.idle().unwrap_or(settings.lifetime.cap());
        SessionStore {
            inner: Arc::new(Inner {
                keys,
                link,
                scripts: Scripts::new(),
                codec: settings.codec,
                lifetime: settings.lifetime,
                renew_after: format!("{:.0}", settings.renew_after * 1000.0),
                idle: idle.as_millis().to_string(),
                field_deadlines: FieldDeadlines::default(),
            }),
        }
    }

    /// Asks the server something that changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the login or the rights do not suffice, and those for which
    /// [`Error::is_unavailable`] holds.
    pub async fn ping(&self) -> Result<(), Error> {
        // A single server answers for both ends of a cluster's slots; a node of a cluster at the URL of
        // a single server does not, which is better found out here than by a visitor.
        let mut buckets = self.inner.keys.buckets();
        let first = buckets.next();
        let last = buckets.last().filter(|_| !self.inner.link.is_cluster());
        let requests = first.into_iter().chain(last).map(|bucket| Request {
            script: Some(&self.inner.scripts.sessions_of),
            keys: vec![self.inner.keys.index(bucket, "nobody")],
            args: Vec::new(),
            then: None,
        });
        let requests: Vec<_> = requests.collect();
        self.inner.link.run(Op::Ping, &requests).await.map(drop)
    }

    /// How long a session lives that does not say it itself.
    pub fn lifetime(&self) -> Lifetime {
        self.inner.lifetime
    }

    #[cfg(feature = "axum")]
    pub(crate) fn no_fields(&self) -> Fields {
        Fields::new(self.inner.codec, BTreeMap::new())
    }

    /// Begins a session with a new token, without fields.
    ///
    /// # Errors
    ///
    /// [`Error::NoRandomness`], [`Error::Refused`], and those for which
    /// [`Error::is_unavailable`] holds.
    pub async fn create(&self) -> Result<Session, Error> {
        self.new_session().create().await
    }

    /// A session that is being prepared; with its fields it begins in one step.
    pub fn new_session(&self) -> NewSession {
        NewSession {
            store: self.clone(),
            lifetime: self.inner.lifetime,
            user: None,
            fields: BTreeMap::new(),
        }
    }

    /// The session of this token, with all its fields. In the same round trip a sliding session is
    /// renewed, if enough of its time is used up.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSession`] if there is none (any more).
    pub async fn load(&self, token: &Token) -> Result<Session, Error> {
        let record = self.read(token).await?;
        Ok(Session::new(self.clone(), token.clone(), record))
    }

    /// Renews a sliding session, if enough of its time is used up. Returns how long it would live
    /// on unused.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSession`] if there is none (any more).
    pub async fn touch(&self, token: &Token) -> Result<Duration, Error> {
        let request = self.on(&self.inner.scripts.slide, token, []);
        let reply = self.run(Op::Touch, request).await?;
        reply::life(reply).map(|(left, _)| left)
    }

    /// Ends a session. Says whether there was one. If the answer to a first try was lost, that may
    /// have ended it, and the second says that there was none; it is gone in any case.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], and those for which [`Error::is_unavailable`] holds.
    pub async fn destroy(&self, token: &Token) -> Result<bool, Error> {
        let request = self.on(&self.inner.scripts.destroy, token, []);
        Ok(reply::integer(self.run(Op::Destroy, request).await?)? > 0)
    }

    pub(crate) async fn read(&self, token: &Token) -> Result<Record, Error> {
        let mut request = self.on(&self.inner.scripts.slide, token, []);
        request.then = Some(hgetall(&self.inner.keys.session(token)));
        let replies = self.inner.link.run(Op::Load, &[request]).await?;
        let [life, fields] = reply::exactly(replies)?;
        let (left, now) = reply::life(life)?;
        let pairs = reply::pairs(fields)?;
        if pairs.is_empty() {
            // It was destroyed between the two commands.
            return Err(Error::NoSuchSession);
        }
        Ok(Record::sort(self.inner.codec, pairs, left, now))
    }

    /// A request with a script on one session: its keys, and the arguments that all have.
    pub(crate) fn on<'a>(
        &'a self,
        script: &'a Script,
        token: &Token,
        args: impl IntoIterator<Item = Vec<u8>>,
    ) -> Request<'a> {
        let mut keys = vec![self.inner.keys.session(token)];
        keys.extend(self.inner.keys.index_of(token));
        let common = [member(token), self.inner.renew_after.clone(), self.inner.idle.clone()];
        let args = common.map(String::into_bytes).into_iter().chain(args).collect();
        Request { script: Some(script), keys, args, then: None }
    }

    /// Runs one script; nil is no session.
    pub(crate) async fn run(&self, op: Op, request: Request<'_>) -> Result<Value, Error> {
        let replies = self.inner.link.run(op, &[request]).await?;
        let [reply] = reply::exactly(replies)?;
        reply::some(reply)
    }
}

/// A token as a member of its user's index; empty without a user, who has no index.
pub(crate) fn member(token: &Token) -> String {
    match token.user_tag() {
        Some(_) => token.reveal().to_owned(),
        None => String::new(),
    }
}

pub(crate) fn hgetall(key: &str) -> redis::Cmd {
    let mut command = redis::cmd("HGETALL");
    command.arg(key);
    command
}

/// A lifetime as the scripts take it: idle time (empty if fixed) and cap, in milliseconds.
pub(crate) fn lifetime_args(lifetime: &Lifetime) -> [Vec<u8>; 2] {
    let digits = |time: Duration| time.as_millis().to_string().into_bytes();
    [lifetime.idle().map(digits).unwrap_or_default(), digits(lifetime.cap())]
}

/// A session that is being prepared; see [`SessionStore::new_session`].
pub struct NewSession {
    store: SessionStore,
    lifetime: Lifetime,
    user: Option<String>,
    fields: BTreeMap<String, Vec<u8>>,
}

/// Without the values of the fields, which belong into no log.
impl fmt::Debug for NewSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSession")
            .field("store", &self.store)
            .field("lifetime", &self.lifetime)
            .field("user", &self.user)
            .field("fields", &Hidden(&self.fields))
            .finish()
    }
}

impl NewSession {
    /// How long this one lives, whatever the store's setting.
    pub fn lifetime(mut self, lifetime: Lifetime) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Whose session it is.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// A first field.
    ///
    /// # Errors
    ///
    /// [`Error::Encode`] or [`Error::ReservedName`].
    pub fn set<T: Serialize + ?Sized>(self, name: &str, value: &T) -> Result<Self, Error> {
        let value = encode(self.store.inner.codec, name, value)?;
        self.set_raw(name, value)
    }

    /// A first field, as bytes.
    ///
    /// # Errors
    ///
    /// [`Error::ReservedName`].
    pub fn set_raw(mut self, name: &str, value: impl Into<Vec<u8>>) -> Result<Self, Error> {
        check_name(name)?;
        self.fields.insert(name.to_owned(), value.into());
        Ok(self)
    }

    /// Begins the session.
    ///
    /// # Errors
    ///
    /// As [`SessionStore::create`].
    pub async fn create(self) -> Result<Session, Error> {
        self.lifetime.check()?;
        self.user.as_deref().map_or(Ok(()), check_user)?;
        let store = self.store;
        let token = Token::random(store.inner.keys.any_bucket(), self.user.as_deref())?;
        let fields =
            self.fields.iter().flat_map(|(name, value)| [name.clone().into(), value.clone()]);
        let args = lifetime_args(&self.lifetime)
            .into_iter()
            .chain([self.user.clone().unwrap_or_default().into_bytes()])
            .chain(fields);
        let request = store.on(&store.inner.scripts.create, &token, args);
        let (left, now) = match reply::life(store.run(Op::Create, request).await?) {
            Ok(life) => life,
            // Nobody meets a taken token in 2^192: a try whose answer was lost took it.
            Err(Error::NoSuchSession) => return store.load(&token).await,
            Err(error) => return Err(error),
        };
        let fields = Fields::new(store.inner.codec, self.fields);
        let mut record = Record { fields, user: None, created: None, ends: None, left };
        record.begin(self.user, &self.lifetime, now);
        Ok(Session::new(store, token, record))
    }
}
