//! What a handler works with: the data of the selected database, the server, the session, the
//! reply.

use std::sync::Arc;

use super::{Action, Command, CommandError, CommandTable, Outcome, Session};
use crate::clock::{Clock, Micros, Millis};
use crate::config::NotifyFlags;
use crate::resp::{Args, Reply};
use crate::session::{ClientId, ReplyMode};
use crate::state::{Effects, Noted, PubSub, Server};
use crate::store::{Access, Db, Due, Keyspace, Kind, Object, ObjectRef, Value, Write};

pub use crate::state::Encodings;

/// What a handler works with. Its parts are fields, so that data can be borrowed while the reply
/// is written.
pub struct Ctx<'a> {
    /// The data, seen from the selected database at this moment.
    pub data: Data<'a>,
    /// What the server keeps beside the data.
    pub server: &'a mut Server,
    /// The connection's private state.
    pub session: &'a mut Session,
    /// Where the reply goes.
    pub reply: Reply<'a>,
    /// The present: one reading for a whole batch.
    pub now: Millis,
    /// The stopwatch when the last command ended, in microseconds.
    pub stamp: Micros,
    /// What a command wants done by the layers above.
    pub asked: Option<Action>,
    /// The command at hand.
    pub command: Command,
    /// All commands.
    pub table: &'a CommandTable,
    /// The clock, for those few who turn it or need microseconds.
    pub clock: &'a Clock,
    /// The one door, for EXEC and scripts.
    pub door: &'static dyn Door,
}

/// The one door seen from below: how EXEC and scripts execute other commands.
pub trait Door: Sync {
    /// Finds the command of a request and checks all that can be checked before it is executed.
    fn admit(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Command, CommandError>;

    /// Executes an admitted command: its reply, an error included, goes to `ctx.reply`. Returns
    /// whether it succeeded.
    fn call(&self, ctx: &mut Ctx<'_>, command: Command, args: Args<'_>) -> bool;
}

impl<'a> Ctx<'a> {
    /// The name of the command at hand, as error texts have it.
    pub fn name(&self) -> &'a str {
        self.table.name(self.command)
    }

    /// A context for another session that works on the same data: a script's.
    pub fn nested<'b>(&'b mut self, session: &'b mut Session, out: &'b mut Vec<u8>) -> Ctx<'b> {
        let most = self.server.config.proto_max_reply_len;
        let reply = Reply::new(out, session.protocol).limited(most);
        Ctx {
            data: Data { db: session.db, ..self.data.again() },
            server: self.server,
            session,
            reply,
            now: self.now,
            stamp: self.stamp,
            asked: None,
            command: self.command,
            table: self.table,
            clock: self.clock,
            door: self.door,
        }
    }

    /// Selects a database for this connection.
    pub fn select(&mut self, db: usize) {
        self.session.db = db;
        self.data.db = db;
    }

    /// Says that `key` of the selected database changed: who watches it is told, and who listens
    /// to keyspace events. Stands where Redis signals and notifies.
    pub fn changed(&mut self, class: NotifyFlags, event: &str, key: &[u8]) {
        self.touch(key);
        self.notify(class, event, key);
    }

    /// Tells who watches `key` of the selected database that it changed.
    #[inline]
    pub fn touch(&mut self, key: &[u8]) {
        self.data.keyspace.db(self.data.db).touch(key);
    }

    /// Publishes a keyspace event for `key` of the selected database.
    #[inline]
    pub fn notify(&mut self, class: NotifyFlags, event: &str, key: &[u8]) {
        let wanted = self.server.config.notify_keyspace_events.wants(class);
        if wanted || !self.data.lookups.noted.is_empty() {
            self.notify_in(self.data.db, class, event, key);
        }
    }

    /// Publishes a keyspace event for `key` of database `db`.
    pub fn notify_in(&mut self, db: usize, class: NotifyFlags, event: &str, key: &[u8]) {
        for noted in std::mem::take(&mut self.data.lookups.noted) {
            self.notify_noted(&noted);
        }
        let flags = self.server.config.notify_keyspace_events;
        if !flags.wants(class) {
            return;
        }
        if flags.contains(NotifyFlags::KEYSPACE) {
            let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
            self.publish(&channel, event.as_bytes());
        }
        if flags.contains(NotifyFlags::KEYEVENT) {
            let channel = format!("__keyevent@{db}__:{event}");
            self.publish(channel.as_bytes(), key);
        }
    }

    /// Publishes the event of a key that was made or missed.
    pub fn notify_noted(&mut self, noted: &Noted) {
        let (class, event) = if noted.is_new {
            (NotifyFlags::NEW, "new")
        } else {
            (NotifyFlags::KEY_MISS, "keymiss")
        };
        self.notify_in(noted.db, class, event, &noted.key);
    }

    /// Publishes a message; returns how many receive it. A message to this very connection is
    /// written to its reply at once, so that it stands where Redis puts it; inside the reply of a
    /// script or of a transaction it would be taken for a part of that, so there it follows.
    pub fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let (limit, now) = (self.server.config.client_output_buffer_limit.pubsub, self.now);
        self.deliver(|pubsub, own| pubsub.publish(channel, message, limit, now, own))
    }

    /// Has `deliver` publish a message, which is told where one to this very connection goes.
    pub(super) fn deliver<R>(
        &mut self,
        deliver: impl FnOnce(&PubSub, Option<(ClientId, &mut Reply<'_>)>) -> R,
    ) -> R {
        let (id, pubsub) = (self.session.id(), &self.server.pubsub);
        if self.session.in_script || self.session.in_exec {
            deliver(pubsub, None)
        } else if self.session.reply_mode == ReplyMode::On {
            deliver(pubsub, Some((id, &mut self.reply)))
        } else {
            let Session { pushes, protocol, .. } = &mut *self.session;
            deliver(pubsub, Some((id, &mut Reply::new(pushes, *protocol))))
        }
    }

    /// Writes something that CLIENT REPLY does not hold back.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Reply<'_>)) {
        if self.session.reply_mode == ReplyMode::On {
            write(&mut self.reply);
        } else {
            let Session { pushes, protocol, .. } = &mut *self.session;
            write(&mut Reply::new(pushes, *protocol));
        }
    }

    /// The data changed as the requests say that `state` states. It is called only if somebody
    /// listens to effects; several requests are executed together or not at all.
    pub fn wrote_as(&mut self, state: impl FnOnce(&mut Statement<'_>)) -> Outcome {
        let effects = &mut self.server.effects;
        effects.count();
        if effects.own_are_wanted() {
            effects.begin_group();
            state(&mut Statement { effects, db: self.data.db });
            self.server.effects.end_group();
        }
        Outcome::WroteAs
    }

    /// Data changed in so many places as the request itself says, one at least: save points count
    /// each.
    #[inline]
    pub fn wrote(&mut self, changes: usize) -> Outcome {
        self.server.effects.count_more(changes.saturating_sub(1) as u64);
        Outcome::Wrote
    }

    /// Whether what is past its time may be deleted: a replica leaves that to its primary, and
    /// during a pause nothing changes.
    pub fn may_expire(&self) -> bool {
        self.server.may_expire(self.now)
    }

    /// Whether what is past its time is deleted only where somebody meets it (DEBUG SET-ACTIVE-EXPIRE 0).
    pub fn ends_lazily(&self) -> bool {
        !self.server.active_expire && self.data.now != 0 && self.may_expire()
    }

    /// Ends what is past its time of a key that somebody meets: where that is the only way to its end
    /// the key alone, and no fields of it.
    pub fn end_due(&mut self, key: &[u8]) {
        if self.ends_lazily() {
            if let Some(due) = self.data.end_key_if_due(key) {
                self.ended(due);
            }
            return;
        }
        while let Some(due) = self.data.end_if_due(key) {
            self.ended(due);
        }
    }

    /// Whether memory is the primary's to care for.
    pub fn leaves_eviction_to_primary(&self) -> bool {
        self.server.replication.is_replica() && self.server.config.replica_ignore_maxmemory
    }

    /// Whether a deadline that is being set has passed, so that what it is set for ends at once. On
    /// a replica nothing does: its primary says when.
    pub fn is_past(&self, deadline: i64) -> bool {
        let is_replica = self.server.replication.is_replica();
        deadline <= 0 || (deadline <= self.now as i64 && !is_replica)
    }

    /// Carries out what has come to its end: events, effects, statistics. The data itself is
    /// already without it.
    pub fn ended(&mut self, due: Due) {
        match due {
            Due::Key { db, key } => {
                self.data.keyspace.db(db).touch(&key);
                self.server.stats.expired_keys += 1;
                self.server.effects.state(db, [b"DEL".as_slice(), &key]);
                self.notify_in(db, NotifyFlags::EXPIRED, "expired", &key);
            }
            Due::Fields { db, key, fields, emptied } => {
                self.data.keyspace.db(db).touch(&key);
                self.server.stats.expired_fields += fields.len() as u64;
                let head = [b"HDEL".as_slice(), &key];
                let fields = fields.iter().map(|field| &**field);
                self.server.effects.state(db, head.into_iter().chain(fields));
                self.notify_in(db, NotifyFlags::HASH, "hexpired", &key);
                if emptied {
                    self.notify_in(db, NotifyFlags::GENERIC, "del", &key);
                }
            }
        }
    }
}

/// States the effect of a command: see [`Ctx::wrote_as`].
#[derive(Debug)]
pub struct Statement<'a> {
    effects: &'a mut Effects,
    db: usize,
}

impl Statement<'_> {
    /// What a replica is to do: a request of these arguments.
    pub fn request<'a, I>(&mut self, args: I)
    where
        I: IntoIterator<Item = &'a [u8]>,
        I::IntoIter: Clone,
    {
        self.effects.tell(self.db, args);
    }
}

/// The data as a handler sees it: from the selected database, at the present.
pub struct Data<'a> {
    /// All databases.
    pub keyspace: &'a mut Keyspace,
    /// The selected one.
    pub db: usize,
    /// What is past its deadline at this time is hidden; 0 (a primary's stream) hides nothing.
    pub now: Millis,
    /// How a use is recorded.
    pub usage: Usage,
    /// Hits, misses and the sizes at which encodings change.
    pub lookups: &'a mut crate::state::Lookups,
}

/// How a read records that it used a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Whether reads count at all (CLIENT NO-TOUCH).
    pub counts: bool,
    /// `lfu-decay-time` and `lfu-log-factor` under an LFU policy.
    pub lfu: Option<(u32, u32)>,
}

impl Usage {
    /// How a key that was used as `old` says is used now; None: this does not count as a use.
    #[inline]
    fn record(self, old: Access, now: Millis, rng: &mut fastrand::Rng) -> Option<Access> {
        (self.counts && now != 0).then(|| match self.lfu {
            None => Access::used_at(now),
            Some((decay, factor)) => old.used(now, decay, factor, rng.f64()),
        })
    }

    /// The first use of a key.
    fn first(self, now: Millis) -> Access {
        match self.lfu {
            None => Access::used_at(now),
            Some(_) => Access::counted(now, Access::NEW_COUNT),
        }
    }
}

