//! SLOWLOG: requests that took long.

use super::{Command, Ctx, Spec};
use crate::clock::Micros;
use crate::resp::Args;

pub(super) const COMMANDS: &[Spec] = &[];

/// Notes a request that took at least `slowlog-log-slower-than`.
#[inline]
pub fn note(ctx: &mut Ctx<'_>, command: Command, args: Args<'_>, took: Micros) {
    let _ = (ctx, command, args, took);
}
