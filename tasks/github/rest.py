"""GitHub's REST API, as far as workflows need it: one repository, one token, from the environment.

https://docs.github.com/rest: pages by `Link`, permissions that lack are named in a header, two
kinds of rate limits, and a private repository that a token may not see is "not found".
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

from tasks.base import addresses, console, retry
from tasks.base.errors import BadInput
from tasks.base.http import Client, Limits, Service
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
#: Where a rate limit does not say how long, GitHub asks for a minute.
_MINUTE: Final = 60.0
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
    elsewhere="was the repository renamed? check GITHUB_REPOSITORY",
)
_MAY_NOT_OPEN: Final = (
    "on GitHub: Settings → Actions → General → Workflow permissions → allow GitHub Actions to"
    " create pull requests"
)


@dataclass(frozen=True, kw_only=True)
class Access:
    """The token is in no `repr`, so it is in no traceback either."""

    token: str = field(repr=False)
    repository: str
    api_url: str = _API
    server_url: str = _SERVER

    @property
    def owner(self) -> str:
        return self.repository.partition("/")[0]

    @property
    def page(self) -> str:
        """Where people look at the repository."""
        return f"{self.server_url}/{self.repository}"


def access(environment: Mapping[str, str] = os.environ, *, repository: str = "") -> Access:
    """What the environment says; raises `BadInput` with the one variable that is missing."""
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
            f"GITHUB_REPOSITORY `{console.printable(name)[:80]}` is no repository",
            fix="set it to OWNER/NAME",
        )
    return Access(
        token=token,
        repository=name,
        api_url=_address(environment, "GITHUB_API_URL", _API),
        server_url=_address(environment, "GITHUB_SERVER_URL", _SERVER),
    )


def _address(environment: Mapping[str, str], name: str, usual: str) -> str:
    text = environment.get(name, "").strip().rstrip("/") or usual
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    safe = parts.scheme == "https" or (parts.scheme == "http" and addresses.is_loopback(host))
    if not safe or not host or "@" in parts.netloc or parts.query or not text.isprintable():
        # Never the text itself: it may hold a password.
        raise BadInput(f"{name} is no address that a token may go to", fix=f"usually {usual}")
    return text


class Api:
    """`{repo}` in a path stands for the repository's."""

    def __init__(
        self,
        given: Access,
        *,
        policy: retry.Policy = retry.DEFAULT,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.access = given
        self._policy = policy
        self._sleep = sleep
        self._client = Client(_SERVICE, limits=_LIMITS, secrets=[given.token])

    def close(self) -> None:
        self._client.close()

    def get(self, doing: str, path: str, **query: Any) -> Any:
        return self.ask(doing, "GET", path, query=query)

    def find(self, doing: str, path: str, **query: Any) -> Any:
        """As `get`; None for what is not there."""
        try:
            return self.get(doing, path, **query)
        except RemoteFailed as error:
            if error.kind == "not-found":
                return None
            raise

    def pages(self, doing: str, path: str, *, key: str = "", **query: Any) -> Iterator[Any]:
        """Every member of a list, page by page; `key` is where the list is in the reply."""
        url: str | None = self._url(path, {"per_page": 100, **query})
        while url:
            here = url
            reply = retry.call(
                lambda here=here: self._once(doing, "GET", here, None),  # type: ignore[misc]
                policy=self._policy,
                sleep=self._sleep,
            )
            yield from reply.body[key] if key else reply.body
            url = _next(reply.headers.get("Link") or "", here)

    def ask(
        self, doing: str, method: str, path: str, *, body: Any = None, query: Any = None
    ) -> Any:
        """What may be done twice: again after failures that may pass."""
        url = self._url(path, query or {})
        return retry.call(
            lambda: self._once(doing, method, url, body).body,
            policy=self._policy,
            sleep=self._sleep,
        )

    def create(self, doing: str, path: str, body: Any, *, there: Callable[[], T | None]) -> Any | T:
        """POST. When no clear answer came, `there` looks whether it was done all the same."""
        tried = False

        def once() -> Any:
            nonlocal tried
            if tried and (found := there()) is not None:
                return found
            tried = True
            return self._once(doing, "POST", self._url(path, {}), body).body

        return retry.call(once, policy=self._policy, sleep=self._sleep)

    def _url(self, path: str, query: Mapping[str, Any]) -> str:
        full = self.access.api_url + path.replace("{repo}", f"/repos/{self.access.repository}")
        return full + ("?" + urlencode(query) if query else "")

    def _once(self, doing: str, method: str, url: str, body: Any) -> _Reply:
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self.access.token}",
            "User-Agent": "iterate-sandbox",
            "X-GitHub-Api-Version": VERSION,
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
            body = json.loads(raw) if raw.strip() else None
        except ValueError:
            if status < 300:
                raise RemoteFailed(
                    f"{doing}: the reply is no JSON", kind="transient", fix=_FIXES["transient"]
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
    said = _message(body)
    kind, after = judge(status, said, headers)
    fix = _FIXES.get(kind, "")
    if "not permitted to create or approve pull requests" in said:
        fix = _MAY_NOT_OPEN
    elif kind == "scope":
        lacks = _header(headers, "X-Accepted-GitHub-Permissions")
        fix = f"the token needs {console.printable(lacks)}" if lacks else fix
    shown = console.printable(said)[:300] or "no message"
    return RemoteFailed(
        f"{doing}: {status} {shown}", kind=kind, status=status, message=said, after=after, fix=fix
    )


def judge(
    status: int, said: str, headers: Mapping[str, str], *, now: float | None = None
) -> tuple[Kind, float | None]:
    """The kind of failure, and how long GitHub wants us to wait.

    Both rate limits come as 403 or 429: the primary with `x-ratelimit-remaining: 0` and the time
    of its reset, the secondary with `retry-after`, or with words alone.
    """
    after = retry.asked_to_wait(headers, now=now)
    spent = _header(headers, "X-RateLimit-Remaining") == "0"
    if status in {403, 429} and (after is not None or spent or "rate limit" in said.lower()):
        reset = _header(headers, "X-RateLimit-Reset")
        if after is None and spent and reset.isdecimal():
            after = max(0.0, float(reset) - (time.time() if now is None else now))
        return "rate", _MINUTE if after is None else after
    return retry.classify(status), after


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((v for k, v in headers.items() if k.lower() == name.lower()), "").strip()


def _message(body: Any) -> str:
    """`message`, and what a validation (422) says of each field."""
    if not isinstance(body, dict):
        return ""
    errors = body.get("errors")
    found = [str(body.get("message") or "")]
    for one in errors if isinstance(errors, list) else []:
        if not isinstance(one, dict):
            found.append(str(one))
        elif one.get("message"):
            found.append(str(one["message"]))
        else:
            found.append(f"{one.get('field')}: {one.get('code')}")
    return "; ".join(filter(None, found))


def _next(link: str, here: str) -> str | None:
    """The next page's address, if it is the same server's."""
    for part in link.split(","):
        match = re.fullmatch(r"\s*<([^<>]+)>\s*;(.*)", part)
        if match and re.search(r'\brel="?next"?', match[2]):
            there = urljoin(here, match[1])
            return there if urlsplit(there)[:2] == urlsplit(here)[:2] and there != here else None
    return None


def segment(text: str) -> str:
    """A name as one part of a path."""
    return quote(text, safe="")
