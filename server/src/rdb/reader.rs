//! Reading a file that comes in pieces.
//!
//! The reader is fed with bytes as they arrive and hands out records as they become complete. It
//! knows neither files nor sockets. It keeps what has arrived of one piece at most (a string, or all
//! that is packed into one) beside the elements read so far; a length that it is told makes it wait
//! for bytes, and never reserve room for them.

use std::borrow::Cow;
use std::fmt;

use super::checksum::Checksum;
use super::cursor::{Cursor, Stop, Taken, damaged};
use super::fields::Fields;
use super::format::{Dialect, kind, opcode};
use super::skip::{self, Skipper};
use super::value::{Value, ValueReader};
use crate::clock::Millis;

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOptions {
    /// Values of types that are not known here are passed over instead of refused
    /// (`rdb-skip-unknown-types`).
    pub skip_unknown: bool,
    /// The checksum at the end is compared (`rdbchecksum`).
    pub checksum: bool,
    /// No string, and nothing that is packed into one, may be longer (`proto-max-bulk-len`).
    pub longest: u64,
}

impl ReadOptions {
    /// The longest string by default: that of the wire.
    pub const LONGEST: u64 = 512 << 20;
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions { skip_unknown: false, checksum: true, longest: ReadOptions::LONGEST }
    }
}

/// One thing that a file says.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// It has begun: in which dialect it is written.
    Begin(Dialect),
    /// A named note.
    Aux {
        /// Its name.
        name: Vec<u8>,
        /// What it says.
        value: Vec<u8>,
    },
    /// The database of the keys that follow.
    Select(u64),
    /// How many keys this database has, and how many of them a deadline: a hint.
    Resize {
        /// Keys.
        keys: u64,
        /// Keys with a deadline.
        volatile: u64,
    },
    /// A key with its value.
    Key(Entry),
    /// A key whose value was passed over, for its type is not known here.
    Skipped {
        /// The key.
        key: Vec<u8>,
        /// The type.
        kind: String,
    },
    /// A library of functions: its code.
    Library(Vec<u8>),
    /// The end. What was fed beyond it is for [`Reader::take_rest`].
    End,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// When it ends, if ever.
    pub deadline: Option<Millis>,
    /// How it was used, where the file says so.
    pub usage: Option<Usage>,
    /// Its value.
    pub value: Value,
}

/// How a key was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Seconds since its last use.
    Idle(u64),
    /// A logarithmic counter of uses.
    Frequency(u8),
}

/// Why a file cannot be read: where, at which key, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// The byte of the file.
    pub offset: u64,
    /// The key at hand.
    pub key: Option<Vec<u8>>,
    /// What is wrong.
    pub why: Cow<'static, str>,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}", self.offset)?;
        if let Some(key) = &self.key {
            write!(f, ", key \"{}\"", key[..key.len().min(SHOWN)].escape_ascii())?;
        }
        write!(f, ": {}", self.why)
    }
}

impl std::error::Error for ReadError {}

/// How much of a key an error shows.
const SHOWN: usize = 128;

/// Reads a file that comes in pieces.
#[derive(Debug)]
pub struct Reader {
    input: Input,
    parser: Parser,
}

/// What was fed and not yet let go.
#[derive(Debug, Default)]
struct Input {
    bytes: Vec<u8>,
    /// Up to here it has been made use of, and up to there the checksum has it.
    start: usize,
    hashed: usize,
    /// How many bytes of the file lie before `bytes`.
    offset: u64,
    /// With fewer bytes than this from `start` on, looking again is of no use.
    needs: u64,
    checksum: Checksum,
}

/// How much of what has been made use of is kept before it is let go, and how much room for the next
/// key.
const KEPT: usize = 64 * 1024;

impl Reader {
    /// A reader at the start of a file.
    pub fn new(options: ReadOptions) -> Self {
        Reader { input: Input::default(), parser: Parser::new(options) }
    }

