//! Hashes: fields with values and deadlines of their own, kept together.
//!
//! A small hash lies inline in its entry (see `inline.rs`). One that is too big for that is packed
//! into one allocation, or, with many fields or bytes, a table, with its fields' deadlines in an
//! ordered index beside it. What OBJECT ENCODING says is another matter: that follows the limits
//! of the settings, as in Redis, and never goes back.

use std::collections::BTreeSet;

use super::allocated;
use super::inline::{Field as InlineField, InlineHash};
use super::packed::Packed;
use super::table::{Entry, Keyed, Table};
use crate::clock::Millis;

/// Up to what OBJECT ENCODING calls a hash a `listpack`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashLimits {
    /// Fields (`hash-max-listpack-entries`).
    pub entries: usize,
    /// Bytes of a field or value (`hash-max-listpack-value`).
    pub value: usize,
}

impl Default for HashLimits {
    fn default() -> Self {
        HashLimits { entries: 512, value: 64 }
    }
}

/// Fields and values. Methods with a `now` hide fields whose deadline has come by then; at `now` 0
/// nothing is hidden.
#[derive(Debug, Clone)]
pub struct Hash {
    fields: Fields,
    /// Fields that have a deadline, and the first deadline.
    volatile: usize,
    first: Millis,
    /// It was once beyond the limits.
    grown: bool,
}

/// Fields up to which a hash beyond the limits is packed. Within them it always is, as a listpack
/// of Redis: clients see the order.
const PACKED_FIELDS: usize = 128;

/// Bytes up to which a hash beyond the limits is packed.
const PACKED_BYTES: usize = 16 * 1024;

/// Bytes of a listpack at most, whatever the limits.
const LISTPACK_BYTES: usize = 1 << 30;

#[derive(Debug, Clone)]
enum Fields {
    Packed(Packed),
    Table(Box<Big>),
}

#[derive(Debug, Clone, Default)]
struct Big {
    fields: Table<Field>,
    /// By deadline; as many as are volatile.
    deadlines: BTreeSet<(Millis, Box<[u8]>)>,
    /// Bytes of all fields and values.
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Field {
    name: Box<[u8]>,
    value: Box<[u8]>,
    /// 0 = none.
    deadline: Millis,
}

/// Fields with their values and deadlines.
pub type Entries<'a> = Box<dyn Iterator<Item = (&'a [u8], &'a [u8], Option<Millis>)> + 'a>;

impl Keyed for Field {
    fn key(&self) -> &[u8] {
        &self.name
    }
}

impl Field {
    fn bytes(&self) -> usize {
        allocated(self.name.len()) + allocated(self.value.len())
    }
}

/// What a field of a deadline costs in the ordered index, about.
const INDEXED: usize = 32;

pub(super) fn is_live(deadline: Millis, now: Millis) -> bool {
    deadline == 0 || deadline > now
}

impl Hash {
    /// A hash without fields.
    pub fn new() -> Self {
        Hash { fields: Fields::Packed(Packed::default()), volatile: 0, first: 0, grown: false }
    }

