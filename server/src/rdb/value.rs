//! Values as they are read: from any encoding to one plain form each.

use super::cursor::{Cursor, Stop, Taken, damaged};
use super::fields::Fields;
use super::format::{Dialect, kind};
use super::listpack::{self, Entry, Unpacked};
use super::ziplist;
use crate::clock::Millis;

/// A value, whatever it was packed in.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A string.
    Str(Vec<u8>),
    /// A hash.
    Hash(Fields),
    /// A set's members, in the order of the file; equal ones are not looked for.
    Set(Vec<Vec<u8>>),
    /// A sorted set's members with their scores, of which none is NaN.
    SortedSet(Vec<(Vec<u8>, f64)>),
}

impl Value {
    /// Whether it is an aggregate without elements, which no keyspace holds.
    pub fn is_empty(&self) -> bool {
        match self {
            Value::Str(_) => false,
            Value::Hash(fields) => fields.is_empty(),
            Value::Set(members) => members.is_empty(),
            Value::SortedSet(members) => members.is_empty(),
        }
    }
}

/// How a value lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One string.
    Str,
    /// A count, and so many elements one after the other.
    Elements(Element),
    /// One string in which all elements are packed.
    Packed(Packing),
}

/// What one element of a sequence is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Member,
    MemberAndText,
    MemberAndDouble,
    FieldAndValue,
    /// And a deadline of eight bytes, -1 for none.
    FieldValueAndDeadline,
    /// A length first that says how long after the first deadline, less one; 0 for none.
    DelayFieldAndValue {
        first_is_told: bool,
    },
}

/// In what the elements of a small collection are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Intset,
    SetListpack,
    HashZipmap,
    HashZiplist,
    HashListpack,
    /// Triples: field, value, deadline.
    HashListpackEx {
        first_is_told: bool,
    },
    SortedSetZiplist,
    SortedSetListpack,
}

/// The form of a type's values, and an empty value; None for types that are not read.
fn form(kind: u8, dialect: Dialect) -> Option<(Form, Value)> {
    use Form::{Elements, Packed};
    let (str, hash) = (Value::Str(Vec::new()), Value::Hash(Fields::default()));
    let (set, sorted) = (Value::Set(Vec::new()), Value::SortedSet(Vec::new()));
    Some(match kind {
        kind::STRING => (Form::Str, str),
        kind::SET => (Elements(Element::Member), set),
        kind::SORTED_SET_TEXT => (Elements(Element::MemberAndText), sorted),
        kind::SORTED_SET => (Elements(Element::MemberAndDouble), sorted),
        kind::HASH => (Elements(Element::FieldAndValue), hash),
        kind::VALKEY_HASH_2 if dialect.valkey => (Elements(Element::FieldValueAndDeadline), hash),
        kind::HASH_METADATA_PRE_GA | kind::HASH_METADATA => {
            let first_is_told = kind == kind::HASH_METADATA;
            (Elements(Element::DelayFieldAndValue { first_is_told }), hash)
        }
        kind::HASH_LISTPACK_EX_PRE_GA | kind::HASH_LISTPACK_EX => {
            let first_is_told = kind == kind::HASH_LISTPACK_EX;
            (Packed(Packing::HashListpackEx { first_is_told }), hash)
        }
        kind::HASH_ZIPMAP => (Packed(Packing::HashZipmap), hash),
        kind::HASH_ZIPLIST => (Packed(Packing::HashZiplist), hash),
        kind::HASH_LISTPACK => (Packed(Packing::HashListpack), hash),
        kind::SET_INTSET => (Packed(Packing::Intset), set),
        kind::SET_LISTPACK => (Packed(Packing::SetListpack), set),
        kind::SORTED_SET_ZIPLIST => (Packed(Packing::SortedSetZiplist), sorted),
        kind::SORTED_SET_LISTPACK => (Packed(Packing::SortedSetListpack), sorted),
        _ => return None,
    })
}

