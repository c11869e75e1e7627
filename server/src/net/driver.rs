//! The driver: carries out what falls due when nobody asks for anything.
//!
//! It sleeps until the next deadline and is woken when an earlier one is set or the clock is
//! turned. Much that falls due at once is carried out in small parts, so that connections get
//! their turns in between.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::server::WHILE_BUSY;
use crate::clock::Millis;
use crate::commands::Action;
use crate::engine::Engine;
use crate::persistence::{self, Disk, Next, Saver};

/// How much is carried out in one turn while others come in between: some 20 microseconds' worth,
/// which is what a request that comes meanwhile has to wait.
const LEAST_AT_ONCE: usize = 16;

/// How much is carried out in one turn while nobody else comes.
const MOST_AT_ONCE: usize = 256;

/// How many objects are copied for replicas in one turn.
const COPIED_AT_ONCE: usize = 512;

/// The longest sleep: idle connections and statistics are looked after as often.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);

/// Runs until its task is dropped.
pub(super) async fn drive(
    engine: Arc<Engine>,
    disk: Arc<dyn Disk>,
    actions: UnboundedSender<Action>,
) {
    let mut saver = Saver::new(Arc::clone(&engine), Arc::clone(&disk));
    let mut pace = Pace::default();
    // Before the first look: a deadline that is set right behind it must find somebody to wake.
    poll_fn(|cx| {
        engine.drive(cx.waker());
        Poll::Ready(())
    })
    .await;
    loop {
        let next = settle(&engine, &mut saver, &mut pace).await;
        if let Some(action) = shut_down(&engine, &*disk) {
            // Nobody hears it only when the server has ended already.
            let _ = actions.send(action);
        }
        sleep_until(&engine, next).await;
    }
}

/// Carries out all that is due, and drives a save in the background on; returns when something is
/// next.
async fn settle(engine: &Engine, saver: &mut Saver, pace: &mut Pace) -> Option<Millis> {
    loop {
        match (settle_some(engine, pace), saver.step()) {
            (Settled::Busy, _) => tokio::time::sleep(WHILE_BUSY).await,
            (Settled::Part, _) | (_, Next::Again) => tokio::task::yield_now().await,
            (Settled::All(next), Next::Idle | Next::Later) => return next,
        }
    }
}

/// Whether the server is to end now, because a shutdown has waited for replicas for long enough.
fn shut_down(engine: &Engine, disk: &dyn Disk) -> Option<Action> {
    persistence::shut_down_if_due(&mut engine.turn_unless_busy()?, disk)
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

/// How large the parts are in which much is carried out.
#[derive(Debug, Default)]
struct Pace {
    part: usize,
    /// Commands that had been executed when the last part was carried out.
    commands: u64,
}

impl Pace {
    /// How much to carry out now that so many commands have been executed: more and more as long as
    /// nobody sends any.
    fn next(&mut self, commands: u64) -> usize {
        let before = if commands == self.commands { self.part } else { 0 };
        self.part = (before + LEAST_AT_ONCE).min(MOST_AT_ONCE);
        self.commands = commands;
        self.part
    }
}

fn settle_some(engine: &Engine, pace: &mut Pace) -> Settled {
    let Some(mut turn) = engine.turn_unless_busy() else { return Settled::Busy };
    turn.look_after();
    let part = pace.next(turn.server().stats.total_commands);
    if turn.settle(part) | turn.copy_some(COPIED_AT_ONCE) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_while_nobody_else_comes() {
        let mut pace = Pace::default();
        let parts = [7, 7, 7, 8, 8, 8, 8, 10, 11, 11].map(|commands| pace.next(commands));
        assert_eq!(parts, [16, 32, 48, 16, 32, 48, 64, 16, 16, 32]);
        assert_eq!((0..99).map(|_| pace.next(11)).max(), Some(MOST_AT_ONCE));
    }
}
