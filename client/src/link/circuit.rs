//! A circuit that opens when the server is away, so that requests fail at once instead of piling
//! up, and lets one through from time to time to see whether it is back.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;

/// Counts operations that found no server until their deadline.
#[derive(Debug)]
pub(crate) struct Circuit {
    /// So many in a row open it.
    threshold: u32,
    /// For so long, with jitter.
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
    probing: bool,
}

/// Leave to try. A probe that is dropped without an outcome lets another one go.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    circuit: &'a Circuit,
    probe: bool,
}

impl Circuit {
    pub(crate) fn new(threshold: u32, pause: Duration) -> Circuit {
        Circuit { threshold, pause, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can panic; were it so, counts are still counts.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    ///
    /// [`Error::CircuitOpen`] while it is open.
    pub(crate) fn enter(&self) -> Result<Pass<'_>, Error> {
        let mut state = self.state();
        let Some(until) = state.open_until else {
            return Ok(Pass { circuit: self, probe: false });
        };
        let retry_after = until.saturating_duration_since(Instant::now());
        if !retry_after.is_zero() || state.probing {
            return Err(Error::CircuitOpen { retry_after });
        }
        state.probing = true;
        Ok(Pass { circuit: self, probe: true })
    }
}

impl Pass<'_> {
    /// A server answered.
    pub(crate) fn answered(&self) {
        let mut state = self.circuit.state();
        state.failures = 0;
        state.open_until = None;
    }

    /// Nobody answered until the deadline.
    pub(crate) fn failed(&self) {
        let mut state = self.circuit.state();
        state.failures = state.failures.saturating_add(1);
        if self.probe || state.failures >= self.circuit.threshold {
            // Between half the pause and one and a half, so that clients do not come together.
            let pause = self.circuit.pause.mul_f64(0.5 + fastrand::f64());
            state.open_until = Some(Instant::now() + pause);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.circuit.state().probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_probes_with_one() {
        let circuit = Circuit::new(3, PAUSE);
        for _ in 0..2 {
            circuit.enter().expect("closed").failed();
        }
        circuit.enter().expect("closed").answered();
        for _ in 0..3 {
            circuit.enter().expect("an answer starts the count anew").failed();
        }
        let Err(Error::CircuitOpen { retry_after }) = circuit.enter() else {
            panic!("it is open");
        };
        assert!(retry_after <= PAUSE.mul_f64(1.5));

        tokio::time::advance(PAUSE * 2).await;
        let probe = circuit.enter().expect("one may try");
        assert!(circuit.enter().is_err(), "and only one");
        probe.failed();
        drop(probe);
        assert!(circuit.enter().is_err(), "one failed probe opens it again");

        tokio::time::advance(PAUSE * 2).await;
        drop(circuit.enter().expect("one may try"));
        let probe = circuit.enter().expect("a probe that was given up leaves room for another");
        probe.answered();
        drop(probe);
        circuit.enter().expect("closed");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_to_one_that_was_under_way_closes_it() {
        let circuit = Circuit::new(1, PAUSE);
        let slow = circuit.enter().expect("closed");
        circuit.enter().expect("closed").failed();
        assert!(circuit.enter().is_err());
        slow.answered();
        circuit.enter().expect("closed again");
    }
}
