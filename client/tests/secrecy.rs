//! What a visitor's session holds, and how to get at it, stands in nothing that can be logged.

use cloakroom_client::SessionStore;

#[tokio::test]
async fn debug_shows_neither_tokens_nor_values() {
    let server = cloakroom::Server::builder().start().await.expect("the server starts");
    let store = SessionStore::builder(&server.url())
        .connect_timeout(std::time::Duration::from_secs(10))
        .response_timeout(std::time::Duration::from_secs(10))
        .build()
        .expect("good settings");
    let new = store.new_session().set("card", "4111-1111").expect("it can be written");
    let mut shown = vec![format!("{new:?}")];
    let session = new.create().await.expect("it begins");
    shown.push(format!("{session:?} {:?}", session.fields()));
    session
        .update(|draft| {
            assert_eq!(draft.get::<String>("card")?.as_deref(), Some("4111-1111"));
            draft.set("next", "4111-1111")?;
            shown.push(format!("{draft:?}"));
            Ok(())
        })
        .await
        .expect("it is changed");
    let token = session.token().reveal();
    for text in shown {
        assert!(text.contains("card"), "which fields there are is told: {text}");
        assert!(!text.contains("4111") && !text.contains(token), "{text}");
    }
}
