"""One GET from a registry: bounded in size and time, tried again, never led to another host."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

import urllib3

from tasks.base import console
from tasks.base.errors import BadInput
from tasks.bump.registries.model import Unknown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

#: The largest real one in 2026 (pnpm's packument, every manifest in full) has 12 MB.
MOST_BYTES: Final = 64_000_000
#: Seconds for all tries of one document, and for one silence.
DEADLINE: Final = 30.0
SILENCE: Final = 10.0
TRIES: Final = 3
_REDIRECTS: Final = 3
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Access:
    """How to reach one registry; `url` ends with a slash, `headers` may hold secrets. Equal are
    those with the same TLS settings.
    """

    url: str = field(compare=False)
    headers: Mapping[str, str] = field(compare=False)
    proxy: str = ""
    ca_file: str = ""
    ca_text: str = ""
    client_cert: str = ""
    client_key: str = ""
    verify: bool = True

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
        options: dict[str, Any] = {"maxsize": 16, "block": False}
        if urlsplit(access.url).scheme == "https":
            try:
                options["ssl_context"] = _tls(access)
            except OSError as error:  # an SSLError is one, too
                raise BadInput(
                    f"the certificates {access.ca_file or 'given to npm'} cannot be read: {error}",
                    fix="mend cafile or ca (npm), cert (pip)",
                ) from error
        try:
            self._pool = (
                urllib3.ProxyManager(access.proxy, **options)
                if access.proxy
                else urllib3.PoolManager(**options)
            )
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise BadInput("the proxy's address cannot be read", fix="npm config ls") from error

    def get(self, path: str, *, accept: str, what: str, deadline: float = DEADLINE) -> Answer:
        """`path` below the registry. Raises `Unknown` when no answer can be had."""
        end = time.monotonic() + deadline
        for attempt in range(1, TRIES + 1):
            try:
                answer = self._once(urljoin(self.access.url, path), accept, what, end)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                why = _reason(error)
            else:
                if answer.status not in _PASSING:
                    return self._judged(answer, what)
                why = f"status {answer.status}"
            if attempt == TRIES or time.monotonic() >= end:
                break
            time.sleep(min(0.3 * 2**attempt, max(0.0, end - time.monotonic())))
        raise Unknown(
            f"{what}: the registry did not answer ({why}, tried {attempt} times)",
            fix="try again later, or check registry, proxy and certificates in your configuration",
        )

    def _judged(self, answer: Answer, what: str) -> Answer:
        if answer.status in {401, 403}:
            raise Unknown(
                f"{what}: the registry refuses (status {answer.status})",
                fix="log in (npm login), or mend the token in your configuration",
            )
        if answer.status != 200:
            raise Unknown(f"{what}: the registry answers with status {answer.status}")
        return answer

    def _once(self, url: str, accept: str, what: str, end: float) -> Answer:
        for _ in range(_REDIRECTS + 1):
            response = self._pool.request(
                "GET",
                url,
                headers={"Accept": accept, "Accept-Encoding": "gzip", **self.access.headers},
                timeout=urllib3.Timeout(connect=SILENCE, read=SILENCE),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                if response.status not in {301, 302, 303, 307, 308}:
                    return Answer(response.status, _read(response, what, end), _date(response))
            finally:
                response.close() if response.status >= 300 else response.release_conn()
            there = urljoin(url, response.headers.get("Location") or "")
            if urlsplit(there)[:2] != urlsplit(self.access.url)[:2]:
                raise Unknown(
                    f"{what}: the registry leads to another host, "
                    f"{console.printable(str(urlsplit(there).hostname))}",
                    fix="configure the registry that you mean to use",
                )
            url = there
        raise Unknown(f"{what}: the registry leads in circles")


@cache
def _tls(access: Access) -> ssl.SSLContext:
    """Made once: reading a bundle of certificates takes longer than a request."""
    context = ssl.create_default_context(
        cafile=access.ca_file or None, cadata=access.ca_text or None
    )
    if not access.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if access.client_cert:
        context.load_cert_chain(access.client_cert, access.client_key or None)
    return context


def _read(response: urllib3.BaseHTTPResponse, what: str, end: float) -> bytes:
    """The body, unpacked. A server that drips is as bad as one that hangs."""
    parts: list[bytes] = []
    size = 0
    for part in response.stream(1 << 18, decode_content=True):
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            response.close()
            raise Unknown(f"{what}: the registry sends more than {console.size(MOST_BYTES)}")
        if time.monotonic() > end:
            response.close()
            raise TimeoutError("too slow")
    return b"".join(parts)


def _date(response: urllib3.BaseHTTPResponse) -> datetime | None:
    try:
        return parsedate_to_datetime(response.headers["Date"])
    except (KeyError, ValueError, TypeError):
        return None


def _reason(error: BaseException) -> str:
    """The innermost cause, short: urllib3 wraps several times over."""
    inner = error
    while isinstance(inner, urllib3.exceptions.HTTPError):
        wrapped = getattr(inner, "reason", None) or inner.__cause__ or inner.__context__
        if not isinstance(wrapped, BaseException):
            break
        inner = wrapped
    said = getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
    return console.printable(str(said))[:160]
