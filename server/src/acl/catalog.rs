//! The commands that rules may name, with the categories that they belong to.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// A command as rules see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `name` or `container|subcommand`, in lower case.
    pub name: String,
    /// A bit for each category, in the order of [`Catalog::categories`].
    pub categories: u32,
}

/// All commands that rules may name, by number; subcommands stand behind their container.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    entries: Vec<Entry>,
    /// Numbers by name.
    by_name: HashTable<usize>,
    /// The numbers of a container's subcommands, by its own.
    subcommands: HashMap<usize, Vec<usize>>,
    categories: Vec<&'static str>,
}

impl Catalog {
    /// A catalog of these commands, numbered as they come. A name that comes twice counts once.
    pub fn new(categories: Vec<&'static str>, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut catalog = Catalog { categories, ..Catalog::default() };
        for entry in entries {
            if catalog.number(&entry.name).is_none() {
                let Catalog { entries, by_name, .. } = &mut catalog;
                let id = entries.len();
                let hash_of = |id: &usize| entries.get(*id).map_or(0, |entry| hash(&entry.name));
                by_name.insert_unique(hash(&entry.name), id, hash_of);
                entries.push(entry);
            }
        }
        for (id, entry) in catalog.entries.iter().enumerate() {
            let container = entry.name.split_once('|').map(|(container, _)| container);
            if let Some(container) = container.and_then(|name| catalog.number(name)) {
                catalog.subcommands.entry(container).or_default().push(id);
            }
        }
        catalog
    }

    /// How many commands there are, subcommands included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The names of the categories.
    pub fn categories(&self) -> &[&'static str] {
        &self.categories
    }

    /// The command of this number.
    pub fn entry(&self, id: usize) -> &Entry {
        &self.entries[id]
    }

    /// The number of the command of this name, in any case.
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        self.number(&name)
    }

    /// The number of the command of this name in lower case.
    fn number(&self, name: &str) -> Option<usize> {
        self.by_name.find(hash(name), |id| self.entries[*id].name == name).copied()
    }

    /// The bit of a category, whose name may be in any case.
    pub fn category(&self, name: &[u8]) -> Option<u32> {
        let is = |known: &&str| known.as_bytes().eq_ignore_ascii_case(name);
        self.categories.iter().position(is).map(|at| 1 << at)
    }

    /// The commands that are no subcommands.
    pub fn top_level(&self) -> impl Iterator<Item = usize> {
        (0..self.entries.len()).filter(|id| !self.is_subcommand(*id))
    }

    /// Whether it is a container's subcommand.
    pub fn is_subcommand(&self, id: usize) -> bool {
        self.entries[id].name.contains('|')
    }

    /// A container's subcommands.
    pub fn subcommands(&self, id: usize) -> &[usize] {
        self.subcommands.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The command and its subcommands.
    pub fn family(&self, id: usize) -> impl Iterator<Item = usize> {
        std::iter::once(id).chain(self.subcommands(id).iter().copied())
    }

    /// The commands of a category (a single bit), subcommands included.
    pub fn of_category(&self, category: u32) -> impl Iterator<Item = usize> {
        let has = move |entry: &Entry| entry.categories & category != 0;
        self.entries.iter().enumerate().filter(move |(_, entry)| has(entry)).map(|(id, _)| id)
    }
}

/// Nobody but this program chooses the names, so that the hash needs no seed.
fn hash(name: &str) -> u64 {
    FixedState::default().hash_one(name)
}

/// A set of commands by their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandBits(Vec<u64>);

impl CommandBits {
    /// A set of all commands, or of none.
    pub fn all(catalog: &Catalog, value: bool) -> Self {
        let word = if value { u64::MAX } else { 0 };
        CommandBits(vec![word; catalog.len().div_ceil(64)])
    }

    /// Whether it holds this command.
    pub fn has(&self, id: usize) -> bool {
        self.0.get(id / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    /// Adds a command or takes it out.
    pub fn set(&mut self, id: usize, value: bool) {
        let bit = 1 << (id % 64);
        if let Some(word) = self.0.get_mut(id / 64) {
            *word = if value { *word | bit } else { *word & !bit };
        }
    }
}
