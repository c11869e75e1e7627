//! Finding a command by its name: the families' tables made ready once a server.

use std::sync::Arc;

use hashbrown::HashMap;

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
    by_name: HashMap<Vec<u8>, Entry, foldhash::fast::FixedState>,
    /// `name` or `container|subcommand` in lower case, by number.
    names: Vec<Arc<str>>,
    all: Vec<Command>,
}

#[derive(Debug)]
struct Entry {
    command: Command,
    subcommands: Vec<Command>,
}

/// Longer names than any command has.
const LONGEST_NAME: usize = 64;

impl CommandTable {
    /// All families' commands.
    pub fn new() -> Self {
        let mut table =
            CommandTable { by_name: HashMap::default(), names: Vec::new(), all: Vec::new() };
        for spec in FAMILIES.iter().flat_map(|family| family.iter()) {
            let name = spec.name.to_ascii_lowercase();
            let command = table.add(spec, name.clone());
            let subcommands = spec
                .subcommands
                .iter()
                .map(|sub| table.add(sub, format!("{name}|{}", sub.name.to_ascii_lowercase())))
                .collect();
            table.by_name.insert(name.into_bytes(), Entry { command, subcommands });
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
        self.by_name
            .get(self.name(container).as_bytes())
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

    /// Gives a command another name; an empty one takes it away. False: there is no `name`.
    pub fn rename(&mut self, name: &[u8], to: &[u8]) -> bool {
        let Some(entry) = self.by_name.remove(name.to_ascii_lowercase().as_slice()) else {
            return false;
        };
        if !to.is_empty() {
            self.by_name.insert(to.to_ascii_lowercase(), entry);
        }
        true
    }

    #[inline]
    fn entry(&self, name: &[u8]) -> Option<&Entry> {
        let mut lower = [0; LONGEST_NAME];
        let lower = lower.get_mut(..name.len())?;
        for (to, from) in lower.iter_mut().zip(name) {
            *to = from.to_ascii_lowercase();
        }
        self.by_name.get(&*lower)
    }
}

impl Default for CommandTable {
    fn default() -> Self {
        CommandTable::new()
    }
}

impl Entry {
    fn subcommand(&self, name: &[u8]) -> Option<Command> {
        self.subcommands
            .iter()
            .find(|command| name.eq_ignore_ascii_case(command.spec.name.as_bytes()))
            .copied()
    }
}
