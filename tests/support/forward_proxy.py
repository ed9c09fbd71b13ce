"""A company's proxy: everything leaves through it, it wants a password, and it keeps a record.

Names lead where a test says, so that clients can ask hosts that do not exist. Behind it are
servers whose certificates a private authority has signed.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trustme

from tests.support import loopback
from tests.support.loopback import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.loopback import Request

_CREDENTIALS: Final = "worker:p%40ss%3A%20word"
_EXPECTED: Final = "Basic " + base64.b64encode(b"worker:p@ss: word").decode()


@dataclass
class Network:
    """`environment` is that of a machine which reaches nothing but the proxy; `bundle` the
    authority's certificate. `requests` are what the servers behind the proxy got, by host;
    `tunnels` and `forwards` what the proxy was asked for.
    """

    bundle: Path
    proxy: str = ""
    scheme: str = "http"
    answers: dict[str, Callable[[Request], Answer]] = field(default_factory=dict)
    requests: list[tuple[str, Request]] = field(default_factory=list)
    tunnels: list[str] = field(default_factory=list)
    forwards: list[str] = field(default_factory=list)
    refusals: int = 0
    _authority: trustme.CA = field(default_factory=trustme.CA)
    _hosts: dict[str, str] = field(default_factory=dict)
    _open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HTTPS_PROXY": f"{self.scheme}://{_CREDENTIALS}@{self.proxy}",
            "SANDBOX_CA_BUNDLE": str(self.bundle),
        }

    def serve(self, name: str, answer: Callable[[Request], Answer]) -> None:
        """Let `https://NAME` answer, for those who come through the proxy."""

        def record(request: Request) -> Answer:
            self.requests.append((name, request))
            return answer(request)

        self._hosts[name] = self._open.enter_context(
            loopback.answering(record, tls=self.tls_context(name))
        )

    def tls_context(self, name: str) -> ssl.SSLContext:
        """With a certificate for that name."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(name).configure_cert(context)
        return context

    def alias(self, name: str, target: str) -> None:
        """Let a name lead to the server of another."""
        self._hosts[name] = self._hosts[target]

    def address(self, authority: str) -> str | None:
        return self._hosts.get(authority.partition(":")[0])

    def requests_to(self, name: str) -> list[Request]:
        return [request for host, request in self.requests if host == name]


@contextmanager
def network(folder: Path, *, is_proxy_encrypted: bool = False) -> Iterator[Network]:
    company = Network(bundle=folder / "company.pem")
    company._authority.cert_pem.write_to_path(str(company.bundle))
    handler = type("_Handler", (_ProxyHandler,), {"network": company})
    tls = company.tls_context("127.0.0.1") if is_proxy_encrypted else None
    with company._open, loopback.serving(handler, tls=tls) as host:
        company.proxy = host
        company.scheme = "https" if tls else "http"
        yield company


class _ProxyHandler(loopback.AnsweringHandler):
    network: Network

    def do_GET(self) -> None:  # noqa: N802 - the base class's name
        """A request of plain HTTP: its path is a whole URL."""
        self.network.forwards.append(self.path)
        if self._is_authorized():
            self.reply(Answer(b"forwarded"))

    def do_CONNECT(self) -> None:  # noqa: N802 - the base class's name
        self.network.tunnels.append(self.path)
        if not self._is_authorized():
            return
        address = self.network.address(self.path)
        if address is None:
            self._refuse(502, "No such host")
            return
        host, _, port = address.partition(":")
        with socket.create_connection((host, int(port))) as server:
            self.send_response_only(200)
            self.end_headers()
            self.wfile.flush()
            loopback.relay(self.connection, server)
        self.close_connection = True

    def _is_authorized(self) -> bool:
        if self.headers.get("Proxy-Authorization") == _EXPECTED:
            return True
        self.network.refusals += 1
        self._refuse(407, "Proxy Authentication Required")
        return False

    def _refuse(self, status: int, reason: str) -> None:
        self.send_response_only(status, reason)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.close_connection = True
