"""redis-py by Sentinel: writes sessions without end and says which were acknowledged by a replica.

usage: sentinel.py NAME SERVICE HOST:PORT... (the sentinels)
"""

import itertools
import sys
import time

import redis
from redis.sentinel import Sentinel

name, service = sys.argv[1:3]
sentinels = [(host, int(port)) for host, port in (at.split(":") for at in sys.argv[3:])]
limits = {"socket_timeout": 2, "socket_connect_timeout": 2}
primary = Sentinel(sentinels, sentinel_kwargs=limits, **limits).master_for(service)

for number in itertools.count(1):
    pipe = primary.pipeline(transaction=False)
    pipe.hset(f"{name}:{number}", mapping={"user": "ann", "n": number})
    pipe.expire(f"{name}:{number}", 1800)
    pipe.execute_command("WAIT", 1, 1000)
    try:
        replicas = pipe.execute()[-1]
        print(f"acked {number}" if replicas >= 1 else f"failed no replica has {number}", flush=True)
    except redis.RedisError as error:
        print(f"failed {type(error).__name__}: {error}".splitlines()[0], flush=True)
        time.sleep(0.01)
