"""A small web application that keeps its sessions in Redis: login, a visit counter, logout.

A session is one hash, and every access puts its end SESSION_SECONDS (ten) into the future.
"""

import os
import uuid

import flask
import redis


class SessionStore:
    """One session: a hash whose lifetime slides with every access."""

    def __init__(self, token, url, ttl):
        self.token = token
        self.redis = redis.Redis.from_url(url, decode_responses=True)
        self.ttl = ttl

    def set(self, key, value):
        self.redis.hset(self.token, key, value)
        return self.refresh()

    def get(self, key):
        self.refresh()
        return self.redis.hget(self.token, key)

    def incr(self, key):
        count = self.redis.hincrby(self.token, key, 1)
        self.refresh()
        return count

    def destroy(self):
        self.redis.delete(self.token)

    def refresh(self):
        return self.redis.expire(self.token, self.ttl)


app = flask.Flask(__name__)
app.secret_key = os.environ.get("SECRET_KEY", "not secret in a test")
app.config["REDIS_URL"] = os.environ.get("REDIS_URL", "redis://localhost:6379")
app.config["SESSION_SECONDS"] = 10


def store(create=False):
    """The store of the caller's session."""
    if create and "token" not in flask.session:
        flask.session["token"] = f"session:{uuid.uuid4().hex}"
    token = flask.session.get("token")
    if token is None:
        return None
    return SessionStore(token, app.config["REDIS_URL"], app.config["SESSION_SECONDS"])


@app.get("/")
def index():
    session = store()
    user = session.get("user") if session else None
    if user is None:
        return "you are not logged in", 401
    return flask.jsonify(user=user, visits=session.incr("visits"))


@app.post("/login")
def login():
    flask.session.pop("token", None)
    store(create=True).set("user", flask.request.form["user"])
    return flask.redirect("/")


@app.post("/logout")
def logout():
    session = store()
    if session:
        session.destroy()
    flask.session.clear()
    return "", 204


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "5000")))
