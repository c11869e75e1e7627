"""Reads a session of the Rust client by the guide's functions.
usage: other_language.py SNIPPET URL TOKEN USER"""

import runpy
import sys

import redis

snippet, url, token, user = sys.argv[1:5]
guide = runpy.run_path(snippet)
server = redis.Redis.from_url(url, decode_responses=True)
assert guide["fields"](server, token) == {"theme": "dark", "visits": 1}
assert server.hget(guide["key"](token), "_user") == user
assert server.zrange(guide["index"](token, user), 0, -1) == [token]
# What another language writes, the Rust client reads.
server.hset(guide["key"](token), "from", '"python"')
print("ok")
