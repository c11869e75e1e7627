//! Values, and objects: a value with its key, deadline and last use, as they lie in the keyspace.

use super::common::Common;
use super::entry::Form;
use super::inline::InlineHash;
use super::segment::Segment;
use super::slots::{SHARE, SlotId};
use super::{Hash, HashRef, Set, SortedSet, Str, StrRef};
use crate::clock::Millis;

/// What a key holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A string.
    Str(Str),
    /// A hash: what a session is.
    Hash(Hash),
    /// A set.
    Set(Set),
    /// A sorted set.
    SortedSet(SortedSet),
}

impl Value {
    /// Its type.
    pub(super) fn type_of(&self) -> Type {
        match self {
            Value::Str(_) => Type::Str,
            Value::Hash(_) => Type::Hash,
            Value::Set(_) => Type::Set,
            Value::SortedSet(_) => Type::SortedSet,
        }
    }

    /// Whether nothing is left in it. An aggregate without elements does not exist in a keyspace;
    /// a string of no bytes does.
    pub fn is_empty(&self) -> bool {
        match self {
            Value::Str(_) => false,
            Value::Hash(value) => value.is_empty(),
            Value::Set(value) => value.is_empty(),
            Value::SortedSet(value) => value.is_empty(),
        }
    }

    /// Bytes on the heap, without the value's own struct.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Value::Str(value) => value.heap_bytes(),
            Value::Hash(value) => value.heap_bytes(),
            Value::Set(value) => value.heap_bytes(),
            Value::SortedSet(value) => value.heap_bytes(),
        }
    }

    /// The earliest deadline of a field, if fields have any.
    pub(super) fn next_field_deadline(&self) -> Option<Millis> {
        match self {
            Value::Hash(hash) => hash.next_deadline(),
            _ => None,
        }
    }
}

/// A command met a value of another type than its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongType;

/// The types of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Str,
    Hash,
    Set,
    SortedSet,
}

