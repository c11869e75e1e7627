//! Sets: few integers as a sorted array, everything else as a table.

use std::borrow::Cow;

use super::allocated;
use super::string::canonical_int;
use super::table::{Keyed, Table};

/// Up to what a set is an array of integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetLimits {
    /// Members (`set-max-intset-entries`).
    pub intset: usize,
}

impl Default for SetLimits {
    fn default() -> Self {
        SetLimits { intset: 512 }
    }
}

/// Members, each once.
#[derive(Debug, Clone)]
pub struct Set(Members);

#[derive(Debug, Clone)]
enum Members {
    Ints(Vec<i64>),
    Table { members: Box<Table<Box<[u8]>>>, bytes: usize },
}

impl Keyed for Box<[u8]> {
    fn key(&self) -> &[u8] {
        self
    }
}

impl Set {
    /// A set without members.
    pub fn new() -> Self {
        Set(Members::Ints(Vec::new()))
    }

    /// Adds a member. True: it is new.
    pub fn add(&mut self, member: &[u8], limits: &SetLimits) -> bool {
        if let Members::Ints(ints) = &mut self.0 {
            if let Some(value) = canonical_int(member) {
                match ints.binary_search(&value) {
                    Ok(_) => return false,
                    Err(at) if ints.len() < limits.intset => {
                        ints.insert(at, value);
                        return true;
                    }
                    Err(_) => {}
                }
            }
            self.enlarge();
        }
        let Members::Table { members, bytes } = &mut self.0 else { return false };
        if members.contains(member) {
            return false;
        }
        *bytes += allocated(member.len());
        members.insert(member.into());
        true
    }

    /// Removes a member. False: there is none.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Members::Ints(ints) => {
                let found = canonical_int(member).and_then(|value| ints.binary_search(&value).ok());
                if let Some(at) = found {
                    ints.remove(at);
                }
                found.is_some()
            }
            Members::Table { members, bytes } => {
                let found = members.remove(member).is_some();
                *bytes -= if found { allocated(member.len()) } else { 0 };
                found
            }
        }
    }

    /// Whether this is a member.
    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.0 {
            Members::Ints(ints) => {
                canonical_int(member).is_some_and(|value| ints.binary_search(&value).is_ok())
            }
            Members::Table { members, .. } => members.contains(member),
        }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Members::Ints(ints) => ints.len(),
            Members::Table { members, .. } => members.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The members in their order, if the set is an array of integers.
    pub fn ints(&self) -> Option<&[i64]> {
        match &self.0 {
            Members::Ints(ints) => Some(ints),
            Members::Table { .. } => None,
        }
    }

    /// All members: integers in their order, others in none.
    pub fn iter(&self) -> Box<dyn Iterator<Item = Cow<'_, [u8]>> + '_> {
        match &self.0 {
            Members::Ints(ints) => Box::new(ints.iter().map(|value| decimal(*value))),
            Members::Table { members, .. } => {
                Box::new(members.iter().map(|member| Cow::Borrowed(&**member)))
            }
        }
    }

    /// Visits about `count` members from `cursor` on; returns where to go on, 0 at the end. An
    /// array of integers is visited as a whole.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(&[u8])) -> u64 {
        match &self.0 {
            Members::Ints(_) => {
                self.iter().for_each(|member| visit(&member));
                0
            }
            Members::Table { members, .. } => {
                members.scan(cursor, count, &mut |member| visit(member))
            }
        }
    }

    /// Any member, each as likely as the others.
    pub fn random(&self, rng: &mut fastrand::Rng) -> Option<Cow<'_, [u8]>> {
        match &self.0 {
            Members::Ints(ints) => rng.choice(ints).map(|value| decimal(*value)),
            Members::Table { members, .. } => {
                members.random(rng).map(|member| Cow::Borrowed(&**member))
            }
        }
    }

    /// `intset` or `hashtable`.
    pub fn encoding(&self) -> &'static str {
        match &self.0 {
            Members::Ints(_) => "intset",
            Members::Table { .. } => "hashtable",
        }
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Members::Ints(ints) => allocated(ints.capacity() * size_of::<i64>()),
            Members::Table { members, bytes } => {
                allocated(size_of::<Table<Box<[u8]>>>()) + members.heap_bytes() + bytes
            }
        }
    }

    fn enlarge(&mut self) {
        let mut members = Box::new(Table::<Box<[u8]>>::new());
        let mut bytes = 0;
        for member in self.iter() {
            bytes += allocated(member.len());
            members.insert(member.into());
        }
        self.0 = Members::Table { members, bytes };
    }
}

fn decimal(value: i64) -> Cow<'static, [u8]> {
    Cow::Owned(itoa::Buffer::new().format(value).as_bytes().to_vec())
}

impl Default for Set {
    fn default() -> Self {
        Set::new()
    }
}

impl PartialEq for Set {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|member| other.contains(&member))
    }
}

impl Eq for Set {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_kept_in_order_until_something_else_comes() {
        let (mut set, limits) = (Set::new(), SetLimits { intset: 3 });
        for member in ["5", "-1", "3", "5"] {
            set.add(member.as_bytes(), &limits);
        }
        let members: Vec<_> = set.iter().map(|member| member.into_owned()).collect();
        assert_eq!(members, [&b"-1"[..], b"3", b"5"]);
        assert_eq!(set.encoding(), "intset");
        let mut many = set.clone();
        assert!(many.add(b"4", &limits) && set.add(b"x", &limits));
        assert_eq!((many.encoding(), set.encoding()), ("hashtable", "hashtable"));
        assert!(set.contains(b"-1") && set.remove(b"-1") && !set.remove(b"-1"));
        assert_eq!(set.len(), 3);
    }
}
