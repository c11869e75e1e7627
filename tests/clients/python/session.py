"""redis-py against a server: blocking and asyncio, RESP2 and RESP3. usage: session.py URL"""

import asyncio
import faulthandler
import sys

import redis
import redis.asyncio

# A reply that never comes ends the test.
faulthandler.dump_traceback_later(60, exit=True)
url = sys.argv[1]
RELEASE = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end
return 0
"""


def blocking(protocol):
    r = redis.Redis.from_url(url, protocol=protocol, decode_responses=True)
    r.flushall()
    assert r.ping()
    assert r.info("server")["redis_mode"] == "standalone"

    # The life of a session.
    assert r.hset("session:1", mapping={"user": "ann", "visits": 0}) == 2
    assert r.expire("session:1", 1800)
    assert r.hincrby("session:1", "visits", 1) == 1
    assert r.hgetall("session:1") == {"user": "ann", "visits": "1"}
    assert 1795 <= r.ttl("session:1") <= 1800
    assert r.hdel("session:1", "user") == 1
    assert r.hget("session:1", "user") is None
    assert r.delete("session:1") == 1 and not r.exists("session:1")

    # An index of sessions.
    assert r.zadd("by-use", {"s1": 1.5, "s2": 2}) == 2
    assert [(member, score) for member, score in r.zrange("by-use", 0, -1, withscores=True)] == [
        ("s1", 1.5),
        ("s2", 2.0),
    ]
    assert r.sadd("of:ann", "s1", "s2") == 2
    assert r.smembers("of:ann") == {"s1", "s2"}
    assert sorted(r.scan_iter(match="*", count=3)) == ["by-use", "of:ann"]

    # A pipeline of many.
    with r.pipeline(transaction=False) as pipe:
        for n in range(1000):
            pipe.set(f"k{n}", n)
            pipe.incr(f"k{n}")
        assert pipe.execute()[1::2] == list(range(1, 1001))

    # A transaction that holds, and one that another thwarts.
    with r.pipeline() as pipe:
        pipe.watch("count")
        before = int(pipe.get("count") or 0)
        pipe.multi()
        pipe.set("count", before + 1)
        pipe.get("count")
        assert pipe.execute() == [True, "1"]
        pipe.watch("count")
        r.set("count", 10)
        pipe.multi()
        pipe.set("count", 2)
        try:
            pipe.execute()
            raise AssertionError("the watched key was written")
        except redis.WatchError:
            pass
    assert r.get("count") == "10"

    # Messages.
    with r.pubsub() as subscriber:
        subscriber.subscribe("news")
        subscriber.psubscribe("n*")
        for _ in range(2):
            assert subscriber.get_message(timeout=5)["type"] in ("subscribe", "psubscribe")
        assert r.publish("news", "hello") == 2
        got = [subscriber.get_message(timeout=5) for _ in range(2)]
        assert sorted(m["type"] for m in got) == ["message", "pmessage"], got
        assert all(m["data"] == "hello" for m in got)

    # A lock by hand, and the client's own.
    assert r.set("lock", "mine", nx=True, px=30000)
    assert r.set("lock", "yours", nx=True, px=30000) is None
    release = r.register_script(RELEASE)
    assert release(keys=["lock"], args=["yours"]) == 0
    assert release(keys=["lock"], args=["mine"]) == 1
    with r.lock("lock2", timeout=10) as lock:
        assert lock.owned() and lock.extend(10)
        assert not r.lock("lock2", timeout=10).acquire(blocking=False)
    assert not r.exists("lock2")

    # Errors are the client's own kinds.
    r.set("text", "v")
    for wrong in (lambda: r.hget("text", "f"), lambda: r.execute_command("NONSENSE")):
        try:
            wrong()
            raise AssertionError("an error was due")
        except redis.ResponseError as error:
            assert str(error).startswith(("WRONGTYPE", "unknown command")), error
    assert r.client_setname("web") and r.client_getname() == "web"
    assert r.config_get("maxmemory-policy")["maxmemory-policy"]
    r.close()


async def asynchronous(protocol):
    r = redis.asyncio.Redis.from_url(url, protocol=protocol, decode_responses=True)
    await r.flushall()
    await r.hset("session:1", mapping={"user": "ann"})
    counts = await asyncio.gather(*(r.hincrby("session:1", "visits", 1) for _ in range(50)))
    assert sorted(counts) == list(range(1, 51))
    assert (await r.hgetall("session:1"))["visits"] == "50"
    async with r.pipeline(transaction=True) as pipe:
        assert await pipe.set("a", 1).incr("a").execute() == [True, 2]
    async with r.pubsub() as subscriber:
        await subscriber.subscribe("news")
        assert (await subscriber.get_message(timeout=5))["type"] == "subscribe"
        await r.publish("news", "hello")
        assert (await subscriber.get_message(timeout=5))["data"] == "hello"
    assert await r.eval(RELEASE, 1, "a", "2") == 1
    await r.aclose()


for protocol in (2, 3):
    blocking(protocol)
    asyncio.run(asynchronous(protocol))
print("ok")
