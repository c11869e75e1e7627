//! Between the store's values and the format's: the one file of this module that names the store.

use super::reader::Entry;
use super::value::Value as Plain;
use super::writer::{Layout, Place, Writer};
use crate::clock::Millis;
use crate::store::{
    Access, Batch, Db, Encodings, Hash, HashRef, Set, SortedSet, Str, Twice, Value, ValueRef,
};

/// Writes a value of the store. Where the version has no place for deadlines of fields, fields whose
/// deadline has come by `now` are left out, so that they do not come back for good. False, and
/// nothing is written: no field would be left.
pub fn write_value(
    writer: &mut Writer,
    out: &mut Vec<u8>,
    place: Place<'_>,
    value: ValueRef<'_>,
    now: Millis,
) -> bool {
    match value {
        ValueRef::Str(value) => writer.string(out, place, &value.bytes()),
        ValueRef::Hash(hash) => return write_hash(writer, out, place, hash, now),
        ValueRef::Set(set) => match set.ints() {
            Some(ints) => writer.int_set(out, place, ints),
            None => writer.set(out, place, set.len(), set.iter()),
        },
        ValueRef::SortedSet(set) => {
            let layout = layout(set.encoding());
            writer.sorted_set(out, place, (layout, set.len()), set.iter());
        }
    }
    true
}

fn write_hash(
    writer: &mut Writer,
    out: &mut Vec<u8>,
    place: Place<'_>,
    hash: HashRef<'_>,
    now: Millis,
) -> bool {
    let (layout, first) = (layout(hash.encoding()), hash.next_deadline());
    if first.is_none() || writer.version().holds_field_deadlines() {
        writer.hash(out, place, (layout, hash.len()), first, hash.entries());
        return true;
    }
    let is_live = |deadline: Option<Millis>| deadline.is_none_or(|at| at > now);
    let live = hash.entries().filter(|(.., deadline)| is_live(*deadline));
    let len = hash.live_len(now);
    if len > 0 {
        writer.hash(out, place, (layout, len), first, live);
    }
    len > 0
}

fn layout(encoding: &str) -> Layout {
    if encoding == "listpack" { Layout::Packed } else { Layout::Plain }
}

/// Puts what was read under a new key, with its deadline; hashes by way of a batch, in which this one
/// is known by `tag`.
pub(super) fn put(
    db: &mut Db,
    batch: &mut Batch,
    (entry, tag): (&Entry, u64),
    access: Access,
    sizes: &Encodings,
) -> Result<(), Twice> {
    let Entry { key, deadline, value, .. } = entry;
    if let Plain::Hash(fields) = value {
        let fields = fields.iter();
        return batch.add_hash(db, (key, tag), fields, *deadline, access, &sizes.hash);
    }
    let before = db.len();
    match value {
        Plain::Str(bytes) => db.insert_text(key, bytes, access, sizes.string),
        value => {
            db.insert(key, to_store(value, sizes).ok_or(Twice::Element)?, access, sizes.string)
        }
    }
    if db.len() == before {
        return Err(Twice::Key);
    }
    if deadline.is_some() {
        db.set_deadline(key, *deadline, 0);
    }
    Ok(())
}

/// A value of the store from what was read; None: it has an element twice.
pub fn to_store(value: &Plain, sizes: &Encodings) -> Option<Value> {
    match value {
        Plain::Str(bytes) => Some(Str::new(bytes).into()),
        Plain::Hash(fields) => {
            let mut hash = Hash::new();
            for (name, value, deadline) in fields.iter() {
                if !hash.insert(name, value, &sizes.hash) {
                    return None;
                }
                if deadline.is_some() {
                    hash.set_deadline(name, deadline);
                }
            }
            Some(hash.into())
        }
        Plain::Set(members) => {
            let mut set = Set::new();
            let all_new = members.iter().all(|member| set.add(member, &sizes.set));
            all_new.then(|| set.into())
        }
        Plain::SortedSet(members) => {
            let mut set = SortedSet::new();
            let mut insert = |(member, score): &(Vec<u8>, f64)| {
                set.insert(member, *score, &sizes.sorted_set).is_none()
            };
            let all_new = members.iter().all(&mut insert);
            all_new.then(|| set.into())
        }
    }
}
