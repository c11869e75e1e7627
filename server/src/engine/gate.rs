//! The gate before the data: a lock, and a queue for those who have something else to do meanwhile.
//!
//! A thread that waits at a lock is put to sleep and woken, which costs more than a short turn. A task
//! that waits in the queue leaves its thread to others: they read and write while the gate is shut. Who
//! opens the gate wakes the first of the queue, which the runtime then polls on the same thread.

use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// What is behind it is changed by one at a time.
#[derive(Debug)]
pub(super) struct Gate<T> {
    state: Mutex<T>,
    queue: Arc<Queue>,
}

/// Those who have found the gate shut.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// How many: who opens the gate has nothing else to look at where there are none.
    places: AtomicUsize,
    bell: Arc<Notify>,
}

/// A task's place in the queue, if it has one.
#[derive(Debug, Default)]
pub struct QueuePlace {
    place: Option<Place>,
    /// The task has come to the gate since [`QueuePlace::leave_unless_used`].
    is_used: bool,
}

impl QueuePlace {
    /// Gives the place up if the task has not come to the gate since the last call of this: otherwise
    /// those behind it would wait for one who does not go in.
    #[inline]
    pub fn leave_unless_used(&mut self) {
        if !std::mem::take(&mut self.is_used) {
            self.place = None;
        }
    }
}

/// A place that somebody has. Who had been woken and drops it wakes the next (as `OwnedNotified` does).
#[derive(Debug)]
struct Place {
    queue: Arc<Queue>,
    woken: Pin<Box<OwnedNotified>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.places.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Queue {
    fn join(self: &Arc<Self>) -> Place {
        self.places.fetch_add(1, Ordering::Relaxed);
        // With the fence below: who opens the gate sees this place, or its owner the open gate.
        fence(Ordering::SeqCst);
        let woken = Box::pin(Arc::clone(&self.bell).notified_owned());
        Place { queue: Arc::clone(self), woken }
    }

    /// Has the first try again.
    #[inline]
    fn wake_next(&self) {
        fence(Ordering::SeqCst);
        if self.places.load(Ordering::Relaxed) > 0 {
            self.bell.notify_one();
        }
    }

    /// Has all try again, though the gate may be shut.
    pub(super) fn wake_all(&self) {
        self.bell.notify_waiters();
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
struct WakesNext<'g>(&'g Queue);

impl Drop for WakesNext<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.wake_next();
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
            let is_queued = match &mut place.place {
                Some(place) => place.woken.as_mut().poll(cx).is_pending(),
                None => false,
            };
            if !is_queued {
                place.place = None;
            }
            if let Some(state) = self.state.try_lock() {
                place.place = None;
                return Poll::Ready(self.shut(state));
            }
            if is_queued {
                return Poll::Pending;
            }
            // The gate may be opened before there is somebody to be woken, so it is tried once more.
            place.place = Some(self.queue.join());
        }
    }

    /// Those who wait in the queue.
    pub(super) fn queue(&self) -> &Arc<Queue> {
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
    use std::task::{Wake, Waker};
    use std::thread::{self, Thread};

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
        fn tries<'g>(&mut self, gate: &'g Gate<usize>) -> Option<Inside<'g, usize>> {
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
    fn three(gate: &Gate<usize>) -> [Comer; 3] {
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
        gate.queue().wake_all();
        let woken: usize = comers.iter().map(Comer::woken).sum();
        assert_eq!(woken, comers.len());
    }

    /// Wakes the thread that its task waits on.
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    /// Goes in, by way of the queue if the gate is shut.
    fn enter_by_queue<'g>(gate: &'g Gate<usize>, place: &mut QueuePlace) -> Inside<'g, usize> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            if let Poll::Ready(inside) = gate.poll_enter(place, &mut Context::from_waker(&waker)) {
                return inside;
            }
            thread::park();
        }
    }

    /// Some wait in the queue, some at the gate itself, some go away again: the last goes in too.
    #[test]
    fn nobody_is_forgotten() {
        const THREADS: usize = 6;
        const TIMES: usize = 2_000;
        let gate = Gate::new(0);
        thread::scope(|scope| {
            for number in 0..THREADS {
                let gate = &gate;
                scope.spawn(move || {
                    let mut place = QueuePlace::default();
                    for time in 0..TIMES {
                        if (number + time) % 3 == 0 {
                            let mut comer = Comer::default();
                            drop(comer.tries(gate));
                        }
                        let mut inside = match (number + time) % 5 {
                            0 => gate.enter(),
                            _ => enter_by_queue(gate, &mut place),
                        };
                        *inside += 1;
                        // Somebody else is to find it shut.
                        thread::yield_now();
                    }
                });
            }
        });
        assert_eq!(*gate.enter(), THREADS * TIMES);
    }
}
