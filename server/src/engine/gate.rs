//! The gate before the data: a lock, and a queue for those who have something else to do meanwhile.
//!
//! A thread that waits at a lock is put to sleep and woken, which costs more than a short turn. A task
//! that waits in the queue leaves its thread to others: they read and write while the gate is shut. Who
//! opens the gate wakes the first of the queue, which the runtime then polls on the same thread.

use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// What is behind it is changed by one at a time.
#[derive(Debug)]
pub(super) struct Gate<T> {
    state: Mutex<T>,
    queue: Arc<Notify>,
}

/// A task's place in the queue, if it has one. Who gives it up after having been woken wakes the next.
#[derive(Debug, Default)]
pub struct QueuePlace {
    woken: Option<Pin<Box<OwnedNotified>>>,
    /// The task has come to the gate since [`QueuePlace::leave_unless_used`].
    is_used: bool,
}

impl QueuePlace {
    /// Gives the place up if the task has not come to the gate since the last call of this: otherwise
    /// those behind it would wait for one who does not go in.
    #[inline]
    pub fn leave_unless_used(&mut self) {
        if !std::mem::take(&mut self.is_used) {
            self.woken = None;
        }
    }
}

/// The gate is shut behind its holder. When this goes it is opened, then the first of the queue is
/// woken: the order of the fields.
#[derive(Debug)]
pub(super) struct Inside<'g, T> {
    state: MutexGuard<'g, T>,
    _next: WakesNext<'g>,
}

#[derive(Debug)]
struct WakesNext<'g>(&'g Notify);

impl Drop for WakesNext<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl<T> Gate<T> {
    pub(super) fn new(state: T) -> Self {
        Gate { state: Mutex::new(state), queue: Arc::default() }
    }

    /// Waits at the gate.
    pub(super) fn enter(&self) -> Inside<'_, T> {
        self.shut(self.state.lock())
    }

    /// Waits at the gate for so long.
    pub(super) fn enter_within(&self, patience: Duration) -> Option<Inside<'_, T>> {
        Some(self.shut(self.state.try_lock_for(patience)?))
    }

    /// Waits in the queue. Pending: the task is woken when it is its turn to try again.
    pub(super) fn poll_enter(
        &self,
        place: &mut QueuePlace,
        cx: &mut Context<'_>,
    ) -> Poll<Inside<'_, T>> {
        place.is_used = true;
        loop {
            // What woke it is taken note of first: a place that is given up unnoticed wakes the next.
            let is_queued = match &mut place.woken {
                Some(woken) => woken.as_mut().poll(cx).is_pending(),
                None => false,
            };
            if !is_queued {
                place.woken = None;
            }
            if let Some(state) = self.state.try_lock() {
                place.woken = None;
                return Poll::Ready(self.shut(state));
            }
            if is_queued {
                return Poll::Pending;
            }
            // The gate may be opened before there is somebody to be woken, so it is tried once more.
            place.woken = Some(Box::pin(Arc::clone(&self.queue).notified_owned()));
        }
    }

    /// What has those in the queue try again, though it may still be shut.
    pub(super) fn queue(&self) -> &Arc<Notify> {
        &self.queue
    }

    #[inline]
    fn shut<'g>(&'g self, state: MutexGuard<'g, T>) -> Inside<'g, T> {
        Inside { state, _next: WakesNext(&self.queue) }
    }
}

impl<T> Deref for Inside<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.state
    }
}

