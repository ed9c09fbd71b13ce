"""Pushing: F13 to F18, against the stand-in's real registry behind a proxy that misbehaves."""

from __future__ import annotations

import hashlib
import http.client
import http.server
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tasks import image_registry as registry
from tasks.image_registry import Blob, Target
from tasks.retry import Policy, RemoteFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.daytona.conftest import Bench

    Show = Callable[[str, object], None]

QUICK = Policy(attempts=5, base=0.1, cap=0.5)


class Proxy:
    """Passes requests on to the registry, but for those a fault is meant for."""

    def __init__(self, upstream: str) -> None:
        self.faults: list[Callable[[Any], bool]] = []
        self.requests: list[str] = []
        self.received = 0
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _any(self) -> None:
                proxy.requests.append(f"{self.command} {self.path}")
                if proxy.faults and proxy.faults[0](self):
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy.received += len(body)
                there = http.client.HTTPConnection(upstream, timeout=30)
                headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
                there.request(self.command, self.path, body=body, headers=headers)
                reply = there.getresponse()
                said = reply.read()
                self.send_response(reply.status)
                for name, value in reply.getheaders():
                    if name.lower() not in {"content-length", "transfer-encoding", "date"}:
                        self.send_header(name, value)
                length = reply.getheader("Content-Length") if self.command == "HEAD" else len(said)
                self.send_header("Content-Length", str(length or 0))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(said)
                there.close()

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _any  # noqa: N815

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, times: int, status: int, **headers: str) -> None:
        left = [times]

        def fault(handler: Any) -> bool:
            if left[0] == 0:
                return False
            left[0] -= 1
            handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return True

        self.faults.append(fault)

    def cut(self, method: str, after: int) -> None:
        """Break the connection in the body of the next such request; what came is passed on."""
        left = [1]

        def fault(handler: Any) -> bool:
            if handler.command != method or left[0] == 0:
                return False
            left[0] = 0
            handler.rfile.read(after)
            return True

        self.faults.append(fault)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def proxy(bench: Bench) -> Iterator[tuple[Proxy, Target]]:
    access = bench.api.registry_access()
    made = Proxy(access.registry)
    name = f"{access.project}/t-{os.getpid()}-{time.time_ns()}"
    yield (
        made,
        Target(registry=made.host, repository=name, username=access.username, secret=access.secret),
    )
    made.close()


def blob(folder: Path, size: int, media: str = registry._LAYER) -> Blob:
    content = os.urandom(size)
    digest = hashlib.sha256(content).hexdigest()
    path = folder / digest
    path.write_bytes(content)
    return Blob(digest=f"sha256:{digest}", bytes=size, path=path, media=media)


def push(target: Target, layers: list[Blob], config: Blob, **options: Any) -> registry.Pushed:
    return registry.send(config, layers, target, tag="t", policy=QUICK, **options)


@pytest.fixture
def config(tmp_path: Path) -> Blob:
    return blob(tmp_path, 100, registry._CONFIG)


def test_what_is_there_is_not_sent_again(
    proxy: tuple[Proxy, Target], tmp_path: Path, config: Blob
) -> None:
    there, target = proxy
    layers = [blob(tmp_path, registry.CHUNK + 5), blob(tmp_path, 10)]
    first = push(target, layers, config)
    assert first.uploaded.reused == 0
    before = there.received
    again = push(target, layers, config)
    assert again.uploaded.reused == 3
    assert again.digest == first.digest
    assert there.received - before < 2000  # the manifest


def test_503_three_times(
    proxy: tuple[Proxy, Target], tmp_path: Path, config: Blob, show: Show
) -> None:
    """F13: `docker push` takes 53 s for it."""
    there, target = proxy
    there.answer(3, 503)
    begun = time.monotonic()
    push(target, [blob(tmp_path, 1000)], config)
    took = time.monotonic() - begun
    assert took < 53 / 3
    show("F13 503 three times, then well", f"pushed after {took:.1f} s")


def test_503_for_ever(
    proxy: tuple[Proxy, Target], tmp_path: Path, config: Blob, show: Show
) -> None:
    """F14."""
    there, target = proxy
    there.answer(-1, 503)
    with pytest.raises(RemoteFailed) as caught:
        push(target, [blob(tmp_path, 1000)], config)
    assert caught.value.kind == "transient"
    assert len(there.requests) == QUICK.attempts
    show("F14 503 for ever", caught.value)


def test_429_is_waited_for(proxy: tuple[Proxy, Target], tmp_path: Path, config: Blob) -> None:
    """F15: twice two seconds."""
    there, target = proxy
    there.answer(2, 429, Retry_After="2")
    begun = time.monotonic()
    push(target, [blob(tmp_path, 1000)], config)
    assert time.monotonic() - begun >= 4


@pytest.mark.parametrize(
    ("status", "kind"), [(401, "auth"), (403, "scope"), (413, "rejected"), (400, "rejected")]
)
def test_what_stays_is_asked_once(
    proxy: tuple[Proxy, Target], tmp_path: Path, config: Blob, status: int, kind: str
) -> None:
    """F17. (A 404 says that a blob is not there.)"""
    there, target = proxy
    there.answer(-1, status)
    with pytest.raises(RemoteFailed) as caught:
        push(target, [blob(tmp_path, 1000)], config)
    assert caught.value.kind == kind
    assert len(there.requests) == 1
    assert target.secret not in str(caught.value)


@pytest.mark.parametrize("seed", range(4))
def test_a_reset_costs_one_piece(
    proxy: tuple[Proxy, Target], tmp_path: Path, config: Blob, seed: int
) -> None:
    """F16: blobs that are there are not sent again."""
    there, target = proxy
    layers = [blob(tmp_path, 1000), blob(tmp_path, 2 * registry.CHUNK + 17)]
    there.cut("PATCH", after=(seed * 4_000_000 + 17) % 900)
    pushed = push(target, layers, config)
    total = sum(b.bytes for b in [*layers, config])
    assert pushed.uploaded.sent == total
    assert there.received < total + 4000


def test_a_registry_that_says_nothing_is_given_up_on(
    proxy: tuple[Proxy, Target], tmp_path: Path, config: Blob, show: Show
) -> None:
    """F18."""
    there, target = proxy

    def silent(_: Any) -> bool:
        time.sleep(1.5)
        return True

    there.faults.append(silent)
    begun = time.monotonic()
    with pytest.raises(RemoteFailed) as caught:
        push(target, [blob(tmp_path, 10)], config, timeout=(2.0, 0.5))
    assert caught.value.kind == "network"
    assert time.monotonic() - begun < 20
    show("F18 a registry that says nothing", caught.value)
