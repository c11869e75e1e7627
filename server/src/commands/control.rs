//! CLOAKROOM: the clock at a test's command, for servers started with `--test-control yes`.

use std::time::Duration;

use super::spec::{Categories, Flags};
use super::{Action, CommandError, Ctx, Done, Outcome, Spec, expiry};
use crate::resp::Args;

const fn sub(name: &'static str, arity: i32, handler: super::spec::Handler) -> Spec {
    Spec::new(name, arity, handler)
        .admin()
        .always()
        .flags(Flags::NO_SCRIPT.with(Flags::NO_MULTI))
        .since("7.0.0")
}

pub(super) const COMMANDS: &[Spec] = &[Spec::container(
    "CLOAKROOM",
    &[
        sub("ADVANCE", 3, advance)
            .doc("duration", "Turns the clock on; all that falls due happens before the reply."),
        sub("FREEZE", 2, freeze).doc("", "Makes the time stand still."),
        sub("RESUME", 2, resume).doc("", "Lets the time run on from where it stands."),
        sub("CLOCK", 2, clock).doc("", "Returns the time in milliseconds, and whether it runs."),
        sub("HELP", 2, help).doc("", "Returns helpful text about the subcommands."),
    ],
)
.of(Categories::ADMIN)
.doc("subcommand", "Controls the server for tests.")];

fn allowed(ctx: &Ctx<'_>) -> Result<(), CommandError> {
    if ctx.server.config.test_control { Ok(()) } else { Err(CommandError::NO_TEST_CONTROL) }
}

fn advance(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    allowed(ctx)?;
    let by = duration(&args[2]).ok_or_else(|| {
        CommandError::new("ERR invalid duration, write for instance 1500ms, 11s, 30m, 2h or 1d")
    })?;
    ctx.clock.advance(by);
    ctx.now = ctx.clock.now();
    ctx.data.now = ctx.now;
    expiry::settle_all(ctx);
    ctx.reply.ok();
    Ok(Outcome::Then(Action::ClockTurned))
}

fn freeze(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    allowed(ctx)?;
    ctx.clock.freeze();
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

fn resume(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    allowed(ctx)?;
    ctx.clock.resume();
    ctx.reply.ok();
    Ok(Outcome::Then(Action::ClockTurned))
}

fn clock(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    allowed(ctx)?;
    ctx.reply.map(2);
    ctx.reply.text("now-ms");
    ctx.reply.int(ctx.clock.now() as i64);
    ctx.reply.text("state");
    ctx.reply.text(if ctx.clock.is_frozen() { "frozen" } else { "running" });
    Ok(Outcome::Unchanged)
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    allowed(ctx)?;
    super::help(
        ctx,
        &[
            "ADVANCE <duration>",
            "    Turn the clock on by <duration> (1500ms, 11s, 30m, 2h, 1d). When the reply comes,",
            "    keys and fields that fell due are gone and their events are sent.",
            "FREEZE",
            "    Make the time stand still; it then moves by ADVANCE alone.",
            "RESUME",
            "    Let the time run on from where it stands.",
            "CLOCK",
            "    Return the server's time and whether it runs.",
        ],
    )
}

/// A number with its unit: `ms`, `s`, `m`, `h` or `d`; seconds without one.
fn duration(text: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let millis = match &text[digits..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    // A hundred thousand years are enough for any test, and far from overflowing.
    let most = 100_000 * 366 * 86_400_000;
    number.checked_mul(millis).filter(|total| *total <= most).map(Duration::from_millis)
}
