//! Passwords that are made when they are needed: ElastiCache's tokens, which last 15 minutes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use redis::{BasicAuth, RedisError, RedisResult, StreamingCredentialsProvider};

/// After a failure to get new credentials for an open connection.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// Who a connection says it is. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The server's user.
    pub user: String,
    /// Its password, or a token in its place.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .field("password", &"redacted")
            .finish()
    }
}

/// Any error of a provider's own.
pub type ProviderError = Box<dyn std::error::Error + Send + Sync>;

/// What [`CredentialsProvider::credentials`] returns.
pub type CredentialsFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Credentials, ProviderError>> + Send + 'a>>;

/// Makes credentials: asked whenever a connection is opened or opened again, and for each open
/// connection once more before [`renew_after`](CredentialsProvider::renew_after) is over.
///
/// ```
/// use cloakroom_client::{Credentials, CredentialsFuture, CredentialsProvider};
///
/// /// Reads a password that something else keeps fresh in a file.
/// struct FromFile(std::path::PathBuf);
///
/// impl CredentialsProvider for FromFile {
///     fn credentials(&self) -> CredentialsFuture<'_> {
///         Box::pin(async {
///             let password = std::fs::read_to_string(&self.0)?;
///             Ok(Credentials { user: "app".into(), password: password.trim().into() })
///         })
///     }
/// }
/// ```
pub trait CredentialsProvider: Send + Sync + 'static {
    /// New credentials.
    fn credentials(&self) -> CredentialsFuture<'_>;

    /// How long a connection may live on the same ones: 11 hours, of the 12 after which ElastiCache
    /// ends a connection.
    fn renew_after(&self) -> Duration {
        Duration::from_secs(11 * 3600)
    }
}

/// A provider as the `redis` crate wants it: a stream of credentials for each connection.
#[derive(Clone)]
pub(crate) struct Renewing(pub(crate) Arc<dyn CredentialsProvider>);

impl StreamingCredentialsProvider for Renewing {
    fn subscribe(&self) -> Pin<Box<dyn Stream<Item = RedisResult<BasicAuth>> + Send + 'static>> {
        let provider = Arc::clone(&self.0);
        Box::pin(stream::unfold(Duration::ZERO, move |wait| {
            let provider = Arc::clone(&provider);
            async move {
                tokio::time::sleep(wait).await;
                let (made, wait) = match provider.credentials().await {
                    // Up to a tenth earlier, so that connections do not all renew in one moment.
                    Ok(made) => {
                        let wait = provider.renew_after().mul_f64(1.0 - fastrand::f64() / 10.0);
                        (Ok(BasicAuth::new(made.user, made.password)), wait)
                    }
                    // It may be better in a moment, as any input and output.
                    Err(e) => (Err(RedisError::from(std::io::Error::other(e))), TRY_AGAIN),
                };
                Some((made, wait))
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::time::Instant;

    /// Counts; every third time it fails.
    struct Counting(AtomicU32);

    impl CredentialsProvider for Counting {
        fn credentials(&self) -> CredentialsFuture<'_> {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                match number % 3 {
                    2 => Err("none today".into()),
                    _ => Ok(Credentials { user: "ann".into(), password: number.to_string() }),
                }
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn new_credentials_come_at_once_and_before_twelve_hours_are_over() {
        let provider = Renewing(Arc::new(Counting(AtomicU32::new(0))));
        let mut stream = provider.subscribe();
        let begin = Instant::now();
        let mut next = async || {
            let made = stream.next().await.expect("the stream has no end");
            (made.map(|made| made.password().to_owned()), begin.elapsed())
        };
        assert_eq!(next().await, (Ok("0".to_owned()), Duration::ZERO));
        let (second, at) = next().await;
        assert_eq!(second, Ok("1".to_owned()));
        let hour = Duration::from_secs(3600);
        assert!(at >= 9 * hour && at <= 11 * hour, "{at:?}");
        let (third, failed_at) = next().await;
        assert!(third.is_err_and(|e| e.is_io_error()));
        let (fourth, again_at) = next().await;
        assert_eq!(fourth, Ok("3".to_owned()));
        assert!(again_at - failed_at < Duration::from_secs(31), "{again_at:?}");
    }

    #[test]
    fn passwords_are_shown_to_nobody() {
        let shown = format!("{:?}", Credentials { user: "ann".into(), password: "key".into() });
        assert_eq!(shown, r#"Credentials { user: "ann", password: "redacted" }"#);
    }
}
