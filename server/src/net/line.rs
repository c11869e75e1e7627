//! Connections are served in the order in which they became ready, as Redis serves them.
//!
//! The runtime polls what became ready last first, and the rest in order. So each connection that is
//! woken is given a number, and who is polled while others with lower numbers have still to be goes
//! behind them, once. Several threads know no such order: there, nobody stands in line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};

/// The line that all connections of a server stand in.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// The last number that was given.
    given: AtomicU64,
    /// The highest number whose turn has come.
    called: AtomicU64,
    /// Connections that have read and have not executed that yet.
    in_crowd: AtomicU64,
}

/// What is rung when a connection is ready.
#[derive(Debug)]
struct Bell {
    line: Arc<Line>,
    /// The connection's number; 0 = nobody has rung since it was polled.
    number: AtomicU64,
    task: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Two who ring at once may take two numbers: the one that is lost makes somebody give way in
        // vain.
        if self.number.load(Ordering::Relaxed) == 0 {
            let number = self.line.given.fetch_add(1, Ordering::Relaxed) + 1;
            self.number.store(number, Ordering::Relaxed);
        }
        self.task.wake_by_ref();
    }
}

/// A connection's place in a line, if there is one.
#[derive(Debug)]
pub(super) struct Place {
    line: Option<Arc<Line>>,
    bell: Option<Arc<Bell>>,
    /// Its number while it gives way to others; 0 = it does not.
    number: u64,
    stage: Stage,
}

/// What of its work a connection does together with those who are ready at the same time: all read,
/// then all execute, then all send. Each is polled for it again, behind the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It reads, executes and sends by itself.
    Alone,
    HasRead,
    /// All have read, and it is polled.
    Executes,
    HasExecuted,
}

impl Place {
    /// A place in `line`; None: nobody stands in line.
    pub(super) fn new(line: Option<Arc<Line>>) -> Self {
        Place { line, bell: None, number: 0, stage: Stage::Alone }
    }

    /// Whether `known`, a waker that [`Place::waker`] made, wakes this task.
    #[inline]
    pub(super) fn wakes(&self, known: &Waker, task: &Waker) -> bool {
        self.bell.as_ref().map_or(known, |bell| &bell.task).will_wake(task)
    }

    /// What wakes this task and gives it a number.
    pub(super) fn waker(&mut self, task: &Waker) -> Waker {
        let Some(line) = &self.line else { return task.clone() };
        let (line, task) = (Arc::clone(line), task.clone());
        let bell = Arc::new(Bell { line, number: AtomicU64::new(0), task });
        self.bell = Some(Arc::clone(&bell));
        bell.into()
    }

    /// Whether it is the connection's turn, now that it is polled. False: it has been put behind
    /// those who were ready before.
    #[inline]
    pub(super) fn is_next(&mut self, cx: &Context<'_>) -> bool {
        let Some(bell) = &self.bell else { return true };
        // Mostly nobody has rung: it is polled again for the next stage.
        let came = match bell.number.load(Ordering::Relaxed) {
            0 => 0,
            _ => bell.number.swap(0, Ordering::Relaxed),
        };
        let called = bell.line.called.load(Ordering::Relaxed);
        let number = match std::mem::take(&mut self.number) {
            0 if came > called + 1 => {
                self.number = came;
                cx.waker().wake_by_ref();
                return false;
            }
            0 => came,
            given_way_with => given_way_with,
        };
        bell.line.called.store(called.max(number), Ordering::Relaxed);
        true
    }

