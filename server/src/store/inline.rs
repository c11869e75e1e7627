//! Inline hashes: the bytes of a small hash as they lie in its entry, and the draft in which it is
//! rewritten.
//!
//! The payload of an inline hash is its *names*, or the number of the shape that keeps them, and
//! then the length of each value (one byte, or two if [`Layout::wide`]), the deadlines of fields
//! ([`Layout::timed`]: their count, then each field's number and six bytes), and the values.
//! Names are their count (one byte), the length of each (one byte), and their bytes.

use super::shapes::{ShapeId, Shapes};
use crate::clock::Millis;

/// Fields of an inline hash at most.
pub(super) const MOST_FIELDS: usize = 128;

/// Bytes of a field's name at most.
const LONGEST_NAME: usize = 255;

/// Deadlines from here on do not fit six bytes; hashes that have one are not inline.
const FAR: Millis = 1 << 48;

/// How a payload is laid out; kept beside it, in the entry's flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Layout {
    /// It begins with a shape's number, not with names.
    pub(super) shaped: bool,
    /// Lengths of values have two bytes.
    pub(super) wide: bool,
    /// Fields have deadlines.
    pub(super) timed: bool,
}

/// The names of a hash's fields.
#[derive(Debug, Clone, Copy)]
struct Names<'a> {
    lengths: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Names<'a> {
    /// The names that all of `bytes` are.
    #[inline]
    fn whole(bytes: &'a [u8]) -> Names<'a> {
        let (lengths, bytes) = bytes[1..].split_at(bytes[0] as usize);
        Names { lengths, bytes }
    }

    /// The names at the beginning of `bytes`, and what follows them.
    #[inline]
    fn split(bytes: &'a [u8]) -> (Names<'a>, &'a [u8]) {
        let (lengths, rest) = bytes[1..].split_at(bytes[0] as usize);
        let (names, rest) = rest.split_at(lengths.iter().map(|length| *length as usize).sum());
        (Names { lengths, bytes: names }, rest)
    }

    #[inline]
    fn find(&self, name: &[u8]) -> Option<usize> {
        let last = name.last();
        let mut at = 0;
        for (index, length) in self.lengths.iter().enumerate() {
            let end = at + *length as usize;
            // Names of one length mostly differ in their last byte.
            if *length as usize == name.len()
                && last.is_none_or(|last| self.bytes[end - 1] == *last)
                && self.bytes[at..end] == *name
            {
                return Some(index);
            }
            at = end;
        }
        None
    }
}

/// A field where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    /// 0 = none.
    pub(super) deadline: Millis,
}

/// An inline hash where it lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct InlineHash<'a> {
    names: Names<'a>,
    wide: bool,
    lengths: &'a [u8],
    deadlines: &'a [u8],
    values: &'a [u8],
    /// Bytes of the payload before the values.
    offset: usize,
}

impl<'a> InlineHash<'a> {
    /// The hash of a payload.
    #[inline]
    pub(super) fn new(payload: &'a [u8], layout: Layout, shapes: &'a Shapes) -> Self {
        let (names, rest) = if layout.shaped {
            let id = ShapeId::from_le_bytes([payload[0], payload[1]]);
            (Names::whole(shapes.names(id)), &payload[2..])
        } else {
            Names::split(payload)
        };
        let count = names.lengths.len();
        let (lengths, rest) = rest.split_at(if layout.wide { count * 2 } else { count });
        let (deadlines, values) = match layout.timed {
            true => rest[1..].split_at(rest[0] as usize * TIMED),
            false => (&[][..], rest),
        };
        let offset = payload.len() - values.len();
        InlineHash { names, wide: layout.wide, lengths, deadlines, values, offset }
    }

