//! The driver: carries out what falls due when nobody asks for anything.
//!
//! It sleeps until the next deadline and is woken when an earlier one is set or the clock is
//! turned. Much that falls due at once is carried out in small parts, so that connections get
//! their turns in between.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::clock::Millis;
use crate::engine::Engine;

/// How much is carried out in one turn.
const AT_ONCE: usize = 128;

/// The longest sleep: idle connections and statistics are looked after as often.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);

/// How long the driver waits for a slow script before it looks again.
const WHILE_BUSY: Duration = Duration::from_millis(10);

/// Runs until its task is dropped.
pub(super) async fn drive(engine: Arc<Engine>) {
    loop {
        let next = settle(&engine).await;
        sleep_until(&engine, next).await;
    }
}

/// Carries out all that is due; returns when something is next.
async fn settle(engine: &Engine) -> Option<Millis> {
    loop {
        match settle_some(engine) {
            Settled::All(next) => return next,
            Settled::Part => tokio::task::yield_now().await,
            Settled::Busy => tokio::time::sleep(WHILE_BUSY).await,
        }
    }
}

/// How far a turn has come.
enum Settled {
    /// Nothing is left; something is next at this time.
    All(Option<Millis>),
    /// More is due.
    Part,
    /// A script holds the gate for longer than its time.
    Busy,
}

fn settle_some(engine: &Engine) -> Settled {
    let Some(mut turn) = engine.turn_unless_busy() else { return Settled::Busy };
    turn.look_after();
    if turn.settle(AT_ONCE) {
        return Settled::Part;
    }
    let next = turn.next_due();
    engine.driver_sleeps_until(next);
    Settled::All(next)
}

async fn sleep_until(engine: &Engine, next: Option<Millis>) {
    let clock = engine.clock();
    let sleep = match next {
        // A clock that stands still reaches no deadline by waiting.
        Some(at) if !clock.is_frozen() => {
            Duration::from_micros(at.saturating_mul(1000).saturating_sub(clock.now_micros()))
                .min(LONGEST_SLEEP)
        }
        _ => LONGEST_SLEEP,
    };
    let mut woken = false;
    let waken = poll_fn(|cx| {
        engine.drive(cx.waker());
        if std::mem::replace(&mut woken, true) { Poll::Ready(()) } else { Poll::Pending }
    });
    tokio::select! {
        () = waken => {}
        () = tokio::time::sleep(sleep) => {}
    }
}