    /// Takes in what has arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        let input = &mut self.input;
        if input.start >= KEPT || input.start == input.bytes.len() {
            input.hash(self.parser.options.checksum);
            input.offset += input.start as u64;
            input.bytes.drain(..input.start);
            (input.start, input.hashed) = (0, 0);
        }
        input.bytes.extend_from_slice(bytes);
    }

    /// The next record, or None until more bytes are fed. After [`Record::End`] there is none.
    ///
    /// # Errors
    ///
    /// What the file says cannot be right, or is of a type that is not known here. The reader is of
    /// no further use.
    pub fn read(&mut self) -> Result<Option<Record>, ReadError> {
        let Reader { input, parser } = self;
        while input.unused() >= input.needs {
            if matches!(parser.state, State::Checksum) {
                input.hash(parser.options.checksum);
            }
            let mut cursor = Cursor::new(&input.bytes[input.start..], parser.options.longest);
            let done = parser.step(&mut cursor, &input.checksum);
            let used = cursor.committed();
            let offset = input.offset + (input.start + cursor.position()) as u64;
            input.start += used;
            match done {
                Ok(record) => {
                    // The checksum of the oldest files has no bytes.
                    input.needs = u64::from(!matches!(parser.state, State::Checksum));
                    if record.is_some() {
                        return Ok(record);
                    }
                }
                Err(Stop::More(wanted)) => input.needs = wanted.saturating_sub(used as u64),
                Err(Stop::Damaged(why)) => {
                    return Err(ReadError { offset, key: parser.key_at_hand(), why });
                }
            }
        }
        Ok(None)
    }

    /// Takes a key back that [`Reader::read`] handed out: the next one has its room.
    pub fn recycle(&mut self, entry: Entry) {
        let spare = &mut self.parser.spare;
        if entry.key.capacity() <= KEPT {
            spare.key = entry.key;
        }
        if let Value::Hash(fields) = entry.value {
            spare.fields = fields.emptied(KEPT);
        }
        if spare.unpacked.capacity() > KEPT {
            spare.unpacked = Vec::new();
        }
    }

    /// How many bytes of the file have been read.
    pub fn position(&self) -> u64 {
        self.input.offset + self.input.start as u64
    }

    /// Whether the end has been read.
    pub fn is_over(&self) -> bool {
        matches!(self.parser.state, State::Over)
    }

    /// What was fed beyond the end.
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.input.bytes.split_off(self.input.start)
    }

    /// Says that no more bytes will come.
    ///
    /// # Errors
    ///
    /// The end has not been read.
    pub fn finish(&self) -> Result<(), ReadError> {
        if self.is_over() {
            return Ok(());
        }
        let offset = self.input.offset + self.input.bytes.len() as u64;
        let why = "the file ends too early".into();
        Err(ReadError { offset, key: self.parser.key_at_hand(), why })
    }
}

impl Input {
    fn unused(&self) -> u64 {
        (self.bytes.len() - self.start) as u64
    }

    /// Brings the checksum up to what has been made use of.
    fn hash(&mut self, wanted: bool) {
        if wanted {
            self.checksum.update(&self.bytes[self.hashed..self.start]);
        }
        self.hashed = self.start;
    }
}

/// What is known of a file from what was read of it.
#[derive(Debug)]
struct Parser {
    options: ReadOptions,
    dialect: Dialect,
    state: State,
    /// What was said of the next key.
    deadline: Option<Millis>,
    usage: Option<Usage>,
    spare: Spare,
}

/// Room that one key after the other has.
#[derive(Debug, Default)]
struct Spare {
    key: Vec<u8>,
    fields: Fields,
    unpacked: Vec<u8>,
}

/// What comes next.
#[derive(Debug)]
enum State {
    Magic,
    /// An opcode or a type.
    Opcode,
    /// The rest of a key's value.
    Value(Vec<u8>, ValueReader),
    /// The rest of a value that is passed over.
    Unknown(Vec<u8>, String, Skipper),
    /// The rest of something else that is passed over.
    Beside(Skipper),
    Checksum,
    Over,
}

impl Parser {
    fn new(options: ReadOptions) -> Self {
        let dialect = Dialect { version: 0, valkey: false };
        let (state, spare) = (State::Magic, Spare::default());
        Parser { options, dialect, state, deadline: None, usage: None, spare }
    }

    fn key_at_hand(&self) -> Option<Vec<u8>> {
        match &self.state {
            State::Value(key, _) | State::Unknown(key, ..) => Some(key.clone()),
            _ => None,
        }
    }

    /// Goes on to the next record, or over something that is none.
    fn step(&mut self, cursor: &mut Cursor<'_>, checksum: &Checksum) -> Taken<Option<Record>> {
        let record = match &mut self.state {
            State::Magic => Some(self.magic(cursor)?),
            State::Opcode => self.opcode(cursor)?,
            State::Value(key, value) => {
                let value = value.advance(cursor, &mut self.spare.unpacked)?;
                let key = std::mem::take(key);
                self.state = State::Opcode;
                let (deadline, usage) = (self.deadline.take(), self.usage.take());
                Some(Record::Key(Entry { key, deadline, usage, value }))
            }
            State::Unknown(key, kind, skipper) => {
                skipper.advance(cursor)?;
                let (key, kind) = (std::mem::take(key), std::mem::take(kind));
                self.state = State::Opcode;
                (self.deadline, self.usage) = (None, None);
                Some(Record::Skipped { key, kind })
            }
            State::Beside(skipper) => {
                skipper.advance(cursor)?;
                self.state = State::Opcode;
                None
            }
            State::Checksum => Some(self.end(cursor, checksum)?),
            State::Over => return Err(Stop::More(u64::MAX)),
        };
        cursor.commit();
        Ok(record)
    }

