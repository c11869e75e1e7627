//! A value while it is changed, with its books kept.
//!
//! When a [`Write`] goes, all is right again: bytes are counted, the wheel knows of a new first
//! deadline, and an aggregate without elements is taken out. A small hash is changed where it lies
//! as long as no length changes; otherwise in a draft that is written back once, in the end.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use super::db::Db;
use super::entries::At;
use super::entry::set_grown;
use super::hash::is_live;
use super::inline::{Draft, Field, MOST_FIELDS};
use super::object::{Kind, Outside, Value, ValueRef, WrongType};
use super::string::Origin;
use super::{Access, Hash, HashLimits, HashRef, Str, StrRef};
use crate::clock::Millis;

/// A value being changed.
#[derive(Debug)]
pub struct Write<'a, K: Kind> {
    db: &'a mut Db,
    key: &'a [u8],
    /// None: the key does not exist yet.
    at: Option<At>,
    /// The fields of a small hash once lengths have changed.
    draft: Option<Draft>,
    /// A hash was once beyond the limits of small ones.
    grown: bool,
    /// A new key's first use.
    access: Access,
    /// The data's revision before an empty value was put under a new key.
    before_new: Option<u64>,
    outline: OutlineBefore,
    kind: PhantomData<K>,
}

/// How the books stood on a value outside the entries before it was changed.
#[derive(Debug)]
struct OutlineBefore {
    bytes: usize,
    first_field: Millis,
    #[cfg(debug_assertions)]
    value: Option<Value>,
}

/// Up to how many bytes a debug build compares a value before and after it was changed.
#[cfg(debug_assertions)]
const DEBUG_COMPARES: usize = 4096;

/// Bytes in a draft beyond which the hash is moved outside its entry at once.
const LONGEST_DRAFT: usize = 64 * 1024;

impl Db {
    /// The value under `key` to be changed, if it is there and of type `K`; its use is recorded as
    /// `record` says.
    pub fn write<'a, K: Kind>(
        &'a mut self,
        key: &'a [u8],
        now: Millis,
        record: impl FnOnce(Access) -> Option<Access>,
    ) -> Result<Option<Write<'a, K>>, WrongType> {
        let Some(at) = self.find(key).filter(|at| !self.is_due(*at, now)) else { return Ok(None) };
        Write::of(self, key, at, record).map(Some)
    }

    /// The value under `key` to be changed: an empty one of type `K`, first used as `access` says,
    /// if there is none. It does not stay if it is still empty in the end.
    pub fn create<'a, K: Kind>(
        &'a mut self,
        key: &'a [u8],
        record: impl FnOnce(Access) -> Option<Access>,
        access: Access,
    ) -> Result<Write<'a, K>, WrongType> {
        match self.find(key) {
            Some(at) => Write::of(self, key, at, record),
            None => Ok(Write::of_new(self, key, access)),
        }
    }
}

impl<'a, K: Kind> Write<'a, K> {
    fn of(
        db: &'a mut Db,
        key: &'a [u8],
        at: At,
        record: impl FnOnce(Access) -> Option<Access>,
    ) -> Result<Self, WrongType> {
        if !K::is(db.type_of(at)) {
            return Err(WrongType);
        }
        db.before_change(at);
        let segment = &mut db.segments[at.segment];
        let mut access = segment.entry(at.id).access();
        if let Some(used) = record(access) {
            access = used;
            super::entry::set_access(segment.entry_mut(at.id), used);
        }
        let grown = segment.entry(at.id).is_grown();
        let outline = OutlineBefore::new(db, at);
        let (at, draft) = (Some(at), None);
        let before_new = None;
        Ok(Write { db, key, at, draft, grown, access, before_new, outline, kind: PhantomData })
    }

    fn of_new(db: &'a mut Db, key: &'a [u8], access: Access) -> Self {
        let empty = K::empty();
        let before_new = Some(db.tally.revision);
        let (at, draft) = if let Value::Hash(_) = empty {
            let mut draft = std::mem::take(&mut db.scratch.draft);
            draft.clear();
            (None, Some(draft))
        } else {
            (Some(db.put_outline(None, key, empty, access)), None)
        };
        let outline = at.map_or_else(OutlineBefore::none, |at| OutlineBefore::new(db, at));
        let kind = PhantomData;
        Write { db, key, at, draft, grown: false, access, before_new, outline, kind }
    }

