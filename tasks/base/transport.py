"""urllib3 with certificates, proxies and deadlines of ours: the one module that makes connections.

urllib3's time-outs begin anew with each byte, so a server that sends one byte a second is never
given up on. A `Deadline` ends whatever its thread is doing on a connection at that moment, be it
the TLS handshake, the proxy's reply, headers or a body.

Imports urllib3, so it is imported at use: `setup` and `doctor` run with the standard library only.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import threading
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Self

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from tasks.base import certificates
from tasks.base.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from tasks.base.proxies import Proxy

#: Whatever a request over a connection may raise.
FAILURES: Final = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)

_active = threading.local()


class DeadlineError(Exception):
    """An exchange was ended at its deadline."""


class Deadline:
    """Within its block, the connections that this thread uses are cut after `seconds`.

    Leaving the block then raises `DeadlineError`, whatever the cut connection looked like.
    """

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(max(seconds, 0.001), self.end)
        self._timer.daemon = True
        self._outer: Deadline | None = None

    def __enter__(self) -> Self:
        self._outer = getattr(_active, "deadline", None)
        _active.deadline = self
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        _active.deadline = self._outer
        with self._lock:
            for duplicate in self._sockets:
                duplicate.close()
            self._sockets.clear()
        if self.is_over and (error is None or isinstance(error, FAILURES)):
            raise DeadlineError from error

    def watch(self, connected: socket.socket) -> None:
        """Cut this connection at the end, too. A TLS socket takes its plain one's descriptor over,
        so a duplicate is kept: it reaches the same connection.
        """
        with self._lock:
            self._sockets.append(socket.socket(fileno=os.dup(connected.fileno())))
        if self.is_over:
            self.end()

    def end(self) -> None:
        with self._lock:
            self.is_over = True
            for duplicate in self._sockets:
                with contextlib.suppress(OSError):
                    duplicate.shutdown(socket.SHUT_RDWR)


def _watch(connected: Any) -> None:
    deadline: Deadline | None = getattr(_active, "deadline", None)
    if deadline is not None and connected is not None and connected.fileno() >= 0:
        deadline.watch(connected)


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        _watch(connected)
        return connected

    def request(self, *args: Any, **options: Any) -> None:
        _watch(self.sock)  # one that was kept open
        super().request(*args, **options)


class _TlsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        _watch(connected)
        return connected

    def request(self, *args: Any, **options: Any) -> None:
        _watch(self.sock)
        super().request(*args, **options)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Whom to trust. `bundle` (a file) and `text` (PEM) take the place of the machine's
    certificates, `extra` (a file) comes beside them.
    """

    bundle: str = ""
    text: str = ""
    extra: str = ""
    client_certificate: str = ""
    client_key: str = ""
    verify: bool = True


def default_tls(environment: Mapping[str, str] = os.environ) -> Tls:
    """The machine's certificates, and those of `SANDBOX_CA_BUNDLE` or what stands in for it."""
    return Tls(extra=str(certificates.find_ca_bundle(environment) or ""))


@cache
def tls_context(tls: Tls) -> ssl.SSLContext:
    """Made once: reading a bundle of certificates takes longer than a request."""
    try:
        context = ssl.create_default_context(cafile=tls.bundle or None, cadata=tls.text or None)
        if not tls.bundle and not tls.text and _machine_has_none():
            import certifi  # noqa: PLC0415 - only for a Python that finds no certificates

            context.load_verify_locations(cafile=certifi.where())
        if tls.extra:
            context.load_verify_locations(cafile=tls.extra)
        if tls.client_certificate:
            context.load_cert_chain(tls.client_certificate, tls.client_key or None)
    except OSError as error:  # an SSLError is one, too
        names = filter(None, (tls.bundle, tls.extra, tls.client_certificate))
        raise BadInput(
            f"the certificates of {' and '.join(names) or 'the configuration'} cannot be read:"
            f" {error}",
            fix="give a readable file of PEM certificates",
        ) from error
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _machine_has_none() -> bool:
    """Python of python.org on macOS looks for certificates in a folder that is not there."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile is None and paths.capath is None


def manager(proxy: Proxy | None, tls: Tls) -> urllib3.PoolManager:
    """Connections, kept open. It neither retries nor follows redirects."""
    options: dict[str, Any] = {
        "maxsize": 16,
        "block": False,
        "retries": False,
        "ssl_context": tls_context(tls),
    }
    result = (
        urllib3.PoolManager(**options)
        if proxy is None
        else urllib3.ProxyManager(
            proxy.url,
            proxy_headers=proxy.headers,
            proxy_ssl_context=tls_context(tls),
            **options,
        )
    )
    result.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return result


def timeouts(*, connect: float, idle: float) -> urllib3.Timeout:
    return urllib3.Timeout(connect=connect, read=idle)


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and those within it: urllib3 wraps several times over."""
    waiting: list[object] = [error]
    visited: set[int] = set()
    while waiting:
        cause = waiting.pop(0)
        if not isinstance(cause, BaseException) or id(cause) in visited:
            continue
        visited.add(id(cause))
        yield cause
        waiting += [getattr(cause, "reason", None), getattr(cause, "original_error", None)]
        waiting += [*cause.args, cause.__cause__, cause.__context__]
