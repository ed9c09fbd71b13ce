"""The daemon as a process: its start, its sockets, its end."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from tasks.base import waiting
from tests.unit.daemon.support import TOKEN, bearer

if TYPE_CHECKING:
    from collections.abc import Iterator

DAEMON = Path(__file__).parents[3] / "apps" / "daemon"


class Running:
    #: Where its gateway to OpenCode listens, if it has one.
    gateway_port = 0

    def __init__(self, folder: Path, *, port: int = 0, **env: str) -> None:
        self.notified, notify = os.pipe()
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "iterate_daemon"],
                cwd=DAEMON,
                env={
                    "PATH": os.environ["PATH"],
                    "ITERATE_DAEMON_TOKEN": TOKEN,
                    "ITERATE_DAEMON_PORT": str(port),
                    "ITERATE_DAEMON_NOTIFY_FD": str(notify),
                    "ITERATE_S6_DIR": str(folder / "service"),
                    "ITERATE_UI_DIR": str(folder / "dist"),
                    "ITERATE_OPENCODE_URL": "http://127.0.0.1:1",
                    **env,
                },
                pass_fds=[notify],
                stdout=log,
                stderr=log,
            )
        os.close(notify)

    def wait_until_notified(self) -> bytes:
        """All that was written to the descriptor before it was closed."""
        text = b""
        deadline = time.monotonic() + 20
        while select.select([self.notified], [], [], deadline - time.monotonic())[0]:
            chunk = os.read(self.notified, 100)
            if not chunk:
                return text
            text += chunk
        raise AssertionError(f"not ready after 20 s: {self.output}")

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def port(self) -> int:
        match = re.search(r"listens on \S+:(\d+)", self.output)
        assert match is not None, self.output
        return int(match[1])

    def end(self, signum: int = signal.SIGTERM) -> float:
        start = time.monotonic()
        self.process.send_signal(signum)
        self.process.wait(timeout=10)
        return time.monotonic() - start

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.notified)


@contextmanager
def running(folder: Path, *, port: int = 0, **env: str) -> Iterator[Running]:
    daemon = Running(folder, port=port, **env)
    try:
        assert daemon.wait_until_notified() == b"\n"
        yield daemon
    finally:
        daemon.close()


def raw(port: int, request: bytes, *, timeout: float = 5) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            chunk = connection.recv(4096)
            if not chunk:
                break
            answer += chunk
        return answer


def status(answer: bytes) -> int:
    match = re.match(rb"HTTP/1\.1 (\d{3})", answer)
    assert match is not None, answer
    return int(match[1])


def test_the_daemon_serves_once_it_has_notified(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        answer = httpx.get(f"http://127.0.0.1:{daemon.port}/healthz", trust_env=False)
        assert answer.status_code == 200
        assert daemon.end() < 6
        assert daemon.process.returncode == -signal.SIGTERM
        assert "Traceback" not in daemon.output


def test_the_daemon_ends_although_clients_stay_connected(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "claude").write_text("#!/bin/sh\nsleep 60\n")
    (tmp_path / "bin" / "claude").chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    with running(tmp_path, PATH=path) as daemon:
        idle = [socket.create_connection(("127.0.0.1", daemon.port)) for _ in range(5)]
        idle[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        idle[1].sendall(b"GET /heal")
        idle[2].sendall(
            b"POST /api/session HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        idle[3].sendall(
            b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n"
            b"Authorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
        )
        daemon_itself = psutil.Process(daemon.process.pid)

        def questions() -> list[psutil.Process]:
            children = daemon_itself.children(recursive=True)
            return children if any("sleep" in child.name() for child in children) else []

        children = waiting.until(lambda: questions() or None, what="the question", timeout=20)
        assert daemon.end() < 6
        ended_processes, survivors = psutil.wait_procs(children, timeout=10)
        assert not survivors
        assert len(ended_processes) == len(children)
        assert b" 503 " in idle[2].recv(4096)
        assert "Traceback" not in daemon.output
        for connection in idle:
            connection.close()


def test_a_missing_token_ends_the_daemon_with_one_line(tmp_path: Path) -> None:
    daemon = Running(tmp_path, ITERATE_DAEMON_TOKEN="")
    try:
        assert daemon.wait_until_notified() == b""
        assert daemon.process.wait(timeout=10) == 78
        assert daemon.output.count("\n") == 1
        assert "ITERATE_DAEMON_TOKEN is not set →" in daemon.output
    finally:
        daemon.close()


def test_a_taken_port_ends_the_daemon_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        daemon = Running(tmp_path, port=port)
        try:
            assert daemon.wait_until_notified() == b""
            assert daemon.process.wait(timeout=10) == 1
            assert daemon.output.count("\n") == 1
            assert f"cannot listen on 127.0.0.1:{port}: Address already in use →" in daemon.output
        finally:
            daemon.close()


def test_two_daemons_cannot_share_a_port(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    with running(tmp_path) as daemon:
        second = Running(tmp_path / "second", port=daemon.port)
        try:
            assert second.process.wait(timeout=10) == 1
            assert "Address already in use" in second.output
        finally:
            second.close()


def test_the_daemon_restarts_at_once(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        port = first.port
        httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
        first.end(signal.SIGKILL)
    with running(tmp_path, port=port) as second:
        assert second.port == port


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("daemon")) as daemon:
        yield daemon


HOST = b"Host: localhost:3000\r\n"


@pytest.mark.parametrize(
    ("request_text", "expected_status"),
    [
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"Host: evil.com\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: evil.com\r\n\r\n", 421),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost.evil.com\r\n\r\n", 421),
        (b"GET http://localhost:3000/healthz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET http://evil.com/healthz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"CONNECT evil.com:443 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET //evil.com/ HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (b"GET /assets/..%2f..%2f..%2fetc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (b"GET /../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (b"GET /%00 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"junk\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 200_000 + b"\r\n\r\n", 400),
        (
            b"POST /api/session HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
    ],
)
def test_a_request_that_no_browser_sends_is_refused(
    daemon: Running, request_text: bytes, expected_status: int
) -> None:
    assert status(raw(daemon.port, request_text)) == expected_status


@pytest.mark.parametrize(
    "origin",
    [
        *(b"", b"Origin: null\r\n", b"Origin: http://evil.com\r\n"),
        *(b"Origin: http://localhost.evil.com\r\n", b"Origin: http://127.0.0.1.nip.io\r\n"),
        *(b"Origin: http://localhost:3001\r\n", b"Origin: http://localhost:3000\r\n"),
    ],
)
def test_a_websocket_handshake_is_refused(daemon: Running, origin: bytes) -> None:
    answer = raw(
        daemon.port,
        b"GET /api/status HTTP/1.1\r\n" + HOST + origin + b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Authorization: Bearer " + TOKEN.encode() + b"\r\n\r\n",
    )
    assert status(answer) == 403


def test_health_is_answered_while_hundreds_of_clients_are_silent(tmp_path: Path) -> None:
    """Some say nothing at all, some begin a request, some have had an answer before."""
    with running(tmp_path) as daemon:
        address = ("127.0.0.1", daemon.port)
        clients = [socket.create_connection(address) for _ in range(600)]
        for client in clients[::3]:
            client.sendall(b"GET /heal")
        answer = raw(daemon.port, b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
        assert status(answer) == 200
        # The oldest have made room for the newest.
        clients[0].settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            assert clients[0].recv(1) == b""
        clients[-1].sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
        assert status(clients[-1].recv(4096)) == 200
        for client in clients:
            client.close()


def test_a_client_that_sends_no_request_is_let_go(daemon: Running) -> None:
    """Whatever it dribbles: only a whole request counts."""
    beginnings = {
        "nothing": b"",
        "half a request": b"GET /heal",
        "after an answer": b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\nGET /",
    }
    with contextlib.ExitStack() as stack:
        clients = {}
        for name, beginning in beginnings.items():
            client = stack.enter_context(socket.create_connection(("127.0.0.1", daemon.port)))
            client.sendall(beginning)
            client.settimeout(0.2)
            clients[name] = client
        deadline = time.monotonic() + 60
        while clients and time.monotonic() < deadline:
            clients = {name: client for name, client in clients.items() if _is_open(client)}
        assert not clients


def _is_open(client: socket.socket) -> bool:
    try:
        client.sendall(b"x")
        return bool(client.recv(4096))
    except TimeoutError:
        return True
    except (ConnectionResetError, BrokenPipeError):
        return False


def test_the_token_is_in_no_log(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        base = f"http://127.0.0.1:{daemon.port}"
        with httpx.Client(base_url=base, trust_env=False) as client:
            client.get("/api/status", params={"token": TOKEN})
            client.get(f"/{TOKEN}")
            client.get("/api/status", headers=bearer(TOKEN + "x"))
            client.post("/api/session", json={"token": TOKEN})
            client.post("/api/session", content=TOKEN)
        raw(daemon.port, b"GET " + TOKEN.encode() + b" HTTP/1.1\r\n" + HOST + b"\r\n")
        raw(daemon.port, TOKEN.encode() + b"\r\n\r\n")
        daemon.end()
        assert "GET /api/status 401" in daemon.output
        assert TOKEN not in daemon.output
        assert "?" not in daemon.output
