"""GitHub's REST API, as far as workflows need it: one repository, one token, from the environment.

https://docs.github.com/rest: pages follow the header `Link`, missing permissions are named in a
header, there are two kinds of rate limits, and what a token may not see is "not found".
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

from tasks.base import addresses, console, project, retry
from tasks.base.errors import BadInput
from tasks.base.http import Client, Limits, Service
from tasks.base.parsing import parse_json
from tasks.base.retry import RemoteFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tasks.base.retry import Kind

T = TypeVar("T")

VERSION: Final = "2022-11-28"
_API: Final = "https://api.github.com"
_SERVER: Final = "https://github.com"
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+", re.ASCII)
_LIMITS: Final = Limits(connect=10.0, idle=30.0, total=120.0)
_REDIRECTS: Final = 3
#: Seconds that GitHub asks to wait for where a rate limit does not say how long.
_MINUTE: Final = 60.0
#: Seconds since 1970: later than any date that is meant.
_LATEST_RESET: Final = 1e11
_FIXES: Final[dict[Kind, str]] = {
    "auth": "check GITHUB_TOKEN: it is wrong, has expired, or is for another server",
    "scope": "give the token that permission",
    "not-found": "check GITHUB_REPOSITORY and the name; what a token may not see is not found, too",
    "rate": "wait until GitHub lets us again, then run it again",
    "transient": "run it again; https://www.githubstatus.com tells of outages",
    "network": "check GITHUB_API_URL and the network, then run it again",
    "rejected": "trying again does not help: mend what the reply names",
    "conflict": "run it again",
    "quota": "see the limits of the account on GitHub",
}
_SERVICE: Final = Service(
    name="GitHub",
    advice=_FIXES,
    redirect_advice="was the repository renamed? check GITHUB_REPOSITORY",
)
_ALLOW_PULL_REQUESTS: Final = (
    "on GitHub: Settings → Actions → General → Workflow permissions → allow GitHub Actions to"
    " create pull requests"
)


@dataclass(frozen=True, kw_only=True)
class GitHubAccess:
    """A token and its repository. The token is not in the `repr`, so it is in no traceback."""

    token: str = field(repr=False)
    repository: str
    api_url: str = _API
    server_url: str = _SERVER

    @property
    def owner(self) -> str:
        return self.repository.partition("/")[0]

    @property
    def page(self) -> str:
        """The repository's page, for people."""
        return f"{self.server_url}/{self.repository}"


def access(environment: Mapping[str, str] = os.environ, *, repository: str = "") -> GitHubAccess:
    """Read the environment; raises `BadInput` that names the variable that is missing or wrong."""
    token = environment.get("GITHUB_TOKEN", "")
    if not token.strip():
        raise BadInput(
            "GITHUB_TOKEN is not set",
            fix="in a workflow: env: GITHUB_TOKEN: ${{ github.token }}; else a token of yours",
        )
    if token != token.strip() or not token.isascii() or not token.isprintable() or " " in token:
        raise BadInput(
            "GITHUB_TOKEN has blanks, line breaks or other characters that no token has",
            fix="set it again",
        )
    name = environment.get("GITHUB_REPOSITORY", "").strip() or repository
    if not name:
        raise BadInput("GITHUB_REPOSITORY is not set", fix="set it to OWNER/NAME")
    if not _REPOSITORY.fullmatch(name) or {".", ".."} & set(name.split("/")):
        raise BadInput(
            f"GITHUB_REPOSITORY `{console.printable(name)[:80]}` is not a repository",
            fix="set it to OWNER/NAME",
        )
    return GitHubAccess(
        token=token,
        repository=name,
        api_url=_address(environment, "GITHUB_API_URL", _API),
        server_url=_address(environment, "GITHUB_SERVER_URL", _SERVER),
    )


def _address(environment: Mapping[str, str], name: str, default: str) -> str:
    text = environment.get(name, "").strip().rstrip("/") or default
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and addresses.is_loopback(host))
    if not is_safe or not host or "@" in parts.netloc or parts.query or not text.isprintable():
        # Never the text itself: it may hold a password.
        raise BadInput(f"{name} is not an address that a token may go to", fix=f"usually {default}")
    return text


