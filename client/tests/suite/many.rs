//! Cases about many requests of one visitor at once.

use std::collections::HashSet;
use std::time::Duration;

use super::{Case, Place, cases, is_missing};

pub(super) const CASES: &[Case] = cases![
    a_thousand_requests_lose_no_field,
    none_brings_a_destroyed_session_back,
    updates_lose_nothing,
    tokens_change_once,
];

/// A page, its pictures and its scripts, twenty times over.
const REQUESTS: usize = 1000;

async fn a_thousand_requests_lose_no_field(place: Place) {
    let store = place.store();
    let token = store.create().await.expect("it begins").token().clone();
    let requests = (0..REQUESTS).map(|number| {
        let (store, token) = (store.clone(), token.clone());
        tokio::spawn(async move {
            let session = store.load(&token).await.expect("it is there");
            session.set(&format!("field {number}"), &number).await.expect("it is there");
            assert!(session.touch().await.expect("it is there") > Duration::ZERO);
            session.incr("visits", 1).await.expect("it counts")
        })
    });
    let mut counts = HashSet::new();
    for request in requests.collect::<Vec<_>>() {
        counts.insert(request.await.expect("no request fails"));
    }
    assert_eq!(counts, (1..=REQUESTS as i64).collect(), "each count came once");
    let session = store.load(&token).await.expect("it is there");
    assert_eq!(session.fields().len(), REQUESTS + 1);
    for number in 0..REQUESTS {
        let value = session.fields().get::<usize>(&format!("field {number}")).expect("a number");
        assert_eq!(value, Some(number));
    }
    assert!(session.expires_in() > Duration::ZERO, "it has a deadline");
}

async fn none_brings_a_destroyed_session_back(place: Place) {
    let store = place.store();
    let session = store.new_session().user("ann").create().await.expect("it begins");
    let requests = (0..REQUESTS).map(|number| {
        let (store, session) = (store.clone(), session.clone());
        tokio::spawn(async move {
            if number == REQUESTS / 2 {
                assert!(store.destroy(session.token()).await.expect("it was there"));
            }
            let done = match number % 4 {
                0 => session.set("a", &number).await,
                1 => session.incr("b", 1).await.map(drop),
                2 => session.touch().await.map(drop),
                _ => session.set_for("c", &number, Duration::from_secs(60)).await,
            };
            assert!(done.is_ok() || is_missing(&done), "{done:?}");
        })
    });
    for request in requests.collect::<Vec<_>>() {
        request.await.expect("no request fails");
    }
    assert!(is_missing(&store.load(session.token()).await));
    assert!(store.sessions_of("ann").await.expect("it answers").is_empty());
}

async fn updates_lose_nothing(place: Place) {
    let store = place.store();
    let session = store.create().await.expect("it begins");
    let requests = (0..20).map(|number| {
        let session = session.clone();
        tokio::spawn(async move {
            let add = session.update(|draft| {
                let mut seen: Vec<u32> = draft.get("seen")?.unwrap_or_default();
                seen.push(number);
                draft.set("seen", &seen)
            });
            add.await.expect("it is there");
        })
    });
    for request in requests.collect::<Vec<_>>() {
        request.await.expect("no request fails");
    }
    let mut seen: Vec<u32> = session.get("seen").await.expect("ok").unwrap_or_default();
    seen.sort_unstable();
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
}

async fn tokens_change_once(place: Place) {
    let store = place.store();
    let session = store.create().await.expect("it begins");
    let requests = (0..20).map(|_| {
        let mut session = session.clone();
        tokio::spawn(async move {
            let moved = session.log_in("ann").await;
            assert!(moved.is_ok() || is_missing(&moved), "{moved:?}");
            moved.is_ok().then_some(session)
        })
    });
    let mut winners = Vec::new();
    for request in requests.collect::<Vec<_>>() {
        winners.extend(request.await.expect("no request fails"));
    }
    let [winner] = &winners[..] else { panic!("{} have it", winners.len()) };
    store.load(winner.token()).await.expect("it is there");
    assert_eq!(store.sessions_of("ann").await.expect("it answers").len(), 1);
}
