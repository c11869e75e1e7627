//! LOLWUT: a picture, and the version behind it.

use super::args::{int, is};
use super::info::REDIS_VERSION;
use super::{Ctx, Done, Outcome, Spec};
use crate::resp::Args;

pub(super) const COMMANDS: &[Spec] = &[Spec::new("LOLWUT", -1, lolwut)
    .read()
    .fast()
    .since("5.0.0")
    .doc("[VERSION version]", "Shows a picture, and the version of Redis that is answered for.")];

/// What hangs in a cloakroom.
const PICTURE: &str = "\
   ___________________________________________\n\
  |  o       o       o       o       o       o |\n\
  | _|_     _|_     _|_     _|_     _|_        |\n\
  |/   \\   /   \\   /   \\   /   \\   /   \\    7   |\n\
  || 1 |   | 2 |   | 3 |   | 5 |   | 6 |       |\n\
  ||___|   |___|   |___|   |___|   |___|       |\n\
  |____________________________________________|\n\
\n";

fn lolwut(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if args.len() >= 3 && is(&args[1], "VERSION") {
        // There is one picture, whichever version is asked for.
        int(args, 2)?;
    }
    ctx.reply.verbatim(format!("{PICTURE}Redis ver. {REDIS_VERSION}\n"));
    Ok(Outcome::Unchanged)
}