    /// A hash of these fields, each with its value and deadline (0 = none).
    pub fn from_fields<'a>(
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8], Millis)>,
        limits: &HashLimits,
    ) -> Self {
        let mut hash = Hash::new();
        for (field, value, deadline) in fields {
            hash.put(field, value, deadline, limits);
        }
        hash
    }

    /// A hash of these fields, which were inline.
    pub(super) fn from_inline<'a>(
        fields: impl Iterator<Item = InlineField<'a>>,
        grown: bool,
    ) -> Self {
        let fields = fields.map(|field| (field.name, field.value, field.deadline));
        let hash =
            Hash::from_fields(fields, &HashLimits { entries: usize::MAX, value: usize::MAX });
        Hash { grown, ..hash }
    }

    /// All fields with their deadlines (0 = none), if they are few enough to be packed.
    pub(super) fn packed_fields(&self) -> Option<impl Iterator<Item = InlineField<'_>>> {
        match &self.fields {
            Fields::Packed(packed) => Some(packed.iter().map(|pair| InlineField {
                name: pair.field,
                value: pair.value,
                deadline: pair.deadline,
            })),
            Fields::Table(_) => None,
        }
    }

    /// Whether it was once beyond the limits of small ones.
    pub(super) fn is_grown(&self) -> bool {
        self.grown
    }

    /// The value of a field.
    pub fn get(&self, field: &[u8], now: Millis) -> Option<&[u8]> {
        let (value, deadline) = self.find(field)?;
        is_live(deadline, now).then_some(value)
    }

    /// Whether there is such a field.
    pub fn contains(&self, field: &[u8], now: Millis) -> bool {
        self.get(field, now).is_some()
    }

    /// Sets a field, without a deadline. True: it is new.
    pub fn insert(&mut self, field: &[u8], value: &[u8], limits: &HashLimits) -> bool {
        self.put(field, value, 0, limits)
    }

    /// Sets a field and leaves its deadline as it is. True: it is new.
    pub fn insert_keep_deadline(
        &mut self,
        field: &[u8],
        value: &[u8],
        limits: &HashLimits,
    ) -> bool {
        let deadline = self.find(field).map_or(0, |(_, deadline)| deadline);
        self.put(field, value, deadline, limits)
    }

    /// Removes a field. False: there is none.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let Some((_, deadline)) = self.find(field) else { return false };
        match &mut self.fields {
            Fields::Packed(packed) => {
                packed.remove(field);
            }
            Fields::Table(big) => big.remove(field),
        }
        self.forget_deadline(deadline);
        true
    }

    /// Fields, those included whose deadline has come.
    pub fn len(&self) -> usize {
        match &self.fields {
            Fields::Packed(packed) => packed.len(),
            Fields::Table(big) => big.fields.len(),
        }
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fields whose deadline has not come.
    pub fn live_len(&self, now: Millis) -> usize {
        if self.volatile == 0 || self.first > now {
            return self.len();
        }
        self.iter(now).count()
    }

    /// All live fields with their values: of a packed hash in the order of their arrival.
    pub fn iter(&self, now: Millis) -> Box<dyn Iterator<Item = (&[u8], &[u8])> + '_> {
        match &self.fields {
            Fields::Packed(packed) => Box::new(
                packed
                    .iter()
                    .filter(move |pair| is_live(pair.deadline, now))
                    .map(|pair| (pair.field, pair.value)),
            ),
            Fields::Table(big) => Box::new(
                big.fields
                    .iter()
                    .filter(move |field| is_live(field.deadline, now))
                    .map(|field| (&*field.name, &*field.value)),
            ),
        }
    }

    /// Calls `visit` with each live field and value.
    pub fn each<'a>(&'a self, now: Millis, mut visit: impl FnMut(&'a [u8], &'a [u8])) {
        match &self.fields {
            Fields::Packed(packed) => {
                for pair in packed.iter().filter(|pair| is_live(pair.deadline, now)) {
                    visit(pair.field, pair.value);
                }
            }
            Fields::Table(big) => {
                for field in big.fields.iter().filter(|field| is_live(field.deadline, now)) {
                    visit(&field.name, &field.value);
                }
            }
        }
    }

    /// All fields with their values and deadlines, those included whose deadline has come: of a
    /// packed hash in the order of their arrival.
    pub fn entries(&self) -> Entries<'_> {
        let deadline = |deadline: Millis| (deadline != 0).then_some(deadline);
        match &self.fields {
            Fields::Packed(packed) => {
                let pairs = packed.iter();
                Box::new(pairs.map(move |pair| (pair.field, pair.value, deadline(pair.deadline))))
            }
            Fields::Table(big) => {
                let fields = big.fields.iter();
                Box::new(fields.map(move |f| (&*f.name, &*f.value, deadline(f.deadline))))
            }
        }
    }

    /// The deadline of a field, if it has one.
    pub fn deadline(&self, field: &[u8]) -> Option<Millis> {
        self.find(field).map(|(_, deadline)| deadline).filter(|deadline| *deadline != 0)
    }

    /// Sets or clears the deadline of a field. False: there is no such field.
    pub fn set_deadline(&mut self, field: &[u8], deadline: Option<Millis>) -> bool {
        let Some((_, old)) = self.find(field) else { return false };
        let new = deadline.unwrap_or(0);
        if new == old {
            return true;
        }
        // Valkey keeps deadlines of fields in no listpack.
        self.grown |= new != 0;
        match &mut self.fields {
            Fields::Packed(packed) => {
                let value = packed.find(field).map(|pair| pair.value.to_vec()).unwrap_or_default();
                packed.set(field, &value, new);
            }
            Fields::Table(big) => big.set_deadline(field, new),
        }
        self.count_deadline(new);
        self.forget_deadline(old);
        true
    }

    /// The first deadline of any field.
    pub fn next_deadline(&self) -> Option<Millis> {
        (self.volatile > 0).then_some(self.first)
    }

    /// How many fields have a deadline.
    pub fn volatile_fields(&self) -> usize {
        self.volatile
    }

    /// Removes the field whose deadline comes first, if it has come by `now`; returns its name.
    pub fn pop_due(&mut self, now: Millis) -> Option<Box<[u8]>> {
        if self.volatile == 0 || self.first > now {
            return None;
        }
        let first = self.first;
        let field: Box<[u8]> = match &self.fields {
            Fields::Packed(packed) => {
                packed.iter().find(|pair| pair.deadline == first)?.field.into()
            }
            Fields::Table(big) => big.deadlines.first()?.1.clone(),
        };
        self.remove(&field);
        Some(field)
    }

    /// Visits about `count` live fields from `cursor` on; returns where to go on, 0 at the end. A
    /// packed hash is visited as a whole.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        now: Millis,
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> u64 {
        match &self.fields {
            Fields::Packed(_) => {
                self.each(now, visit);
                0
            }
            Fields::Table(big) => big.fields.scan(cursor, count, &mut |field| {
                if is_live(field.deadline, now) {
                    visit(&field.name, &field.value);
                }
            }),
        }
    }

    /// Any live field, each as likely as the others.
    pub fn random(&self, rng: &mut fastrand::Rng, now: Millis) -> Option<(&[u8], &[u8])> {
        if let Fields::Table(big) = &self.fields {
            // A few draws find a live field, unless most have come to their end.
            for _ in 0..16 {
                let field = big.fields.random(rng)?;
                if is_live(field.deadline, now) {
                    return Some((&field.name, &field.value));
                }
            }
        }
        let live = self.live_len(now);
        if live == 0 { None } else { self.iter(now).nth(rng.usize(..live)) }
    }

    /// `listpack` or `hashtable`.
    pub fn encoding(&self) -> &'static str {
        encoding(self.grown)
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        match &self.fields {
            Fields::Packed(packed) => allocated(packed.capacity()),
            Fields::Table(big) => {
                allocated(size_of::<Big>())
                    + big.bytes
                    + big.fields.heap_bytes()
                    + big.deadlines.len() * INDEXED
            }
        }
    }

    fn find(&self, field: &[u8]) -> Option<(&[u8], Millis)> {
        match &self.fields {
            Fields::Packed(packed) => packed.find(field).map(|pair| (pair.value, pair.deadline)),
            Fields::Table(big) => {
                big.fields.get(field).map(|found| (&*found.value, found.deadline))
            }
        }
    }

    fn put(&mut self, field: &[u8], value: &[u8], deadline: Millis, limits: &HashLimits) -> bool {
        self.grown |= !limits.allow(field, value);
        self.enlarge_if_long(field.len() + value.len());
        let old = if self.volatile == 0 { None } else { self.deadline(field) };
        let is_new = match &mut self.fields {
            Fields::Packed(packed) => packed.set(field, value, deadline),
            Fields::Table(big) => big.put(field, value, deadline),
        };
        self.grown |= self.len() > limits.entries;
        self.enlarge_if_long(0);
        self.count_deadline(deadline);
        self.forget_deadline(old.unwrap_or(0));
        is_new
    }

    /// Sees to it that a hash which is to take `more` bytes is packed only where it may be.
    fn enlarge_if_long(&mut self, more: usize) {
        let Fields::Packed(packed) = &self.fields else { return };
        let bytes = packed.bytes() + more;
        self.grown |= bytes > LISTPACK_BYTES;
        if self.grown && (bytes > PACKED_BYTES || packed.len() > PACKED_FIELDS) {
            self.enlarge();
        }
    }

    fn enlarge(&mut self) {
        if let Fields::Packed(packed) = &self.fields {
            let mut big = Big::default();
            for pair in packed.iter() {
                big.put(pair.field, pair.value, pair.deadline);
            }
            self.fields = Fields::Table(Box::new(big));
        }
    }

    fn count_deadline(&mut self, deadline: Millis) {
        if deadline != 0 {
            self.first = if self.volatile == 0 { deadline } else { self.first.min(deadline) };
            self.volatile += 1;
        }
    }

    /// After a deadline has gone: the first one may have been that.
    fn forget_deadline(&mut self, deadline: Millis) {
        if deadline == 0 {
            return;
        }
        self.volatile -= 1;
        if self.volatile > 0 && deadline == self.first {
            self.first = match &self.fields {
                Fields::Packed(packed) => {
                    let deadlines = packed.iter().map(|pair| pair.deadline);
                    deadlines.filter(|deadline| *deadline != 0).min().unwrap_or(0)
                }
                Fields::Table(big) => big.deadlines.first().map_or(0, |(first, _)| *first),
            };
        }
    }
}

