//! What a store does wherever it is. No case knows more of the place than its URL.

mod fields;
mod lives;
mod many;
mod users;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use cloakroom_client::{Builder, Error, SessionStore, Token};

type Case = (&'static str, fn(Place) -> Pin<Box<dyn Future<Output = ()> + Send>>);

/// Where the sessions of one case are: the same server for all, a prefix for each.
#[derive(Clone)]
pub(crate) struct Place {
    url: String,
    prefix: String,
}

impl Place {
    /// Patient, so that a busy machine fails no test, and a failover none either.
    pub(crate) fn builder(&self) -> Builder {
        SessionStore::builder(&self.url)
            .prefix(&self.prefix)
            .connect_timeout(Duration::from_secs(10))
            .discovery_timeout(Duration::from_secs(10))
            .response_timeout(Duration::from_secs(60))
            .deadline(Duration::from_secs(120))
    }

    pub(crate) fn store(&self) -> SessionStore {
        self.builder().build().expect("the settings are good")
    }
}

/// Names functions, as what can be run.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        &[$((stringify!($name), |place| Box::pin($name(place)))),*]
    };
}
pub(crate) use cases;

fn all() -> impl Iterator<Item = &'static Case> {
    [fields::CASES, lives::CASES, many::CASES, users::CASES].into_iter().flatten()
}

/// Runs every case against one place, and panics with the names of those that failed.
///
/// `url` is asked before each case; `run` numbers the prefixes, for a place that is used twice.
pub(crate) async fn run(url: &str, run: u32) {
    let mut failed = Vec::new();
    for (name, case) in all() {
        let place = Place { url: url.to_owned(), prefix: format!("session:{run}:{name}") };
        if tokio::spawn(case(place)).await.is_err() {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "failed at {url}: {failed:?}");
}

/// A token that nobody has.
pub(crate) fn nobodys() -> Token {
    Token::parse(&"x".repeat(35)).expect("it has the form of one")
}

/// Waits for something that time brings, without knowing how busy the machine is.
pub(crate) async fn soon<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    for _ in 0..1000 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what}: not within 20 seconds");
}

pub(crate) fn is_missing<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::NoSuchSession))
}
