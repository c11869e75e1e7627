//! A selector: one set of commands, key patterns and channel patterns. A request must be allowed
//! as a whole by one of its user's selectors.

use std::collections::BTreeMap;

use super::catalog::{Catalog, CommandBits};
use super::user::RuleError;
use crate::store::glob;

/// What is done to a key, or may be done to keys of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Access {
    /// Its data is returned or copied.
    pub reads: bool,
    /// Its data is changed, added to or deleted.
    pub writes: bool,
}

impl Access {
    /// Both.
    pub const ALL: Access = Access { reads: true, writes: true };

    fn covers(self, other: Access) -> bool {
        (self.reads || !other.reads) && (self.writes || !other.writes)
    }
}

/// A pattern of keys and what may be done to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPattern {
    /// The glob.
    pub pattern: Box<[u8]>,
    /// What it allows.
    pub access: Access,
}

/// What a request asks for.
#[derive(Debug, Clone, Default)]
pub struct Asked<'a> {
    /// The number of its command.
    pub command: usize,
    /// Everybody may execute it (AUTH, HELLO, QUIT, RESET).
    pub is_free: bool,
    /// The argument behind the command's name.
    pub first_arg: Option<&'a [u8]>,
    /// Its keys.
    pub keys: Vec<(&'a [u8], Access)>,
    /// Its channels.
    pub channels: Vec<&'a [u8]>,
    /// The channels are patterns: they must be allowed literally.
    pub are_patterns: bool,
}

/// Why a request is refused. Of several reasons the last in this order is told, as Redis does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    /// The command.
    Command,
    /// The key of this place among [`Asked::keys`].
    Key(usize),
    /// The channel of this place among [`Asked::channels`].
    Channel(usize),
}

/// One set of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    commands: CommandBits,
    /// All commands, future ones too: nothing was taken away since `+@all`.
    all_commands: bool,
    /// `+@all` stands at the beginning: what was taken away since is told as exceptions.
    begins_with_all: bool,
    /// First arguments with which a command that is not allowed otherwise is, by its number.
    first_args: BTreeMap<usize, Vec<Box<[u8]>>>,
    all_keys: bool,
    keys: Vec<KeyPattern>,
    all_channels: bool,
    channels: Vec<Box<[u8]>>,
}

impl Selector {
    /// A selector that allows nothing; with `all_channels`, all channels.
    pub fn new(catalog: &Catalog, all_channels: bool) -> Self {
        Selector {
            commands: CommandBits::all(catalog, false),
            all_commands: false,
            begins_with_all: false,
            first_args: BTreeMap::new(),
            all_keys: false,
            keys: Vec::new(),
            all_channels,
            channels: Vec::new(),
        }
    }

    /// Whether it allows everything.
    pub fn is_unrestricted(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels
    }

    /// Whether all channels are allowed.
    pub fn allows_all_channels(&self) -> bool {
        self.all_channels
    }

    /// The patterns of channels that are allowed, unless all are.
    pub fn channel_patterns(&self) -> impl Iterator<Item = &[u8]> {
        self.channels.iter().map(|pattern| &**pattern)
    }

    /// Whether a request is allowed as a whole.
    ///
    /// # Errors
    ///
    /// What of it is not allowed.
    pub fn check(&self, asked: &Asked<'_>) -> Result<(), Denied> {
        if !asked.is_free && !self.allows_command(asked) {
            return Err(Denied::Command);
        }
        if !self.all_keys
            && let Some(at) =
                asked.keys.iter().position(|(key, access)| !self.allows_key(key, *access))
        {
            return Err(Denied::Key(at));
        }
        let allows = |channel: &[u8]| self.allows_channel(channel, asked.are_patterns);
        match asked.channels.iter().position(|channel| !allows(channel)) {
            Some(at) => Err(Denied::Channel(at)),
            None => Ok(()),
        }
    }

    fn allows_command(&self, asked: &Asked<'_>) -> bool {
        self.all_commands
            || self.commands.has(asked.command)
            || self.first_args.get(&asked.command).is_some_and(|allowed| {
                let is = |arg: &[u8]| allowed.iter().any(|known| known.eq_ignore_ascii_case(arg));
                asked.first_arg.is_some_and(is)
            })
    }

    fn allows_key(&self, key: &[u8], access: Access) -> bool {
        self.keys
            .iter()
            .any(|known| known.access.covers(access) && glob::matches(&known.pattern, key, false))
    }