impl HashLimits {
    /// Whether a field and its value are short enough.
    pub(super) fn allow(&self, field: &[u8], value: &[u8]) -> bool {
        field.len() <= self.value && value.len() <= self.value
    }
}

fn encoding(grown: bool) -> &'static str {
    if grown { "hashtable" } else { "listpack" }
}

/// A hash where it lies. Methods with a `now` hide fields whose deadline has come by then; at `now`
/// 0 nothing is hidden.
#[derive(Debug, Clone, Copy)]
pub struct HashRef<'a>(Lies<'a>);

#[derive(Debug, Clone, Copy)]
enum Lies<'a> {
    Inline { hash: InlineHash<'a>, grown: bool },
    Outside(&'a Hash),
}

impl<'a> From<&'a Hash> for HashRef<'a> {
    fn from(hash: &'a Hash) -> Self {
        HashRef(Lies::Outside(hash))
    }
}

impl<'a> HashRef<'a> {
    #[inline]
    pub(super) fn inline(hash: InlineHash<'a>, grown: bool) -> Self {
        HashRef(Lies::Inline { hash, grown })
    }

    /// The value of a field.
    #[inline]
    pub fn get(self, field: &[u8], now: Millis) -> Option<&'a [u8]> {
        match self.0 {
            Lies::Inline { hash, .. } => {
                let index = hash.find(field)?;
                is_live(hash.deadline(index), now).then(|| hash.value(index))
            }
            Lies::Outside(hash) => hash.get(field, now),
        }
    }

    /// Whether there is such a field.
    pub fn contains(self, field: &[u8], now: Millis) -> bool {
        self.get(field, now).is_some()
    }

    /// Fields, those included whose deadline has come.
    pub fn len(self) -> usize {
        match self.0 {
            Lies::Inline { hash, .. } => hash.len(),
            Lies::Outside(hash) => hash.len(),
        }
    }

    /// Whether there is no field.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Fields whose deadline has not come.
    pub fn live_len(self, now: Millis) -> usize {
        match self.0 {
            Lies::Inline { hash, .. } if hash.volatile_fields() == 0 => hash.len(),
            Lies::Inline { hash, .. } => hash.iter().filter(|f| is_live(f.deadline, now)).count(),
            Lies::Outside(hash) => hash.live_len(now),
        }
    }

    /// Calls `visit` with each live field and value: of an inline or packed hash in the order of
    /// their arrival.
    #[inline]
    pub fn each(self, now: Millis, mut visit: impl FnMut(&'a [u8], &'a [u8])) {
        match self.0 {
            Lies::Inline { hash, .. } => {
                for field in hash.iter().filter(|field| is_live(field.deadline, now)) {
                    visit(field.name, field.value);
                }
            }
            Lies::Outside(hash) => hash.each(now, visit),
        }
    }

    /// All live fields with their values.
    pub fn pairs(self, now: Millis) -> Vec<(&'a [u8], &'a [u8])> {
        let mut all = Vec::with_capacity(self.len());
        self.each(now, |field, value| all.push((field, value)));
        all
    }

    /// All fields with their values and deadlines, those included whose deadline has come: of an
    /// inline or packed hash in the order of their arrival.
    pub fn entries(self) -> Entries<'a> {
        match self.0 {
            Lies::Inline { hash, .. } => Box::new(hash.iter().map(|field| {
                (field.name, field.value, Some(field.deadline).filter(|deadline| *deadline != 0))
            })),
            Lies::Outside(hash) => hash.entries(),
        }
    }

    /// The deadline of a field, if it has one.
    pub fn deadline(self, field: &[u8]) -> Option<Millis> {
        match self.0 {
            Lies::Inline { hash, .. } => {
                Some(hash.deadline(hash.find(field)?)).filter(|deadline| *deadline != 0)
            }
            Lies::Outside(hash) => hash.deadline(field),
        }
    }

    /// The first deadline of any field.
    pub fn next_deadline(self) -> Option<Millis> {
        match self.0 {
            Lies::Inline { hash, .. } => Some(hash.first_deadline()).filter(|first| *first != 0),
            Lies::Outside(hash) => hash.next_deadline(),
        }
    }

    /// How many fields have a deadline.
    pub fn volatile_fields(self) -> usize {
        match self.0 {
            Lies::Inline { hash, .. } => hash.volatile_fields(),
            Lies::Outside(hash) => hash.volatile_fields(),
        }
    }

    /// Visits about `count` live fields from `cursor` on; returns where to go on, 0 at the end. An
    /// inline or packed hash is visited as a whole.
    pub fn scan(
        self,
        cursor: u64,
        count: usize,
        now: Millis,
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> u64 {
        match self.0 {
            Lies::Inline { .. } => {
                self.each(now, visit);
                0
            }
            Lies::Outside(hash) => hash.scan(cursor, count, now, visit),
        }
    }

    /// Any live field, each as likely as the others.
    pub fn random(self, rng: &mut fastrand::Rng, now: Millis) -> Option<(&'a [u8], &'a [u8])> {
        match self.0 {
            Lies::Inline { hash, .. } => {
                let live = self.live_len(now);
                let mut fields = hash.iter().filter(|field| is_live(field.deadline, now));
                let drawn = fields.nth(rng.usize(..live.max(1)))?;
                Some((drawn.name, drawn.value))
            }
            Lies::Outside(hash) => hash.random(rng, now),
        }
    }

    /// `listpack` or `hashtable`.
    pub fn encoding(self) -> &'static str {
        match self.0 {
            Lies::Inline { grown, .. } => encoding(grown),
            Lies::Outside(hash) => hash.encoding(),
        }
    }

    /// A copy of its own.
    pub fn to_hash(self) -> Hash {
        match self.0 {
            Lies::Inline { hash, grown } => Hash::from_inline(hash.iter(), grown),
            Lies::Outside(hash) => hash.clone(),
        }
    }
}