/// A value on its way in.
#[derive(Debug)]
pub(super) struct ValueReader {
    form: Form,
    value: Value,
    /// The first deadline of a hash's fields, from which the others are counted.
    first: Option<u64>,
    /// Elements still to come, once that is known.
    left: Option<u64>,
}

impl ValueReader {
    /// A reader of values of this type; None: the type is not read here.
    pub(super) fn new(kind: u8, dialect: Dialect) -> Option<Self> {
        let (form, value) = form(kind, dialect)?;
        Some(ValueReader { form, value, first: None, left: None })
    }

    /// Has the room that another hash took for this one, if it is one.
    pub(super) fn with_room(mut self, room: &mut Fields) -> Self {
        if let Value::Hash(fields) = &mut self.value {
            *fields = std::mem::take(room);
        }
        self
    }

    /// Goes on as far as the bytes reach; the cursor is committed at what need not be read again.
    /// What is compressed is unpacked into `scratch`.
    pub(super) fn advance(
        &mut self,
        cursor: &mut Cursor<'_>,
        scratch: &mut Vec<u8>,
    ) -> Taken<Value> {
        match self.form {
            Form::Str => self.value = Value::Str(cursor.string()?.into_owned()),
            Form::Packed(packing) => {
                if (packing == Packing::HashListpackEx { first_is_told: true }) {
                    // The listpack repeats it.
                    cursor.array::<8>()?;
                }
                let packed = cursor.string_in(scratch)?;
                let done = unpack(packing, packed, &mut self.value);
                done.map_err(|why| Stop::Damaged(why.into()))?;
            }
            Form::Elements(element) => self.elements(element, cursor)?,
        }
        cursor.commit();
        Ok(std::mem::replace(&mut self.value, Value::Str(Vec::new())))
    }

    fn elements(&mut self, element: Element, cursor: &mut Cursor<'_>) -> Taken<()> {
        let mut left = match self.left {
            Some(left) => left,
            None => {
                if element == (Element::DelayFieldAndValue { first_is_told: true }) {
                    self.first = Some(u64::from_le_bytes(cursor.array()?));
                }
                let left = cursor.length()?;
                cursor.commit();
                left
            }
        };
        self.left = Some(left);
        while left > 0 {
            self.element(element, cursor)?;
            cursor.commit();
            left -= 1;
            self.left = Some(left);
        }
        Ok(())
    }

    fn element(&mut self, element: Element, cursor: &mut Cursor<'_>) -> Taken<()> {
        match (&mut self.value, element) {
            (Value::Set(members), _) => members.push(cursor.string()?.into_owned()),
            (Value::SortedSet(members), _) => {
                let member = cursor.string()?;
                let score = match element {
                    Element::MemberAndText => text_score(cursor)?,
                    _ => check_score(f64::from_le_bytes(cursor.array()?))?,
                };
                members.push((member.into_owned(), score));
            }
            (Value::Hash(fields), _) => {
                let delay = match element {
                    Element::DelayFieldAndValue { .. } => cursor.length()?,
                    _ => 0,
                };
                let (name, value) = (cursor.string()?, cursor.string()?);
                let deadline = match element {
                    Element::FieldValueAndDeadline => {
                        let at = i64::from_le_bytes(cursor.array()?);
                        (at != -1).then_some(at.max(1) as u64)
                    }
                    _ => later(delay, self.first)?,
                };
                fields.push(&name, &value, deadline);
            }
            (Value::Str(_), _) => {}
        }
        Ok(())
    }
}

/// A field's deadline from how much later than the first it is, less one.
fn later(delay: u64, first: Option<u64>) -> Taken<Option<Millis>> {
    if delay == 0 {
        return Ok(None);
    }
    let deadline = match first {
        Some(first) => first.checked_add(delay - 1),
        None => Some(delay),
    };
    match deadline.filter(|at| i64::try_from(*at).is_ok()) {
        Some(at) => Ok(Some(at.max(1))),
        None => damaged("a field's deadline is out of range"),
    }
}

fn check_score(score: f64) -> Taken<f64> {
    if score.is_nan() { damaged("a score is not a number") } else { Ok(score) }
}

