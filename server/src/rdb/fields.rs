//! A hash's fields as they are read: all in one buffer, which the next hash can have.

use super::writer::FieldRef;
use crate::clock::Millis;

/// The fields of a hash in the order of the file. Equal names are not looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// Each field's name and, behind it, its value.
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

/// Where a field ends in the bytes; it begins where the one before it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    name_end: usize,
    value_end: usize,
    deadline: Option<Millis>,
}

impl Fields {
    /// Adds a field.
    pub fn push(&mut self, name: &[u8], value: &[u8], deadline: Option<Millis>) {
        self.bytes.extend_from_slice(name);
        let name_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.fields.push(Field { name_end, value_end: self.bytes.len(), deadline });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Each with its value and deadline.
    pub fn iter(&self) -> impl Iterator<Item = FieldRef<'_>> + Clone {
        let mut start = 0;
        self.fields.iter().map(move |field| {
            let name = &self.bytes[start..field.name_end];
            let value = &self.bytes[field.name_end..field.value_end];
            start = field.value_end;
            (name, value, field.deadline)
        })
    }

    /// The same room without fields, if it is at most `most` bytes.
    pub(super) fn emptied(mut self, most: usize) -> Fields {
        if self.bytes.capacity() + self.fields.capacity() * size_of::<Field>() > most {
            return Fields::default();
        }
        self.bytes.clear();
        self.fields.clear();
        self
    }
}

impl<'a> FromIterator<FieldRef<'a>> for Fields {
    fn from_iter<I: IntoIterator<Item = FieldRef<'a>>>(from: I) -> Self {
        let mut fields = Fields::default();
        from.into_iter().for_each(|(name, value, deadline)| fields.push(name, value, deadline));
        fields
    }
}
