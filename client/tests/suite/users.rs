//! Cases about all sessions of one user.

use std::collections::HashSet;

use cloakroom_client::{SessionStore, Token};

use super::{Case, Place, cases, is_missing};

pub(super) const CASES: &[Case] = cases![
    a_users_sessions_are_listed,
    the_list_follows_every_change,
    log_out_everywhere,
    nobody_escapes_by_a_new_token,
];

async fn tokens(store: &SessionStore, user: &str) -> HashSet<Token> {
    let sessions = store.sessions_of(user).await.expect("it answers");
    assert!(sessions.is_sorted_by_key(|session| std::cmp::Reverse(session.created_at())));
    assert!(sessions.iter().all(|session| session.user() == Some(user)));
    sessions.iter().map(|session| session.token().clone()).collect()
}

async fn a_users_sessions_are_listed(place: Place) {
    let store = place.store();
    store.create().await.expect("it begins");
    let mut anns = HashSet::new();
    for number in 0..20 {
        let session = store.new_session().user("ann").set("number", &number).expect("ok");
        anns.insert(session.create().await.expect("it begins").token().clone());
    }
    let bob = store.new_session().user("bob").create().await.expect("it begins");
    assert_eq!(tokens(&store, "ann").await, anns);
    assert_eq!(tokens(&store, "bob").await, HashSet::from([bob.token().clone()]));
    assert_eq!(tokens(&store, "eve").await, HashSet::new());
    let listed = store.sessions_of("ann").await.expect("it answers");
    let numbers: HashSet<_> =
        listed.iter().map(|session| session.fields().get::<i32>("number").expect("ok")).collect();
    assert_eq!(numbers.len(), 20, "with their fields");
}

async fn the_list_follows_every_change(place: Place) {
    let store = place.store();
    let only = |token: &Token| HashSet::from([token.clone()]);
    let mut session = store.create().await.expect("it begins");
    session.log_in("ann").await.expect("it is there");
    assert_eq!(tokens(&store, "ann").await, only(session.token()));
    session.regenerate().await.expect("it is there");
    assert_eq!(tokens(&store, "ann").await, only(session.token()), "only the new token");
    session.log_in("bob").await.expect("it is there");
    assert_eq!(tokens(&store, "ann").await, HashSet::new());
    assert_eq!(tokens(&store, "bob").await, only(session.token()));
    session.destroy().await.expect("it is there");
    assert_eq!(tokens(&store, "bob").await, HashSet::new());
}

async fn log_out_everywhere(place: Place) {
    let store = place.store();
    let anonymous = store.create().await.expect("it begins");
    let bob = store.new_session().user("bob").create().await.expect("it begins");
    let mut anns = Vec::new();
    for _ in 0..150 {
        anns.push(store.new_session().user("ann").create().await.expect("it begins"));
    }
    assert_eq!(store.destroy_all_for("ann").await.expect("it answers"), 150);
    for session in &anns {
        assert!(is_missing(&store.load(session.token()).await));
    }
    assert!(tokens(&store, "ann").await.is_empty());
    assert_eq!(store.destroy_all_for("ann").await.expect("it answers"), 0);
    store.load(bob.token()).await.expect("others' are not touched");
    store.load(anonymous.token()).await.expect("nor nobody's");
}

async fn nobody_escapes_by_a_new_token(place: Place) {
    let store = place.store();
    let mut tasks = Vec::new();
    for _ in 0..20 {
        let mut session = store.new_session().user("ann").create().await.expect("it begins");
        tasks.push(tokio::spawn(async move {
            while session.regenerate().await.is_ok() {}
            session
        }));
    }
    store.destroy_all_for("ann").await.expect("it answers");
    for task in tasks {
        let session = task.await.expect("no task panics");
        assert!(is_missing(&store.load(session.token()).await));
    }
    assert!(tokens(&store, "ann").await.is_empty());
}