    /// Whether a channel may be used; a pattern only if it is allowed literally.
    pub fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all_channels
            || self.channels.iter().any(|known| match is_pattern {
                true => **known == *channel,
                false => glob::matches(known, channel, false),
            })
    }

    /// Applies one rule.
    ///
    /// # Errors
    ///
    /// Why it is no rule, or none that makes sense here. Nothing has changed then.
    pub fn apply(&mut self, rule: &[u8], catalog: &Catalog) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => (self.all_keys, self.keys) = (true, Vec::new()),
            b"resetkeys" => (self.all_keys, self.keys) = (false, Vec::new()),
            b"allchannels" | b"&*" => (self.all_channels, self.channels) = (true, Vec::new()),
            b"resetchannels" => (self.all_channels, self.channels) = (false, Vec::new()),
            b"allcommands" | b"+@all" => self.set_all_commands(catalog, true),
            b"nocommands" | b"-@all" => self.set_all_commands(catalog, false),
            [b'~', ..] | [b'%', _, ..] => self.add_keys(rule)?,
            [b'&', ..] => self.add_channel(&rule[1..])?,
            [b'+', b'@', ..] => self.set_category(&rule[2..], true, catalog)?,
            [b'-', b'@', ..] => self.set_category(&rule[2..], false, catalog)?,
            [b'+', ..] => self.allow(&rule[1..], catalog)?,
            [b'-', ..] => {
                let id = catalog.find(&rule[1..]).ok_or(RuleError::Unknown)?;
                self.set_family(id, false, catalog);
            }
            _ => return Err(RuleError::Syntax),
        }
        Ok(())
    }

    fn set_all_commands(&mut self, catalog: &Catalog, value: bool) {
        self.commands = CommandBits::all(catalog, value);
        (self.all_commands, self.begins_with_all) = (value, value);
        self.first_args.clear();
    }

    /// `~pattern`, or `%RW~pattern` with what may be done.
    fn add_keys(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AfterAllKeys);
        }
        let (access, pattern) = match rule {
            [b'%', rest @ ..] => split_access(rest)?,
            _ => (Access::ALL, &rule[1..]),
        };
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|known| *known.pattern == *pattern) {
            Some(known) => {
                known.access.reads |= access.reads;
                known.access.writes |= access.writes;
            }
            None => self.keys.push(KeyPattern { pattern: pattern.into(), access }),
        }
        Ok(())
    }

    fn add_channel(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AfterAllChannels);
        }
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|known| **known == *pattern) {
            self.channels.push(pattern.into());
        }
        Ok(())
    }

    fn set_category(
        &mut self,
        name: &[u8],
        value: bool,
        catalog: &Catalog,
    ) -> Result<(), RuleError> {
        let category = catalog.category(name).ok_or(RuleError::Unknown)?;
        for id in catalog.of_category(category) {
            self.set_family(id, value, catalog);
        }
        Ok(())
    }

    /// `+command`, `+container|subcommand`, or `+command|first-argument`.
    fn allow(&mut self, name: &[u8], catalog: &Catalog) -> Result<(), RuleError> {
        let Some(bar) = name.iter().rposition(|byte| *byte == b'|') else {
            let id = catalog.find(name).ok_or(RuleError::Unknown)?;
            self.set_family(id, true, catalog);
            return Ok(());
        };
        let (command, sub) = (&name[..bar], &name[bar + 1..]);
        let id = catalog.find(command).ok_or(RuleError::Unknown)?;
        if catalog.is_subcommand(id) {
            return Err(RuleError::FirstArgOfSubcommand);
        }
        if sub.is_empty() {
            return Err(RuleError::Syntax);
        }
        if catalog.subcommands(id).is_empty() {
            let allowed = self.first_args.entry(id).or_default();
            if !allowed.iter().any(|known| known.eq_ignore_ascii_case(sub)) {
                allowed.push(sub.into());
            }
        } else {
            let id = catalog.find(name).ok_or(RuleError::Unknown)?;
            self.set_family(id, true, catalog);
        }
        Ok(())
    }

    fn set_family(&mut self, id: usize, value: bool, catalog: &Catalog) {
        for id in catalog.family(id) {
            self.commands.set(id, value);
            self.first_args.remove(&id);
            self.all_commands &= value;
        }
    }

    /// Its patterns of keys as rules.
    pub fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let rules = self.keys.iter().map(|known| {
            let sign: &[u8] = match (known.access.reads, known.access.writes) {
                (true, false) => b"%R~",
                (false, true) => b"%W~",
                _ => b"~",
            };
            [sign, &*known.pattern].concat()
        });
        rules.collect::<Vec<_>>().join(&b' ')
    }

    /// Its patterns of channels as rules.
    pub fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let rules = self.channels.iter().map(|pattern| [b"&", &**pattern].concat());
        rules.collect::<Vec<_>>().join(&b' ')
    }

    /// All of it as rules that make an equal selector.
    pub fn describe(&self, catalog: &Catalog) -> Vec<u8> {
        let keys = self.describe_keys();
        let mut channels = self.describe_channels();
        if !self.all_channels {
            let blank: &[u8] = if channels.is_empty() { b"" } else { b" " };
            channels = [b"resetchannels", blank, &channels].concat();
        }
        let commands = self.describe_commands(catalog);
        let parts = [keys, channels, commands];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(&b' ')
    }

    /// Its commands as rules: from all or nothing the categories that fit best, then what is left
    /// one by one. Rules are not kept as they were written; as in Redis 7.0 they are found again.
    pub fn describe_commands(&self, catalog: &Catalog) -> Vec<u8> {
        let adds = !self.begins_with_all;
        let mut told = Selector::new(catalog, false);
        told.set_all_commands(catalog, !adds);
        let mut rules: Vec<Vec<u8>> =
            vec![if adds { b"-@all".to_vec() } else { b"+@all".to_vec() }];
        // What is not told yet.
        let mut left = self.clone();
        let mut applied = 0;
        while let Some(best) = left.best_category(catalog, adds, applied) {
            let name = catalog.categories()[best].as_bytes();
            applied |= 1 << best;
            for id in catalog.of_category(1 << best) {
                told.set_family(id, adds, catalog);
                left.set_family(id, !adds, catalog);
            }
            rules.push([if adds { b"+@" } else { b"-@" }, name].concat());
        }
        for id in catalog.top_level() {
            self.describe_command(id, catalog, &mut told, &mut rules);
            for sub in catalog.subcommands(id) {
                self.describe_command(*sub, catalog, &mut told, &mut rules);
            }
        }
        rules.join(&b' ')
    }

    fn describe_command(
        &self,
        id: usize,
        catalog: &Catalog,
        told: &mut Selector,
        rules: &mut Vec<Vec<u8>>,
    ) {
        let name = catalog.entry(id).name.as_bytes();
        let allowed = self.commands.has(id);
        if allowed != told.commands.has(id) {
            rules.push([if allowed { b"+" } else { b"-" }, name].concat());
            told.set_family(id, allowed, catalog);
        }
        if !allowed {
            let args = self.first_args.get(&id).into_iter().flatten();
            rules.extend(args.map(|arg| [b"+", name, b"|", &**arg].concat()));
        }
    }

    /// The category that tells most of what is left with fewest exceptions: one that has more in
    /// common with this selector than not.
    fn best_category(&self, catalog: &Catalog, adds: bool, applied: u32) -> Option<usize> {
        let mut best = None;
        for at in (0..catalog.categories().len()).filter(|at| applied >> at & 1 == 0) {
            let (mut on, mut off) = (0, 0);
            for id in catalog.of_category(1 << at) {
                *if self.commands.has(id) { &mut on } else { &mut off } += 1;
            }
            let (same, differs) = if adds { (on, off) } else { (off, on) };
            let is_better = match best {
                None => true,
                Some((_, least, most)) => differs < least || (differs == least && same > most),
            };
            if same > differs && is_better {
                best = Some((at, differs, same));
            }
        }
        best.map(|(at, ..)| at)
    }
}

/// `R`, `W` or both, each once, in any case, up to the `~`; then the pattern. Without a `~` the
/// pattern is empty, as in Redis.
fn split_access(rest: &[u8]) -> Result<(Access, &[u8]), RuleError> {
    let mut access = Access::default();
    for (at, byte) in rest.iter().enumerate() {
        match byte.to_ascii_uppercase() {
            b'R' if !access.reads => access.reads = true,
            b'W' if !access.writes => access.writes = true,
            b'~' if access != Access::default() => return Ok((access, &rest[at + 1..])),
            _ => return Err(RuleError::Syntax),
        }
    }
    Ok((access, b""))
}

/// Whether a pattern cannot stand in a list of words.
fn has_blanks(pattern: &[u8]) -> bool {
    pattern.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b))
}
