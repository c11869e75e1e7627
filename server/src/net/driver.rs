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
        if let Some(next) = settle_some(engine) {
            return next;
        }
        tokio::task::yield_now().await;
    }
}

/// Carries out a part; when nothing is left, says when something is next.
fn settle_some(engine: &Engine) -> Option<Option<Millis>> {
    let mut turn = engine.turn();
    turn.look_after();
    if turn.settle(AT_ONCE) {
        return None;
    }
    let next = turn.next_due();
    engine.driver_sleeps_until(next);
    Some(next)
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
