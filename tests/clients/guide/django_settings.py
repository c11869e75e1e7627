"""Uses the guide's settings for Django. usage: django_settings.py SNIPPET URL"""

import faulthandler
import importlib
import os
import runpy
import sys

import redis

faulthandler.dump_traceback_later(120, exit=True)
snippet, os.environ["SESSIONS_URL"] = sys.argv[1:3]
named = {name: value for name, value in runpy.run_path(snippet).items() if name.isupper()}

from django.conf import settings  # noqa: E402

settings.configure(SECRET_KEY="for the test", **named)
engine = importlib.import_module(settings.SESSION_ENGINE)
session = engine.SessionStore()
session["visits"] = 1
session.save()
before = session.session_key
session = engine.SessionStore(before)
session["visits"] += 1
session.cycle_key()
assert not engine.SessionStore().exists(before)
assert engine.SessionStore(session.session_key)["visits"] == 2
server = redis.Redis.from_url(os.environ["SESSIONS_URL"], decode_responses=True)
keys = server.keys("session:django*")
assert len(keys) == 1 and 1700 < server.ttl(keys[0]) <= 1800, keys
session.flush()
assert server.dbsize() == 0
print("ok")
