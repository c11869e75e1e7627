//! What a command answers to a user who asked wrongly: Redis's exact texts, all in one place.

use std::borrow::Cow;
use std::fmt;

use crate::store::WrongType;

/// An error reply: its code and text as on the wire, without the leading `-`. What a user sent may
/// stand in it byte for byte. The connection lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandError(Cow<'static, [u8]>);

macro_rules! texts {
    ($($name:ident = $text:literal;)*) => {
        impl CommandError {
            $(#[doc = concat!("`", $text, "`")] pub const $name: CommandError = CommandError(Cow::Borrowed($text.as_bytes()));)*
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
    NO_TEST_CONTROL = "ERR CLOAKROOM command not allowed. Start the server with --test-control yes to let tests turn its clock.";
    TOO_MANY_CLIENTS = "ERR max number of clients reached";
    PROTECTED_MODE = "DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to connect from external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host the server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the Redis configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If you started the server manually just for testing, restart it with the '--protected-mode no' option. 4) Setup a an authentication password for the default user. NOTE: You only need to do one of the above things in order for the server to start accepting connections from the outside.";
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
    DEMOTED = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
    BUSY_SCRIPT = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
    BUSY_FUNCTION = "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";
    WRITE_FLAG_READ_ONLY = "ERR Can not execute a script with write flag using *_ro command.";
    READ_ONLY_REPLICA = "READONLY You can't write against a read only replica.";
    NO_REPLICAS = "NOREPLICAS Not enough good replicas to write.";
    PRIMARY_DOWN = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
    LOADING = "LOADING Redis is loading the dataset in memory";
    STALE_FOR_SCRIPT = "ERR Can not execute the command on a stale replica";
    NOT_FROM_SCRIPT = "ERR This Redis command is not allowed from script";
    NUMFIELDS = "ERR numfields should be greater than 0 and match the provided number of fields";
    BAD_CLIENT_NAME = "ERR Client names cannot contain spaces, newlines or special characters.";
    CANNOT_SAVE = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.";
    SAVE_FAILED = "ERR";
    SHUTDOWN_FAILED = "ERR Errors trying to SHUTDOWN. Check logs.";
    BUSY_KEY = "BUSYKEY Target key name already exists.";
    BAD_PAYLOAD = "ERR DUMP payload version or checksum are wrong";
    BAD_DATA = "ERR Bad data format";
    NOT_BUSY = "NOTBUSY No scripts in execution right now.";
    UNKILLABLE = "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.";
    NO_ACL_FILE = "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration.";
    NO_PROTO = "NOPROTO unsupported protocol version";
}

impl CommandError {
    /// An error of this text, its code first.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        match text.into() {
            Cow::Borrowed(text) => CommandError(Cow::Borrowed(text.as_bytes())),
            Cow::Owned(text) => CommandError(Cow::Owned(text.into_bytes())),
        }
    }

    /// An error of these pieces of text, its code first.
    pub fn of(pieces: &[&[u8]]) -> Self {
        CommandError(Cow::Owned(pieces.concat()))
    }

    /// An error that quotes what a user sent, as far as C's strings go.
    pub fn quoting(before: &str, given: &[u8], after: &str) -> Self {
        CommandError::of(&[before.as_bytes(), clip(given, usize::MAX), after.as_bytes()])
    }

    /// An error of this text, its code first, for constants.
    pub const fn from_static(text: &'static str) -> Self {
        CommandError(Cow::Borrowed(text.as_bytes()))
    }

    /// The text, its code first.
    pub fn text(&self) -> &[u8] {
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
        let mut rest: Vec<u8> = Vec::new();
        for arg in args.from(1).iter() {
            if rest.len() >= SHOWN {
                break;
            }
            rest.extend([b"'", clip(arg, SHOWN - rest.len()), b"' "].concat());
        }
        let name = clip(&args[0], SHOWN);
        CommandError::of(&[b"ERR unknown command '", name, b"', with args beginning with: ", &rest])
    }

    /// `EXECABORT Transaction discarded because of: ...`
    pub fn exec_abort(cause: &CommandError) -> Self {
        let cause = cause.text().strip_prefix(b"ERR ").unwrap_or(cause.text());
        CommandError::of(&[b"EXECABORT Transaction discarded because of: ", cause])
    }

    /// `ERR unknown subcommand 'x'. Try NAME HELP.`
    pub fn unknown_subcommand(container: &str, subcommand: &[u8]) -> Self {
        let after = format!("'. Try {} HELP.", container.to_uppercase());
        CommandError::quoting("ERR unknown subcommand '", clip(subcommand, 128), &after)
    }
}

/// The first `most` bytes, up to a zero byte, where C's strings end.
fn clip(bytes: &[u8], most: usize) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    &bytes[..end.min(most)]
}

impl From<WrongType> for CommandError {
    fn from(_: WrongType) -> Self {
        CommandError::WRONG_TYPE
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl std::error::Error for CommandError {}
