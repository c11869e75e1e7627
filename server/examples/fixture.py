"""A fixture for tests in Python, without any package: starts the server, turns its clock, and leaves
nothing behind. The same few lines do in any language: start the binary with a pipe as its standard
input, read the ready line, close the pipe.

    cargo build && python3 server/examples/fixture.py target/debug/cloakroom
"""

import contextlib
import socket
import subprocess
import sys


@contextlib.contextmanager
def cloakroom(binary="cloakroom"):
    """A running server's address; it ends with the block, or with this process."""
    command = [binary, "--port", "0", "--test-control", "--exit-with-parent"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as server:
        url = server.stdout.readline().removeprefix("ready redis://").strip()
        host, port = url.rsplit(":", 1)
        yield host, int(port)
        server.stdin.close()


class Client:
    """Just enough of a client for this page; use your usual one."""

    def __init__(self, address):
        self.stream = socket.create_connection(address).makefile("rwb")

    def __call__(self, *words):
        self.stream.write(b"*%d\r\n" % len(words))
        for word in (str(word).encode() for word in words):
            self.stream.write(b"$%d\r\n%s\r\n" % (len(word), word))
        self.stream.flush()
        head = self.stream.readline()[:-2]
        if head[:1] == b"-":
            raise RuntimeError(head[1:].decode())
        if head[:1] != b"$":
            return head[1:].decode()
        length = int(head[1:])
        return None if length < 0 else self.stream.read(length + 2)[:-2].decode()


def test_sessions_end_after_half_an_hour(address):
    redis = Client(address)
    redis("CLOAKROOM", "FREEZE")
    redis("HSET", "session:ann", "visits", 1)
    redis("EXPIRE", "session:ann", 1800)
    redis("CLOAKROOM", "ADVANCE", "1799s")
    assert redis("HGET", "session:ann", "visits") == "1"
    redis("CLOAKROOM", "ADVANCE", "1s")
    assert redis("HGET", "session:ann", "visits") is None


if __name__ == "__main__":
    with cloakroom(*sys.argv[1:]) as where:
        test_sessions_end_after_half_an_hour(where)
    print("ok")
