//! What SCAN, HSCAN, SSCAN and ZSCAN have in common: cursor and options in, a page out.

use super::args::{is, parse_int};
use super::{CommandError, Ctx};
use crate::resp::{Args, Reply};
use crate::store::Kind;
use crate::store::glob::Glob;

/// Where a scan goes on, and what it is to show.
#[derive(Debug, Clone)]
pub(super) struct ScanOptions<'a> {
    /// Where to go on; 0 = from the start.
    pub(super) cursor: u64,
    /// MATCH.
    pattern: Option<Glob<'a>>,
    /// COUNT: about how much to visit.
    pub(super) count: usize,
    /// TYPE, of SCAN alone.
    pub(super) of_type: Option<&'a [u8]>,
    /// NOVALUES, of HSCAN alone.
    pub(super) no_values: bool,
}

/// COUNT without COUNT.
const DEFAULT_COUNT: usize = 10;

impl<'a> ScanOptions<'a> {
    /// Of `SCAN cursor ...`.
    pub(super) fn of_keys(args: Args<'a>) -> Result<Self, CommandError> {
        ScanOptions::parse(args, 1, true, false)
    }

    /// Of `HSCAN key cursor ...`.
    pub(super) fn of_hash(args: Args<'a>) -> Result<Self, CommandError> {
        ScanOptions::parse(args, 2, false, true)
    }

    /// Of `SSCAN key cursor ...` and `ZSCAN key cursor ...`.
    pub(super) fn of_members(args: Args<'a>) -> Result<Self, CommandError> {
        ScanOptions::parse(args, 2, false, false)
    }

    fn parse(
        args: Args<'a>,
        cursor_at: usize,
        types: bool,
        values: bool,
    ) -> Result<Self, CommandError> {
        let mut options = ScanOptions {
            cursor: parse_cursor(args.at(cursor_at))?,
            pattern: None,
            count: DEFAULT_COUNT,
            of_type: None,
            no_values: false,
        };
        let mut at = cursor_at + 1;
        while at < args.len() {
            let (option, value) = (args.at(at), args.get(at + 1));
            at += 2;
            match value {
                Some(value) if is(option, "COUNT") => {
                    let count = parse_int(value).ok_or(CommandError::NOT_AN_INTEGER)?;
                    options.count = match count {
                        1.. => count as usize,
                        _ => return Err(CommandError::SYNTAX),
                    };
                }
                Some(value) if is(option, "MATCH") => {
                    options.pattern = (value != b"*").then(|| Glob::new(value, false));
                }
                Some(value) if types && is(option, "TYPE") => options.of_type = Some(value),
                _ if values && is(option, "NOVALUES") => {
                    options.no_values = true;
                    at -= 1;
                }
                _ => return Err(CommandError::SYNTAX),
            }
        }
        Ok(options)
    }

    /// Whether a name is to be shown.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        self.pattern.as_ref().is_none_or(|glob| glob.matches(name))
    }

    /// Writes the cursor and the page.
    pub(super) fn reply(&self, reply: &mut Reply<'_>, page: Vec<Vec<u8>>) {
        reply.array(2);
        reply.text(&self.cursor.to_string());
        reply.array(page.len());
        page.iter().for_each(|element| reply.bulk(element));
    }
}

/// Whether there is nothing to scan under argument 1: answered at once, before any option is read,
/// as Redis does. A wrong cursor or type is an error all the same.
pub(super) fn is_absent<K: Kind>(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<bool, CommandError> {
    parse_cursor(args.at(2))?;
    let absent = ctx.data.read::<K>(args.at(1))?.is_none();
    if absent {
        ctx.reply.array(2);
        ctx.reply.text("0");
        ctx.reply.array(0);
    }
    Ok(absent)
}

/// A cursor as Redis 7.0 takes it: as `strtoul` takes a C string, which ends at a zero byte, is 0
/// if it is empty; digits, a sign allowed, nothing around them.
fn parse_cursor(text: &[u8]) -> Result<u64, CommandError> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let (negative, digits) = match text {
        [] => return Ok(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let value: u64 = std::str::from_utf8(digits)
        .ok()
        .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .ok_or(CommandError::INVALID_CURSOR)?;
    // Redis masks what is beyond its table; positions here have 48 bits.
    let value = if negative { value.wrapping_neg() } else { value };
    Ok(value & ((1 << 48) - 1))
}
