"""Requests end: at their deadline, by a signal, when their client is closed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from tasks.base import project
from tasks.base.errors import TaskError
from tasks.base.http import Client, Limits, Service
from tasks.base.retry import RemoteFailed
from tests.support import loopback
from tests.support.loopback import Answer

SERVICE = Service(name="the shop", advice={"network": "check the line"})


def client(**environment: str) -> Client:
    return Client(SERVICE, environment=environment, limits=Limits(connect=5, idle=5, total=10))


class Dripper:
    """Sends `script` at once, then a byte every 50 ms for as long as anybody takes them."""

    def __init__(self, script: bytes) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.is_asked = threading.Event()
        self.hung_up = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, self._listener:
            connection.sendall(self._script)
            self.is_asked.set()
            try:
                while True:
                    time.sleep(0.05)
                    connection.sendall(b"x")
            except OSError:
                self.hung_up.set()


@pytest.mark.parametrize(
    "script",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nF4240\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: ",
        b"",
    ],
    ids=["body", "body until the end", "chunk", "header", "status line"],
)
def test_a_server_that_drips_ends_at_the_deadline(script: bytes) -> None:
    dripper = Dripper(script)
    with pytest.raises(RemoteFailed, match=r"the shop did not answer within 0\.5s") as caught:
        client().send("GET", f"http://{dripper.host}", doing="brewing", limits=Limits(total=0.5))
    assert (caught.value.kind, caught.value.fix) == ("network", "check the line")
    assert dripper.hung_up.wait(60)


def test_a_handshake_that_drips_ends_at_the_deadline() -> None:
    # A TLS record of a handshake that never comes to its end.
    dripper = Dripper(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
    with pytest.raises(RemoteFailed, match="did not answer within"):
        client().send("GET", f"https://{dripper.host}", doing="brewing", limits=Limits(total=0.5))


def test_a_proxy_that_drips_ends_at_the_deadline() -> None:
    dripper = Dripper(b"HTTP/1.1 200 OK\r\nX-Long: ")
    shop = client(HTTPS_PROXY=f"http://{dripper.host}")
    with pytest.raises(RemoteFailed, match="did not answer within"):
        shop.send("GET", "https://shop.example/", doing="brewing", limits=Limits(total=0.5))


def test_a_connection_that_was_kept_open_has_a_deadline_too() -> None:
    replies = iter([Answer(b"tea"), Answer(b"x" * 1000, drip=0.05)])
    with loopback.answering(lambda _: next(replies)) as host:
        shop = client()
        shop.send("GET", f"http://{host}", doing="brewing")
        with pytest.raises(RemoteFailed, match="did not answer within"):
            shop.send("GET", f"http://{host}", doing="brewing", limits=Limits(total=0.5))


def test_a_silent_server_ends_after_its_silence() -> None:
    with (
        loopback.answering(lambda _: Answer(after=5)) as host,
        pytest.raises(RemoteFailed, match="no reply from the shop"),
    ):
        client().send("GET", f"http://{host}", doing="brewing", limits=Limits(idle=0.3))


def test_a_slow_reply_within_the_bounds_is_waited_for() -> None:
    with loopback.answering(lambda _: Answer(b"x" * 20, drip=0.05)) as host:
        bounds = Limits(idle=10, total=60)
        assert client().send("GET", f"http://{host}", doing="brewing", limits=bounds).status == 200


def test_a_request_is_ended_when_its_client_is_closed() -> None:
    dripper = Dripper(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    shop = client()
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            shop.send("GET", f"http://{dripper.host}", doing="brewing", limits=Limits(total=600))
        except TaskError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert dripper.is_asked.wait(60)
    shop.close()
    thread.join(60)
    assert not thread.is_alive()
    assert errors
    with pytest.raises(TaskError, match="was closed"):
        shop.send("GET", f"http://{dripper.host}", doing="brewing")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_request_at_once(signum: signal.Signals) -> None:
    dripper = Dripper(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    program = textwrap.dedent(f"""\
        import sys
        from tasks import __main__
        from tasks.base.http import Client, Limits, Service
        __main__._end_as_if_interrupted()
        Client(Service(name="x")).send("GET", "http://{dripper.host}", doing="x",
                                       limits=Limits(total=600))
    """)
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=project.ROOT, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(project.ROOT)},
    ) as child:  # fmt: skip
        assert dripper.is_asked.wait(60)
        child.send_signal(signum)
        _, output = child.communicate(timeout=60)
    assert b"Interrupted" in output or b"KeyboardInterrupt" in output
