"""Uses the guide's PHP page on PHP's own web server. usage: php.py SNIPPET URL"""

import faulthandler
import os
import socket
import subprocess
import sys
import time

import redis
import requests

faulthandler.dump_traceback_later(120, exit=True)
snippet, url = sys.argv[1:3]
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
path = url.replace("redis://", "tcp://")
php = subprocess.Popen(
    ["php", "-S", f"127.0.0.1:{port}", snippet],
    env={**os.environ, "SESSIONS_PATH": path},
    stdin=subprocess.DEVNULL,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
)
try:
    base, browser = f"http://127.0.0.1:{port}", requests.Session()

    def visit(to):
        answer = browser.get(base + to)
        try:
            return answer.json()["visits"]
        except ValueError as error:
            raise AssertionError(answer.text) from error

    for _ in range(500):
        try:
            first = visit("/")
            break
        except requests.ConnectionError:
            time.sleep(0.02)
    assert [first, visit("/")] == [1, 2]
    before = browser.cookies["PHPSESSID"]
    assert visit("/login") == 3
    assert browser.cookies["PHPSESSID"] != before
    assert visit("/") == 4
    server = redis.Redis.from_url(url, decode_responses=True)
    keys = server.keys("session:php:*")
    assert len(keys) == 1 and 1700 < server.ttl(keys[0]) <= 1800, keys
finally:
    php.terminate()
    php.wait()
print("ok")
