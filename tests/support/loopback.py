"""An HTTP server of a test's own: on loopback, in a thread, gone with its block."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping
    from email.message import Message


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass  # clients that hang up are part of what is tested


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Message[str, str]
    body: bytes


@dataclass
class Answer:
    """What a server replies. With status 0 it hangs up without a reply."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Seconds before the reply begins, and between its bytes.
    after: float = 0.0
    drip: float = 0.0
    #: What the reply claims to hold, where that is not its length.
    length: int | None = None


@contextmanager
def serving(
    handler: type[BaseHTTPRequestHandler], *, tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Its `host:port`."""
    server = _Server(("127.0.0.1", 0), handler)
    if tls is not None:
        # The handshake is the business of the connection's own thread.
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def answering(
    answer: Callable[[Request], Answer], *, tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """The `host:port` of a server that replies to each request with its `answer`."""
    with serving(
        type("_Handler", (AnsweringHandler,), {"answer": staticmethod(answer)}), tls=tls
    ) as host:
        yield host


class AnsweringHandler(BaseHTTPRequestHandler):
    """Replies as `answer` says, in one segment: two cost 40 ms (Nagle, delayed ACK)."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    answer: Callable[[Request], Answer]

    def do_GET(self) -> None:
        request = Request(self.command, self.path, self.headers, self.read_body())
        self.reply(type(self).answer(request))

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the base class's names

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def reply(self, answer: Answer) -> None:
        time.sleep(answer.after)
        if not answer.status:
            self.close_connection = True
            return
        length = len(answer.body) if answer.length is None else answer.length
        self.send_response_only(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection |= length > len(answer.body)
        if self.command != "HEAD":
            self._write(answer)

    def _write(self, answer: Answer) -> None:
        step = 1 if answer.drip else max(len(answer.body), 1)
        try:
            for start in range(0, len(answer.body), step):
                self.wfile.write(answer.body[start : start + step])
                self.wfile.flush()
                time.sleep(answer.drip)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


def relay(client: socket.socket, server: socket.socket) -> None:
    """Pass bytes both ways until both ends have finished."""
    replies = threading.Thread(target=_copy, args=(server, client), daemon=True)
    replies.start()
    _copy(client, server)
    replies.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(1 << 16):
            target.sendall(block)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
