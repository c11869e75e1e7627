"""Drives the application over real HTTP. usage: drive.py URL advance|sleep"""

import faulthandler
import sys
import threading
import time

import redis
import requests
from werkzeug.serving import make_server

from app import app

# An answer that never comes ends the test.
faulthandler.dump_traceback_later(120, exit=True)
url, passing = sys.argv[1], sys.argv[2]
admin = redis.Redis.from_url(url, decode_responses=True)
admin.flushall()
app.config["REDIS_URL"] = url
# Where time cannot be turned, sessions are shorter, so that less of it has to be waited for.
lifetime = 10 if passing == "advance" else 5
app.config["SESSION_SECONDS"] = lifetime
server = make_server("127.0.0.1", 0, app, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}"


def pass_time(seconds):
    if passing == "advance":
        admin.execute_command("CLOAKROOM", "ADVANCE", f"{seconds * 1000:.0f}ms")
    else:
        time.sleep(seconds)


def visit(browser):
    answer = browser.get(base + "/")
    assert answer.status_code == 200, (answer.status_code, answer.text)
    return answer.json()


ann, bob = requests.Session(), requests.Session()
assert ann.get(base + "/").status_code == 401

# A login is redirected to the first visit.
answer = ann.post(base + "/login", data={"user": "ann"})
assert answer.json() == {"user": "ann", "visits": 1}, answer.text
assert visit(ann) == {"user": "ann", "visits": 2}

# Sessions stand apart, each one hash with a deadline.
bob.post(base + "/login", data={"user": "bob"})
assert visit(bob) == {"user": "bob", "visits": 2}
keys = admin.keys("session:*")
assert len(keys) == 2, keys
for key in keys:
    assert admin.type(key) == "hash"
    assert lifetime - 2 <= admin.ttl(key) <= lifetime, admin.ttl(key)
    assert admin.hget(key, "visits") == "2"

# The lifetime slides: more than it in two steps does not end a session that is visited.
pass_time(lifetime * 0.6)
assert visit(ann)["visits"] == 3
pass_time(lifetime * 0.6)
assert visit(ann)["visits"] == 4
assert bob.get(base + "/").status_code == 401, "a lifetime without a visit ends a session"
assert len(admin.keys("session:*")) == 1

# Logging out deletes.
assert ann.post(base + "/logout").status_code == 204
assert ann.get(base + "/").status_code == 401
assert admin.dbsize() == 0

# And one logs in anew, with a count from one.
assert ann.post(base + "/login", data={"user": "ann"}).json()["visits"] == 1
pass_time(lifetime * 1.1)
assert ann.get(base + "/").status_code == 401
assert admin.dbsize() == 0

server.shutdown()
print("ok")