/// A score as text, after one byte that says how long it is, or which number without digits it is.
fn text_score(cursor: &mut Cursor<'_>) -> Taken<f64> {
    match cursor.byte()? {
        255 => Ok(f64::NEG_INFINITY),
        254 => Ok(f64::INFINITY),
        253 => damaged("a score is not a number"),
        length => match score_of(cursor.take(length.into())?) {
            Some(score) => Ok(score),
            None => damaged("a score is not a number"),
        },
    }
}

fn score_of(text: &[u8]) -> Option<f64> {
    let score: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (!score.is_nan()).then_some(score)
}

fn unpack(packing: Packing, packed: &[u8], into: &mut Value) -> Unpacked<()> {
    match (packing, into) {
        (Packing::Intset, Value::Set(members)) => ziplist::each_of_intset(packed, |member| {
            members.push(Entry::Int(member).into_bytes().into_owned());
            Ok(())
        }),
        (Packing::SetListpack, Value::Set(members)) => listpack::each(packed, |entry| {
            members.push(entry.into_bytes().into_owned());
            Ok(())
        }),
        (Packing::HashZipmap, Value::Hash(fields)) => {
            ziplist::each_of_zipmap(packed, |name, value| {
                push(fields, name, value, None);
                Ok(())
            })
        }
        (Packing::HashZiplist, Value::Hash(fields)) => {
            groups(Pack::Ziplist, packed, |[name, value]| {
                push(fields, name, value, None);
                Ok(())
            })
        }
        (Packing::HashListpack, Value::Hash(fields)) => {
            groups(Pack::Listpack, packed, |[name, value]| {
                push(fields, name, value, None);
                Ok(())
            })
        }
        (Packing::HashListpackEx { .. }, Value::Hash(fields)) => {
            groups(Pack::Listpack, packed, |[name, value, deadline]| {
                let deadline = match deadline {
                    Entry::Int(0) => None,
                    Entry::Int(at @ 1..) => Some(at as u64),
                    _ => return Err("a field's deadline is no point in time"),
                };
                push(fields, name, value, deadline);
                Ok(())
            })
        }
        (Packing::SortedSetZiplist, Value::SortedSet(members)) => {
            groups(Pack::Ziplist, packed, |[member, score]| scored(members, member, score))
        }
        (Packing::SortedSetListpack, Value::SortedSet(members)) => {
            groups(Pack::Listpack, packed, |[member, score]| scored(members, member, score))
        }
        _ => Err("a value has another form than its type"),
    }
}

fn push(fields: &mut Fields, name: Entry<'_>, value: Entry<'_>, deadline: Option<Millis>) {
    let (mut of_name, mut of_value) = Default::default();
    fields.push(name.bytes(&mut of_name), value.bytes(&mut of_value), deadline);
}

fn scored(members: &mut Vec<(Vec<u8>, f64)>, member: Entry<'_>, score: Entry<'_>) -> Unpacked<()> {
    let score = match score {
        Entry::Int(score) => score as f64,
        Entry::Bytes(text) => score_of(text).ok_or("a score is not a number")?,
    };
    members.push((member.into_bytes().into_owned(), score));
    Ok(())
}

/// Of what a packed collection is one.
enum Pack {
    Ziplist,
    Listpack,
}

/// Calls `visit` with each N entries.
fn groups<'a, const N: usize>(
    pack: Pack,
    packed: &'a [u8],
    mut visit: impl FnMut([Entry<'a>; N]) -> Unpacked<()>,
) -> Unpacked<()> {
    let (mut group, mut filled) = ([Entry::Int(0); N], 0);
    let gather = |entry| {
        group[filled] = entry;
        filled = (filled + 1) % N;
        if filled == 0 { visit(group) } else { Ok(()) }
    };
    match pack {
        Pack::Ziplist => ziplist::each(packed, gather)?,
        Pack::Listpack => listpack::each(packed, gather)?,
    }
    if filled == 0 { Ok(()) } else { Err("the last element is not whole") }
}
