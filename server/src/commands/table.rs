//! Finding a command by its name: the families' tables made ready once a server.

use std::sync::Arc;

use hashbrown::HashTable;

use super::{CommandError, FAMILIES, Spec};
use crate::resp::Args;

/// A command that was found: its row, and its number in the table.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// The row.
    pub spec: &'static Spec,
    /// The number, for statistics; subcommands have their own.
    pub id: usize,
}

impl PartialEq for Command {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Command {}

/// All commands of a server, by name.
#[derive(Debug)]
pub struct CommandTable {
    /// By lower-case name.
    by_name: HashTable<Entry>,
    /// `name` or `container|subcommand` in lower case, by number.
    names: Vec<Arc<str>>,
    all: Vec<Command>,
}

/// A name as it is looked for: its first and last eight bytes in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Name {
    first: u64,
    last: u64,
    length: usize,
}

#[derive(Debug)]
struct Entry {
    /// In lower case.
    name: Box<[u8]>,
    known_by: Name,
    command: Command,
    subcommands: Vec<Command>,
    first_key: usize,
}

impl CommandTable {
    /// All families' commands.
    pub fn new() -> Self {
        let mut table =
            CommandTable { by_name: HashTable::new(), names: Vec::new(), all: Vec::new() };
        for spec in FAMILIES.iter().flat_map(|(_, family)| family.iter()) {
            let name = spec.name.to_ascii_lowercase();
            let command = table.add(spec, name.clone());
            let subcommands = spec
                .subcommands
                .iter()
                .map(|sub| table.add(sub, format!("{name}|{}", sub.name.to_ascii_lowercase())))
                .collect();
            table.enter(name.into_bytes(), command, subcommands);
        }
        table
    }

    fn add(&mut self, spec: &'static Spec, name: String) -> Command {
        let command = Command { spec, id: self.all.len() };
        self.all.push(command);
        self.names.push(name.into());
        command
    }

    /// How many there are, subcommands included: numbers are below this.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// `name` or `container|subcommand`, in lower case.
    pub fn name(&self, command: Command) -> &str {
        &self.names[command.id]
    }

    /// [`CommandTable::name`] to keep.
    pub fn shared_name(&self, command: Command) -> Arc<str> {
        Arc::clone(&self.names[command.id])
    }

    /// All of them, subcommands included, in the table's order.
    pub fn all(&self) -> &[Command] {
        &self.all
    }

    /// Commands without subcommands' own rows, in the table's order.
    pub fn top_level(&self) -> impl Iterator<Item = Command> {
        self.all.iter().filter(|command| !self.name(**command).contains('|')).copied()
    }

    /// The subcommands of a container.
    pub fn subcommands(&self, container: Command) -> &[Command] {
        self.entry(self.name(container).as_bytes())
            .map_or(&[], |entry| entry.subcommands.as_slice())
    }

    /// The command of this name, `container|subcommand` allowed; in any case.
    pub fn named(&self, name: &[u8]) -> Option<Command> {
        match name.iter().position(|byte| *byte == b'|') {
            None => self.entry(name).map(|entry| entry.command),
            Some(bar) => self.entry(&name[..bar])?.subcommand(&name[bar + 1..]),
        }
    }

    /// The command that a request names, its subcommand if it is a container; arity not checked.
    #[inline]
    pub fn find(&self, args: Args<'_>) -> Result<Command, CommandError> {
        let entry = self.entry(&args[0]).ok_or_else(|| CommandError::unknown_command(args))?;
        if entry.subcommands.is_empty() {
            return Ok(entry.command);
        }
        let name = || self.name(entry.command);
        let Some(sub) = args.get(1) else {
            // Only a callable container goes without a subcommand.
            return if entry.command.spec.takes(1) {
                Ok(entry.command)
            } else {
                Err(CommandError::wrong_arity(name()))
            };
        };
        entry.subcommand(sub).ok_or_else(|| CommandError::unknown_subcommand(name(), sub))
    }

    /// Which argument of this command is its first key, as far as the name alone tells; 0: none is.
    #[inline]
    pub fn first_key(&self, name: &[u8]) -> usize {
        self.entry(name).map_or(0, |entry| entry.first_key)
    }

