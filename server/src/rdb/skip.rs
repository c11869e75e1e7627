//! Passing over what is not read: values of types that are not known here, and what modules and
//! clusters keep beside the data. Nothing of it is kept in memory.

use super::cursor::{Cursor, Taken, damaged};
use super::format::kind;

/// A piece of a value that is passed over.
#[derive(Debug, Clone, Copy)]
pub(super) enum Piece {
    /// So many lengths, a few.
    Lengths(u8),
    /// A string.
    Str,
    /// So many bytes.
    Bytes(u64),
    /// A length, and then that many times these pieces.
    Many(&'static [Piece]),
    /// A module's pieces, each told by its number, until their end.
    OfModule,
}

use Piece::{Bytes, Lengths, Many, OfModule, Str};

/// A stream's nodes, each with the first of its IDs.
const NODES: Piece = Many(&[Str, Str]);
/// What a group's consumers have not acknowledged: ID, time and count of deliveries.
const PENDING: Piece = Many(&[Bytes(16 + 8), Lengths(1)]);
/// The IDs of what one of them has not.
const OF_CONSUMER: Piece = Many(&[Bytes(16)]);

// What follows the nodes counts and names IDs; a group and its consumers have a name each.
const STREAM: &[Piece] =
    &[NODES, Lengths(3), Many(&[Str, Lengths(2), PENDING, Many(&[Str, Bytes(8), OF_CONSUMER])])];
const STREAM_2: &[Piece] =
    &[NODES, Lengths(8), Many(&[Str, Lengths(3), PENDING, Many(&[Str, Bytes(8), OF_CONSUMER])])];
const STREAM_3: &[Piece] = &[
    NODES,
    Lengths(8),
    Many(&[Str, Lengths(3), PENDING, Many(&[Str, Bytes(8 + 8), OF_CONSUMER])]),
];

/// What a module keeps beside the data: its id, when it is to be loaded, its pieces.
pub(super) const MODULE_AUX: &[Piece] = &[Lengths(3), OfModule];
/// A slot's number and the sizes of its tables.
pub(super) const SLOT_INFO: &[Piece] = &[Lengths(3)];
/// The state of an import: its name and ranges of slots.
pub(super) const SLOT_IMPORT: &[Piece] = &[Str, Many(&[Lengths(2)])];

/// A type that can be passed over: its name for people, and its pieces.
pub(super) fn known(kind: u8) -> Option<(&'static str, &'static [Piece])> {
    Some(match kind {
        kind::LIST => ("list", &[Many(&[Str])]),
        kind::LIST_ZIPLIST => ("list", &[Str]),
        kind::LIST_QUICKLIST => ("list", &[Many(&[Str])]),
        kind::LIST_QUICKLIST_2 => ("list", &[Many(&[Lengths(1), Str])]),
        kind::STREAM => ("stream", STREAM),
        kind::STREAM_2 => ("stream", STREAM_2),
        kind::STREAM_3 => ("stream", STREAM_3),
        // The module's own type was read before.
        kind::MODULE => ("module", &[OfModule]),
        _ => return None,
    })
}

/// The name of a module's type, which its id spells in groups of six bits.
pub(super) fn module_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |place: u32| char::from(LETTERS[(id >> (10 + 6 * place) & 63) as usize]);
    (0..9).rev().map(letter).collect()
}

/// Passes over pieces as they arrive.
#[derive(Debug)]
pub(super) struct Skipper {
    /// Pieces begun, the innermost last.
    open: Vec<Open>,
    /// Bytes to be passed over before the next piece.
    bytes: u64,
}

/// Pieces that are passed over `times` times, and where in them it stands.
#[derive(Debug)]
struct Open {
    pieces: &'static [Piece],
    next: usize,
    times: u64,
}

/// Numbers that tell the pieces of a module apart.
mod module {
    pub(super) const END: u64 = 0;
    pub(super) const SIGNED: u64 = 1;
    pub(super) const UNSIGNED: u64 = 2;
    pub(super) const FLOAT: u64 = 3;
    pub(super) const DOUBLE: u64 = 4;
    pub(super) const STRING: u64 = 5;
}

