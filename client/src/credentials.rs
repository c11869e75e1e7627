//! Passwords that are made when they are needed: ElastiCache's tokens, which last 15 minutes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, Shared};
use futures_util::{Stream, stream};
use redis::{BasicAuth, RedisError, RedisResult, StreamingCredentialsProvider};
use tokio::time::Instant;

/// After a failure to get new credentials for an open connection.
const TRY_AGAIN: Duration = Duration::from_secs(30);
/// For so long credentials that nobody was left to fetch are kept; some last no longer than minutes.
const FRESH: Duration = Duration::from_secs(60);

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
pub(crate) struct Renewing {
    provider: Arc<dyn CredentialsProvider>,
    making: Arc<Mutex<Option<Making>>>,
}

/// Credentials on their way, or made and not fetched yet, with the time when they came.
type Making = Shared<BoxFuture<'static, (Result<Credentials, Arc<str>>, Instant)>>;

impl Renewing {
    pub(crate) fn new(provider: Arc<dyn CredentialsProvider>) -> Renewing {
        Renewing { provider, making: Arc::default() }
    }

    /// New credentials. A provider may take longer than a connection is waited for: what it makes is
    /// then kept a while for the next try, and whoever asks meanwhile waits for the same.
    async fn make(&self) -> Result<Credentials, Arc<str>> {
        loop {
            let making = self.making();
            let (made, at) = making.clone().await;
            self.fetched(&making);
            if at.elapsed() < FRESH {
                return made;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Making>> {
        // Nothing that holds it can panic.
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn making(&self) -> Making {
        let provider = Arc::clone(&self.provider);
        let begin = || {
            // A task of its own goes on when nobody waits for it any more.
            let task = tokio::spawn(async move { (provider.credentials().await, Instant::now()) });
            let made = async {
                match task.await {
                    Ok((made, at)) => (made.map_err(|e| e.to_string().into()), at),
                    Err(e) => (Err(e.to_string().into()), Instant::now()),
                }
            };
            made.boxed().shared()
        };
        self.lock().get_or_insert_with(begin).clone()
    }

    /// The next who asks gets others.
    fn fetched(&self, making: &Making) {
        let mut current = self.lock();
        if current.as_ref().is_some_and(|current| current.ptr_eq(making)) {
            *current = None;
        }
    }
}

impl StreamingCredentialsProvider for Renewing {
    fn subscribe(&self) -> Pin<Box<dyn Stream<Item = RedisResult<BasicAuth>> + Send + 'static>> {
        let this = self.clone();
        Box::pin(stream::unfold(Duration::ZERO, move |wait| {
            let this = this.clone();
            async move {
                tokio::time::sleep(wait).await;
                let (made, wait) = match this.make().await {
                    // Up to a tenth earlier, so that connections do not all renew in one moment.
                    Ok(made) => {
                        let renew_after = this.provider.renew_after();
                        let wait = renew_after.mul_f64(1.0 - fastrand::f64() / 10.0);
                        (Ok(BasicAuth::new(made.user, made.password)), wait)
                    }
                    // It may be better in a moment, as any input and output.
                    Err(e) => (Err(RedisError::from(std::io::Error::other(&*e))), TRY_AGAIN),
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
        let provider = Renewing::new(Arc::new(Counting(AtomicU32::new(0))));
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

    /// Takes its time, as a service in the network does.
    struct Slow(AtomicU32);

    impl CredentialsProvider for Slow {
        fn credentials(&self) -> CredentialsFuture<'_> {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(350)).await;
                Ok(Credentials { user: "ann".into(), password: number.to_string() })
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_takes_longer_than_a_connection_is_waited_for_comes_to_its_end() {
        let provider = Renewing::new(Arc::new(Slow(AtomicU32::new(0))));
        let fetch = async || {
            let made = tokio::time::timeout(Duration::from_millis(100), provider.make()).await;
            made.ok().map(|made| made.expect("it makes some").password)
        };
        for _ in 0..3 {
            assert_eq!(fetch().await, None, "nobody waits so long");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(fetch().await.as_deref(), Some("0"), "what was made was kept");
        assert_eq!(fetch().await, None, "but for one only");
        tokio::time::sleep(FRESH * 2).await;
        assert_eq!(fetch().await, None, "and not for long");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(fetch().await.as_deref(), Some("2"));
    }

    #[test]
    fn passwords_are_shown_to_nobody() {
        let shown = format!("{:?}", Credentials { user: "ann".into(), password: "key".into() });
        assert_eq!(shown, r#"Credentials { user: "ann", password: "redacted" }"#);
    }
}