    /// Whether others have read and not executed that: what is read now is executed after it.
    #[inline]
    pub(super) fn is_behind_crowd(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.in_crowd.load(Ordering::Relaxed) > 0)
    }

    /// It has read, and waits for others to be read.
    pub(super) fn join_crowd(&mut self, cx: &Context<'_>) {
        self.stage = Stage::HasRead;
        if let Some(line) = &self.line {
            line.in_crowd.fetch_add(1, Ordering::Relaxed);
        }
        self.poll_again(cx);
    }

    /// It has executed what it read with others, and waits for theirs to be executed.
    pub(super) fn reply_with_crowd(&mut self, cx: &Context<'_>) {
        self.stage = Stage::HasExecuted;
        self.poll_again(cx);
    }

    /// Behind those who are ready to be polled. Unlike yielding it does not have the runtime ask who
    /// else has become ready; and it keeps its place, since no bell is rung.
    fn poll_again(&self, cx: &Context<'_>) {
        self.bell.as_ref().map_or(cx.waker(), |bell| &bell.task).wake_by_ref();
    }

    /// It is polled, and those whom it has waited for have been.
    pub(super) fn go_on(&mut self) {
        self.stage = match self.stage {
            Stage::HasRead => {
                if let Some(line) = &self.line {
                    line.in_crowd.fetch_sub(1, Ordering::Relaxed);
                }
                Stage::Executes
            }
            Stage::Alone | Stage::Executes | Stage::HasExecuted => Stage::Alone,
        }
    }

    /// Whether it waits for others.
    pub(super) fn waits(&self) -> bool {
        matches!(self.stage, Stage::HasRead | Stage::HasExecuted)
    }

    /// Whether it has read with others, and executes now.
    pub(super) fn is_in_crowd(&self) -> bool {
        self.stage == Stage::Executes
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Nobody waits for who is gone.
        self.go_on();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task that counts how often it is woken.
    #[derive(Default)]
    struct Task(AtomicU64);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A connection with its waker, its task's and how often that was woken.
    struct Standing {
        place: Place,
        waker: Waker,
        task: Waker,
        woken: Arc<Task>,
    }

    fn stand_in(line: Option<&Arc<Line>>) -> Standing {
        let woken = Arc::new(Task::default());
        let task = Waker::from(Arc::clone(&woken));
        let mut place = Place::new(line.cloned());
        let waker = place.waker(&task);
        Standing { place, waker, task, woken }
    }

    fn ring<const N: usize>(standing: [&Standing; N]) {
        standing.into_iter().for_each(|each| each.waker.wake_by_ref());
    }

    impl Standing {
        fn is_next(&mut self) -> bool {
            self.place.is_next(&Context::from_waker(&self.task))
        }

        fn woken(&self) -> u64 {
            self.woken.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn who_became_ready_last_gives_way_once() {
        let line = Arc::new(Line::default());
        let [mut first, mut second, mut last] = [0; 3].map(|_| stand_in(Some(&line)));
        for _ in 0..3 {
            ring([&first, &second, &last]);
            let before = last.woken();
            assert!(!last.is_next());
            assert_eq!(last.woken(), before + 1, "it is polled again");
            assert!(first.is_next() && second.is_next() && last.is_next());
        }
    }

    #[test]
    fn nobody_waits_for_who_is_gone_or_was_woken_twice() {
        let line = Arc::new(Line::default());
        let [first, mut second, mut last] = [0; 3].map(|_| stand_in(Some(&line)));
        ring([&first, &second, &second, &last]);
        drop(first);
        assert!(!second.is_next() && second.is_next(), "once, in vain");
        assert!(last.is_next());
    }

    #[test]
    fn who_has_read_is_executed_before_who_reads_later() {
        let line = Arc::new(Line::default());
        let [mut first, second] = [0; 2].map(|_| stand_in(Some(&line)));
        assert!(!second.place.is_behind_crowd());
        first.place.join_crowd(&Context::from_waker(&first.task));
        assert!(second.place.is_behind_crowd() && first.woken() == 1);
        assert!(first.place.waits() && first.is_next(), "it keeps its place");
        first.place.go_on();
        assert!(first.place.is_in_crowd() && !first.place.waits());
        assert!(!second.place.is_behind_crowd());
        first.place.reply_with_crowd(&Context::from_waker(&first.task));
        assert!(first.place.waits() && first.woken() == 2 && first.is_next());
        assert!(!second.place.is_behind_crowd(), "it has executed");
        first.place.go_on();
        assert!(!first.place.waits() && !first.place.is_in_crowd());
        first.place.join_crowd(&Context::from_waker(&first.task));
        drop(first);
        assert!(!second.place.is_behind_crowd(), "who is gone executes nothing");
    }

    #[test]
    fn without_a_line_all_are_next() {
        let [first, mut second] = [0; 2].map(|_| stand_in(None));
        ring([&first, &second]);
        assert!(second.is_next() && second.place.wakes(&second.waker, &second.task));
        assert!(!second.place.wakes(&second.waker, &first.task));
    }
}
