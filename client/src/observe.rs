//! What operations tell of themselves: spans of `tracing` and counters of `metrics`, each only with
//! the feature of its name; README.md lists them. No token and no value ever stands in them.

use redis::{RedisError, Value};

use crate::error::Error;
use crate::op::Op;

/// Runs an operation, in its span and under its counters.
pub(crate) async fn operation(
    op: Op,
    running: impl Future<Output = Result<Vec<Value>, Error>>,
) -> Result<Vec<Value>, Error> {
    #[cfg(feature = "metrics")]
    let begin = tokio::time::Instant::now();
    #[cfg(feature = "tracing")]
    let running = {
        use tracing::Instrument;
        running.instrument(tracing::debug_span!("session", operation = op.name()))
    };
    let result = running.await;
    #[cfg(feature = "metrics")]
    {
        let outcome = outcome(&result);
        let name = op.name();
        metrics::counter!("cloakroom_client_operations_total", "operation" => name, "outcome" => outcome)
            .increment(1);
        metrics::histogram!("cloakroom_client_operation_seconds", "operation" => name)
            .record(begin.elapsed());
    }
    #[cfg(feature = "tracing")]
    if let Err(error) = &result
        && error.is_unavailable()
    {
        tracing::warn!(operation = op.name(), %error, "no session server");
    }
    let _ = op;
    result
}

#[cfg(feature = "metrics")]
fn outcome(result: &Result<Vec<Value>, Error>) -> &'static str {
    match result {
        Ok(values) if values.first() == Some(&Value::Nil) => "missing",
        Ok(_) => "ok",
        Err(error) if error.is_unavailable() => "unavailable",
        Err(_) => "refused",
    }
}

/// One try failed, and another one follows.
pub(crate) fn retry(op: Op, error: &RedisError) {
    #[cfg(feature = "metrics")]
    metrics::counter!("cloakroom_client_retries_total", "operation" => op.name()).increment(1);
    #[cfg(feature = "tracing")]
    tracing::debug!(operation = op.name(), error = crate::link::said(error), "trying again");
    let _ = (op, error);
}

/// A connection was opened, or could not be.
pub(crate) fn opened(result: Result<(), &RedisError>) {
    #[cfg(feature = "metrics")]
    if result.is_ok() {
        metrics::counter!("cloakroom_client_connections_total").increment(1);
    }
    #[cfg(feature = "tracing")]
    match result {
        Ok(()) => tracing::debug!("connected to the session server"),
        Err(error) => {
            tracing::warn!(
                error = crate::link::said(error),
                "cannot connect to the session server"
            );
        }
    }
    let _ = result;
}
