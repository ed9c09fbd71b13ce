"""A git server on loopback that wants a user and a password: git's own `http-backend`."""

from __future__ import annotations

import base64
import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tests.support import loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass
class GitServer:
    """`url` is its root; a repository's is `url/NAME.git`. `seen` are the Authorization headers."""

    url: str
    root: Path
    user: str
    password: str
    seen: list[str | None] = field(default_factory=list)
    #: Called while a client waits for its answer.
    meanwhile: Callable[[], object] = lambda: None
    #: Where it leads its clients instead of answering.
    redirect: str = ""
    #: Whether it says in an error what it was shown.
    indiscreet: bool = False

    @property
    def expected(self) -> str:
        return "basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # one segment a reply: two cost 40 ms each (Nagle, delayed ACK)
    git: GitServer

    def do_GET(self) -> None:
        body = self._body()
        self.git.meanwhile()
        given = self.headers.get_all("Authorization") or []
        self.git.seen += given or [None]
        if self.git.redirect:
            self._send(302, {"Location": self.git.redirect + self.path})
            return
        if self.git.indiscreet:
            told = f"you are not {given}".encode()
            self._send(403, {"Content-Type": "text/plain"}, told)
            return
        # Two of them are refused by GitHub, too.
        wanted = self.git.expected.partition(" ")[2]
        if len(given) != 1 or given[0].partition(" ")[2] != wanted:
            self._send(401 if len(given) < 2 else 400, {"WWW-Authenticate": 'Basic realm="x"'})
            return
        said = subprocess.run(
            ["git", "http-backend"], env=self._environment(body), input=body, timeout=60,
            capture_output=True, check=True,
        ).stdout  # fmt: skip
        head, _, content = said.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        self._send(status, headers, content)

    do_POST = do_GET  # noqa: N815 - the base class's name

    def _environment(self, body: bytes) -> dict[str, str]:
        """https://git-scm.com/docs/git-http-backend, RFC 3875"""
        parts = urlsplit(self.path)
        env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {
            "GIT_PROJECT_ROOT": str(self.git.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": unquote(parts.path),
            "QUERY_STRING": parts.query,
            "CONTENT_TYPE": self.headers.get("Content-Type") or "",
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_USER": self.git.user,
            "REMOTE_ADDR": "127.0.0.1",
        }
        if encoding := self.headers.get("Content-Encoding"):
            env["HTTP_CONTENT_ENCODING"] = encoding
        if protocol := self.headers.get("Git-Protocol"):
            env["GIT_PROTOCOL"] = protocol
        return env

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, status: int, headers: dict[str, str], content: bytes = b"") -> None:
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(root: Path, *, user: str, password: str) -> Iterator[GitServer]:
    handler = type("Handler", (_Handler,), {})
    with loopback.serving(handler) as host:
        git = GitServer(f"http://{host}", root, user, password)
        handler.git = git  # type: ignore[attr-defined]
        yield git
