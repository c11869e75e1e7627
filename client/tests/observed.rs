//! What operations tell of themselves, and what they do not.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloakroom_client::{SessionStore, Token};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

/// Counts in a map.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<String, u64>>>);

struct One(Counts, String);

impl One {
    fn add(&self, value: u64) {
        *self.0.0.lock().expect("nobody panics with it").entry(self.1.clone()).or_default() +=
            value;
    }
}

impl CounterFn for One {
    fn increment(&self, value: u64) {
        self.add(value);
    }

    fn absolute(&self, _: u64) {
        unreachable!("nothing here is set");
    }
}

impl HistogramFn for One {
    fn record(&self, _: f64) {
        self.add(1);
    }
}

impl Counts {
    fn one(&self, key: &Key) -> Arc<One> {
        let labels: Vec<_> = key.labels().map(|label| label.value()).collect();
        Arc::new(One(self.clone(), format!("{} {}", key.name(), labels.join(" "))))
    }

    fn get(&self, name: &str) -> u64 {
        self.0.lock().expect("nobody panics with it").get(name).copied().unwrap_or(0)
    }
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.one(key))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        unreachable!("there is none")
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.one(key))
    }
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics with it").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A life with a visit, a miss and a refusal, on a runtime of one thread, whose recorder and
/// subscriber are this thread's.
fn live() -> (Token, Token) {
    let server = cloakroom::Server::builder().start_blocking().expect("the server starts");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("it starts").block_on(async {
        let store = SessionStore::builder(&server.url())
            .connect_timeout(Duration::from_secs(10))
            .response_timeout(Duration::from_secs(10))
            .build()
            .expect("good settings");
        let session = store.create().await.expect("it begins");
        session.set("secret", "the value of a field").await.expect("it is there");
        session.incr("secret", 1).await.expect_err("it is a text");
        store.load(session.token()).await.expect("it is there");
        let nobodys = Token::parse(&"x".repeat(35)).expect("it has the form of one");
        store.load(&nobodys).await.expect_err("nobody has it");
        (session.token().clone(), nobodys)
    })
}

/// One test: a subscriber of one thread does not hear of places in the code that another thread
/// without one came by first.
#[test]
fn operations_are_counted_and_traced_and_tell_nothing_secret() {
    let (counts, log) = (Counts::default(), Log::default());
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::CLOSE)
        .with_writer({
            let log = log.clone();
            move || log.clone()
        })
        .finish();
    let observed = || tracing::subscriber::with_default(subscriber, live);
    let tokens = metrics::with_local_recorder(&counts, observed);
    counts_are_right(&counts);
    let log = log.0.lock().expect("nobody panics with it").clone();
    log_is_right(&String::from_utf8(log).expect("text"), [&tokens.0, &tokens.1]);
}

fn counts_are_right(counts: &Counts) {
    let operations = "cloakroom_client_operations_total";
    for (name, count) in [
        ("create ok", 1),
        ("set ok", 1),
        ("load ok", 1),
        ("load missing", 1),
        ("incr refused", 1),
        ("load unavailable", 0),
    ] {
        assert_eq!(counts.get(&format!("{operations} {name}")), count, "{name}");
    }
    assert_eq!(counts.get("cloakroom_client_operation_seconds load"), 2);
    assert_eq!(counts.get("cloakroom_client_connections_total "), 1);
}

fn log_is_right(log: &str, tokens: [&Token; 2]) {
    for word in ["create", "set", "incr", "load", "connected"] {
        assert!(log.contains(word), "{word} in {log}");
    }
    for token in tokens {
        assert!(!log.contains(&token.reveal()[3..]), "no token in {log}");
    }
    assert!(!log.contains("the value of a field"), "no value in {log}");
}
