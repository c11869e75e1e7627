//! redis-rs (blocking and async) and fred against ours, in both protocols: the life of a session,
//! pipelines, transactions, messages, a lock.

use std::collections::HashMap;

use cloakroom_tests::peers::{Kind, Peer};

const RELEASE: &str = "
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end
return 0
";

/// Our server; with `ON=redis7` in the environment the real one, to try the test itself.
fn ours() -> Peer {
    let real = std::env::var("ON").is_ok_and(|on| on == Kind::Redis7.tag());
    Peer::start(if real { Kind::Redis7 } else { Kind::Ours }).expect("the server starts")
}

mod redis_rs {
    use super::*;
    use redis::{AsyncCommands, Commands, RedisResult, Script, aio, cmd, pipe};

    fn client(peer: &Peer, protocol: &str) -> redis::Client {
        redis::Client::open(format!("{}?protocol={protocol}", peer.url())).expect("a good URL")
    }

    fn blocking(protocol: &str) -> RedisResult<()> {
        let peer = ours();
        let client = client(&peer, protocol);
        let mut con = client.get_connection()?;

        // The life of a session.
        let fields = [("user", "ann"), ("visits", "0")];
        let () = con.hset_multiple("session:1", &fields)?;
        assert!(con.expire::<_, bool>("session:1", 1800)?);
        assert_eq!(con.hincr::<_, _, _, i64>("session:1", "visits", 1)?, 1);
        let session: HashMap<String, String> = con.hgetall("session:1")?;
        assert_eq!(session["user"], "ann");
        assert_eq!(session["visits"], "1");
        assert!((1790..=1800).contains(&con.ttl::<_, i64>("session:1")?));
        assert_eq!(con.del::<_, i64>("session:1")?, 1);

        // A pipeline, and a transaction in one.
        let mut many = pipe();
        for _ in 0..1000 {
            many.incr("n", 1);
        }
        let counts: Vec<i64> = many.query(&mut con)?;
        assert_eq!(counts, (1..=1000).collect::<Vec<_>>());
        let (n, text): (i64, String) =
            pipe().atomic().set("a", 1).ignore().incr("a", 1).get("a").query(&mut con)?;
        assert_eq!((n, text.as_str()), (2, "2"));

        // A transaction that another thwarts once.
        let mut tries = 0;
        let mut other = client.get_connection()?;
        let (now,): (i64,) = redis::transaction(&mut con, &["a"], |con, pipe| {
            tries += 1;
            let before: i64 = con.get("a")?;
            if tries == 1 {
                let () = other.set("a", 10)?;
            }
            pipe.set("a", before + 1).ignore().get("a").query(con)
        })?;
        assert_eq!((now, tries), (11, 2));

        // Messages.
        let mut listening = client.get_connection()?;
        let mut subscriber = listening.as_pubsub();
        subscriber.subscribe("news")?;
        subscriber.psubscribe("n*")?;
        assert_eq!(con.publish::<_, _, i64>("news", "hello")?, 2);
        for _ in 0..2 {
            let message = subscriber.get_message()?;
            assert_eq!(message.get_channel_name(), "news");
            assert_eq!(message.get_payload::<String>()?, "hello");
        }
        drop(subscriber);
        assert_eq!(cmd("PING").query::<String>(&mut listening)?, "PONG");

        // A lock.
        let take = |con: &mut redis::Connection, token: &str| -> RedisResult<Option<String>> {
            cmd("SET").arg("lock").arg(token).arg("NX").arg("PX").arg(30000).query(con)
        };
        assert_eq!(take(&mut con, "mine")?, Some("OK".to_string()));
        assert_eq!(take(&mut con, "yours")?, None::<String>);
        let release = Script::new(RELEASE);
        assert_eq!(release.key("lock").arg("yours").invoke::<i64>(&mut con)?, 0);
        assert_eq!(release.key("lock").arg("mine").invoke::<i64>(&mut con)?, 1);
        Ok(())
    }

