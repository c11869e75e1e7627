"""Uses the guide's Flask application. usage: flask_app.py SNIPPET URL"""

import faulthandler
import os
import runpy
import sys

import redis

faulthandler.dump_traceback_later(120, exit=True)
snippet, os.environ["SESSIONS_URL"] = sys.argv[1:3]
app = runpy.run_path(snippet)["app"]
# The cookie is for TLS only.
browser = app.test_client()
https = {"base_url": "https://localhost"}
assert browser.get("/", **https).json == {"visits": 1}
assert browser.get("/", **https).json == {"visits": 2}
before = browser.get_cookie("session").value
answer = browser.post("/login", **https)
assert answer.json == {"user": "ann"}
for word in ("HttpOnly", "Secure", "SameSite=Lax"):
    assert word in answer.headers["Set-Cookie"], answer.headers
assert browser.get_cookie("session").value != before
assert browser.get("/", **https).json == {"visits": 3}
server = redis.Redis.from_url(os.environ["SESSIONS_URL"])
keys = server.keys("session:flask:*")
assert len(keys) == 1 and 1700 < server.ttl(keys[0]) <= 1800, keys
browser.post("/logout", **https)
assert server.dbsize() == 0
print("ok")
