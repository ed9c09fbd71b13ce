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
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from tests.support import loopback
from tests.support.github_hub import VERSION, GitHub, GitHubRefusal, GitHubRequest
from tests.support.github_routes import ROUTES
from tests.support.loopback import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.github_hub import GitHubFault, GitHubReply


def route(hub: GitHub, request: GitHubRequest) -> GitHubReply:
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


@contextmanager
def serving(bare: Path, *, repository: str = "iterate/iterate") -> Iterator[GitHub]:
    """A GitHub whose repository's branches are those of `bare`."""
    lock = threading.Lock()

    def answer(request: Request) -> Answer:
        with lock:
            return _answer(hub, request)

    with loopback.answering(answer) as host:
        hub = GitHub(f"http://{host}", bare, repository)
        yield hub


def _answer(hub: GitHub, request: Request) -> Answer:
    parts = urlsplit(request.path)
    github_request = GitHubRequest(
        request.method,
        parts.path,
        {name: values[-1] for name, values in parse_qs(parts.query).items()},
        request.headers,
        json.loads(request.body) if request.body else None,
    )
    hub.requests.append(f"{request.method} {request.path}")
    fault = _take_fault(hub, request)
    if fault is None:
        return _encode(*_judge(hub, github_request))
    if fault.carried_out:
        _judge(hub, github_request)
    return _encode(fault.status, fault.body, fault.headers) if fault.status else Answer(status=0)


def _take_fault(hub: GitHub, request: Request) -> GitHubFault | None:
    for fault in hub.faults:
        fits = fault.method == request.method and re.search(fault.path, request.path)
        if fits and fault.times > 0:
            fault.times -= 1
            return fault
    return None


def _judge(hub: GitHub, request: GitHubRequest) -> tuple[int, Any, dict[str, str]]:
    try:
        reply = route(hub, request)
    except GitHubRefusal as refusal:
        return refusal.status, refusal.body, refusal.headers
    body, links = paged(reply.body, request, hub.url)
    return reply.status, body, {"Link": links} if links else {}


def _encode(status: int, body: Any, headers: Mapping[str, str]) -> Answer:
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    fields = {
        "Content-Type": "application/json; charset=utf-8",
        "X-GitHub-Api-Version-Selected": VERSION,
        "X-GitHub-Request-Id": "0000:0000:1",
        "X-RateLimit-Limit": "1000",
        "X-RateLimit-Remaining": "900",
        "X-RateLimit-Reset": str(int(time.time()) + 1800),
        "X-RateLimit-Resource": "core",
        **headers,
    }
    # A fault may claim more than it sends.
    length = int(fields.pop("Content-Length", len(data)))
    return Answer(data, status, fields, length=length)