    /// The deadline of the key, if it has one.
    pub fn key_deadline(&self) -> Option<Millis> {
        self.db.object(self.at?).deadline()
    }

    fn outside(&self) -> Option<&Value> {
        self.db.outside(self.at?)
    }

    fn outside_mut(&mut self) -> Option<&mut Value> {
        self.db.outside_mut(self.at?)
    }

    /// Puts the books right after the value outside has changed.
    fn settle(&mut self, at: At) {
        self.db.settle(at, self.outline.bytes, self.outline.first_field);
        #[cfg(debug_assertions)]
        if let Some(before) = self.outline.value.take() {
            self.db.tally.revision += u64::from(self.db.outside(at) != Some(&before));
        }
        if self.db.outside(at).is_some_and(Value::is_empty) {
            self.db.remove_at(at);
            if let Some(revision) = self.before_new {
                self.db.tally.revision = revision;
            }
        }
    }
}

impl OutlineBefore {
    fn none() -> Self {
        OutlineBefore {
            bytes: 0,
            first_field: 0,
            #[cfg(debug_assertions)]
            value: None,
        }
    }

    fn new(db: &Db, at: At) -> Self {
        let Some(_value) = db.outside(at) else { return OutlineBefore::none() };
        let bytes = db.outline_bytes(at);
        OutlineBefore {
            bytes,
            first_field: db.first_field(at),
            #[cfg(debug_assertions)]
            value: (bytes < DEBUG_COMPARES).then(|| _value.clone()),
        }
    }
}

impl<K: Kind> Drop for Write<'_, K> {
    fn drop(&mut self) {
        match (self.draft.take(), self.at) {
            (Some(mut draft), at) => {
                match at {
                    None if draft.len() == 0 => {}
                    Some(at) if draft.len() == 0 => self.db.remove_at(at),
                    at => {
                        self.db.put_draft(at, self.key, &draft, self.grown, self.access);
                    }
                }
                draft.clear();
                self.db.scratch.draft = draft;
            }
            (None, Some(at)) if self.db.outside(at).is_some() => self.settle(at),
            _ => {}
        }
    }
}

impl<K: Outside> Deref for Write<'_, K> {
    type Target = K;

    fn deref(&self) -> &K {
        self.outside().and_then(K::of_value).expect("the type was checked")
    }
}

impl<K: Outside> DerefMut for Write<'_, K> {
    fn deref_mut(&mut self) -> &mut K {
        self.outside_mut().and_then(K::of_value_mut).expect("the type was checked")
    }
}

/// Where a value lies in an inline hash, as long as nothing else of it is changed.
#[derive(Debug, Clone, Copy)]
pub struct Spot {
    start: usize,
    len: usize,
}

/// What becomes of a field's deadline when its value is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deadline {
    Keep,
    Clear,
}

