//! Libraries of functions, beside their compiled code.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::KeptInterpreter;

/// What a script or a function declares of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScriptFlags(u8);

impl ScriptFlags {
    /// It writes nothing.
    pub const NO_WRITES: ScriptFlags = ScriptFlags(1);
    /// It may run, and take memory, where memory is over its limit.
    pub const ALLOW_OOM: ScriptFlags = ScriptFlags(2);
    /// It can work with stale data.
    pub const ALLOW_STALE: ScriptFlags = ScriptFlags(4);

    /// All flags, by their names and in Redis's order.
    const NAMES: [(&'static str, ScriptFlags); 5] = [
        ("no-writes", ScriptFlags::NO_WRITES),
        ("allow-oom", ScriptFlags::ALLOW_OOM),
        ("allow-stale", ScriptFlags::ALLOW_STALE),
        ("no-cluster", ScriptFlags(8)),
        ("allow-cross-slot-keys", ScriptFlags(16)),
    ];

    /// The flag of this name, in either case.
    pub fn named(name: &str) -> Option<ScriptFlags> {
        let mut all = ScriptFlags::NAMES.iter();
        all.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, flag)| *flag)
    }

    /// These and those.
    pub fn with(self, others: ScriptFlags) -> ScriptFlags {
        ScriptFlags(self.0 | others.0)
    }

    /// Whether all of those are among these.
    pub fn has(self, others: ScriptFlags) -> bool {
        self.0 & others.0 == others.0
    }

    /// The names of these.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = ScriptFlags::NAMES.iter();
        all.filter(move |(_, flag)| self.has(*flag)).map(|(name, _)| *name)
    }
}

/// A library: some functions that came in one piece of code.
#[derive(Debug, Clone)]
pub struct Library {
    /// Its name: letters, digits and underscores.
    pub name: String,
    /// The code with which it was loaded, its first line included.
    pub code: Arc<[u8]>,
    /// Its functions.
    pub functions: Vec<Function>,
}

/// A function of a library.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name as it was registered: it is found in either case.
    pub name: String,
    /// What it says of itself.
    pub description: Option<Vec<u8>>,
    /// What it declares.
    pub flags: ScriptFlags,
}

/// All libraries.
#[derive(Debug, Default)]
pub struct Functions {
    libraries: BTreeMap<String, Library>,
    /// The library of each function, by the function's name in lower case.
    owners: HashMap<String, String>,
    /// The interpreter with their compiled code.
    pub interpreter: KeptInterpreter,
}

impl Functions {
    /// All libraries, by their names.
    pub fn libraries(&self) -> impl ExactSizeIterator<Item = &Library> {
        self.libraries.values()
    }

    /// The code of all libraries.
    pub fn codes(&self) -> Vec<Arc<[u8]>> {
        self.libraries().map(|library| Arc::clone(&library.code)).collect()
    }

    /// Bytes of the libraries' code and of all names.
    pub fn bytes(&self) -> usize {
        let code: usize =
            self.libraries().map(|library| library.name.len() + library.code.len()).sum();
        code + self.owners.iter().map(|(name, owner)| name.len() + owner.len()).sum::<usize>()
    }

    /// How many functions there are in all libraries.
    pub fn count(&self) -> usize {
        self.owners.len()
    }

    /// Whether there is a library of this name.
    pub fn has_library(&self, name: &str) -> bool {
        self.libraries.contains_key(name)
    }

    /// The library that has a function of this name, in either case.
    pub fn owner(&self, function: &str) -> Option<&str> {
        self.owners.get(&function.to_ascii_lowercase()).map(String::as_str)
    }

    /// The function of this name, in either case.
    pub fn find(&self, name: &str) -> Option<&Function> {
        let library = self.libraries.get(self.owner(name)?)?;
        library.functions.iter().find(|function| function.name.eq_ignore_ascii_case(name))
    }

    /// Adds a library in place of one of its name. That no other has functions of these names has
    /// been seen to.
    pub fn put(&mut self, library: Library) {
        self.remove(&library.name);
        for function in &library.functions {
            self.owners.insert(function.name.to_ascii_lowercase(), library.name.clone());
        }
        self.libraries.insert(library.name.clone(), library);
    }

    /// Removes a library; None: there was none of this name.
    pub fn remove(&mut self, name: &str) -> Option<Library> {
        let library = self.libraries.remove(name)?;
        for function in &library.functions {
            self.owners.remove(&function.name.to_ascii_lowercase());
        }
        Some(library)
    }

    /// Forgets all, and their code.
    pub fn clear(&mut self) {
        *self = Functions::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(name: &str, functions: &[&str]) -> Library {
        let function = |name: &&str| Function {
            name: (*name).to_owned(),
            description: None,
            flags: ScriptFlags::default(),
        };
        Library {
            name: name.to_owned(),
            code: b"code".as_slice().into(),
            functions: functions.iter().map(function).collect(),
        }
    }

    #[test]
    fn a_function_is_found_in_either_case_until_its_library_goes() {
        let mut functions = Functions::default();
        functions.put(library("a", &["One", "two"]));
        functions.put(library("b", &["three"]));
        assert_eq!(functions.find("oNE").map(|found| found.name.as_str()), Some("One"));
        functions.put(library("a", &["four"]));
        assert!(functions.find("one").is_none() && functions.find("four").is_some());
        assert_eq!((functions.count(), functions.libraries().len()), (2, 2));
        assert!(functions.remove("a").is_some() && functions.remove("a").is_none());
        assert_eq!((functions.owner("THREE"), functions.count()), (Some("b"), 1));
    }

    #[test]
    fn flags_have_their_names_in_order() {
        let both = ScriptFlags::named("ALLOW-STALE").map(|flag| flag.with(ScriptFlags::NO_WRITES));
        let names: Vec<_> = both.expect("it is known").names().collect();
        assert_eq!(names, ["no-writes", "allow-stale"]);
        assert_eq!(ScriptFlags::named("nonsense"), None);
    }
}