    /// How many fields it has.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.names.lengths.len()
    }

    /// The number of a field.
    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        self.names.find(name)
    }

    /// The value of field `index`.
    #[inline]
    pub(super) fn value(&self, index: usize) -> &'a [u8] {
        let start = self.start(index);
        &self.values[start..start + self.length(index)]
    }

    /// Where the value of field `index` lies in the payload.
    #[inline]
    pub(super) fn place(&self, index: usize) -> std::ops::Range<usize> {
        let start = self.offset + self.start(index);
        start..start + self.length(index)
    }

    /// Where the value of field `index` begins among the values.
    #[inline]
    fn start(&self, index: usize) -> usize {
        if self.wide {
            (0..index).map(|before| self.length(before)).sum()
        } else {
            self.lengths[..index].iter().map(|length| *length as usize).sum()
        }
    }

    /// The deadline of field `index`; 0 = none.
    #[inline]
    pub(super) fn deadline(&self, index: usize) -> Millis {
        let mut timed = self.deadlines.chunks_exact(TIMED);
        timed.find(|entry| entry[0] as usize == index).map_or(0, read_deadline)
    }

    /// The first deadline of any field; 0 = none has one.
    pub(super) fn first_deadline(&self) -> Millis {
        self.deadlines.chunks_exact(TIMED).map(read_deadline).min().unwrap_or(0)
    }

    /// How many fields have a deadline.
    pub(super) fn volatile_fields(&self) -> usize {
        self.deadlines.len() / TIMED
    }

    /// All fields in their order.
    #[inline]
    pub(super) fn iter(self) -> impl Iterator<Item = Field<'a>> {
        let (mut name_at, mut value_at) = (0, 0);
        let mut timed = self.deadlines.chunks_exact(TIMED).peekable();
        (0..self.len()).map(move |index| {
            let name_end = name_at + self.names.lengths[index] as usize;
            let value_end = value_at + self.length(index);
            let name = &self.names.bytes[name_at..name_end];
            let value = &self.values[value_at..value_end];
            (name_at, value_at) = (name_end, value_end);
            let own = timed.next_if(|entry| entry[0] as usize == index);
            Field { name, value, deadline: own.map_or(0, read_deadline) }
        })
    }

    #[inline]
    fn length(&self, index: usize) -> usize {
        if self.wide {
            u16::from_le_bytes([self.lengths[index * 2], self.lengths[index * 2 + 1]]) as usize
        } else {
            self.lengths[index] as usize
        }
    }
}

/// Bytes of a field's number and deadline.
const TIMED: usize = 7;

fn read_deadline(entry: &[u8]) -> Millis {
    let mut bytes = [0; 8];
    bytes[..6].copy_from_slice(&entry[1..TIMED]);
    u64::from_le_bytes(bytes)
}

/// A small hash while it is rewritten.
#[derive(Debug, Default)]
pub(super) struct Draft {
    bytes: Vec<u8>,
    fields: Vec<DraftField>,
}

#[derive(Debug, Clone, Copy)]
struct DraftField {
    name: (u32, u32),
    value: (u32, u32),
    deadline: Millis,
}

impl Draft {
    /// Begins anew, with these fields.
    pub(super) fn load<'f>(&mut self, fields: impl Iterator<Item = Field<'f>>) {
        self.clear();
        fields.for_each(|field| self.push(field));
    }

    /// Begins anew, without fields.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    pub(super) fn field(&self, index: usize) -> Field<'_> {
        let DraftField { name, value, deadline } = self.fields[index];
        Field { name: self.slice(name), value: self.slice(value), deadline }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Field<'_>> + Clone {
        (0..self.len()).map(|index| self.field(index))
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        self.fields.iter().position(|field| self.slice(field.name) == name)
    }

    /// Adds a field that is not there.
    pub(super) fn push(&mut self, field: Field<'_>) {
        let name = self.append(field.name);
        let value = self.append(field.value);
        self.fields.push(DraftField { name, value, deadline: field.deadline });
    }

    /// Gives field `index` another value.
    pub(super) fn set_value(&mut self, index: usize, value: &[u8]) {
        self.fields[index].value = self.append(value);
    }

    /// Gives field `index` another deadline; 0 = none.
    pub(super) fn set_deadline(&mut self, index: usize, deadline: Millis) {
        self.fields[index].deadline = deadline;
    }

    pub(super) fn remove(&mut self, index: usize) {
        self.fields.remove(index);
    }

    /// Whether it can be an inline hash of at most `most` bytes.
    pub(super) fn fits(&self, most: usize) -> bool {
        fits(self.iter(), most)
    }

    /// Bytes that it holds, replaced ones included.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn append(&mut self, bytes: &[u8]) -> (u32, u32) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        (start, self.bytes.len() as u32)
    }

    fn slice(&self, (start, end): (u32, u32)) -> &[u8] {
        &self.bytes[start as usize..end as usize]
    }
}

