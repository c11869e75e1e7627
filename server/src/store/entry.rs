//! Entries: how a key, its last use and its value lie in one run of bytes.
//!
//! ```text
//! flags 1 · length 2 · access 3 · key length 1 · key · [deadline 8] · payload
//! ```
//!
//! The key's deadline stands in the entry's slot (see `segment.rs`); here only if that holds an
//! earlier moment: the first deadline of a field, or the far end of what a slot can hold.

use super::Access;
use super::inline::Layout;
use super::string::Origin;
use crate::clock::Millis;

/// What the payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The bytes of a string.
    Text(Origin),
    /// A string that was given, compressed (see `dictionaries.rs`).
    Compressed,
    /// An inline hash.
    Hash(Layout),
    /// The number of an outline: the value is kept outside.
    Outline,
}

/// All that is said of an entry beside its key and payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) form: Form,
    /// A hash was once beyond the limits of small ones: OBJECT ENCODING tells it, and it stays so.
    pub(super) grown: bool,
    /// The key is too long for an entry and is kept with the outline.
    pub(super) long_key: bool,
    pub(super) access: Access,
    /// The key's own deadline (0 = none), where the slot's time is not that.
    pub(super) deadline: Option<Millis>,
}

/// The longest key that lies in an entry.
pub(super) const LONGEST_KEY: usize = 255;

const FORM: u8 = 0b11;
const TEXT: u8 = 0;
const HASH: u8 = 1;
const SHAPED: u8 = 2;
const OUTLINE: u8 = 3;
const GROWN: u8 = 1 << 2;
// Of hashes.
const WIDE: u8 = 1 << 3;
const TIMED: u8 = 1 << 4;
// Of strings.
const COMPUTED: u8 = 1 << 3;
const CHANGED: u8 = 1 << 4;
const COMPRESSED: u8 = COMPUTED | CHANGED;
const LONG_KEY: u8 = 1 << 5;
const DEADLINE: u8 = 1 << 6;
/// Where the key begins.
const KEY: usize = 7;

impl Head {
    /// A head of this form on which nothing has happened yet.
    pub(super) fn new(form: Form, access: Access) -> Self {
        Head { form, grown: false, long_key: false, access, deadline: None }
    }

    /// Writes a whole entry to `out`.
    pub(super) fn write(&self, key: &[u8], payload: &[u8], out: &mut Vec<u8>) {
        let key = if self.long_key { b"" } else { key };
        let start = out.len();
        out.extend_from_slice(&[self.flags(), 0, 0]);
        out.extend_from_slice(&self.access.to_bytes());
        out.push(key.len() as u8);
        out.extend_from_slice(key);
        if let Some(at) = self.deadline {
            out.extend_from_slice(&at.to_le_bytes());
        }
        out.extend_from_slice(payload);
        let length = ((out.len() - start) as u16).to_le_bytes();
        out[start + 1..start + 3].copy_from_slice(&length);
    }

    fn flags(&self) -> u8 {
        let bit = |is: bool, bit: u8| if is { bit } else { 0 };
        let form = match self.form {
            Form::Text(Origin::Given) => TEXT,
            Form::Text(Origin::Computed) => TEXT | COMPUTED,
            Form::Text(Origin::Changed) => TEXT | CHANGED,
            Form::Compressed => TEXT | COMPRESSED,
            Form::Outline => OUTLINE,
            Form::Hash(Layout { shaped, wide, timed }) => {
                (if shaped { SHAPED } else { HASH }) | bit(wide, WIDE) | bit(timed, TIMED)
            }
        };
        form | bit(self.grown, GROWN)
            | bit(self.long_key, LONG_KEY)
            | bit(self.deadline.is_some(), DEADLINE)
    }
}

/// An entry where it lies; what follows it is not looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a>(pub(super) &'a [u8]);

impl<'a> Entry<'a> {
    /// Bytes of the whole entry.
    #[inline]
    pub(super) fn len(self) -> usize {
        u16::from_le_bytes([self.0[1], self.0[2]]) as usize
    }

