"""HTTP to the outside: whoever asks another machine something asks here.

It decides what every client has to decide, once: which proxy (`proxies`), whom to trust
(`certificates`), where a redirect may lead, how long and how much is waited for, and what a failure
means to people. Whether to try again says `retry`; what a status means to a service's users, the
service's `Service`.

urllib3 is imported at use, with `transport`: `setup` and `doctor` run without it.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import ssl
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin

from tasks.base import addresses, console, proxies, redaction, retry
from tasks.base.errors import TaskError
from tasks.base.retry import RemoteFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import urllib3

    from tasks.base.proxies import Proxy
    from tasks.base.retry import Kind
    from tasks.base.transport import Tls

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_BLOCK: Final = 1 << 16
#: Bytes a second: a body that is sent slower than this is given up on.
_SLOWEST: Final = 4096


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Seconds to connect, seconds without a byte, seconds for the whole exchange (redirects
    included; a body that is sent gets more, by its size), and bytes of a reply's body, unpacked.
    """

    connect: float = 10.0
    idle: float = 60.0
    total: float = 300.0
    size: int = 16_000_000


@dataclass(frozen=True, kw_only=True)
class Service:
    """Who is asked: its name in messages, and what a person can do about each kind of failure."""

    name: str
    advice: Mapping[Kind, str] = field(default_factory=dict)
    #: What to do when it redirects to another host.
    redirect_advice: str = ""

    def failure(
        self, doing: str, response: Response, *, message: str | None = None
    ) -> RemoteFailed:
        """The failure that a reply is; `message` is its text where the body is not that."""
        text = response.text if message is None else message
        kind = retry.classify(response.status, text)
        return retry.failure(
            doing, response.status, message=text, headers=response.headers,
            fix=self.advice.get(kind, ""),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Response:
    """`headers` are found whatever their case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


class Client:
    """Connections to one service, kept open. Thread-safe; `close` also ends what is under way.

    `choose_proxy` (from a URL) and `tls` take precedence over what `environment` says. `secrets`
    are in no message.
    """

    def __init__(
        self,
        service: Service,
        *,
        limits: Limits | None = None,
        choose_proxy: Callable[[str], Proxy | None] | None = None,
        tls: Tls | None = None,
        environment: Mapping[str, str] = os.environ,
        secrets: Iterable[str] = (),
    ) -> None:
        from tasks.base import transport  # noqa: PLC0415 - urllib3 is not always installed

        self.service = service
        self.limits = limits or Limits()
        self._transport = transport
        self._choose_proxy = choose_proxy or partial(proxies.choose_proxy, environment=environment)
        self._tls = transport.default_tls(environment) if tls is None else tls
        self._secrets = frozenset(secrets)
        self._managers: dict[Proxy | None, urllib3.PoolManager] = {}
        self._exchanges: set[Any] = set()
        self._lock = threading.Lock()
        self._is_closed = False

    def close(self) -> None:
        """End what other threads are asking at this moment, and all connections."""
        with self._lock:
            self._is_closed = True
            exchanges, managers = list(self._exchanges), list(self._managers.values())
        for exchange in exchanges:
            exchange.end()
        for manager in managers:
            manager.clear()

    def send(
        self,
        method: str,
        url: str,
        *,
        doing: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limits: Limits | None = None,
        redirects: int = 0,
    ) -> Response:
        """One request and its reply, whatever its status is. Raises `RemoteFailed` for none.

        At most so many `redirects` of a GET are followed, within the same scheme, host and port
        only: with a request go its headers, and they may be secret.
        """
        bounds = limits or self.limits
        extra = len(body) / _SLOWEST if body else 0.0
        place = url
        with self.bounded(doing, bounds.total + extra):
            for _ in range(redirects + 1):
                response = self._exchange(method, place, headers or {}, body, bounds)
                location = response.headers.get("Location")
                is_redirect = response.status in _REDIRECTS and location is not None
                if not is_redirect or not redirects or method not in {"GET", "HEAD"}:
                    return response
                place = self._follow(place, str(location), doing)
        raise RemoteFailed(f"{doing}: {self.service.name} redirects in circles",
                           kind="rejected", fix=self.service.redirect_advice)  # fmt: skip

    def stream(
        self, url: str, *, doing: str, headers: Mapping[str, str], idle: float
    ) -> Iterator[bytes]:
        """The body at `url`, as it comes, for as long as there is a byte every `idle` seconds."""
        bounds = Limits(connect=self.limits.connect, idle=idle)
        with self._translated(doing):
            reply = self._open("GET", url, headers, None, bounds)
            try:
                if reply.status != 200:
                    body = reply.read1(_BLOCK)
                    response = Response(status=reply.status, headers=reply.headers, body=body)
                    raise self.service.failure(doing, response)
                while block := reply.read1(_BLOCK, decode_content=True):
                    yield block
            finally:
                reply.close()

    def manager_for(self, url: str) -> urllib3.PoolManager:
        """urllib3's own interface with our proxies and certificates, for generated clients. What
        they ask must be within `bounded`, and be read with `read`.
        """
        is_local = addresses.is_loopback(addresses.host_of(url))
        proxy = None if is_local else self._choose_proxy(url)
        with self._lock:
            if self._is_closed:
                raise TaskError(f"the connection to {self.service.name} was closed")
            if proxy not in self._managers:
                self._managers[proxy] = self._transport.manager(proxy, self._tls)
            return self._managers[proxy]

    @contextlib.contextmanager
    def bounded(self, doing: str, seconds: float) -> Iterator[None]:
        """What this thread asks within the block ends after so many seconds.

        Raises `RemoteFailed` for any request that has no complete reply.
        """
        deadline = self._transport.Deadline(seconds)
        with self._lock:
            self._exchanges.add(deadline)
        try:
            with self._translated(doing, f"within {console.seconds(seconds)}"), deadline:
                yield
        finally:
            with self._lock:
                self._exchanges.discard(deadline)

    def read(self, reply: urllib3.BaseHTTPResponse, *, size: int | None = None) -> bytes:
        """The body, unpacked. `size` is the most that it may have."""
        limit = self.limits.size if size is None else size
        blocks: list[bytes] = []
        length = 0
        try:
            while block := reply.read1(_BLOCK, decode_content=True):
                blocks.append(block)
                length += len(block)
                if length > limit:
                    break
        except BaseException:
            reply.close()
            raise
        if length > limit:
            reply.close()
            raise _TooLargeError(limit)
        reply.release_conn()
        return b"".join(blocks)

    def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, bounds: Limits
    ) -> Response:
        reply = self._open(method, url, headers, body, bounds)
        content = self.read(reply, size=bounds.size)
        return Response(status=reply.status, headers=reply.headers, body=content)

    def _open(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, bounds: Limits
    ) -> urllib3.BaseHTTPResponse:
        length = {} if body is None else {"Content-Length": str(len(body))}
        return self.manager_for(url).request(
            method,
            url,
            # As a file it goes in blocks, each within the time-out; bytes would have to go whole
            # within it, which is a limit on how slow a line may be.
            body=io.BytesIO(body) if body else body,
            headers={**length, **headers},
            timeout=self._transport.timeouts(connect=bounds.connect, idle=bounds.idle),
            retries=False,
            redirect=False,
            preload_content=False,
        )

    def _follow(self, url: str, location: str, doing: str) -> str:
        place = urljoin(url, location)
        if not addresses.is_same_origin(url, place):
            host = console.printable(addresses.host_of(place))[:100]
            raise RemoteFailed(
                f"{doing}: {self.service.name} redirects to another place, {host}, which is not"
                " followed",
                kind="rejected",
                fix=self.service.redirect_advice,
            )
        return place

    @contextlib.contextmanager
    def _translated(self, doing: str, period: str = "in time") -> Iterator[None]:
        """urllib3's exceptions as failures that people understand."""
        try:
            yield
        except _TooLargeError as error:
            raise RemoteFailed(
                f"{doing}: {self.service.name} sends more than {console.size(error.limit)}",
                kind="rejected", fix=self.service.advice.get("rejected", ""),
            ) from None  # fmt: skip
        except self._transport.DeadlineError as error:
            raise self._no_reply(f"{doing}: {self.service.name} did not answer {period}") from error
        except self._transport.FAILURES as error:
            raise self._silence(doing, error) from error

    def _no_reply(self, message: str) -> RemoteFailed:
        return RemoteFailed(message, kind="network", fix=self.service.advice.get("network", ""))

    def _silence(self, doing: str, error: BaseException) -> RemoteFailed:
        """No reply. Certificates and the proxy's refusals are the same at the next try, too."""
        causes = list(self._transport.causes(error))
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return RemoteFailed(
                    f"{doing}: the certificate of {self.service.name} is not trusted:"
                    f" {cause.verify_message}",
                    kind="rejected",
                    fix="where a proxy inspects TLS, put its certificate into a PEM file and set"
                    " SANDBOX_CA_BUNDLE to that",
                )
            if match := re.search(r"Tunnel connection failed: (\d{3}.*)", str(cause)):
                return self._proxy_refusal(doing, match[1])
        last = causes[-1]
        reason = getattr(last, "strerror", None) or str(last) or type(last).__name__
        excerpt = redaction.redact(console.printable(str(reason)), self._secrets)[:160]
        return self._no_reply(f"{doing}: no reply from {self.service.name}: {excerpt}")

    def _proxy_refusal(self, doing: str, reply: str) -> RemoteFailed:
        status = int(reply[:3])
        message = f"{doing}: the proxy refuses: {console.printable(reply)[:100]}"
        if status == 407:
            fix = "set HTTPS_PROXY to http://USER:PASSWORD@HOST:PORT"
            return RemoteFailed(message, kind="rejected", fix=fix)
        kind = retry.classify(status)
        fix = "check HTTPS_PROXY, or let NO_PROXY name the host"
        return RemoteFailed(message, kind=kind if kind in retry.PASSING else "rejected", fix=fix)


class _TooLargeError(Exception):
    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit
