//! Loading: many new keys, about whose number there is a hint.

use super::db::Db;
use super::directory::Span;
use super::entries::{At, ENTRY_HEAD};
use super::entry::{Entry, Form, Head, LONGEST_KEY};
use super::inline::{Field, Layout, encode, fits};
use super::segment::{FULL, LONGEST_ENTRY, Segment};
use super::shapes::ShapeId;
use super::{Access, Hash, HashLimits};
use crate::clock::Millis;

/// What is there already where something new is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twice {
    /// The key.
    Key,
    /// An element of its value.
    Element,
}

/// With more entries on average, some segments would have to be split after all.
const COMFORTABLE: usize = FULL / 8 * 7;

impl Db {
    /// Makes segments, without room of their own, for so many keys that are to come, so that none
    /// need be split meanwhile; only where there is no key yet. The caller sees to it that nobody
    /// announces more than can be borne: a thousand keys take about 300 bytes.
    pub fn announce(&mut self, keys: u64) {
        let segments = keys / COMFORTABLE as u64 + 1;
        let depth = segments.next_power_of_two().trailing_zeros();
        if !self.is_empty() || depth == 0 {
            return;
        }
        self.segments = (0..1u64 << depth)
            .map(|number| Segment::new(Span { prefix: number << (64 - depth), depth }))
            .collect();
        self.enter_all();
        self.announced = (keys >> depth) as usize;
    }

    /// Gives up what [`Db::announce`] made for keys that did not come.
    pub fn tidy_up(&mut self) {
        self.announced = 0;
        let mut before = usize::MAX;
        while self.segments.len() < before {
            before = self.segments.len();
            (0..before).rev().for_each(|index| {
                if index < self.segments.len() {
                    self.tidy(index);
                }
            });
        }
    }
}

/// New keys on their way into a database: many are put in at a time, in the order of their hashes,
/// since one by one each would be looked for somewhere else in memory.
#[derive(Debug, Default)]
pub struct Batch {
    /// Entries, one behind the other.
    bytes: Vec<u8>,
    entries: Vec<Waiting>,
}

/// An entry that waits in a batch.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    hash: u64,
    start: usize,
    /// 0 = none.
    deadline: Millis,
    tag: u64,
}

/// Entries and bytes at which a batch is full.
const MOST_WAITING: usize = 16 * 1024;
const MOST_BYTES: usize = 4 << 20;

impl Batch {
    /// Adds a hash of these fields, of which there is at least one, under a new key, with the key's
    /// deadline, for a database that stays the same until it is put in; `tag` is for the caller to
    /// know it by. A big one is not kept waiting.
    ///
    /// # Errors
    ///
    /// A field comes twice, or the key of a big one is there.
    pub fn add_hash<'f>(
        &mut self,
        db: &mut Db,
        (key, tag): (&[u8], u64),
        fields: impl Iterator<Item = (&'f [u8], &'f [u8], Option<Millis>)> + Clone,
        deadline: Option<Millis>,
        access: Access,
        limits: &HashLimits,
    ) -> Result<(), Twice> {
        let fields = fields.map(|(name, value, deadline)| {
            let deadline = deadline.unwrap_or(0);
            Field { name, value, deadline }
        });
        let is_inline = key.len() <= LONGEST_KEY
            && fits(fields.clone(), LONGEST_ENTRY.saturating_sub(key.len() + ENTRY_HEAD));
        if !is_inline {
            return db.load_big_hash(key, fields, deadline, access, limits);
        }
        let mut payload = std::mem::take(&mut db.scratch.payload);
        payload.clear();
        let layout = encode(fields.clone(), &mut db.common.shapes, &mut payload);
        if !db.is_known_shape(layout, &payload) && has_twice(fields.clone()) {
            db.release_shape(layout, &payload);
            return Err(Twice::Element);
        }
        let head =
            Head { grown: is_grown(fields, limits), ..Head::new(Form::Hash(layout), access) };
        let start = self.bytes.len();
        head.write(key, &payload, &mut self.bytes);
        db.scratch.payload = payload;
        let (hash, deadline) = (db.hash_of(key), deadline.unwrap_or(0));
        self.entries.push(Waiting { hash, start, deadline, tag });
        Ok(())
    }

    /// Whether it is time to put the keys in.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= MOST_WAITING || self.bytes.len() >= MOST_BYTES
    }

    /// Puts all keys that wait into the database that they were added for.
    ///
    /// # Errors
    ///
    /// A key is there already: its tag, and the key. Those that are left are not put in.
    pub fn put_into(&mut self, db: &mut Db) -> Result<(), (u64, Box<[u8]>)> {
        let Batch { bytes, entries } = self;
        entries.sort_unstable_by_key(|waiting| waiting.hash);
        let mut put = || {
            for Waiting { hash, start, deadline, tag } in entries.iter().copied() {
                let entry = Entry(&bytes[start..]);
                if db.find_hashed(hash, entry.key()).is_some() {
                    return Err((tag, entry.key().into()));
                }
                let at = db.put_new(hash, entry.key(), &entry.0[..entry.len()]);
                db.set_new_deadline(at, deadline);
            }
            Ok(())
        };
        let done = put();
        bytes.clear();
        entries.clear();
        done
    }
}

impl Db {
    /// Puts a hash that is too big to be inline under a new key.
    fn load_big_hash<'f>(
        &mut self,
        key: &[u8],
        fields: impl Iterator<Item = Field<'f>>,
        deadline: Option<Millis>,
        access: Access,
        limits: &HashLimits,
    ) -> Result<(), Twice> {
        if self.find(key).is_some() {
            return Err(Twice::Key);
        }
        let mut hash = Hash::new();
        for Field { name, value, deadline } in fields {
            if !hash.insert(name, value, limits) {
                return Err(Twice::Element);
            }
            hash.set_deadline(name, Some(deadline).filter(|at| *at != 0));
        }
        let at = self.put_outline(None, key, hash.into(), access);
        self.set_new_deadline(at, deadline.unwrap_or(0));
        Ok(())
    }

    fn set_new_deadline(&mut self, at: At, deadline: Millis) {
        if deadline != 0 {
            self.tally.exchange_deadlines(0, deadline);
            self.set_deadline_at(at, deadline);
        }
    }

    /// Whether others have the same names: then none of them comes twice.
    fn is_known_shape(&self, layout: Layout, payload: &[u8]) -> bool {
        layout.shaped && self.common.shapes.is_shared(shape_of(payload))
    }

    fn release_shape(&mut self, layout: Layout, payload: &[u8]) {
        if layout.shaped {
            self.common.shapes.release(shape_of(payload));
        }
    }
}

fn shape_of(payload: &[u8]) -> ShapeId {
    ShapeId::from_le_bytes([payload[0], payload[1]])
}

fn has_twice<'f>(mut fields: impl Iterator<Item = Field<'f>> + Clone) -> bool {
    while let Some(field) = fields.next() {
        if fields.clone().any(|other| other.name == field.name) {
            return true;
        }
    }
    false
}

/// Whether a hash of these fields is beyond the limits of small ones.
fn is_grown<'f>(fields: impl Iterator<Item = Field<'f>>, limits: &HashLimits) -> bool {
    let mut count = 0;
    for field in fields {
        count += 1;
        // Valkey keeps deadlines of fields in no listpack.
        if field.deadline != 0 || !limits.allow(field.name, field.value) {
            return true;
        }
    }
    count > limits.entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Due, Keyspace, Order};

    const LIMITS: HashLimits = HashLimits { entries: 512, value: 64 };

    type Owned = Vec<(Vec<u8>, Vec<u8>, Option<Millis>)>;

    fn load(db: &mut Db, key: &[u8], fields: &Owned, at: Option<Millis>) -> Result<(), Twice> {
        let fields = fields.iter().map(|(name, value, at)| (&**name, &**value, *at));
        let mut batch = Batch::default();
        batch.add_hash(db, (key, 3), fields, at, Access::used_at(1), &LIMITS)?;
        batch.put_into(db).map_err(|(tag, twice)| {
            assert_eq!((tag, &*twice), (3, key));
            Twice::Key
        })
    }

    fn fields(rng: &mut fastrand::Rng) -> Owned {
        let count = match rng.u32(..20) {
            0 => rng.usize(100..700),
            _ => rng.usize(1..12),
        };
        let long = rng.u32(..8) == 0;
        let field = |number: usize| {
            let value = vec![b'v'; if long { rng.usize(..400) } else { rng.usize(..40) }];
            let at = (rng.u32(..10) == 0).then(|| rng.u64(1_000..2_000));
            (format!("field:{number}").into_bytes(), value, at)
        };
        (0..count).map(field).collect()
    }

    #[test]
    fn what_is_loaded_is_as_if_it_had_been_set() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut keyspace = Keyspace::new(2);
        let mut expected = 0;
        for number in 0..3_000 {
            if number == 0 {
                keyspace.db_mut(0).announce(3_000);
            }
            let mut key = format!("session:{number}").into_bytes();
            if rng.u32(..50) == 0 {
                key.resize(300, b'k');
            }
            let (fields, at) = (fields(&mut rng), rng.bool().then(|| rng.u64(1_000..2_000)));
            assert_eq!(load(keyspace.db_mut(0), &key, &fields, at), Ok(()));
            let set = keyspace.db_mut(1);
            {
                let access = Access::used_at(1);
                let mut hash = set.create::<Hash>(&key, |_| None, access).expect("a new key");
                for (name, value, at) in &fields {
                    hash.insert(name, value, &LIMITS);
                    hash.set_deadline(name, *at);
                }
            }
            set.set_deadline(&key, at, 0);
            expected += 1;
        }
        keyspace.db_mut(0).tidy_up();
        assert_eq!(keyspace.db(0).len(), expected);
        assert_eq!(keyspace.db(0).bytes(), keyspace.db(0).recounted());
        for object in keyspace.db(1).iter() {
            let loaded = keyspace.db(0).get(object.key(), 0).expect("it was loaded");
            assert_eq!(loaded.value().to_value(), object.value().to_value());
            assert_eq!(loaded.value().encoding(), object.value().encoding());
            assert_eq!(loaded.deadline(), object.deadline());
        }
        assert_eq!(keyspace.db(0).figures(0), keyspace.db(1).figures(0));
        let mut ended = [0, 0];
        while let Some(due) = keyspace.pop_due(2_000, Order::Deadlines) {
            let (Due::Key { db, .. } | Due::Fields { db, .. }) = due;
            ended[db] += 1;
        }
        assert!(ended[0] > 1_000 && ended[0] == ended[1], "{ended:?}");
    }

    #[test]
    fn what_comes_twice_is_told_and_changes_nothing() {
        let mut db = Db::default();
        let field = |name: &str| (name.as_bytes().to_vec(), b"v".to_vec(), None);
        let (good, bad) = (vec![field("a"), field("b")], vec![field("a"), field("b"), field("a")]);
        // Names that come again would be kept once; what is wrong with them is found each time.
        for _ in 0..5 {
            assert_eq!(load(&mut db, b"bad", &bad, None), Err(Twice::Element));
        }
        let many: Owned = (0..200).map(|number| field(&(number % 150).to_string())).collect();
        assert_eq!(load(&mut db, b"bad", &many, Some(9)), Err(Twice::Element));
        assert_eq!(load(&mut db, b"good", &good, Some(9)), Ok(()));
        assert_eq!(load(&mut db, b"good", &good, None), Err(Twice::Key));
        assert_eq!((db.len(), db.figures(0).volatile), (1, 1));
        assert_eq!(db.bytes(), db.recounted());
    }

    #[test]
    fn what_was_announced_and_does_not_come_takes_no_room() {
        let mut db = Db::default();
        db.announce(1_000_000);
        assert!(db.segments.len() == 1024 && db.bytes() < 1 << 20, "{}", db.bytes());
        let mut rng = fastrand::Rng::with_seed(1);
        for number in 0..100u32 {
            assert_eq!(load(&mut db, &number.to_le_bytes(), &fields(&mut rng), None), Ok(()));
        }
        db.tidy_up();
        assert_eq!((db.len(), db.segments.len()), (100, 1));
        assert!((0..100u32).all(|number| db.get(&number.to_le_bytes(), 0).is_some()));
        assert_eq!(db.bytes(), db.recounted());
        db.announce(1_000_000);
        assert_eq!(db.segments.len(), 1, "there are keys already");
    }
}
