"""A git server on loopback that wants a user and a password: git's own `http-backend`."""

from __future__ import annotations

import base64
import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tests.support import loopback
from tests.support.loopback import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass
class GitServer:
    """`url` is its root; a repository's is `url/NAME.git`. `authorizations` are the headers of that
    name that came in, None for a request without one.
    """

    url: str
    root: Path
    user: str
    password: str
    authorizations: list[str | None] = field(default_factory=list)
    #: Called while a client waits for its answer.
    meanwhile: Callable[[], object] = lambda: None
    #: Where it leads its clients instead of answering.
    redirect: str = ""
    #: Whether its error repeats what it was sent.
    indiscreet: bool = False

    def answer(self, request: Request) -> Answer:
        self.meanwhile()
        headers = request.headers.get_all("Authorization") or []
        self.authorizations += headers or [None]
        if self.redirect:
            return Answer(status=302, headers={"Location": self.redirect + request.path})
        if self.indiscreet:
            text = f"you are not {headers}".encode()
            return Answer(text, 403, {"Content-Type": "text/plain"})
        # Two of them are refused by GitHub, too.
        if [header.partition(" ")[2] for header in headers] != [self._credentials]:
            challenge = {"WWW-Authenticate": 'Basic realm="x"'}
            return Answer(status=401 if len(headers) < 2 else 400, headers=challenge)
        return self._ask_git(request)

    @property
    def _credentials(self) -> str:
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def _ask_git(self, request: Request) -> Answer:
        output = subprocess.run(
            ["git", "http-backend"], env=self._environment(request), input=request.body,
            timeout=60, capture_output=True, check=True,
        ).stdout  # fmt: skip
        head, _, content = output.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        return Answer(content, status, headers)

    def _environment(self, request: Request) -> dict[str, str]:
        """https://git-scm.com/docs/git-http-backend, RFC 3875"""
        parts = urlsplit(request.path)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "REQUEST_METHOD": request.method,
            "PATH_INFO": unquote(parts.path),
            "QUERY_STRING": parts.query,
            "CONTENT_TYPE": request.headers.get("Content-Type") or "",
            "CONTENT_LENGTH": str(len(request.body)),
            "REMOTE_USER": self.user,
            "REMOTE_ADDR": "127.0.0.1",
        }
        if encoding := request.headers.get("Content-Encoding"):
            environment["HTTP_CONTENT_ENCODING"] = encoding
        if protocol := request.headers.get("Git-Protocol"):
            environment["GIT_PROTOCOL"] = protocol
        return environment


@contextmanager
def serving(root: Path, *, user: str, password: str) -> Iterator[GitServer]:
    def answer(request: Request) -> Answer:
        return git.answer(request)

    with loopback.answering(answer) as host:
        git = GitServer(f"http://{host}", root, user, password)
        yield git