class GitHubApi:
    """Requests for one repository; `{repo}` in a path stands for its own path.

    `doing` says in messages what a request is for. Failures are `RemoteFailed`.
    """

    def __init__(
        self,
        access: GitHubAccess,
        *,
        policy: retry.Policy = retry.DEFAULT,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.access = access
        self._policy = policy
        self._sleep = sleep
        self._client = Client(_SERVICE, limits=_LIMITS, secrets=[access.token])

    def close(self) -> None:
        self._client.close()

    def get(self, doing: str, path: str, **query: Any) -> Any:
        return self.ask(doing, "GET", path, query=query)

    def find(self, doing: str, path: str, **query: Any) -> Any:
        """As `get`; None for what does not exist."""
        try:
            return self.get(doing, path, **query)
        except RemoteFailed as error:
            if error.kind == "not-found":
                return None
            raise

    def pages(self, doing: str, path: str, *, key: str = "", **query: Any) -> Iterator[Any]:
        """Every member of a list, page by page; `key` names the list where a reply is an object."""
        url: str | None = self._url(path, {"per_page": 100, **query})
        while url:
            reply = self._retry(partial(self._send, doing, "GET", url, None))
            yield from reply.body[key] if key else reply.body
            url = _next_page(reply.headers.get("Link") or "", url)

    def ask(
        self, doing: str, method: str, path: str, *, body: Any = None, query: Any = None
    ) -> Any:
        """A request that may be sent twice: it is repeated after failures that may pass."""
        url = self._url(path, query or {})
        return self._retry(partial(self._send, doing, method, url, body)).body

    def create(
        self, doing: str, path: str, body: Any, *, existing: Callable[[], T | None]
    ) -> Any | T:
        """POST. Before it is repeated, `existing` looks for what an unanswered attempt has made."""
        attempts = 0

        def attempt() -> Any:
            nonlocal attempts
            attempts += 1
            if attempts > 1 and (result := existing()) is not None:
                return result
            return self._send(doing, "POST", self._url(path, {}), body).body

        return self._retry(attempt)

    def _retry(self, request: Callable[[], T]) -> T:
        return retry.call(request, policy=self._policy, sleep=self._sleep)

    def _url(self, path: str, query: Mapping[str, Any]) -> str:
        full = self.access.api_url + path.replace("{repo}", f"/repos/{self.access.repository}")
        return full + ("?" + urlencode(query) if query else "")

    def _send(self, doing: str, method: str, url: str, body: Any) -> _Reply:
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self.access.token}",
            "User-Agent": project.SLUG,
            "X-GitHub-GitHubApi-Version": VERSION,
        }
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        response = self._client.send(
            method, url, doing=doing, headers=headers, body=data, redirects=_REDIRECTS
        )
        return self._read(doing, response.status, response.headers, response.body)

    def _read(self, doing: str, status: int, headers: Mapping[str, str], raw: bytes) -> _Reply:
        try:
            body = parse_json(raw) if raw.strip() else None
        except ValueError:
            if status < 300:
                raise RemoteFailed(
                    f"{doing}: the reply is not JSON", kind="transient", fix=_FIXES["transient"]
                ) from None
            body = None
        if status < 300:
            return _Reply(body, headers)
        raise failure(doing, status, body, headers)


@dataclass(frozen=True)
class _Reply:
    body: Any
    headers: Mapping[str, str]


def failure(doing: str, status: int, body: Any, headers: Mapping[str, str]) -> RemoteFailed:
    """What a refusal means, and what to do about it."""
    message = _message(body)
    kind, delay = judge(status, message, headers)
    fix = _FIXES.get(kind, "")
    if "not permitted to create or approve pull requests" in message:
        fix = _ALLOW_PULL_REQUESTS
    elif kind == "scope":
        permissions = _header(headers, "X-Accepted-GitHub-Permissions")
        fix = f"the token needs {console.printable(permissions)}" if permissions else fix
    reason = console.printable(message)[:300] or "no message"
    return RemoteFailed(
        f"{doing}: {status} {reason}",
        kind=kind, status=status, message=message, after=delay, fix=fix,
    )  # fmt: skip


def judge(
    status: int, message: str, headers: Mapping[str, str], *, clock: float | None = None
) -> tuple[Kind, float | None]:
    """The kind of failure, and the seconds that GitHub wants us to wait, None for no wish.

    Both rate limits come as 403 or 429: the primary with `x-ratelimit-remaining: 0` and the time
    of its reset, the secondary with `retry-after`, or with words alone.
    """
    delay = retry.asked_to_wait(headers, current_time=clock)
    is_spent = _header(headers, "X-RateLimit-Remaining") == "0"
    is_limit = delay is not None or is_spent or "rate limit" in message.lower()
    if status in {403, 429} and is_limit:
        reset = _header(headers, "X-RateLimit-Reset")
        if delay is None and is_spent and reset.isdecimal():
            moment = time.time() if clock is None else clock
            delay = max(0.0, min(float(reset), _LATEST_RESET) - moment)
        return "rate", _MINUTE if delay is None else delay
    return retry.classify(status), delay


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((v for k, v in headers.items() if k.lower() == name.lower()), "").strip()


def _message(body: Any) -> str:
    """`message`, and the complaints of a validation (422) about each field."""
    if not isinstance(body, dict):
        return ""
    errors = body.get("errors")
    parts = [str(body.get("message") or "")]
    for error in errors if isinstance(errors, list) else []:
        if not isinstance(error, dict):
            parts.append(str(error))
        elif error.get("message"):
            parts.append(str(error["message"]))
        else:
            parts.append(f"{error.get('field')}: {error.get('code')}")
    return "; ".join(filter(None, parts))


def _next_page(link: str, url: str) -> str | None:
    """The address of the page after `url`, if it is on the same server."""
    for part in link.split(","):
        match = re.fullmatch(r"\s*<([^<>]+)>\s*;(.*)", part)
        if match and re.search(r'\brel="?next"?', match[2]):
            target = urljoin(url, match[1])
            is_ours = urlsplit(target)[:2] == urlsplit(url)[:2] and target != url
            return target if is_ours else None
    return None


def segment(text: str) -> str:
    """A name as one part of a path."""
    return quote(text, safe="")
