//! What a command answers to a user who asked wrongly: Redis's exact texts, all in one place.

use std::borrow::Cow;
use std::fmt;

use crate::store::WrongType;

/// An error reply: its code and text as on the wire, without the leading `-`. The connection lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandError(Cow<'static, str>);

macro_rules! texts {
    ($($name:ident = $text:literal;)*) => {
        impl CommandError {
            $(#[doc = concat!("`", $text, "`")] pub const $name: CommandError = CommandError(Cow::Borrowed($text));)*
        }
    };
}

texts! {
    SYNTAX = "ERR syntax error";
    NOT_AN_INTEGER = "ERR value is not an integer or out of range";
    NOT_A_FLOAT = "ERR value is not a valid float";
    OUT_OF_RANGE = "ERR value is out of range";
    INDEX_OUT_OF_RANGE = "ERR index out of range";
    COUNT_OUT_OF_RANGE = "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
    INT_OUT_OF_RANGE = "ERR value is out of range, value must between -2147483648 and 2147483647";
    OFFSET_OUT_OF_RANGE = "ERR offset is out of range";
    MUST_BE_POSITIVE = "ERR value is out of range, must be positive";
    NO_SUCH_KEY = "ERR no such key";
    SAME_OBJECT = "ERR source and destination objects are the same";
    DB_OUT_OF_RANGE = "ERR DB index is out of range";
    INVALID_DB = "ERR invalid DB index";
    WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value";
    NO_AUTH = "NOAUTH Authentication required.";
    WRONG_PASS = "WRONGPASS invalid username-password pair or user is disabled.";
    OUT_OF_MEMORY = "OOM command not allowed when used memory > 'maxmemory'.";
    EXEC_ABORT = "EXECABORT Transaction discarded because of previous errors.";
    OVERFLOW = "ERR increment or decrement would overflow";
    NAN_OR_INFINITY = "ERR increment would produce NaN or Infinity";
    STRING_TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    INVALID_CURSOR = "ERR invalid cursor";
    TIMEOUT_NEGATIVE = "ERR timeout is negative";
    TIMEOUT_NOT_AN_INTEGER = "ERR timeout is not an integer or out of range";
    UNBLOCKED = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
    BUSY_SCRIPT = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
    READ_ONLY_REPLICA = "READONLY You can't write against a read only replica.";
    NO_REPLICAS = "NOREPLICAS Not enough good replicas to write.";
    NOT_FROM_SCRIPT = "ERR This Redis command is not allowed from script";
    NUMFIELDS = "ERR numfields should be greater than 0 and match the provided number of fields";
    BAD_CLIENT_NAME = "ERR Client names cannot contain spaces, newlines or special characters.";
    NOT_BUSY = "NOTBUSY No scripts in execution right now.";
    UNKILLABLE = "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.";
    NO_PROTO = "NOPROTO unsupported protocol version";
}

impl CommandError {
    /// An error of this text, its code first.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        CommandError(text.into())
    }

    /// The text, its code first.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// `ERR wrong number of arguments for 'name' command`
    pub fn wrong_arity(name: &str) -> Self {
        CommandError::new(format!("ERR wrong number of arguments for '{name}' command"))
    }

    /// `ERR invalid expire time in 'name' command`
    pub fn invalid_expire(name: &str) -> Self {
        CommandError::new(format!("ERR invalid expire time in '{name}' command"))
    }

    /// `ERR unknown command 'NAME', with args beginning with: 'a' 'b' `
    pub fn unknown_command(args: crate::resp::Args<'_>) -> Self {
        // Redis shows at most 128 bytes of the name and about as many of the arguments.
        const SHOWN: usize = 128;
        let mut rest = String::new();
        for arg in args.from(1).iter() {
            if rest.len() >= SHOWN {
                break;
            }
            let shown = clip(arg, SHOWN - rest.len());
            rest.push_str(&format!("'{shown}' "));
        }
        CommandError::new(format!(
            "ERR unknown command '{}', with args beginning with: {rest}",
            clip(&args[0], SHOWN)
        ))
    }

    /// `ERR unknown subcommand 'x'. Try NAME HELP.`
    pub fn unknown_subcommand(container: &str, subcommand: &[u8]) -> Self {
        CommandError::new(format!(
            "ERR unknown subcommand '{}'. Try {} HELP.",
            clip(subcommand, 128),
            container.to_uppercase()
        ))
    }
}

/// The first `most` bytes as text, up to a zero byte, where C's strings end.
pub(super) fn clip(bytes: &[u8], most: usize) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let bytes = &bytes[..end];
    String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned()
}

impl From<WrongType> for CommandError {
    fn from(_: WrongType) -> Self {
        CommandError::WRONG_TYPE
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CommandError {}