impl<'a> Data<'a> {
    /// The same data, for a callee.
    pub fn again(&mut self) -> Data<'_> {
        Data {
            keyspace: self.keyspace,
            db: self.db,
            now: self.now,
            usage: self.usage,
            lookups: self.lookups,
        }
    }

    /// The same data seen from another database, which exists.
    pub fn in_db(&mut self, db: usize) -> Data<'_> {
        Data { db, ..self.again() }
    }

    /// The selected database.
    pub fn db(&self) -> &Db {
        self.keyspace.db(self.db)
    }

    /// The selected database, to change it.
    pub fn db_mut(&mut self) -> &mut Db {
        self.keyspace.db_mut(self.db)
    }

    /// The sizes at which encodings change.
    pub fn encodings(&self) -> Encodings {
        self.lookups.encodings
    }

    /// The object under `key`: neither a use nor a hit is recorded.
    pub fn peek(&self, key: &[u8]) -> Option<ObjectRef<'_>> {
        self.db().get(key, self.now)
    }

    /// The object under `key` as a read command uses it: a use, and a hit or a miss.
    #[inline]
    pub fn read_object(&mut self, key: &[u8]) -> Option<ObjectRef<'_>> {
        let Data { keyspace, db, now, usage, lookups } = self;
        let found = keyspace
            .db_mut(*db)
            .get_used(key, *now, |access| usage.record(access, *now, &mut lookups.rng));
        match found {
            Some(_) => lookups.hits += 1,
            None => lookups.missed(*db, key),
        }
        found
    }

    /// The value of type `K` under `key` as a read command uses it.
    #[inline]
    pub fn read<K: Kind>(&mut self, key: &[u8]) -> Result<Option<K::Ref<'_>>, CommandError> {
        match self.read_object(key) {
            None => Ok(None),
            Some(object) => K::of(object.value()).map(Some).ok_or(CommandError::WRONG_TYPE),
        }
    }

    /// The value of type `K` under `key`, to be changed.
    pub fn write<'k, K: Kind>(
        &'k mut self,
        key: &'k [u8],
    ) -> Result<Option<Write<'k, K>>, CommandError> {
        let Data { keyspace, db, now, usage, lookups } = self;
        let record = |access| usage.record(access, *now, &mut lookups.rng);
        Ok(keyspace.db_mut(*db).write(key, *now, record)?)
    }

    /// The value of type `K` under `key`, to be changed; an empty one if there is none.
    pub fn create<'k, K: Kind>(&'k mut self, key: &'k [u8]) -> Result<Write<'k, K>, CommandError> {
        self.note_new(key);
        let Data { keyspace, db, now, usage, lookups } = self;
        let record = |access| usage.record(access, *now, &mut lookups.rng);
        Ok(keyspace.db_mut(*db).create(key, record, usage.first(*now))?)
    }

    /// Puts a value under `key` in place of whatever is there, without a deadline.
    pub fn insert(&mut self, key: &[u8], value: impl Into<Value>) {
        let (access, limits) = (self.replacing(key), self.encodings().string);
        self.keyspace.db_mut(self.db).insert(key, value.into(), access, limits);
    }

    /// Puts a string under `key` in place of whatever is there, without a deadline.
    pub fn insert_text(&mut self, key: &[u8], text: &[u8]) {
        let (access, limits) = (self.replacing(key), self.encodings().string);
        self.keyspace.db_mut(self.db).insert_text(key, text, access, limits);
    }

    /// How a value that replaces whatever is under `key` was last used: a counter goes on.
    fn replacing(&mut self, key: &[u8]) -> Access {
        self.note_new(key);
        let old = self.usage.lfu.and_then(|_| self.db().get(key, 0)).map(|object| object.access());
        old.unwrap_or(self.usage.first(self.now))
    }

    /// Notes a key that is about to be made, if somebody wants to know.
    fn note_new(&mut self, key: &[u8]) {
        if self.lookups.notes_new && self.peek(key).is_none() {
            self.lookups.created(self.db, key);
        }
    }

    /// Takes the object under `key` out.
    pub fn take(&mut self, key: &[u8]) -> Option<Object> {
        self.keyspace.db_mut(self.db).take(key, self.now)
    }

    /// Removes `key`. False: there is no such key.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.keyspace.db_mut(self.db).remove(key, self.now)
    }

    /// Sets or clears the deadline of `key`. False: there is no such key.
    pub fn set_deadline(&mut self, key: &[u8], deadline: Option<Millis>) -> bool {
        self.set_deadline_if(key, deadline, |_| true)
    }

    /// Sets or clears the deadline of `key` if `allowed` says so of the old one. False: it does not,
    /// or there is no such key.
    #[inline]
    pub fn set_deadline_if(
        &mut self,
        key: &[u8],
        deadline: Option<Millis>,
        allowed: impl FnOnce(Option<Millis>) -> bool,
    ) -> bool {
        let set = self.keyspace.db_mut(self.db).set_deadline_if(key, deadline, self.now, allowed);
        if self.lookups.notes_deadlines && set {
            self.note_deadline(self.db, key, deadline);
        }
        set
    }

    /// Puts an object of another place into database `db`, under `key`, with its deadline.
    pub fn adopt(&mut self, db: usize, key: &[u8], object: Object) {
        let (deadline, limits) = (object.deadline, self.encodings().string);
        self.keyspace.db_mut(db).adopt(key, object, limits);
        if self.lookups.notes_deadlines {
            self.note_deadline(db, key, deadline);
        }
    }

    /// Has a replica delete what its primary will not, since it was not its stream that set this.
    #[cold]
    fn note_deadline(&mut self, db: usize, key: &[u8], deadline: Option<Millis>) {
        if self.now != 0
            && let Some(at) = deadline
        {
            self.keyspace.db_mut(db).own(key, at);
        }
    }

    /// Takes out what of `key` has come to its end.
    pub fn end_if_due(&mut self, key: &[u8]) -> Option<Due> {
        self.keyspace.end_if_due(self.db, key, self.now)
    }

    /// Takes `key` out if it has come to its end; fields that have, stay.
    pub fn end_key_if_due(&mut self, key: &[u8]) -> Option<Due> {
        self.keyspace.end_key_if_due(self.db, key, self.now)
    }
}

/// The session of a script that `caller` runs: its database and rights, none of its transaction.
pub fn script_session(caller: &Session) -> Session {
    let mut session = Session::new(Arc::clone(&caller.client), caller.identity.clone());
    session.db = caller.db;
    session.in_script = true;
    session.no_touch = caller.no_touch;
    session.is_primary_link = caller.is_primary_link;
    session
}