    /// The key; empty if it is a long one.
    #[inline]
    pub(super) fn key(self) -> &'a [u8] {
        &self.0[KEY..KEY + self.0[KEY - 1] as usize]
    }

    #[inline]
    pub(super) fn has_long_key(self) -> bool {
        self.0[0] & LONG_KEY != 0
    }

    pub(super) fn access(self) -> Access {
        Access::from_bytes([self.0[3], self.0[4], self.0[5]])
    }

    pub(super) fn is_grown(self) -> bool {
        self.0[0] & GROWN != 0
    }

    #[inline]
    pub(super) fn form(self) -> Form {
        let flags = self.0[0];
        match flags & FORM {
            TEXT if flags & COMPRESSED == COMPRESSED => Form::Compressed,
            TEXT if flags & CHANGED != 0 => Form::Text(Origin::Changed),
            TEXT if flags & COMPUTED != 0 => Form::Text(Origin::Computed),
            TEXT => Form::Text(Origin::Given),
            OUTLINE => Form::Outline,
            form => Form::Hash(Layout {
                shaped: form == SHAPED,
                wide: flags & WIDE != 0,
                timed: flags & TIMED != 0,
            }),
        }
    }

    /// The key's own deadline (0 = none), where the slot's time is not that.
    #[inline]
    pub(super) fn deadline(self) -> Option<Millis> {
        (self.0[0] & DEADLINE != 0).then(|| {
            let at = KEY + self.0[KEY - 1] as usize;
            u64::from_le_bytes(self.0[at..at + 8].try_into().expect("eight bytes"))
        })
    }

    pub(super) fn head(self) -> Head {
        Head {
            form: self.form(),
            grown: self.is_grown(),
            long_key: self.has_long_key(),
            access: self.access(),
            deadline: self.deadline(),
        }
    }

    /// Where the payload begins.
    #[inline]
    pub(super) fn payload_start(self) -> usize {
        KEY + self.0[KEY - 1] as usize + if self.0[0] & DEADLINE != 0 { 8 } else { 0 }
    }

    #[inline]
    pub(super) fn payload(self) -> &'a [u8] {
        &self.0[self.payload_start()..self.len()]
    }
}

/// Records a use.
#[inline]
pub(super) fn set_access(entry: &mut [u8], access: Access) {
    entry[3..6].copy_from_slice(&access.to_bytes());
}

/// Says that a hash is beyond the limits of small ones.
pub(super) fn set_grown(entry: &mut [u8]) {
    entry[0] |= GROWN;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_as_it_was_written() {
        let layout = Layout { shaped: true, wide: false, timed: true };
        let texts = [Origin::Given, Origin::Computed, Origin::Changed].map(Form::Text);
        let others =
            [Form::Compressed, Form::Outline, Form::Hash(layout), Form::Hash(Layout::default())];
        for form in texts.into_iter().chain(others) {
            for deadline in [None, Some(1 << 50)] {
                let access = Access::used_at(1_700_000_000_000);
                let head = Head { grown: true, deadline, ..Head::new(form, access) };
                let mut bytes = Vec::new();
                head.write(b"key", b"payload", &mut bytes);
                let length = bytes.len();
                bytes.extend_from_slice(b"what follows");
                let entry = Entry(&bytes);
                assert_eq!((entry.head(), entry.len()), (head, length));
                assert_eq!((entry.key(), entry.payload()), (&b"key"[..], &b"payload"[..]));
            }
        }
    }

    #[test]
    fn what_changes_in_place_leaves_the_rest_alone() {
        let mut bytes = Vec::new();
        Head::new(Form::Text(Origin::Given), Access::used_at(0)).write(b"k", b"v", &mut bytes);
        set_grown(&mut bytes);
        set_access(&mut bytes, Access::used_at(5_000));
        let entry = Entry(&bytes);
        assert!(entry.is_grown() && entry.access() == Access::used_at(5_000));
        assert_eq!((entry.key(), entry.payload()), (&b"k"[..], &b"v"[..]));
    }
}