impl<T> DerefMut for Inside<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.state
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One who comes to a gate.
    #[derive(Default)]
    struct Comer {
        place: QueuePlace,
        bell: Arc<Bell>,
    }

    impl Comer {
        fn tries<'g>(&mut self, gate: &'g Gate<u32>) -> Option<Inside<'g, u32>> {
            let waker = Waker::from(Arc::clone(&self.bell));
            let entered = gate.poll_enter(&mut self.place, &mut Context::from_waker(&waker));
            self.place.leave_unless_used();
            match entered {
                Poll::Ready(inside) => Some(inside),
                Poll::Pending => None,
            }
        }

        fn woken(&self) -> usize {
            self.bell.0.swap(0, Ordering::Relaxed)
        }
    }

    /// Three who have found the gate shut that is open now.
    fn three(gate: &Gate<u32>) -> [Comer; 3] {
        let inside = gate.enter();
        let mut comers: [Comer; 3] = Default::default();
        for comer in &mut comers {
            assert!(comer.tries(gate).is_none() && comer.woken() == 0);
        }
        drop(inside);
        comers
    }

    #[test]
    fn one_is_woken_at_a_time_and_in_their_order() {
        let gate = Gate::new(0);
        // That it was opened while nobody waited is no reason to let somebody in later.
        drop(gate.enter());
        let mut comers = three(&gate);
        for at in 0..comers.len() {
            let woken: Vec<usize> = comers.iter().map(Comer::woken).collect();
            assert_eq!(woken.iter().position(|times| *times == 1), Some(at), "{woken:?}");
            assert_eq!(woken.iter().sum::<usize>(), 1);
            let mut inside = comers[at].tries(&gate).expect("it is open");
            *inside += 1;
            assert!(comers.iter().all(|comer| comer.woken() == 0), "it is shut");
        }
        assert_eq!(*gate.enter(), 3);
    }

    #[test]
    fn who_was_woken_and_does_not_go_in_lets_the_next_go() {
        let gate = Gate::new(0);
        let [mut first, second, third] = three(&gate);
        assert_eq!([first.woken(), second.woken(), third.woken()], [1, 0, 0]);
        first.place.leave_unless_used();
        assert_eq!([second.woken(), third.woken()], [1, 0]);
        drop(second);
        assert_eq!([first.woken(), third.woken()], [0, 1]);
    }

    #[test]
    fn who_comes_too_early_keeps_the_place_and_who_was_overtaken_is_woken_again() {
        let gate = Gate::new(0);
        let [mut first, mut second, third] = three(&gate);
        assert_eq!(first.woken(), 1);
        let inside = gate.enter();
        assert!(second.tries(&gate).is_none());
        assert!(first.tries(&gate).is_none(), "overtaken: it is behind the others now");
        drop(inside);
        assert_eq!([first.woken(), second.woken(), third.woken()], [0, 1, 0]);
        // Who finds it open by chance leaves nothing behind that would be woken in vain.
        drop(first.tries(&gate).expect("it is open"));
        drop(second.tries(&gate).expect("it is open"));
        assert_eq!([first.woken(), second.woken(), third.woken()], [0, 0, 1]);
    }

    #[test]
    fn all_are_woken_though_it_is_shut_when_they_are_to_hear_something() {
        let gate = Gate::new(0);
        let comers = three(&gate);
        gate.queue().notify_waiters();
        let woken: usize = comers.iter().map(Comer::woken).sum();
        assert_eq!(woken, comers.len());
    }

    /// Tasks of several threads, others that wait at the gate itself, and such that give their
    /// places up: the last goes in too.
    #[test]
    fn nobody_is_forgotten() {
        const TASKS: usize = 64;
        const TIMES: usize = 500;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(3)
            .build()
            .expect("a runtime starts");
        let gate = Arc::new(Gate::new(0));
        let tasks = (0..TASKS).map(|number| {
            let gate = Arc::clone(&gate);
            runtime.spawn(async move {
                let mut place = QueuePlace::default();
                for time in 0..TIMES {
                    if (number + time) % 7 == 0 {
                        // It comes, and goes away again if it is shut.
                        let mut place = QueuePlace::default();
                        poll_fn(|cx| Poll::Ready(gate.poll_enter(&mut place, cx).is_ready())).await;
                        tokio::task::yield_now().await;
                    }
                    if (number + time) % 11 == 0 {
                        *gate.enter() += 1;
                    } else {
                        let mut inside = poll_fn(|cx| gate.poll_enter(&mut place, cx)).await;
                        *inside += 1;
                    }
                }
            })
        });
        let tasks: Vec<_> = tasks.collect();
        runtime.block_on(async {
            for task in tasks {
                task.await.expect("no task panics");
            }
        });
        assert_eq!(*gate.enter() as usize, TASKS * TIMES);
    }
}
