"""An engine of a test's own, on a unix socket."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tasks.engine import discovery, errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = {
    "Version": "26.1.5+dfsg1",
    "ApiVersion": "1.45",
    "Os": "linux",
    "Arch": "amd64",
    "Platform": {"Name": ""},
    "Components": [{"Name": "Engine"}, {"Name": "containerd"}],
}
DOCKER = """\
#!/bin/sh
case "$1" in
  buildx) echo "github.com/docker/buildx v0.13.1 abc";;
  context) cat "$(dirname "$0")/context.json";;
esac
"""


class FakeEngine:
    """Answers on a unix socket as an engine of that version does."""

    def __init__(self, path: Path, version: Any, *, raw: bytes | None = None) -> None:
        self.path = path
        self._version = version
        self._raw = raw
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                request = connection.recv(4096)
                body = b"OK" if b"/_ping" in request else json.dumps(self._version).encode()
                head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                connection.sendall(head + body if self._raw is None else self._raw)

    def close(self) -> None:
        # shutdown wakes the accept() that close alone would leave blocked
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@contextmanager
def fake_engine(path: Path, version: Any = VERSION, *, raw: bytes | None = None) -> Iterator[str]:
    server = FakeEngine(path, version, raw=raw)
    try:
        yield f"unix://{path}"
    finally:
        server.close()


def failure() -> errors.EngineError:
    """The error of `require`, which came in time and is one line with something to do."""
    start = time.monotonic()
    with pytest.raises(errors.EngineError) as caught:
        discovery.require()
    assert time.monotonic() - start < 2
    error = caught.value
    assert "\n" not in str(error)
    assert error.fix
    return error
