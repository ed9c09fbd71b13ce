"""An HTTP proxy on loopback that misbehaves as it is told."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from tests.support import loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Given the handler: True when it has dealt with the request, however badly.
    Fault = Callable[[http.server.BaseHTTPRequestHandler], bool]

_DROPPED = frozenset({"content-length", "transfer-encoding", "date"})


class FaultyProxy:
    """Passes requests on to `upstream` (host:port), but for those that a fault is meant for."""

    def __init__(self, upstream: str) -> None:
        self.faults: list[Fault] = []
        #: When, and what was asked for.
        self.requests: list[tuple[float, str]] = []
        #: Bytes of bodies that came in.
        self.received = 0
        #: Seconds between two bytes of a reply to a POST; bytes a second that are taken in.
        self.drip = 0.0
        self.rate = 0
        self._upstream = upstream
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                if proxy.rate:  # the kernel would take in megabytes for us
                    self.request.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                super().setup()

            def log_message(self, *_: Any) -> None:
                pass

            def _any(self) -> None:
                proxy._answer(self)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815

        self._handler = Handler
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.host = self._open.enter_context(loopback.serving(self._handler))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def asked(self, method: str = "") -> int:
        return sum(what.startswith(method) for _, what in self.requests)

    def _answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.requests.append((time.monotonic(), f"{handler.command} {handler.path}"))
        if any(fault(handler) for fault in list(self.faults)):
            handler.close_connection = True
            return
        body = self._read(handler, length(handler))
        with contextlib.closing(self._connect(handler)) as there:
            there.endheaders(body)
            reply = there.getresponse()
            result = reply.read()
        lines = [f"HTTP/1.1 {reply.status} {reply.reason}"]
        lines += [f"{k}: {v}" for k, v in reply.getheaders() if k.lower() not in _DROPPED]
        head = handler.command == "HEAD"
        lines += [f"Content-Length: {reply.getheader('Content-Length') if head else len(result)}"]
        self._write(handler, "\r\n".join([*lines, "", ""]).encode() + (b"" if head else result))

    def _connect(self, handler: http.server.BaseHTTPRequestHandler) -> http.client.HTTPConnection:
        """To the other side, with the request's line and headers said, but not ended."""
        there = http.client.HTTPConnection(self._upstream, timeout=30)
        there.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
        for name, value in handler.headers.items():
            if name.lower() != "connection":
                there.putheader(name, value)
        return there

    def _read(self, handler: http.server.BaseHTTPRequestHandler, count: int) -> bytes:
        taken = b""
        while len(taken) < count:
            step = max(1, self.rate // 20) if self.rate else count
            taken += handler.rfile.read(min(step, count - len(taken)))
            if self.rate:
                time.sleep(0.05)
        self.received += len(taken)
        return taken

    def _write(self, handler: http.server.BaseHTTPRequestHandler, reply: bytes) -> None:
        if not self.drip or handler.command != "POST":
            handler.wfile.write(reply)
            return
        for at in range(len(reply)):
            handler.wfile.write(reply[at : at + 1])
            time.sleep(self.drip)

    # ── faults ──────────────────────────────────────────────────────────────────────────────

    def answer(
        self, status: int, *, times: int = 1, after: int = 0, method: str = "", **headers: str
    ) -> None:
        """Refuse so many requests, once so many have passed. Headers have _ for -."""
        left = [after, times]

        def fault(handler: http.server.BaseHTTPRequestHandler) -> bool:
            if not handler.command.startswith(method) or left[1] == 0:
                return False
            if left[0] > 0:
                left[0] -= 1
                return False
            left[1] -= 1
            self._read(handler, length(handler))
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return True

        self.faults.append(fault)

    def cut(self, method: str, at: int, *, after: int = 0) -> None:
        """Break a connection after `at` bytes of a body; those bytes have arrived."""
        left = [after, 1]

        def fault(handler: http.server.BaseHTTPRequestHandler) -> bool:
            if handler.command != method or left[1] == 0:
                return False
            if left[0] > 0:
                left[0] -= 1
                return False
            left[1] = 0
            body = self._read(handler, min(at, length(handler)))
            there = self._connect(handler)
            there.endheaders()
            there.send(body)
            time.sleep(0.05)
            there.close()
            return True

        self.faults.append(fault)

    def silent(self) -> None:
        """Take requests, and say nothing for longer than anybody waits."""
        over = threading.Event()

        def fault(_: http.server.BaseHTTPRequestHandler) -> bool:
            over.wait(5)
            return True

        self.faults.append(fault)


def length(handler: http.server.BaseHTTPRequestHandler) -> int:
    return int(handler.headers.get("Content-Length") or 0)