/// A value where it lies.
#[derive(Debug, Clone, Copy)]
pub enum ValueRef<'a> {
    /// A string.
    Str(StrRef<'a>),
    /// A hash: what a session is.
    Hash(HashRef<'a>),
    /// A set.
    Set(&'a Set),
    /// A sorted set.
    SortedSet(&'a SortedSet),
}

impl<'a> ValueRef<'a> {
    /// The type's name as TYPE answers it.
    pub fn type_name(&self) -> &'static str {
        match self {
            ValueRef::Str(_) => "string",
            ValueRef::Hash(_) => "hash",
            ValueRef::Set(_) => "set",
            ValueRef::SortedSet(_) => "zset",
        }
    }

    /// The encoding's name as OBJECT ENCODING answers it.
    pub fn encoding(&self) -> &'static str {
        match self {
            ValueRef::Str(value) => value.encoding(),
            ValueRef::Hash(value) => value.encoding(),
            ValueRef::Set(value) => value.encoding(),
            ValueRef::SortedSet(value) => value.encoding(),
        }
    }

    /// A copy of its own.
    pub fn to_value(self) -> Value {
        match self {
            ValueRef::Str(value) => value.to_str().into(),
            ValueRef::Hash(value) => value.to_hash().into(),
            ValueRef::Set(value) => value.clone().into(),
            ValueRef::SortedSet(value) => value.clone().into(),
        }
    }
}

/// One of the types that a value can have.
pub trait Kind: Sized {
    /// A value of this type where it lies.
    type Ref<'a>: Copy;

    /// The value seen as this type.
    fn of(value: ValueRef<'_>) -> Option<Self::Ref<'_>>;

    /// Whether a value of this type is one.
    #[doc(hidden)]
    #[expect(private_interfaces, reason = "the types that have it are named here, and no others")]
    fn is(of: Type) -> bool;

    /// A value of this type without elements.
    fn empty() -> Value;
}

/// A type whose values are always kept as they are, outside the entries.
pub trait Outside: Kind {
    /// The value seen as this type.
    fn of_value(value: &Value) -> Option<&Self>;

    /// The value seen as this type, to change it.
    fn of_value_mut(value: &mut Value) -> Option<&mut Self>;
}

macro_rules! kinds {
    ($($kind:ident => $reference:ty, $empty:expr $(, $outside:ident)?;)*) => {$(
        impl Kind for $kind {
            type Ref<'a> = $reference;

            #[inline]
            fn of(value: ValueRef<'_>) -> Option<Self::Ref<'_>> {
                if let ValueRef::$kind(value) = value { Some(value) } else { None }
            }
            #[expect(private_interfaces, reason = "see the trait")]
            fn is(of: Type) -> bool {
                of == Type::$kind
            }
            fn empty() -> Value {
                Value::$kind($empty)
            }
        }
        $(impl $outside for $kind {
            fn of_value(value: &Value) -> Option<&Self> {
                if let Value::$kind(value) = value { Some(value) } else { None }
            }
            fn of_value_mut(value: &mut Value) -> Option<&mut Self> {
                if let Value::$kind(value) = value { Some(value) } else { None }
            }
        })?
        impl From<$kind> for Value {
            fn from(value: $kind) -> Self {
                Value::$kind(value)
            }
        }
    )*};
}

kinds! {
    Str => StrRef<'a>, Str::new(b"");
    Hash => HashRef<'a>, Hash::new();
    Set => &'a Set, Set::new(), Outside;
    SortedSet => &'a SortedSet, SortedSet::new(), Outside;
}

/// When a key was last used, or how often: 24 bits, as in Redis, for OBJECT IDLETIME and FREQ and
/// for eviction.
///
/// Under an LRU policy they are the second of the last use (they go round in 194 days), under an
/// LFU policy a minute (modulo 65,536) and the counter as of that minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access(u32);

/// What fits.
const ACCESS_MASK: u32 = 0xff_ffff;

impl Access {
    /// What a new key's counter starts with (`LFU_INIT_VAL`).
    pub const NEW_COUNT: u8 = 5;

    /// A use at `now`, under an LRU policy.
    #[inline]
    pub fn used_at(now: Millis) -> Self {
        Access((now / 1000) as u32 & ACCESS_MASK)
    }

    /// A counter as of `now`, under an LFU policy.
    pub fn counted(now: Millis, count: u8) -> Self {
        Access(u32::from(minute(now)) << 8 | u32::from(count))
    }

    /// Seconds since the last use, under an LRU policy.
    pub fn idle_seconds(self, now: Millis) -> u32 {
        Access::used_at(now).0.wrapping_sub(self.0) & ACCESS_MASK
    }

    /// The counter after its decay, under an LFU policy: one down for every `decay` minutes
    /// without a use; 0 = never.
    pub fn decayed(self, now: Millis, decay: u32) -> u8 {
        let count = self.0 as u8;
        if decay == 0 {
            return count;
        }
        let idle = u32::from(minute(now).wrapping_sub((self.0 >> 8) as u16));
        count.saturating_sub((idle / decay).min(255) as u8)
    }

    /// A use under an LFU policy: certain to count for rarely used keys, ever less likely for often
    /// used ones.
    pub fn used(self, now: Millis, decay: u32, log_factor: u32, chance: f64) -> Self {
        let count = self.decayed(now, decay);
        let base = f64::from(count.saturating_sub(Access::NEW_COUNT));
        let likely = 1.0 / (base * f64::from(log_factor) + 1.0);
        Access::counted(now, if chance < likely { count.saturating_add(1) } else { count })
    }

    /// The bits as a number.
    pub fn bits(self) -> u32 {
        self.0
    }

    #[inline]
    pub(super) fn to_bytes(self) -> [u8; 3] {
        let [low, middle, high, _] = self.0.to_le_bytes();
        [low, middle, high]
    }

    #[inline]
    pub(super) fn from_bytes([low, middle, high]: [u8; 3]) -> Self {
        Access(u32::from_le_bytes([low, middle, high, 0]))
    }
}

fn minute(now: Millis) -> u16 {
    (now / 60_000) as u16
}

/// A value with its deadline and last use, taken out of a keyspace or copied from it.
#[derive(Debug, Clone)]
pub struct Object {
    /// The value.
    pub value: Value,
    /// When it ends, if ever.
    pub deadline: Option<Millis>,
    /// Its last use.
    pub access: Access,
}

/// A key with its value and deadline where they lie.
#[derive(Debug, Clone, Copy)]
pub struct ObjectRef<'a> {
    segment: &'a Segment,
    common: &'a Common,
    id: SlotId,
}

impl<'a> ObjectRef<'a> {
    #[inline]
    pub(super) fn new(segment: &'a Segment, common: &'a Common, id: SlotId) -> Self {
        ObjectRef { segment, common, id }
    }

    /// Its key.
    pub fn key(&self) -> &'a [u8] {
        self.segment.key(self.id)
    }

    /// Its value.
    #[inline]
    pub fn value(&self) -> ValueRef<'a> {
        let entry = self.segment.entry(self.id);
        match entry.form() {
            Form::Text(origin) => ValueRef::Str(StrRef::new(entry.payload(), origin)),
            Form::Compressed => {
                ValueRef::Str(self.common.dictionaries.read(entry.payload()).into())
            }
            Form::Hash(layout) => {
                let hash = InlineHash::new(entry.payload(), layout, &self.common.shapes);
                ValueRef::Hash(HashRef::inline(hash, entry.is_grown()))
            }
            Form::Outline => match &self.segment.outline(self.id).value {
                Value::Str(value) => ValueRef::Str(value.as_ref()),
                Value::Hash(value) => ValueRef::Hash(HashRef::from(value)),
                Value::Set(value) => ValueRef::Set(value),
                Value::SortedSet(value) => ValueRef::SortedSet(value),
            },
        }
    }

    /// When it ends, if ever.
    pub fn deadline(&self) -> Option<Millis> {
        Some(self.segment.deadline(self.id)).filter(|at| *at != 0)
    }

    /// Whether its time is over at `now`. At `now` 0 nothing ever is.
    #[inline]
    pub fn is_due(&self, now: Millis) -> bool {
        is_due(self.segment, self.id, now)
    }

    /// Its last use.
    pub fn access(&self) -> Access {
        self.segment.entry(self.id).access()
    }

    /// Bytes that it takes, its share of the structures that hold it included: what that is in a segment
    /// as full as segments are, so that it depends on nothing else that is there.
    pub fn bytes(&self) -> usize {
        let entry = self.segment.entry(self.id);
        let outside = match entry.form() {
            Form::Outline => self.segment.outline(self.id).bytes(),
            _ => 0,
        };
        entry.len() + outside + SHARE
    }

    /// A copy of its own.
    pub fn to_object(&self) -> Object {
        let value = self.value().to_value();
        Object { value, deadline: self.deadline(), access: self.access() }
    }
}

/// Whether the time of the key in a slot is over at `now`.
#[inline]
pub(super) fn is_due(segment: &Segment, id: SlotId, now: Millis) -> bool {
    // The first deadline of the entry's fields may have come; the key's comes no earlier.
    let time = segment.time(id);
    time != 0 && time <= now && {
        let deadline = segment.deadline(id);
        deadline != 0 && deadline <= now
    }
}
