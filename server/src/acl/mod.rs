//! Rights: users, their passwords, and the rules that say which commands, keys and channels are
//! theirs. Nothing here knows a connection: what a request asks for is handed in.

mod catalog;
mod file;
mod log;
#[cfg(test)]
mod model;
mod selector;
mod user;
mod users;

pub use catalog::{Catalog, CommandBits, Entry};
pub use file::{Faults, read_users};
pub use log::{Context, Denial, DenialLog, Reason};
pub use selector::{Access, Asked, Denied, KeyPattern, Selector};
pub use user::{Digest, RuleError, User, join_selectors};
pub use users::{DEFAULT, Users, is_user_name};
