//! Cases about the fields of one session.

use std::collections::BTreeMap;
use std::time::Duration;

use cloakroom_client::{Codec, Error};

use super::{Case, Place, cases, is_missing, soon};

pub(super) const CASES: &[Case] = cases![
    fields_are_written_one_by_one,
    values_are_typed,
    bytes_stay_as_they_are,
    a_large_value_comes_back,
    counters_count,
    the_stores_own_names_are_refused,
    a_flash_is_fetched_once,
    a_field_with_a_time_ends,
    an_update_takes_what_is_there,
    an_update_is_thwarted_by_what_it_read_and_nothing_else,
    an_update_that_writes_nothing_has_seen_what_is_there,
];

async fn fields_are_written_one_by_one(place: Place) {
    let store = place.store();
    let session = store.create().await.expect("it begins");
    assert!(session.fields().is_empty());
    session.set("name", "ann").await.expect("it is there");
    session.set("theme", "dark").await.expect("it is there");
    assert_eq!(session.get::<String>("name").await.expect("ok").as_deref(), Some("ann"));
    assert_eq!(session.get::<String>("other").await.expect("ok"), None);
    assert!(session.remove("name").await.expect("it is there"));
    assert!(!session.remove("name").await.expect("it is there"), "not twice");
    let loaded = store.load(session.token()).await.expect("it is there");
    assert_eq!(loaded.fields().names().collect::<Vec<_>>(), ["theme"]);
    assert_eq!(loaded.fields(), &session.get_all().await.expect("it is there"));
}

async fn values_are_typed(place: Place) {
    type Cart = BTreeMap<String, (u32, Option<f64>)>;
    let cart = Cart::from([("coat".into(), (1, Some(99.5))), ("Hut \"ü\"".into(), (2, None))]);
    let codecs = [
        Codec::Json,
        #[cfg(feature = "messagepack")]
        Codec::MessagePack,
        #[cfg(feature = "cbor")]
        Codec::Cbor,
    ];
    for codec in codecs {
        let store = place.builder().codec(codec).build().expect("good settings");
        let session = store.new_session().set("first", &cart).expect("it can be written");
        let session = session.create().await.expect("it begins");
        session.set("cart", &cart).await.expect("it is there");
        let loaded = store.load(session.token()).await.expect("it is there");
        for name in ["cart", "first"] {
            assert_eq!(loaded.fields().get::<Cart>(name).expect("a cart").as_ref(), Some(&cart));
        }
        let wrong = session.get::<bool>("cart").await.expect_err("a cart is no truth");
        assert!(matches!(wrong, Error::Decode { field, .. } if field == "cart"));
    }
}

async fn bytes_stay_as_they_are(place: Place) {
    let session = place.store().create().await.expect("it begins");
    let every: Vec<u8> = (0..=255).collect();
    for bytes in [&b""[..], b"\0", b"\r\n", &every] {
        session.set_raw("bytes", bytes).await.expect("it is there");
        assert_eq!(session.get_raw("bytes").await.expect("ok").as_deref(), Some(bytes));
    }
    session.set_raw("", "no name").await.expect("a name may be empty");
    session.set_raw("ü \r\n", "odd").await.expect("or odd");
    let fields = session.get_all().await.expect("it is there");
    assert_eq!(fields.names().collect::<Vec<_>>(), ["", "bytes", "ü \r\n"]);
}

async fn a_large_value_comes_back(place: Place) {
    let session = place.store().create().await.expect("it begins");
    let large = "0123456789abcdef".repeat(1 << 16);
    session.set("large", &large).await.expect("it is there");
    assert_eq!(session.get::<String>("large").await.expect("ok"), Some(large));
}

async fn counters_count(place: Place) {
    let session = place.store().create().await.expect("it begins");
    assert_eq!(session.incr("visits", 1).await.expect("it counts"), 1);
    assert_eq!(session.incr("visits", 41).await.expect("it counts"), 42);
    assert_eq!(session.incr("visits", -50).await.expect("it counts"), -8);
    assert_eq!(session.get::<i64>("visits").await.expect("JSON has it as a number"), Some(-8));
    assert_eq!(session.get_all().await.expect("ok").counter("visits").expect("ok"), Some(-8));
    session.set("visits", "many").await.expect("it is there");
    let refused = session.incr("visits", 1).await.expect_err("a text is no number");
    let Error::Refused { code, message } = refused else { panic!("{refused}") };
    assert_eq!(code, "ERR");
    assert!(message.contains("hash value is not an integer"), "{message}");
    assert_eq!(session.get::<String>("visits").await.expect("ok").as_deref(), Some("many"));
}

async fn the_stores_own_names_are_refused(place: Place) {
    let session = place.store().create().await.expect("it begins");
    for refused in [
        session.set("_user", "root").await,
        session.set_raw("_ends", "0").await,
        session.get_raw("_user").await.map(drop),
        session.remove("_ends").await.map(drop),
        session.incr("_ends", 1).await.map(drop),
        session.set_for("_x", &1, Duration::from_secs(1)).await,
        session.update(|draft| draft.set("_user", "root")).await,
    ] {
        assert!(matches!(refused, Err(Error::ReservedName(_))), "{refused:?}");
    }
}

async fn a_flash_is_fetched_once(place: Place) {
    let store = place.store();
    let session = store.create().await.expect("it begins");
    session.flash("notice", "saved").await.expect("it is there");
    session.flash("error", "but").await.expect("it is there");
    assert!(session.get_all().await.expect("ok").is_empty(), "it is no field");
    let (one, two) = tokio::join!(
        session.take_flash::<String>("notice"),
        session.take_flash::<String>("notice")
    );
    let mut taken = [one.expect("ok"), two.expect("ok")];
    taken.sort();
    assert_eq!(taken, [None, Some("saved".to_owned())], "one gets it");
    session.flash("a", "first").await.expect("it is there");
    let all = session.take_flashes::<String>().await.expect("ok");
    assert_eq!(all, [("a".into(), "first".into()), ("error".into(), "but".into())]);
    assert!(session.take_flashes::<String>().await.expect("ok").is_empty());
}

