//! Cases about how a session begins, gets another token, and ends.

use std::time::{Duration, Instant};

use cloakroom_client::Lifetime;

use super::{Case, Place, cases, is_missing, nobodys, soon};

pub(super) const CASES: &[Case] = cases![
    the_server_is_there,
    a_session_begins_with_its_fields,
    what_is_not_there_is_not_made,
    a_destroyed_session_does_not_come_back,
    a_new_token_takes_the_place_of_the_old_one,
    a_session_ends_by_itself,
    use_renews,
    prefixes_are_apart,
];

async fn the_server_is_there(place: Place) {
    place.store().ping().await.expect("it answers");
    place.builder().connect().await.expect("it answers");
}

async fn a_session_begins_with_its_fields(place: Place) {
    let store = place.store();
    let life = Lifetime::sliding(Duration::from_secs(100)).capped_at(Duration::from_secs(1000));
    let session = store.new_session().user("ann").lifetime(life);
    let session = session.set("theme", "dark").expect("ok").set_raw("raw", "1").expect("ok");
    let session = session.create().await.expect("it begins");
    let loaded = store.load(session.token()).await.expect("it is there");
    assert_eq!(session.fields(), loaded.fields());
    assert_eq!(loaded.fields().get::<String>("theme").expect("ok").as_deref(), Some("dark"));
    assert_eq!((session.user(), loaded.user()), (Some("ann"), Some("ann")));
    assert_eq!(session.created_at(), loaded.created_at());
    assert_eq!(session.ends_at(), loaded.ends_at());
    let lasts = loaded.ends_at().zip(loaded.created_at());
    let lasts = lasts.and_then(|(end, begin)| end.duration_since(begin).ok());
    assert_eq!(lasts, Some(Duration::from_secs(1000)));
    assert_eq!(session.expires_in(), Duration::from_secs(100));
}

async fn what_is_not_there_is_not_made(place: Place) {
    let store = place.store();
    let token = nobodys();
    assert!(is_missing(&store.load(&token).await));
    assert!(is_missing(&store.touch(&token).await));
    assert!(!store.destroy(&token).await.expect("no error"));
    assert!(is_missing(&store.load(&token).await));
}

async fn a_destroyed_session_does_not_come_back(place: Place) {
    let store = place.store();
    let session = store.new_session().user("ann").create().await.expect("it begins");
    let mut left = store.load(session.token()).await.expect("it is there");
    assert!(store.destroy(session.token()).await.expect("it was there"));
    assert!(is_missing(&left.set("a", &1).await));
    assert!(is_missing(&left.set_for("a", &1, Duration::from_secs(1)).await));
    assert!(is_missing(&left.incr("a", 1).await));
    assert!(is_missing(&left.remove("a").await));
    assert!(is_missing(&left.get::<i32>("a").await));
    assert!(is_missing(&left.get_all().await));
    assert!(is_missing(&left.flash("a", &1).await));
    assert!(is_missing(&left.take_flash::<i32>("a").await));
    assert!(is_missing(&left.update(|draft| draft.set("a", &1)).await));
    assert!(is_missing(&left.touch().await));
    assert!(is_missing(&left.regenerate().await));
    assert!(is_missing(&left.log_in("eve").await));
    assert!(is_missing(&store.load(left.token()).await));
    assert!(store.sessions_of("ann").await.expect("it answers").is_empty());
    assert!(store.sessions_of("eve").await.expect("it answers").is_empty());
    left.destroy().await.expect("to end it twice is no error");
}

async fn a_new_token_takes_the_place_of_the_old_one(place: Place) {
    let store = place.store();
    let mut session = store.create().await.expect("it begins");
    session.set("cart", &["coat"]).await.expect("it is there");
    let old = session.token().clone();
    session.regenerate().await.expect("it is there");
    assert_ne!(session.token(), &old);
    assert!(is_missing(&store.load(&old).await));
    let loaded = store.load(session.token()).await.expect("it is there");
    assert_eq!(loaded.fields().get::<[String; 1]>("cart").expect("ok"), Some(["coat".into()]));
    assert!(loaded.expires_in() > Duration::ZERO);

    let old = session.token().clone();
    session.log_in("ann").await.expect("it is there");
    assert!(is_missing(&store.load(&old).await));
    let loaded = store.load(session.token()).await.expect("it is there");
    assert_eq!(loaded.user(), Some("ann"));
    assert_eq!(loaded.fields().names().collect::<Vec<_>>(), ["cart"]);
}

async fn a_session_ends_by_itself(place: Place) {
    let store = place.builder().lifetime(Lifetime::fixed(Duration::from_millis(100)));
    let store = store.build().expect("good settings");
    let session = store.new_session().user("ann").create().await.expect("it begins");
    soon("it ends", async || is_missing(&store.load(session.token()).await)).await;
    assert!(is_missing(&session.set("a", &1).await));
    assert!(store.sessions_of("ann").await.expect("it answers").is_empty());
}

async fn use_renews(place: Place) {
    let life = Lifetime::sliding(Duration::from_secs(1000));
    let renewing = place.builder().lifetime(life).renew_after(0.0).build().expect("good settings");
    let looking = place.builder().renew_after(1.0).build().expect("good settings");
    let session = renewing.create().await.expect("it begins");
    let left = async || looking.load(session.token()).await.expect("it is there").expires_in();
    for name in ["touch", "load", "get", "set", "incr"] {
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(left().await < Duration::from_millis(999_980));
        let begin = Instant::now();
        match name {
            "touch" => drop(session.touch().await.expect("it is there")),
            "load" => drop(renewing.load(session.token()).await.expect("it is there")),
            "get" => drop(session.get::<i32>("n").await.expect("it is there")),
            "set" => session.set("n", &1).await.expect("it is there"),
            _ => drop(session.incr("n", 1).await.expect("it is there")),
        }
        // Not longer ago than we began; a millisecond for the rounding of both clocks.
        let used = Duration::from_secs(1000) - left().await;
        assert!(used <= begin.elapsed() + Duration::from_millis(1), "{name} renews");
    }
}

async fn prefixes_are_apart(place: Place) {
    let session = place.store().new_session().user("ann").create().await.expect("it begins");
    let other = place.builder().prefix("session:another").build().expect("good settings");
    assert!(is_missing(&other.load(session.token()).await));
    assert!(other.sessions_of("ann").await.expect("it answers").is_empty());
}