    async fn asynchronous(protocol: &str) -> RedisResult<()> {
        let peer = ours();
        let client = client(&peer, protocol);
        let con: aio::MultiplexedConnection = client.get_multiplexed_async_connection().await?;

        // Many tasks share one connection.
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let mut con = con.clone();
                tokio::spawn(async move { con.hincr("session:1", "visits", 1).await })
            })
            .collect();
        let mut counts = Vec::new();
        for task in tasks {
            let count: RedisResult<i64> = task.await.expect("no task panics");
            counts.push(count?);
        }
        counts.sort_unstable();
        assert_eq!(counts, (1..=50).collect::<Vec<_>>());

        let mut con = con;
        let session: HashMap<String, i64> = con.hgetall("session:1").await?;
        assert_eq!(session["visits"], 50);
        let (n,): (i64,) =
            pipe().atomic().set("a", 1).ignore().incr("a", 1).query_async(&mut con).await?;
        assert_eq!(n, 2);
        let release = Script::new(RELEASE);
        assert_eq!(release.key("a").arg("2").invoke_async::<i64>(&mut con).await?, 1);
        let wrong: RedisResult<String> = con.get("session:1").await;
        assert_eq!(wrong.expect_err("a hash is no string").code(), Some("WRONGTYPE"));
        Ok(())
    }

    #[test]
    fn blocking_in_resp2() {
        blocking("resp2").expect("every command succeeds");
    }

    #[test]
    fn blocking_in_resp3() {
        blocking("resp3").expect("every command succeeds");
    }

    #[tokio::test]
    async fn asynchronous_in_resp2() {
        asynchronous("resp2").await.expect("every command succeeds");
    }

    #[tokio::test]
    async fn asynchronous_in_resp3() {
        asynchronous("resp3").await.expect("every command succeeds");
    }
}

mod fred {
    use super::*;
    use ::fred::clients::SubscriberClient;
    use ::fred::prelude::*;
    use ::fred::types::RespVersion;

    async fn check(version: RespVersion) -> Result<(), Error> {
        let peer = ours();
        let mut config = Config::from_url(&peer.url())?;
        config.version = version;
        let client = Builder::from_config(config.clone()).build()?;
        client.init().await?;

        // The life of a session.
        let () = client.hset("session:1", [("user", "ann"), ("visits", "0")]).await?;
        assert_eq!(client.expire::<i64, _>("session:1", 1800, None).await?, 1);
        assert_eq!(client.hincrby::<i64, _, _>("session:1", "visits", 1).await?, 1);
        let session: HashMap<String, String> = client.hgetall("session:1").await?;
        assert_eq!((session["user"].as_str(), session["visits"].as_str()), ("ann", "1"));
        assert!((1790..=1800).contains(&client.ttl::<i64, _>("session:1").await?));
        assert_eq!(client.del::<i64, _>("session:1").await?, 1);

        // A pipeline.
        let pipeline = client.pipeline();
        for _ in 0..1000 {
            let () = pipeline.incr("n").await?;
        }
        let counts: Vec<i64> = pipeline.all().await?;
        assert_eq!(counts, (1..=1000).collect::<Vec<_>>());

        // A transaction that holds, and one whose watched key was written.
        let transaction = client.multi();
        let () = transaction.set("a", 1, None, None, false).await?;
        let () = transaction.incr("a").await?;
        let replies: (String, i64) = transaction.exec(true).await?;
        assert_eq!(replies, ("OK".into(), 2));

        // Messages.
        let subscriber: SubscriberClient =
            Builder::from_config(config).build_subscriber_client()?;
        subscriber.init().await?;
        let mut messages = subscriber.message_rx();
        subscriber.subscribe("news").await?;
        // fred says done when the request is written: wait for an answer on that connection.
        let _: Value = subscriber.ping(None).await?;
        assert_eq!(client.publish::<i64, _, _>("news", "hello").await?, 1);
        let message = messages.recv().await.expect("a message comes");
        assert_eq!(message.channel, "news");
        assert_eq!(message.value.convert::<String>()?, "hello");

        // A lock.
        let for_half_a_minute = || Some(Expiration::PX(30000));
        let nx = || Some(SetOptions::NX);
        let taken: Option<String> =
            client.set("lock", "mine", for_half_a_minute(), nx(), false).await?;
        assert_eq!(taken.as_deref(), Some("OK"));
        let taken: Option<String> =
            client.set("lock", "yours", for_half_a_minute(), nx(), false).await?;
        assert_eq!(taken, None);
        assert_eq!(client.eval::<i64, _, _, _>(RELEASE, "lock", "yours").await?, 0);
        assert_eq!(client.eval::<i64, _, _, _>(RELEASE, "lock", "mine").await?, 1);
        client.quit().await?;
        subscriber.quit().await
    }

    #[tokio::test]
    async fn in_resp2() {
        check(RespVersion::RESP2).await.expect("every command succeeds");
    }

    #[tokio::test]
    async fn in_resp3() {
        check(RespVersion::RESP3).await.expect("every command succeeds");
    }
}
