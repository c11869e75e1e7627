//! A key, its value and its deadline: what the keyspace holds, in one struct.

use super::{Hash, Keyed, Set, SortedSet, Str};
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
    /// The type's name as TYPE answers it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Str(_) => "string",
            Value::Hash(_) => "hash",
            Value::Set(_) => "set",
            Value::SortedSet(_) => "zset",
        }
    }

    /// The encoding's name as OBJECT ENCODING answers it.
    pub fn encoding(&self) -> &'static str {
        match self {
            Value::Str(value) => value.encoding(),
            Value::Hash(value) => value.encoding(),
            Value::Set(value) => value.encoding(),
            Value::SortedSet(value) => value.encoding(),
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

    /// How many elements it has; 1 for a string.
    pub fn elements(&self) -> usize {
        match self {
            Value::Str(_) => 1,
            Value::Hash(value) => value.len(),
            Value::Set(value) => value.len(),
            Value::SortedSet(value) => value.len(),
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

/// One of the types that a [`Value`] can have.
pub trait Kind: Sized {
    /// The value seen as this type.
    fn of(value: &Value) -> Option<&Self>;
    /// The value seen as this type, to change it.
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    /// A value of this type without elements.
    fn empty() -> Value;
}

macro_rules! kinds {
    ($($kind:ident => $empty:expr),*) => {$(
        impl Kind for $kind {
            fn of(value: &Value) -> Option<&Self> {
                if let Value::$kind(value) = value { Some(value) } else { None }
            }
            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                if let Value::$kind(value) = value { Some(value) } else { None }
            }
            fn empty() -> Value {
                Value::$kind($empty)
            }
        }
        impl From<$kind> for Value {
            fn from(value: $kind) -> Self {
                Value::$kind(value)
            }
        }
    )*};
}

kinds!(Str => Str::new(b""), Hash => Hash::new(), Set => Set::new(), SortedSet => SortedSet::new());

/// When a key was last used, and how often: for OBJECT IDLETIME, OBJECT FREQ and eviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// When it was last used, in seconds since the epoch.
    pub at: u32,
    /// A logarithmic counter of uses (`lfu-log-factor`), as of minute `counted`.
    pub count: u8,
    /// The minute (modulo 65,536) as of which `count` stands.
    pub counted: u16,
}

impl Access {
    /// What a new key starts with (`LFU_INIT_VAL`).
    pub const NEW_COUNT: u8 = 5;

    /// A key that is made at `now`.
    pub fn new(now: Millis) -> Self {
        Access { at: (now / 1000) as u32, count: Access::NEW_COUNT, counted: minute(now) }
    }

    /// The counter after its decay: one down for every `decay` minutes without a use; 0 = never.
    pub fn decayed(&self, now: Millis, decay: u32) -> u8 {
        if decay == 0 {
            return self.count;
        }
        let idle = u32::from(minute(now).wrapping_sub(self.counted));
        self.count.saturating_sub((idle / decay).min(255) as u8)
    }

    /// Counts a use: certain for rarely used keys, ever less likely for often used ones.
    pub fn used(&mut self, now: Millis, decay: u32, log_factor: u32, chance: f64) {
        let count = self.decayed(now, decay);
        let base = f64::from(count.saturating_sub(Access::NEW_COUNT));
        let likely = 1.0 / (base * f64::from(log_factor) + 1.0);
        self.count = if chance < likely { count.saturating_add(1) } else { count };
        self.counted = minute(now);
        self.at = (now / 1000) as u32;
    }
}

fn minute(now: Millis) -> u16 {
    (now / 60_000) as u16
}

/// One entry of a keyspace.
#[derive(Debug, Clone)]
pub struct Object {
    pub(super) key: Box<[u8]>,
    pub(super) value: Value,
    /// When the key ends; 0 = never.
    pub(super) deadline: Millis,
    /// When the wheel will look at this key next; 0 = it will not.
    pub(super) armed: Millis,
    /// Last use.
    pub access: Access,
}

impl Object {
    pub(super) fn new(key: &[u8], value: Value, now: Millis) -> Self {
        Object { key: key.into(), value, deadline: 0, armed: 0, access: Access::new(now) }
    }

    /// Its key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Its value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// When it ends, if ever.
    pub fn deadline(&self) -> Option<Millis> {
        (self.deadline != 0).then_some(self.deadline)
    }

    /// Whether its time is over at `now`. At `now` 0 nothing ever is.
    pub fn is_due(&self, now: Millis) -> bool {
        self.deadline != 0 && self.deadline <= now
    }

    /// Bytes that it takes, its own struct included.
    pub fn bytes(&self) -> usize {
        super::allocated(size_of::<Object>())
            + super::allocated(self.key.len())
            + self.value.heap_bytes()
    }

    /// The first moment at which something of it ends: the key, or one of its fields.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        match (self.deadline(), self.value.next_field_deadline()) {
            (Some(key), Some(field)) => Some(key.min(field)),
            (key, field) => key.or(field),
        }
    }
}

impl Keyed for Box<Object> {
    fn key(&self) -> &[u8] {
        &self.key
    }
}