    /// Gives a command another name; an empty one takes it away. False: there is no `name`.
    pub fn rename(&mut self, name: &[u8], to: &[u8]) -> bool {
        let wanted = Name::of(name);
        let Ok(found) = self.by_name.find_entry(wanted.hash(), |entry| entry.is(wanted, name))
        else {
            return false;
        };
        let (entry, _) = found.remove();
        if !to.is_empty() {
            self.enter(to.to_ascii_lowercase(), entry.command, entry.subcommands);
        }
        true
    }

    fn enter(&mut self, name: Vec<u8>, command: Command, subcommands: Vec<Command>) {
        let known_by = Name::of(&name);
        let first_key = command.spec.first_key();
        let entry = Entry { name: name.into(), known_by, command, subcommands, first_key };
        self.by_name.insert_unique(known_by.hash(), entry, |entry| entry.known_by.hash());
    }

    #[inline]
    fn entry(&self, name: &[u8]) -> Option<&Entry> {
        let wanted = Name::of(name);
        self.by_name.find(wanted.hash(), |entry| entry.is(wanted, name))
    }
}

impl Name {
    /// What tells names of up to 16 bytes apart, in any case.
    #[inline]
    fn of(name: &[u8]) -> Self {
        let last = name.last_chunk().map_or(0, |eight| lower(u64::from_le_bytes(*eight)));
        let first = match name {
            [a, b, c, d, ..] if name.len() < 8 => {
                // Two halves that overlap: nothing is left out, whatever the length.
                let [.., w, x, y, z] = name else { return Name::default() };
                u64::from_le_bytes([*a, *b, *c, *d, *w, *x, *y, *z])
            }
            _ if name.len() < 8 => name.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
            _ => name.first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight)),
        };
        Name { first: lower(first), last, length: name.len() }
    }

    #[inline]
    fn hash(self) -> u64 {
        // Two odd constants of many bits spread what tells names apart over the whole hash.
        let mixed = (self.first ^ self.last.rotate_left(29) ^ self.length as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
    }
}

/// Eight bytes, those of them in lower case that are ASCII capitals.
#[inline]
fn lower(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // Bit 7 of each byte tells: it is at least `A`, it is beyond `Z`, it is ASCII.
    let low = word & (ONES * 0x7f);
    let from_a = low + ONES * (0x80 - b'A' as u64);
    let beyond_z = low + ONES * (0x80 - b'Z' as u64 - 1);
    let capital = from_a & !beyond_z & !word & (ONES * 0x80);
    word | capital >> 2
}

impl Default for CommandTable {
    fn default() -> Self {
        CommandTable::new()
    }
}

impl Entry {
    #[inline]
    fn is(&self, wanted: Name, name: &[u8]) -> bool {
        // Longer names have bytes between the first and the last eight.
        self.known_by == wanted && (name.len() <= 16 || self.name.eq_ignore_ascii_case(name))
    }

    fn subcommand(&self, name: &[u8]) -> Option<Command> {
        self.subcommands
            .iter()
            .find(|command| name.eq_ignore_ascii_case(command.spec.name.as_bytes()))
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_nothing_else_is() {
        let table = CommandTable::new();
        for command in table.top_level() {
            let name = table.name(command).as_bytes();
            assert_eq!(table.named(name), Some(command));
            assert_eq!(table.named(&name.to_ascii_uppercase()), Some(command));
            for at in 0..name.len() {
                let mut other = name.to_vec();
                for byte in 0..=255 {
                    other[at] = byte;
                    let known = table.named(&other).filter(|found| *found == command);
                    assert_eq!(known.is_some(), other.eq_ignore_ascii_case(name), "{other:?}");
                }
            }
        }
    }

    #[test]
    fn a_commands_first_key_is_known_by_its_name() {
        let table = CommandTable::new();
        let known = [("hget", 1), ("MSET", 1), ("EvalSha", 3), ("zunion", 0), ("ping", 0)];
        for (name, first) in known.into_iter().chain([("object", 0), ("nothing", 0)]) {
            assert_eq!(table.first_key(name.as_bytes()), first, "{name}");
        }
    }

    #[test]
    fn a_renamed_command_goes_by_its_new_name_alone() {
        let mut table = CommandTable::new();
        let get = table.named(b"get").expect("it is there");
        assert!(table.rename(b"GET", b"Fetch") && !table.rename(b"GET", b"again"));
        assert_eq!((table.named(b"get"), table.named(b"FETCH")), (None, Some(get)));
        assert!(table.rename(b"fetch", b"") && table.named(b"fetch").is_none());
    }
}
