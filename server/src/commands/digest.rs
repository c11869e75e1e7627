//! What data come to: DEBUG DIGEST and DIGEST-VALUE, reckoned as Redis reckons them, so that equal
//! data come to the same on either server.

use std::fmt;

use sha1_smol::Sha1;

use super::Ctx;
use crate::resp::format_double;
use crate::store::{ObjectRef, ValueRef};

/// SHA-1 sums laid over each other.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Digest([u8; 20]);

/// How closely deadlines are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deadlines {
    /// Whether a key has one: all that Redis's digest tells.
    There,
    /// To the millisecond, those of fields too.
    Exact,
}

impl Digest {
    /// Lays a part over the others: the order of such parts does not count.
    fn lay(&mut self, part: &[u8]) {
        let sum = Sha1::from(part).digest().bytes();
        self.0.iter_mut().zip(sum).for_each(|(byte, other)| *byte ^= other);
    }

    /// Adds a part behind the others.
    fn add(&mut self, part: &[u8]) {
        self.lay(part);
        self.0 = Sha1::from(self.0).digest().bytes();
    }

    /// Lays an element of several parts over the others.
    fn lay_element<'p>(&mut self, parts: impl IntoIterator<Item = &'p [u8]>) {
        let mut element = Digest::default();
        parts.into_iter().for_each(|part| element.add(part));
        self.lay(&element.0);
    }

    fn add_object(&mut self, object: ObjectRef<'_>, deadlines: Deadlines) {
        let value = object.value();
        // Redis's numbers of its types.
        let kind: u32 = match value {
            ValueRef::Str(_) => 0,
            ValueRef::Set(_) => 2,
            ValueRef::SortedSet(_) => 3,
            ValueRef::Hash(_) => 4,
        };
        self.add(&kind.to_be_bytes());
        match value {
            ValueRef::Str(value) => self.add(&value.bytes()),
            ValueRef::Set(set) => set.iter().for_each(|member| self.lay(&member)),
            ValueRef::SortedSet(set) => {
                for (member, score) in set.iter() {
                    self.lay_element([member, format_double(score).as_bytes()]);
                }
            }
            ValueRef::Hash(hash) => {
                for (field, value) in hash.pairs(0) {
                    let at = hash.deadline(field).filter(|_| deadlines == Deadlines::Exact);
                    let at = at.map(u64::to_be_bytes);
                    let at = at.as_ref().map(|at| at.as_slice());
                    self.lay_element([field, value].into_iter().chain(at));
                }
            }
        }
        match (object.deadline(), deadlines) {
            (Some(_), Deadlines::There) => self.lay(b"!!expire!!"),
            (Some(at), Deadlines::Exact) => self.lay(&at.to_be_bytes()),
            (None, _) => {}
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A value's digest, without its key.
pub(super) fn of_value(object: ObjectRef<'_>) -> Digest {
    let mut digest = Digest::default();
    digest.add_object(object, Deadlines::There);
    digest
}

/// The digest of all databases, as Redis has it.
pub(super) fn of_all(ctx: &Ctx<'_>) -> Digest {
    of_databases(ctx, Deadlines::There, |_| true)
}

/// A digest of all databases that tells deadlines too. What is past its time at `ctx.data.now` is
/// not in it.
pub fn digest(ctx: &Ctx<'_>) -> String {
    let is_there = |object: &ObjectRef<'_>| !object.is_due(ctx.data.now);
    of_databases(ctx, Deadlines::Exact, is_there).to_string()
}

fn of_databases(
    ctx: &Ctx<'_>,
    deadlines: Deadlines,
    counts: impl Fn(&ObjectRef<'_>) -> bool,
) -> Digest {
    let mut all = Digest::default();
    for number in 0..ctx.data.keyspace.databases() {
        let mut objects = ctx.data.keyspace.db(number).iter().filter(&counts).peekable();
        if objects.peek().is_some() {
            all.add(&(number as u32).to_be_bytes());
        }
        for object in objects {
            let mut digest = Digest::default();
            digest.add(object.key());
            digest.add_object(object, deadlines);
            all.lay(&digest.0);
        }
    }
    all
}
