"""A GitHub of our own on loopback: the part of its REST API that workflows use, as it answers.

Pages by `Link`, 100 at most; the version is checked; a token has permissions, and what it lacks is
named in a header; validation (422) says which field. Branches are those of a bare repository, to
which pushes go by its path. Faults are put in with `fail`.
"""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from tests.support import loopback
from tests.support.github_hub import VERSION, GitHub, GitHubRefusal, GitHubRequest
from tests.support.github_routes import ROUTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.github_hub import GitHubFault, GitHubReply


def answer(hub: GitHub, request: GitHubRequest) -> GitHubReply:
    if not request.headers.get("User-Agent"):
        raise GitHubRefusal(403, "Request forbidden by administrative rules.")
    version = request.headers.get("X-GitHub-Api-Version", VERSION)
    if version != VERSION:
        raise GitHubRefusal(400, f"API version {version} is not supported")
    authorization = request.headers.get("Authorization", "")
    word, _, name = authorization.partition(" ")
    if not authorization:
        raise GitHubRefusal(401, "Requires authentication")
    if word.lower() not in {"bearer", "token"} or name not in hub.tokens:
        raise GitHubRefusal(401, "Bad credentials")
    request.token = hub.tokens[name]
    for method, pattern, handler in ROUTES:
        match = pattern.fullmatch(request.path)
        if match is None or method != request.method:
            continue
        segments = {key: unquote(value) for key, value in match.groupdict().items()}
        owner, repo = segments.pop("owner", None), segments.pop("repo", None)
        if owner is not None and f"{owner}/{repo}" != hub.repository:
            break
        reply: GitHubReply = handler(hub, request, **segments)
        return reply
    raise GitHubRefusal(404, "Not Found")


def paged(reply: Any, request: GitHubRequest, url: str) -> tuple[Any, str]:
    """One page of a list, and the `Link` to the others."""
    size = min(int(request.query.get("per_page", 30)), 100)
    page = max(int(request.query.get("page", 1)), 1)
    key = ""
    if isinstance(reply, dict) and "total_count" in reply:
        key = next(name for name, value in reply.items() if isinstance(value, list))
    items = reply[key] if key else reply
    if request.method != "GET" or not isinstance(items, list):
        return reply, ""
    last = max(1, -(-len(items) // size))
    part = items[(page - 1) * size : page * size]

    def at(number: int, rel: str) -> str:
        query = urlencode({**request.query, "page": number})
        return f'<{url}{request.path}?{query}>; rel="{rel}"'

    links = [at(page - 1, "prev"), at(1, "first")] if page > 1 else []
    links += [at(page + 1, "next"), at(last, "last")] if page < last else []
    return ({**reply, key: part} if key else part), ", ".join(links)


def _encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


class GitHubHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # one segment a reply: two cost 40 ms each (Nagle, delayed ACK)
    hub: GitHub
    lock = threading.Lock()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = {k: v[-1] for k, v in parse_qs(parts.query).items()}
        body = json.loads(raw) if raw else None
        request = GitHubRequest(self.command, parts.path, query, self.headers, body)
        with self.lock:
            self.hub.requests.append(f"{self.command} {self.path}")
            fault = self._fault()
            answered = self._answer(request) if fault is None or fault.carried_out else None
        if fault is None and answered is not None:
            self._send(*answered)
        elif fault is not None and fault.status:
            self._send(fault.status, fault.body, fault.headers)
        else:
            self.close_connection = True

    do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815 - the base class's names

    def _fault(self) -> GitHubFault | None:
        for fault in self.hub.faults:
            fits = fault.method == self.command and re.search(fault.path, self.path)
            if fits and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def _answer(self, request: GitHubRequest) -> tuple[int, Any, dict[str, str]]:
        try:
            reply = answer(self.hub, request)
        except GitHubRefusal as refusal:
            return refusal.status, refusal.body, refusal.headers
        body, links = paged(reply.body, request, self.hub.url)
        return reply.status, body, {"Link": links} if links else {}

    def _send(self, status: int, body: Any, headers: Mapping[str, str]) -> None:
        data = body if isinstance(body, bytes) else b"" if body is None else _encoded(body)
        self.send_response_only(status)
        fields = {
            "Content-Type": "application/json; charset=utf-8",
            "X-GitHub-Api-Version-Selected": VERSION,
            "X-GitHub-Request-Id": "0000:0000:1",
            "X-RateLimit-Limit": "1000",
            "X-RateLimit-Remaining": "900",
            "X-RateLimit-Reset": str(int(time.time()) + 1800),
            "X-RateLimit-Resource": "core",
            "Content-Length": str(len(data)),
            **headers,
        }
        # A fault may claim more than it sends: the connection ends then.
        self.close_connection |= fields["Content-Length"] != str(len(data))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(bare: Path, *, repository: str = "iterate/iterate") -> Iterator[GitHub]:
    """A GitHub whose repository's branches are those of `bare`."""
    handler = type("Handler", (GitHubHandler,), {"lock": threading.Lock()})
    with loopback.serving(handler) as host:
        hub = GitHub(f"http://{host}", bare, repository)
        handler.hub = hub  # type: ignore[attr-defined]
        yield hub
