//! DUMP payloads: one value with a version and a checksum behind it.

use super::checksum::Checksum;
use super::cursor::Cursor;
use super::format::{Dialect, opcode};
use super::value::{Value, ValueReader};

/// Why a payload cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DumpError {
    /// Its version is not known here, or its checksum is another one.
    Footer,
    /// It holds something else than was asked for.
    Kind,
    /// What it says cannot be right, or is of a type that is not known here.
    Data,
}

/// Bytes of the version and of the checksum at the end.
const VERSION: usize = 2;
const CHECKSUM: usize = 8;

/// How a payload is read.
#[derive(Debug, Clone, Copy)]
pub struct DumpOptions {
    /// No string may be longer.
    pub longest: u64,
    /// Its checksum must be right.
    pub checksum: bool,
}

/// What a payload says, without its version and checksum; the dialect in which it does.
fn checked(payload: &[u8], options: DumpOptions) -> Result<(&[u8], Dialect), DumpError> {
    let (rest, checksum) = payload.split_last_chunk::<CHECKSUM>().ok_or(DumpError::Footer)?;
    let (value, version) = rest.split_last_chunk::<VERSION>().ok_or(DumpError::Footer)?;
    let dialect = Dialect::of_dump(u16::from_le_bytes(*version)).ok_or(DumpError::Footer)?;
    if options.checksum && Checksum::of(rest) != u64::from_le_bytes(*checksum) {
        return Err(DumpError::Footer);
    }
    Ok((value, dialect))
}

/// Reads the code of the libraries of functions in a payload.
///
/// # Errors
///
/// See [`DumpError`].
pub fn read_libraries(payload: &[u8], options: DumpOptions) -> Result<Vec<Vec<u8>>, DumpError> {
    let (mut rest, _) = checked(payload, options)?;
    let mut libraries = Vec::new();
    while let Some((kind, code)) = rest.split_first() {
        if *kind != opcode::FUNCTION {
            return Err(DumpError::Kind);
        }
        let mut cursor = Cursor::new(code, options.longest);
        libraries.push(cursor.string().map_err(|_| DumpError::Data)?.into_owned());
        rest = &code[cursor.position()..];
    }
    Ok(libraries)
}

/// Reads a payload's value.
///
/// # Errors
///
/// See [`DumpError`].
pub fn read_dump(payload: &[u8], options: DumpOptions) -> Result<Value, DumpError> {
    let (value, dialect) = checked(payload, options)?;
    let (kind, value) = value.split_first().ok_or(DumpError::Data)?;
    let mut reader = ValueReader::new(*kind, dialect).ok_or(DumpError::Data)?;
    // An aggregate without elements is no value either.
    let read = reader.advance(&mut Cursor::new(value, options.longest), &mut Vec::new()).ok();
    read.filter(|value| !value.is_empty()).ok_or(DumpError::Data)
}