impl Skipper {
    /// Passes over these pieces once.
    pub(super) fn new(pieces: &'static [Piece]) -> Self {
        Skipper { open: vec![Open { pieces, next: 0, times: 1 }], bytes: 0 }
    }

    /// Goes on as far as the bytes reach; the cursor is committed at what need not be read again.
    pub(super) fn advance(&mut self, cursor: &mut Cursor<'_>) -> Taken<()> {
        loop {
            if self.bytes > 0 {
                let passed = self.bytes.min(cursor.left().max(1) as u64);
                cursor.take(passed)?;
                self.bytes -= passed;
                cursor.commit();
                continue;
            }
            let Some(open) = self.open.last_mut() else { return Ok(()) };
            let Some(piece) = open.pieces.get(open.next).copied() else {
                (open.next, open.times) = (0, open.times - 1);
                if open.times == 0 {
                    self.open.pop();
                }
                continue;
            };
            self.pass(piece, cursor)?;
            cursor.commit();
        }
    }

    /// Passes over one piece, or begins to.
    fn pass(&mut self, piece: Piece, cursor: &mut Cursor<'_>) -> Taken<()> {
        let (mut inner, mut is_passed) = (None, true);
        match piece {
            Lengths(count) => {
                for _ in 0..count {
                    cursor.length()?;
                }
            }
            Str => self.bytes = cursor.string_to_skip()?,
            Bytes(count) => self.bytes = count,
            Many(pieces) => {
                let times = cursor.length()?;
                inner = (times > 0).then_some(Open { pieces, next: 0, times });
            }
            OfModule => is_passed = self.pass_of_module(cursor)?,
        }
        if let Some(open) = self.open.last_mut() {
            open.next += usize::from(is_passed);
        }
        self.open.extend(inner);
        Ok(())
    }

    /// Passes over the next of a module's pieces; true: it was their end.
    fn pass_of_module(&mut self, cursor: &mut Cursor<'_>) -> Taken<bool> {
        match cursor.length()? {
            module::END => return Ok(true),
            module::SIGNED | module::UNSIGNED => {
                cursor.length()?;
            }
            module::FLOAT => self.bytes = 4,
            module::DOUBLE => self.bytes = 8,
            module::STRING => self.bytes = cursor.string_to_skip()?,
            other => return damaged(format!("a module's value has no piece {other}")),
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::cursor::Stop;

    /// Passes over `bytes`, which come one by one.
    fn skip(pieces: &'static [Piece], bytes: &[u8]) -> Taken<usize> {
        let (mut skipper, mut start) = (Skipper::new(pieces), 0);
        for end in 0..=bytes.len() {
            let mut cursor = Cursor::new(&bytes[start..end], 0);
            let done = skipper.advance(&mut cursor);
            start += cursor.committed();
            match done {
                Ok(()) => return Ok(start),
                Err(Stop::More(_)) => {}
                Err(damaged) => return Err(damaged),
            }
        }
        Err(Stop::More(0))
    }

    #[test]
    fn pieces_are_passed_over_as_they_come() {
        let (_, list) = known(kind::LIST_QUICKLIST_2).expect("lists are known");
        let bytes = b"\x03\x01\x02ab\x02\xc1xx\x01\xc3\x02\x30__rest";
        assert_eq!(skip(list, bytes), Ok(bytes.len() - 4));
        assert_eq!(skip(list, b"\0rest"), Ok(1));
        let (_, module) = known(kind::MODULE).expect("modules are known");
        assert_eq!(skip(module, b"\x05\x02ab\x01\x09\x04........\x03....\0rest"), Ok(21));
        assert!(matches!(skip(module, b"\x06"), Err(Stop::Damaged(_))));
    }

    #[test]
    fn a_modules_id_spells_its_name() {
        let id = b"ReJSON-RL".iter().fold(0u64, |id, letter| {
            let value = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'-' => 62,
                _ => 63,
            };
            id << 6 | u64::from(value)
        });
        assert_eq!(module_name(id << 10 | 3), "ReJSON-RL");
    }
}