impl Write<'_, Hash> {
    /// The value of a field.
    pub fn get(&self, field: &[u8], now: Millis) -> Option<&[u8]> {
        match &self.draft {
            Some(draft) => {
                let found = draft.field(draft.find(field)?);
                is_live(found.deadline, now).then_some(found.value)
            }
            None => self.view()?.get(field, now),
        }
    }

    /// Whether there is such a field.
    pub fn contains(&self, field: &[u8], now: Millis) -> bool {
        self.get(field, now).is_some()
    }

    /// Fields, those included whose deadline has come.
    pub fn len(&self) -> usize {
        match &self.draft {
            Some(draft) => draft.len(),
            None => self.view().map_or(0, HashRef::len),
        }
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The deadline of a field, if it has one.
    pub fn deadline(&self, field: &[u8]) -> Option<Millis> {
        match &self.draft {
            Some(draft) => Some(draft.field(draft.find(field)?).deadline).filter(|at| *at != 0),
            None => self.view()?.deadline(field),
        }
    }

    /// Takes out a field that has ended by `now`. False: there is no such field.
    pub fn remove_ended(&mut self, field: &[u8], now: Millis) -> bool {
        self.deadline(field).is_some_and(|at| at <= now) && self.remove(field)
    }

    /// The first deadline of any field.
    pub fn next_deadline(&self) -> Option<Millis> {
        match &self.draft {
            Some(draft) => draft.iter().map(|field| field.deadline).filter(|at| *at != 0).min(),
            None => self.view()?.next_deadline(),
        }
    }

    /// Sets a field, without a deadline. True: it is new.
    pub fn insert(&mut self, field: &[u8], value: &[u8], limits: &HashLimits) -> bool {
        self.put(field, value, Deadline::Clear, limits)
    }

    /// Sets a field and leaves its deadline as it is. True: it is new.
    pub fn insert_keep_deadline(
        &mut self,
        field: &[u8],
        value: &[u8],
        limits: &HashLimits,
    ) -> bool {
        self.put(field, value, Deadline::Keep, limits)
    }

    /// Removes a field. False: there is none.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        if let Some(hash) = self.outside_hash() {
            return hash.remove(field);
        }
        if self.draft.is_none() && !self.contains(field, 0) {
            return false;
        }
        let draft = self.draft();
        match draft.find(field) {
            Some(index) => {
                draft.remove(index);
                true
            }
            None => false,
        }
    }

    /// Sets or clears the deadline of a field. False: there is no such field.
    pub fn set_deadline(&mut self, field: &[u8], deadline: Option<Millis>) -> bool {
        if let Some(hash) = self.outside_hash() {
            return hash.set_deadline(field, deadline);
        }
        if !self.contains(field, 0) {
            return false;
        }
        if self.deadline(field) != deadline {
            let draft = self.draft();
            if let Some(index) = draft.find(field) {
                draft.set_deadline(index, deadline.unwrap_or(0));
            }
            // Valkey keeps deadlines of fields in no listpack.
            self.grown |= deadline.is_some();
        }
        true
    }

    /// Removes the field whose deadline comes first, if it has come by `now`; returns its name.
    pub fn pop_due(&mut self, now: Millis) -> Option<Box<[u8]>> {
        if let Some(hash) = self.outside_hash() {
            return hash.pop_due(now);
        }
        let first = self.next_deadline().filter(|first| *first <= now)?;
        let draft = self.draft();
        let index = draft.iter().position(|field| field.deadline == first)?;
        let name = draft.field(index).name.into();
        draft.remove(index);
        Some(name)
    }

    fn put(&mut self, field: &[u8], value: &[u8], time: Deadline, limits: &HashLimits) -> bool {
        if let Some(hash) = self.outside_hash() {
            return match time {
                Deadline::Keep => hash.insert_keep_deadline(field, value, limits),
                Deadline::Clear => hash.insert(field, value, limits),
            };
        }
        let grown = self.grown;
        self.grown |= !limits.allow(field, value);
        if self.draft.is_none() && self.put_in_place(field, value, time, grown) {
            return false;
        }
        let draft = self.draft();
        let known = draft.find(field);
        match known {
            Some(index) => {
                draft.set_value(index, value);
                if time == Deadline::Clear {
                    draft.set_deadline(index, 0);
                }
            }
            None => draft.push(Field { name: field, value, deadline: 0 }),
        }
        let (len, bytes) = (draft.len(), draft.bytes());
        self.grown |= len > limits.entries;
        if len > MOST_FIELDS || bytes > LONGEST_DRAFT {
            self.move_outside();
        }
        known.is_none()
    }

    /// Overwrites a value of the same length where it lies. False: it is not of that length, or
    /// more than the value has to change.
    fn put_in_place(&mut self, field: &[u8], value: &[u8], time: Deadline, grown: bool) -> bool {
        let Some(at) = self.at else { return false };
        let Some(hash) = self.db.inline(at) else { return false };
        let Some(index) = hash.find(field) else { return false };
        let place = hash.place(index);
        if place.len() != value.len() || (time == Deadline::Clear && hash.deadline(index) != 0) {
            return false;
        }
        self.overwrite(at, Spot { start: place.start, len: place.len() }, value);
        if self.grown != grown {
            set_grown(self.db.segments[at.segment].entry_mut(at.id));
        }
        true
    }

    fn overwrite(&mut self, at: At, spot: Spot, value: &[u8]) {
        let segment = &mut self.db.segments[at.segment];
        let start = segment.entry(at.id).payload_start() + spot.start;
        let place = &mut segment.entry_mut(at.id)[start..start + spot.len];
        self.db.tally.revision += u64::from(place != value);
        place.copy_from_slice(value);
    }

    /// Where the value of a field lies, if it could be overwritten there.
    #[inline]
    pub fn spot(&self, field: &[u8], now: Millis) -> Option<Spot> {
        let hash = if self.draft.is_none() { self.db.inline(self.at?)? } else { return None };
        let index = hash.find(field).filter(|index| is_live(hash.deadline(*index), now))?;
        let place = hash.place(index);
        Some(Spot { start: place.start, len: place.len() })
    }

    /// What lies at a spot.
    #[inline]
    pub fn at(&self, spot: Spot) -> &[u8] {
        let Some(at) = self.at else { return &[] };
        let payload = self.db.segments[at.segment].entry(at.id).payload();
        &payload[spot.start..spot.start + spot.len]
    }

    /// Overwrites what lies at a spot. False, and nothing is done: it has not the same length.
    #[inline]
    pub fn set_at(&mut self, spot: Spot, value: &[u8]) -> bool {
        match self.at {
            Some(at) if spot.len == value.len() => {
                self.overwrite(at, spot, value);
                true
            }
            _ => false,
        }
    }

    /// The draft, begun if it was not.
    fn draft(&mut self) -> &mut Draft {
        let Write { db, at, draft, .. } = self;
        draft.get_or_insert_with(|| {
            let mut draft = std::mem::take(&mut db.scratch.draft);
            match at.and_then(|at| db.inline(at)) {
                Some(hash) => draft.load(hash.iter()),
                None => draft.clear(),
            }
            draft
        })
    }

    /// A hash that has become too big for a draft goes on outside its entry.
    fn move_outside(&mut self) {
        let Some(mut draft) = self.draft.take() else { return };
        let hash = Hash::from_inline(draft.iter(), self.grown);
        draft.clear();
        let at = self.db.put_outline(self.at, self.key, hash.into(), self.access);
        self.db.scratch.draft = draft;
        self.at = Some(at);
        self.outline = OutlineBefore::new(self.db, at);
    }

    fn outside_hash(&mut self) -> Option<&mut Hash> {
        match self.outside_mut() {
            Some(Value::Hash(hash)) => Some(hash),
            _ => None,
        }
    }

    fn view(&self) -> Option<HashRef<'_>> {
        match self.db.object(self.at?).value() {
            ValueRef::Hash(hash) => Some(hash),
            _ => None,
        }
    }
}

