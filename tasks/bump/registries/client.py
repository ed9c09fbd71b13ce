"""One GET from a package registry: bounded in size and time, and tried again."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from tasks.base import http, retry
from tasks.base.http import Limits, Service
from tasks.base.retry import RemoteFailed
from tasks.base.transport import Tls
from tasks.bump.registries.model import NotPublished, SourceError

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
_TRY_LATER: Final = (
    "try again later, or check registry, proxy and certificates in your configuration"
)
_LOG_IN: Final = "log in (npm login), or mend the token in your configuration"
_SERVICE: Final = Service(
    name="the registry",
    advice={
        "auth": _LOG_IN,
        "scope": _LOG_IN,
        "rate": _TRY_LATER,
        "transient": _TRY_LATER,
        "network": _TRY_LATER,
    },
    redirect_advice="configure the registry that you mean to use",
)


@dataclass(frozen=True)
class PackageRegistryAccess:
    """How to reach one registry; `url` ends with a slash, `headers` may hold secrets."""

    url: str
    headers: Mapping[str, str]
    proxy: Proxy | None = None
    tls: Tls = field(default_factory=Tls)

    def __repr__(self) -> str:
        return f"PackageRegistryAccess({urlsplit(self.url).hostname})"


@dataclass(frozen=True)
class RegistryReply:
    """`date` is the server's clock, where it says."""

    status: int
    body: bytes
    date: datetime | None


class RegistryClient:
    """Connections to one registry."""

    def __init__(self, access: PackageRegistryAccess) -> None:
        self.access = access
        self._client = http.Client(_SERVICE, choose_proxy=lambda _: access.proxy, tls=access.tls)
        self._client.manager_for(access.url)  # a wrong setting is found before anything is asked

    def close(self) -> None:
        """End the requests of other threads."""
        self._client.close()

    def get(
        self, path: str, *, accept: str, package: str, deadline: float = DEADLINE
    ) -> RegistryReply:
        """`path` below the registry. Raises `SourceError` when no answer can be had, `NotPublished`
        when the answer is that there is nothing.
        """
        end = time.monotonic() + deadline
        attempts = 0

        def attempt() -> Response:
            nonlocal attempts
            attempts += 1
            return self._send(path, accept, package, end - time.monotonic())

        policy = retry.Policy(attempts=3, base=0.6, cap=2.0, longest=deadline, total=deadline)
        try:
            response = retry.call(attempt, policy=policy, report=lambda _: None)
        except RemoteFailed as error:
            count = f", tried {attempts} times" if error.passing else ""
            failure = NotPublished if error.kind == "not-found" else SourceError
            raise failure(f"{error.what}{count}", fix=error.fix) from error
        date = retry.parse_date(response.headers.get("Date"))
        return RegistryReply(response.status, response.body, date)

    def _send(self, path: str, accept: str, package: str, seconds: float) -> Response:
        response = self._client.send(
            "GET",
            urljoin(self.access.url, path),
            doing=package,
            headers={"Accept": accept, "Accept-Encoding": "gzip", **self.access.headers},
            limits=Limits(connect=SILENCE, idle=SILENCE, total=seconds, size=MOST_BYTES),
            redirects=_REDIRECTS,
        )
        if response.status != 200:
            raise _SERVICE.failure(package, response, message="")
        return response
