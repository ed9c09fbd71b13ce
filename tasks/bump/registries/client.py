"""One GET from a registry: bounded in size and time, tried again, never led to another host."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from tasks.base import http, retry
from tasks.base.http import Limits, Service
from tasks.base.retry import RemoteFailed
from tasks.base.transport import Tls
from tasks.bump.registries.model import NotPublished, Unknown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from tasks.base.http import Response
    from tasks.base.proxies import Proxy

#: The largest real one in 2026 (pnpm's packument, every manifest in full) has 12 MB.
MOST_BYTES: Final = 64_000_000
#: Seconds for all tries of one document, and for one silence.
DEADLINE: Final = 30.0
SILENCE: Final = 10.0
_REDIRECTS: Final = 3
_AGAIN: Final = "try again later, or check registry, proxy and certificates in your configuration"
_LOG_IN: Final = "log in (npm login), or mend the token in your configuration"
_SERVICE: Final = Service(
    name="the registry",
    advice={
        "auth": _LOG_IN,
        "scope": _LOG_IN,
        "rate": _AGAIN,
        "transient": _AGAIN,
        "network": _AGAIN,
    },
    elsewhere="configure the registry that you mean to use",
)


@dataclass(frozen=True)
class Access:
    """How to reach one registry; `url` ends with a slash, `headers` may hold secrets."""

    url: str
    headers: Mapping[str, str]
    proxy: Proxy | None = None
    tls: Tls = field(default_factory=Tls)

    def __repr__(self) -> str:
        return f"Access({urlsplit(self.url).hostname})"


@dataclass(frozen=True)
class Answer:
    """`date` is the server's clock, where it tells."""

    status: int
    body: bytes
    date: datetime | None


class Client:
    """Connections to one registry."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._client = http.Client(_SERVICE, choose_proxy=lambda _: access.proxy, tls=access.tls)
        self._client.manager_for(access.url)  # a wrong setting is found before anything is asked

    def close(self) -> None:
        """End what is being asked."""
        self._client.close()

    def get(self, path: str, *, accept: str, what: str, deadline: float = DEADLINE) -> Answer:
        """`path` below the registry. Raises `Unknown` when no answer can be had, `NotPublished`
        when the answer is that there is nothing.
        """
        end = time.monotonic() + deadline
        attempts = 0

        def attempt() -> Response:
            nonlocal attempts
            attempts += 1
            return self._once(path, accept, what, end - time.monotonic())

        policy = retry.Policy(attempts=3, base=0.6, cap=2.0, longest=deadline, total=deadline)
        try:
            response = retry.call(attempt, policy=policy, report=lambda _: None)
        except RemoteFailed as error:
            count = f", tried {attempts} times" if error.passing else ""
            failure = NotPublished if error.kind == "not-found" else Unknown
            raise failure(f"{error.what}{count}", fix=error.fix) from error
        date = retry.parse_date(response.headers.get("Date"))
        return Answer(response.status, response.body, date)

    def _once(self, path: str, accept: str, what: str, seconds: float) -> Response:
        response = self._client.send(
            "GET",
            urljoin(self.access.url, path),
            doing=what,
            headers={"Accept": accept, "Accept-Encoding": "gzip", **self.access.headers},
            limits=Limits(connect=SILENCE, idle=SILENCE, total=seconds, size=MOST_BYTES),
            redirects=_REDIRECTS,
        )
        if response.status != 200:
            raise _SERVICE.failure(what, response, message="")
        return response