impl Default for Hash {
    fn default() -> Self {
        Hash::new()
    }
}

impl PartialEq for Hash {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.iter(0).all(|(field, value)| {
                other.get(field, 0) == Some(value) && self.deadline(field) == other.deadline(field)
            })
    }
}

impl Eq for Hash {}

impl Big {
    fn put(&mut self, name: &[u8], value: &[u8], deadline: Millis) -> bool {
        match self.fields.entry(name) {
            Entry::Occupied(mut found) => {
                let field = found.get_mut();
                self.bytes -= field.bytes();
                field.value = value.into();
                self.bytes += field.bytes();
                if field.deadline != deadline {
                    reindex(&mut self.deadlines, field, deadline);
                }
                false
            }
            Entry::Vacant(vacant) => {
                let mut field = Field { name: name.into(), value: value.into(), deadline: 0 };
                self.bytes += field.bytes();
                reindex(&mut self.deadlines, &mut field, deadline);
                vacant.insert_entry(field);
                true
            }
        }
    }

    fn remove(&mut self, name: &[u8]) {
        if let Some(mut field) = self.fields.remove(name) {
            self.bytes -= field.bytes();
            reindex(&mut self.deadlines, &mut field, 0);
        }
    }

    fn set_deadline(&mut self, name: &[u8], deadline: Millis) {
        if let Some(field) = self.fields.get_mut(name) {
            reindex(&mut self.deadlines, field, deadline);
        }
    }
}