impl Write<'_, Str> {
    /// The bytes.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        self.text().bytes()
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.text().len()
    }

    fn text(&self) -> StrRef<'_> {
        match self.at.map(|at| self.db.object(at).value()) {
            Some(ValueRef::Str(text)) => text,
            _ => StrRef::new(b"", Origin::Given),
        }
    }

    /// Puts other bytes in place of these.
    pub fn set(&mut self, bytes: &[u8]) {
        self.replace(bytes, Origin::Given);
    }

    /// Puts INCRBYFLOAT's result in place of these bytes.
    pub fn set_computed(&mut self, bytes: &[u8]) {
        self.replace(bytes, Origin::Computed);
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, bytes: &[u8]) {
        self.change(|text| text.append(bytes));
    }

    /// Writes bytes from `offset` on; a gap is filled with zeros.
    pub fn set_range(&mut self, offset: usize, bytes: &[u8]) {
        self.change(|text| text.set_range(offset, bytes));
    }

    fn change(&mut self, change: impl FnOnce(&mut Str)) {
        if let Some(Value::Str(text)) = self.outside_mut() {
            change(text);
            return;
        }
        let mut text = self.text().to_str();
        change(&mut text);
        self.replace(&text.bytes, text.origin);
    }

    fn replace(&mut self, bytes: &[u8], origin: Origin) {
        if self.text().is(bytes, origin) {
            return;
        }
        self.at = Some(self.db.put_text(self.at, self.key, bytes, origin, self.access));
        self.outline =
            self.at.map_or_else(OutlineBefore::none, |at| OutlineBefore::new(self.db, at));
    }
}
