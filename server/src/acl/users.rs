//! All users of a server.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::catalog::Catalog;
use super::log::DenialLog;
use super::user::{RuleError, User};

/// The name of the user that everybody is who has not said otherwise.
pub const DEFAULT: &[u8] = b"default";

/// All users of a server, and who was refused what.
#[derive(Debug)]
pub struct Users {
    catalog: Catalog,
    by_name: BTreeMap<Arc<[u8]>, Arc<User>>,
    /// How often anything has changed; begins with 1.
    version: u64,
    /// Who was refused what.
    pub log: DenialLog,
}

impl Users {
    /// The default user alone, who may do everything.
    pub fn new(catalog: Catalog) -> Self {
        let mut users =
            Users { catalog, by_name: BTreeMap::new(), version: 1, log: DenialLog::default() };
        users.put(users.almighty());
        users
    }

    /// The default user as it is where nothing is said of it.
    fn almighty(&self) -> User {
        let mut user = User::new(DEFAULT.into(), &self.catalog, true);
        for rule in ["on", "nopass", "~*", "+@all"] {
            // These rules apply to every user.
            let _ = user.apply(rule.as_bytes(), &self.catalog, true);
        }
        user
    }

    /// The commands that rules may name.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// How often anything has changed. Who was allowed everything at a version need not be looked
    /// at again while it is the same.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The user of this name.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    /// All users by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<User>> {
        self.by_name.values()
    }

    /// Whether connections need not authenticate: the default user is on and takes any password.
    pub fn is_open(&self) -> bool {
        self.get(DEFAULT).is_some_and(|user| user.is_on() && user.takes_any_password())
    }

    /// The user of this name, or a new one who may use `all_channels`.
    pub fn get_or_new(&self, name: &[u8], all_channels: bool) -> User {
        match self.get(name) {
            Some(user) => User::clone(user),
            None => User::new(name.into(), &self.catalog, all_channels),
        }
    }

    /// Puts a user in place of the one of its name.
    pub fn put(&mut self, user: User) {
        self.version += 1;
        self.by_name.insert(Arc::clone(user.name()), Arc::new(user));
    }

    /// Removes a user; false if there is none.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        self.version += 1;
        self.by_name.remove(name).is_some()
    }

    /// Puts these users in place of all. The default user is always there.
    pub fn replace(&mut self, users: Vec<User>) {
        self.version += 1;
        self.by_name =
            users.into_iter().map(|user| (Arc::clone(user.name()), user.into())).collect();
        if self.get(DEFAULT).is_none() {
            self.put(self.almighty());
        }
    }

    /// The default user's only password; an empty one lets everybody in.
    pub fn set_default_password(&mut self, password: &str) {
        let mut user = self.get_or_new(DEFAULT, false);
        let rule = if password.is_empty() { "nopass".to_owned() } else { format!(">{password}") };
        for rule in ["resetpass", &rule] {
            // These rules apply to every user.
            let _ = user.apply(rule.as_bytes(), &self.catalog, false);
        }
        self.put(user);
    }

    /// Makes a user of a `user` line's words: the name, then rules.
    ///
    /// # Errors
    ///
    /// The rule that does not apply, and why.
    pub fn define(
        &mut self,
        name: &[u8],
        rules: &[Vec<u8>],
        all_channels: bool,
    ) -> Result<(), (Vec<u8>, RuleError)> {
        let mut user = self.get_or_new(name, all_channels);
        let reset: &[&[u8]] = if name == DEFAULT { &[b"reset"] } else { &[] };
        for rule in reset.iter().copied().chain(rules.iter().map(Vec::as_slice)) {
            user.apply(rule, &self.catalog, all_channels).map_err(|why| (rule.to_vec(), why))?;
        }
        self.put(user);
        Ok(())
    }

    /// A line for each user, as files have them.
    pub fn lines(&self) -> Vec<Vec<u8>> {
        self.all().map(|user| user.describe(&self.catalog)).collect()
    }
}

/// Whether a name can be a user's.
pub fn is_user_name(name: &[u8]) -> bool {
    !name.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b))
}