/// Whether these can be the fields of an inline hash of at most `most` bytes.
pub(super) fn fits<'f>(fields: impl Iterator<Item = Field<'f>>, most: usize) -> bool {
    let (mut count, mut size) = (0, 0usize);
    for field in fields {
        count += 1;
        size = size.saturating_add(field.name.len() + field.value.len() + 3 + TIMED);
        if count > MOST_FIELDS
            || size > most
            || field.name.len() > LONGEST_NAME
            || field.deadline >= FAR
        {
            return false;
        }
    }
    true
}

/// Writes the payload of an inline hash to `out`, with a shape if there is one for these names.
pub(super) fn encode<'f>(
    fields: impl Iterator<Item = Field<'f>> + Clone,
    shapes: &mut Shapes,
    out: &mut Vec<u8>,
) -> Layout {
    let start = out.len();
    out.push(0);
    out.extend(fields.clone().map(|field| field.name.len() as u8));
    out[start] = (out.len() - start - 1) as u8;
    fields.clone().for_each(|field| out.extend_from_slice(field.name));
    let shape = shapes.adopt(&out[start..]);
    if let Some(id) = shape {
        out.truncate(start);
        out.extend_from_slice(&id.to_le_bytes());
    }
    let (mut wide, mut timed) = (false, 0);
    for field in fields.clone() {
        wide |= field.value.len() > u8::MAX as usize;
        timed += u8::from(field.deadline != 0);
    }
    for field in fields.clone() {
        let length = (field.value.len() as u16).to_le_bytes();
        out.extend_from_slice(if wide { &length } else { &length[..1] });
    }
    if timed > 0 {
        out.push(timed);
        for (index, field) in fields.clone().enumerate().filter(|(_, f)| f.deadline != 0) {
            out.push(index as u8);
            out.extend_from_slice(&field.deadline.to_le_bytes()[..TIMED - 1]);
        }
    }
    fields.for_each(|field| out.extend_from_slice(field.value));
    Layout { shaped: shape.is_some(), wide, timed: timed > 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field<'a>(name: &'a [u8], value: &'a [u8], deadline: Millis) -> Field<'a> {
        Field { name, value, deadline }
    }

    #[test]
    fn a_payload_reads_as_it_was_written_whatever_its_layout() {
        let long = [b'v'; 300];
        let values = [(&b"1"[..], false), (&long, true)];
        for ((value, wide), deadline) in values.into_iter().flat_map(|v| [(v, 0), (v, 77)]) {
            let mut shapes = Shapes::default();
            // The second time the names have become a shape.
            for shaped in [false, true] {
                let fields = [
                    field(b"name", value, deadline),
                    field(b"", b"", 0),
                    field(b"x", b"\r\n", deadline * 2),
                ];
                let (mut draft, mut payload) = (Draft::default(), Vec::new());
                draft.load(fields.into_iter());
                assert!(draft.fits(1000));
                let layout = encode(draft.iter(), &mut shapes, &mut payload);
                assert_eq!(layout, Layout { shaped, wide, timed: deadline != 0 });
                let hash = InlineHash::new(&payload, layout, &shapes);
                assert_eq!(hash.iter().collect::<Vec<_>>(), fields);
                assert_eq!((hash.len(), hash.first_deadline()), (3, deadline));
                assert_eq!(hash.value(2), b"\r\n");
                assert_eq!((hash.find(b"x"), hash.find(b"y")), (Some(2), None));
                assert_eq!(hash.deadline(2), deadline * 2);
                assert_eq!(&payload[hash.place(0)], value);
            }
        }
    }

    #[test]
    fn a_draft_is_changed_field_by_field() {
        let mut draft = Draft::default();
        draft.load([field(b"a", b"1", 0), field(b"b", b"2", 5)].into_iter());
        draft.set_value(0, b"one");
        draft.set_deadline(1, 0);
        draft.push(field(b"c", b"3", 9));
        draft.remove(draft.find(b"b").unwrap());
        let fields: Vec<_> = draft.iter().collect();
        assert_eq!(fields, [field(b"a", b"one", 0), field(b"c", b"3", 9)]);
    }

    #[test]
    fn names_and_deadlines_that_do_not_fit_are_known() {
        let mut draft = Draft::default();
        draft.push(field(&[b'n'; 256], b"", 0));
        assert!(!draft.fits(1000));
        draft.load([field(b"a", b"", FAR)].into_iter());
        assert!(!draft.fits(1000));
        draft.load([field(b"a", &[0; 1000], 0)].into_iter());
        assert!(!draft.fits(1000));
    }
}