async fn a_field_with_a_time_ends(place: Place) {
    let store = place.store();
    let session = store.create().await.expect("it begins");
    session.set("name", "ann").await.expect("it is there");
    session.set_for("code", &1, Duration::from_secs(1000)).await.expect("it is there");
    assert_eq!(session.get::<i32>("code").await.expect("ok"), Some(1));
    session.set_for("code", &1, Duration::MAX).await.expect("no time is too long");
    assert_eq!(session.get::<i32>("code").await.expect("ok"), Some(1));
    session.set_for("code", &2, Duration::from_millis(100)).await.expect("it is there");
    soon("the field ends", async || session.get::<i32>("code").await.expect("ok").is_none()).await;
    let loaded = store.load(session.token()).await.expect("it is there");
    assert_eq!(loaded.fields().names().collect::<Vec<_>>(), ["name"]);
    assert!(!session.remove("code").await.expect("it is there"), "it was not there");

    // It is not there for an update either, nor for a counter.
    session.set_for("code", &3, Duration::from_millis(1)).await.expect("it is there");
    soon("the field ends", async || session.get::<i32>("code").await.expect("ok").is_none()).await;
    let seen = session.update(|draft| {
        let seen = draft.get::<i32>("code")?;
        draft.set("seen", &seen)?;
        Ok(seen)
    });
    assert_eq!(seen.await.expect("it is there"), None);
    assert_eq!(session.incr("code", 1).await.expect("it counts"), 1, "from the beginning");
    session.set_for("code", &4, Duration::from_millis(1)).await.expect("it is there");
    session.set("code", &5).await.expect("it is there");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(session.get::<i32>("code").await.expect("ok"), Some(5), "without a time again");
}

async fn an_update_takes_what_is_there(place: Place) {
    let store = place.store();
    let session = store.create().await.expect("it begins");
    session.set("a", &1).await.expect("it is there");
    session.set("b", &2).await.expect("it is there");
    // The session was loaded before the fields were written: the first try fails.
    let mut tries = 0;
    let sum = session.update(|draft| {
        tries += 1;
        let sum = draft.get::<i32>("a")?.unwrap_or(0) + draft.get::<i32>("b")?.unwrap_or(0);
        draft.set("sum", &sum)?;
        assert_eq!(draft.get::<i32>("sum")?, Some(sum), "it sees what it wrote");
        draft.remove("a")?;
        assert_eq!(draft.get::<i32>("a")?, None);
        Ok(sum)
    });
    assert_eq!(sum.await.expect("it is there"), 3);
    assert_eq!(tries, 2);
    let fields = session.get_all().await.expect("it is there");
    assert_eq!(fields.names().collect::<Vec<_>>(), ["b", "sum"]);
    let stopped = session.update(|draft| {
        draft.set("c", &1)?;
        Err::<(), _>(Error::Conflict)
    });
    assert!(stopped.await.is_err(), "what the change says is what comes back");
    assert_eq!(session.get::<i32>("c").await.expect("ok"), None, "and nothing was written");
}

async fn an_update_is_thwarted_by_what_it_read_and_nothing_else(place: Place) {
    let store = place.store();
    let mine = store.create().await.expect("it begins");
    let others = store.load(mine.token()).await.expect("it is there");
    mine.set("mine", &1).await.expect("it is there");
    let mine = store.load(mine.token()).await.expect("it is there");
    others.set("others", &1).await.expect("it is there");
    let mut tries = 0;
    let one = mine.update(|draft| {
        tries += 1;
        let n = draft.get::<i32>("mine")?.unwrap_or(0);
        draft.set("mine", &(n + 1))
    });
    one.await.expect("it is there");
    assert_eq!(tries, 1, "it did not read what was changed");
    let mut tries = 0;
    let all = mine.update(|draft| {
        tries += 1;
        let count = draft.fields().len();
        draft.set("count", &count)
    });
    all.await.expect("it is there");
    assert_eq!(tries, 2, "it read which fields there are");
    let fields = mine.get_all().await.expect("it is there");
    assert_eq!(fields.get::<i32>("mine").expect("ok"), Some(2));
    assert_eq!(fields.get::<i32>("count").expect("ok"), Some(2));
}

async fn an_update_that_writes_nothing_has_seen_what_is_there(place: Place) {
    let store = place.store();
    let session = store.create().await.expect("it begins");
    let others = store.load(session.token()).await.expect("it is there");
    others.set("reserved", &true).await.expect("it is there");
    let reserve = async || {
        let reserved = session.update(|draft| {
            let free = draft.get::<bool>("reserved")? != Some(true);
            if free {
                draft.set("reserved", &true)?;
            }
            Ok(free)
        });
        reserved.await
    };
    assert!(!reserve().await.expect("it is there"), "though it was free when it was loaded");
    let session = store.load(session.token()).await.expect("it is there");
    others.remove("reserved").await.expect("it is there");
    let seen = session.update(|draft| draft.get::<bool>("reserved"));
    assert_eq!(seen.await.expect("it is there"), None, "though it was there when it was loaded");
    others.destroy().await.expect("it is there");
    assert!(is_missing(&session.update(|draft| draft.get::<bool>("reserved")).await));
    session.update(|_| Ok(())).await.expect("who looks at nothing asks nobody");
}
