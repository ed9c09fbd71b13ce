"""The outermost layer: which requests reach the daemon, and which headers every answer carries."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

from iterate_daemon import hosts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger("iterate_daemon.access")

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: Health checks and open pages ask for these every few seconds, so their expected answers are not
#: logged. A change of readiness is logged where it is noticed.
_QUIET: Final = {
    "/healthz": {200},
    "/readyz": {200, 503},
    "/api/status": {200},
    "/api/session": {200},
}
_HEALTH: Final = frozenset({"/healthz", "/readyz"})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\\]")


#: Requests that are answered at the same time. Health is answered beyond that, too.
ACTIVE_LIMIT: Final = 256


@dataclass(frozen=True)
class Refusal:
    """An answer instead of the application's; the connection ends with it."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {"Connection": "close", **self.headers}
        response = PlainTextResponse(f"{self.text}\n", status_code=self.status, headers=headers)
        await response(scope, receive, send)


BUSY: Final = Refusal(503, "Too many requests at a time; try again.", {"Retry-After": "1"})


class Guard:
    """Refuses foreign hosts, foreign origins, WebSockets and odd request targets; logs the rest.

    Request lines are logged without their query, where someone may have put a secret.
    """

    def __init__(self, app: ASGIApp, *, allowed_hosts: tuple[str, ...]) -> None:
        self._app = app
        self._allowed_hosts = allowed_hosts
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            # The daemon has none. Closing it before it is accepted answers the handshake with 403.
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.monotonic()
        status = 0

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        self._active += 1
        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await self._app(scope, receive, send_guarded)
            else:
                await refusal.respond(scope, receive, send_guarded)
        except asyncio.CancelledError:
            # The server ends, and does not wait for this request any longer.
            if not status:
                response = PlainTextResponse("The daemon is ending.\n", status_code=503)
                await response(scope, receive, send_guarded)
        finally:
            self._active -= 1
            _log_request(scope, status or 500, time.monotonic() - start)

    def _refusal(self, scope: Scope) -> Refusal | None:
        if refusal := refuse_malformed(scope, self._allowed_hosts):
            return refusal
        headers = Headers(scope=scope)
        if "websocket" in headers.get("upgrade", "").lower() or "sec-websocket-key" in headers:
            return Refusal(403, "There are no WebSockets here.")
        if self._active > ACTIVE_LIMIT and scope["path"] not in _HEALTH:
            return BUSY
        return None if scope["method"] in _READING else refuse_foreign(scope)


def refuse_malformed(scope: Scope, allowed_hosts: tuple[str, ...]) -> Refusal | None:
    """A request that names no host or a foreign one, or that proxies could read differently."""
    headers = Headers(scope=scope)
    host = _host(headers)
    if host is None:
        return Refusal(400, "Bad request: one well-formed Host header is needed.")
    if not hosts.is_allowed(host, allowed_hosts):
        return Refusal(
            421,
            "This host name is not allowed. Use localhost or an IP address, or start the "
            "sandbox with the name in ITERATE_ALLOWED_HOSTS.",
        )
    if _is_odd(scope["path"], headers):
        return Refusal(
            400, "Bad request: a plain path as target is needed, and one length at most."
        )
    return None


def refuse_foreign(scope: Scope) -> Refusal | None:
    """A request that another page makes. Browsers tell where a request comes from; programs do
    not, and send no cookies.
    """
    headers = Headers(scope=scope)
    origins = headers.getlist("origin")
    is_own = headers.get("sec-fetch-site", "same-origin") in {"same-origin", "none"}
    if origins:
        host = _host(headers)
        is_own &= len(origins) == 1 and host is not None and hosts.is_same_origin(origins[0], host)
    elif scope.get("method") not in _READING:
        is_own &= "cookie" not in headers
    return None if is_own else Refusal(403, "This request comes from a foreign page.")


def _host(headers: Headers) -> hosts.Authority | None:
    values = headers.getlist("host")
    return hosts.parse_authority(values[0]) if len(values) == 1 else None


def _is_odd(path: str, headers: Headers) -> bool:
    """An absolute target, control characters, or two lengths: what proxies read differently."""
    if "transfer-encoding" in headers and "content-length" in headers:
        return True
    return not path.startswith("/") or _CONTROL.search(path) is not None


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    if status in _QUIET.get(scope["path"], ()):
        return
    if status == 429:
        return  # It was logged when the client's budget of guesses was used up.
    client = (scope.get("client") or ("-",))[0]
    path = scope["path"].encode("unicode_escape").decode()[:200]
    _log.info("%s %s %s %d %.1fms", client, scope["method"], path, status, seconds * 1000)