fn reindex(index: &mut BTreeSet<(Millis, Box<[u8]>)>, field: &mut Field, deadline: Millis) {
    if field.deadline != 0 {
        index.remove(&(field.deadline, field.name.clone()));
    }
    field.deadline = deadline;
    if deadline != 0 {
        index.insert((deadline, field.name.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_hash_behaves_like_a_plain_map_whatever_its_encoding() {
        let limits = HashLimits::default();
        for is_table in [false, true] {
            let (mut hash, mut model) =
                (Hash::new(), BTreeMap::<Vec<u8>, (Vec<u8>, Millis)>::new());
            if is_table {
                hash.enlarge();
            }
            let mut rng = fastrand::Rng::with_seed(3);
            for step in 1..20_000u64 {
                let field = format!("f{}", rng.u32(..12)).into_bytes();
                let value = format!("v{}", rng.u32(..1000)).into_bytes();
                match rng.u32(..6) {
                    0 | 1 => {
                        let old = model.insert(field.clone(), (value.clone(), 0));
                        assert_eq!(hash.insert(&field, &value, &limits), old.is_none());
                    }
                    2 => {
                        let deadline = model.get(&field).map_or(0, |(_, deadline)| *deadline);
                        model.insert(field.clone(), (value.clone(), deadline));
                        hash.insert_keep_deadline(&field, &value, &limits);
                    }
                    3 => assert_eq!(hash.remove(&field), model.remove(&field).is_some()),
                    4 => {
                        let deadline = step + rng.u64(1..40);
                        let found = model.get_mut(&field).map(|entry| entry.1 = deadline);
                        assert_eq!(hash.set_deadline(&field, Some(deadline)), found.is_some());
                    }
                    _ => {
                        let due = model.values().filter(|(_, at)| *at != 0 && *at <= step).count();
                        let popped = std::iter::from_fn(|| hash.pop_due(step)).count();
                        assert_eq!(popped, due);
                        model.retain(|_, (_, at)| *at == 0 || *at > step);
                    }
                }
                let first = model.values().map(|(_, at)| *at).filter(|at| *at != 0).min();
                assert_eq!((hash.len(), hash.next_deadline()), (model.len(), first));
                let live = model.values().filter(|(_, at)| is_live(*at, step)).count();
                assert_eq!(hash.live_len(step), live);
                assert_eq!(hash.get(&field, 0), model.get(&field).map(|(value, _)| &**value));
            }
        }
    }

    #[test]
    fn a_packed_hash_keeps_its_order_and_turns_big_at_its_limits() {
        let (mut hash, limits) = (Hash::new(), HashLimits { entries: 3, value: 4 });
        for field in [b"c", b"a", b"b"] {
            hash.insert(field, b"1", &limits);
        }
        hash.insert(b"a", b"22", &limits);
        let order: Vec<_> = hash.iter(0).map(|(field, _)| field.to_vec()).collect();
        assert_eq!(order, [b"c", b"a", b"b"]);
        assert_eq!(hash.encoding(), "listpack");
        let mut wide = hash.clone();
        wide.insert(b"a", b"12345", &limits);
        hash.insert(b"d", b"1", &limits);
        assert_eq!((hash.encoding(), wide.encoding()), ("hashtable", "hashtable"));
        for field in 0..200u32 {
            hash.insert(&field.to_le_bytes(), b"1", &limits);
        }
        assert!(matches!(hash.fields, Fields::Table(_)));
        wide.insert(b"a", &[b'v'; PACKED_BYTES], &limits);
        assert!(matches!(wide.fields, Fields::Table(_)));
    }

    #[test]
    fn a_hash_within_the_limits_is_packed_however_long_they_let_it_be() {
        let (mut hash, limits) = (Hash::new(), HashLimits { entries: 512, value: PACKED_BYTES });
        for field in 0..511u32 {
            hash.insert(&field.to_be_bytes(), b"1", &limits);
        }
        hash.insert(b"long", &[b'v'; PACKED_BYTES], &limits);
        assert!(hash.packed_fields().expect("it is packed").map(|field| field.name).is_sorted());
        hash.insert(b"one too many", b"", &limits);
        assert!(matches!(hash.fields, Fields::Table(_)));
    }
}