    fn magic(&mut self, cursor: &mut Cursor<'_>) -> Taken<Record> {
        let magic = cursor.array()?;
        self.dialect = Dialect::of_magic(&magic).or_else(damaged)?;
        self.state = State::Opcode;
        Ok(Record::Begin(self.dialect))
    }

    /// What stands between values; None: it was nothing to tell of.
    fn opcode(&mut self, cursor: &mut Cursor<'_>) -> Taken<Option<Record>> {
        let beside = |pieces| Ok(State::Beside(Skipper::new(pieces)));
        let next = match cursor.byte()? {
            opcode::AUX => {
                let (name, value) = (cursor.string()?.into_owned(), cursor.string()?.into_owned());
                return Ok(Some(Record::Aux { name, value }));
            }
            opcode::SELECT => return Ok(Some(Record::Select(cursor.length()?))),
            opcode::RESIZE => {
                let (keys, volatile) = (cursor.length()?, cursor.length()?);
                return Ok(Some(Record::Resize { keys, volatile }));
            }
            opcode::FUNCTION => {
                return Ok(Some(Record::Library(cursor.string()?.into_owned())));
            }
            opcode::DEADLINE_MILLIS => {
                let at = i64::from_le_bytes(cursor.array()?);
                self.deadline = Some(at.max(1) as u64);
                return Ok(None);
            }
            opcode::DEADLINE_SECONDS => {
                let at = i64::from(i32::from_le_bytes(cursor.array()?));
                self.deadline = Some((at * 1000).max(1) as u64);
                return Ok(None);
            }
            opcode::IDLE => {
                self.usage = Some(Usage::Idle(cursor.length()?));
                return Ok(None);
            }
            opcode::FREQ => {
                self.usage = Some(Usage::Frequency(cursor.byte()?));
                return Ok(None);
            }
            opcode::MODULE_AUX => beside(skip::MODULE_AUX),
            opcode::SLOT_INFO => beside(skip::SLOT_INFO),
            opcode::SLOT_IMPORT if self.dialect.valkey => beside(skip::SLOT_IMPORT),
            opcode::FUNCTION_PRE_GA => {
                damaged("functions in a form that no release of Redis wrote")
            }
            opcode::END => Ok(State::Checksum),
            kind => self.key(kind, cursor),
        };
        self.state = next?;
        Ok(None)
    }

    /// A key, and how its value is to be read.
    fn key(&mut self, kind: u8, cursor: &mut Cursor<'_>) -> Taken<State> {
        if let Some(value) = ValueReader::new(kind, self.dialect) {
            let Spare { key: room, fields, .. } = &mut self.spare;
            let mut key = std::mem::take(room);
            key.clear();
            key.extend_from_slice(&cursor.string()?);
            return Ok(State::Value(key, value.with_room(fields)));
        }
        let Some((name, pieces)) = skip::known(kind) else {
            let what = match kind {
                kind::MODULE_PRE_GA => {
                    "a module's value in a form that no release wrote".to_owned()
                }
                _ => format!("type {kind} is not known here"),
            };
            return damaged(what);
        };
        let key = cursor.string()?.into_owned();
        let name = match kind {
            kind::MODULE => format!("{name} {}", skip::module_name(cursor.length()?)),
            _ => name.to_owned(),
        };
        if !self.options.skip_unknown {
            let why = format!(
                "the value is a {name}, a type that is not known here; \
                 rdb-skip-unknown-types yes leaves such keys out"
            );
            self.state = State::Unknown(key, name, Skipper::new(pieces));
            return damaged(why);
        }
        Ok(State::Unknown(key, name, Skipper::new(pieces)))
    }

    /// The last bytes.
    fn end(&mut self, cursor: &mut Cursor<'_>, checksum: &Checksum) -> Taken<Record> {
        if self.dialect.version >= FIRST_WITH_CHECKSUM {
            let told = u64::from_le_bytes(cursor.array()?);
            if self.options.checksum && told != 0 {
                let own = checksum.value();
                if told != own {
                    return damaged(format!("the checksum is {own:016x} and not {told:016x}"));
                }
            }
        }
        self.state = State::Over;
        Ok(Record::End)
    }
}

/// The first version with a checksum at its end.
const FIRST_WITH_CHECKSUM: u16 = 5;
