"""The gateway to OpenCode: its port for people and programs, with the daemon's guard before it.

OpenCode itself listens on loopback within the sandbox. It accepts every Host and Origin, so that
any page which a signed-in person opens could start a shell through it, and it does not limit
guesses (both seen in opencode 1.18.33). Its page signs in by Basic authentication, and its
terminals by a ticket.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

import httpx
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from iterate_daemon.guard import ACTIVE_LIMIT, BUSY, Refusal, refuse_foreign, refuse_malformed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp, Receive, Scope, Send
    from websockets.asyncio.client import ClientConnection

    from iterate_daemon.auth import GuessBudget

#: They belong to one connection (RFC 9110, section 7.6.1).
_HOP_BY_HOP: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization"),
        *(b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    }
)
#: The client's library makes its own.
_HANDSHAKE: Final = b"sec-websocket-"
_DOWN: Final = (
    "OpenCode does not answer. Its log is /var/log/opencode/current in the sandbox; "
    "`s6-svc -u $S6DIR/opencode` starts it."
)


class Gateway:
    """ASGI middleware: what arrives on `port` goes to OpenCode at `url`, all else to `app`.

    `url` is `http://HOST:PORT`. Wrong passwords are counted by OpenCode's 401: once a client's
    budget is used up, it gets 429 instead.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        port: int | None,
        url: str,
        allowed_hosts: tuple[str, ...],
        guesses: GuessBudget,
    ) -> None:
        self._app = app
        self._port = port
        self._url = httpx.URL(url)
        self._allowed_hosts = allowed_hosts
        self._guesses = guesses
        self._active = 0
        # No proxy stands between two services of one sandbox; an answer may take as long as it
        # likes: events of a session arrive for hours.
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=5.0),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=8),
            trust_env=False,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in {"http", "websocket"} or (scope.get("server") or ("", 0))[1] != self._port:
            await self._app(scope, receive, send)
        elif kind == "websocket":
            await self._websocket(scope, receive, send)
        elif refusal := self._refusal(scope):
            await refusal.respond(scope, receive, send)
        else:
            self._active += 1
            try:
                await self._request(scope, receive, send)
            finally:
                self._active -= 1

    def _refusal(self, scope: Scope) -> Refusal | None:
        if refusal := refuse_malformed(scope, self._allowed_hosts):
            return refusal
        if self._active >= ACTIVE_LIMIT:
            return BUSY
        if b"auth_token" in parse_qs(scope["query_string"], keep_blank_values=True):
            return Refusal(400, "A password in the address is not accepted: it ends in logs.")
        headers = Headers(scope=scope)
        is_link = scope.get("method") == "GET" and headers.get("sec-fetch-mode") == "navigate"
        # Someone follows a link to this page; within a frame another page could play with it.
        if is_link and headers.get("sec-fetch-dest") == "document":
            return None
        return refuse_foreign(scope)

    def _guess(self, scope: Scope) -> Refusal | None:
        """What is answered instead of OpenCode's 401, if the client has guessed too often."""
        headers = Headers(scope=scope)
        if "authorization" not in headers and not _has_ticket(scope):
            return None
        wait = self._guesses.spend((scope.get("client") or ("-", 0))[0])
        if wait <= 0:
            return None
        retry = {"Retry-After": str(math.ceil(wait))}
        return Refusal(429, "Too many wrong passwords; wait.", retry)

    # ── requests ────────────────────────────────────────────────────────────────────────────

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the answer on as it comes; ends with the client's connection."""
        headers = Headers(scope=scope)
        has_body = "content-length" in headers or "transfer-encoding" in headers
        body = _RequestBody(receive)
        if not has_body:
            body.end.set()
        # Without a length, httpx sends it in chunks.
        request = httpx.Request(
            scope["method"],
            self._target(scope),
            headers=_headers(scope),
            content=body.chunks() if has_body else None,
        )
        relay = asyncio.create_task(self._relay(request, scope, receive, send))
        hangup = asyncio.create_task(body.hangup())
        try:
            await asyncio.wait({relay, hangup}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks = [task for task in (relay, hangup) if not task.done()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if relay.done() and not relay.cancelled():
            relay.result()

    async def _relay(
        self, request: httpx.Request, scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            response = await self._http.send(request, stream=True)
        except httpx.TransportError:
            await PlainTextResponse(f"{_DOWN}\n", status_code=503)(scope, receive, send)
            return
        async with contextlib.aclosing(response):
            if response.status_code == httpx.codes.UNAUTHORIZED and (refusal := self._guess(scope)):
                await refusal.respond(scope, receive, send)
                return
            headers = [(name.lower(), value) for name, value in response.headers.raw]
            await send(
                {
                    "type": "http.response.start",
                    "status": response.status_code,
                    "headers": [pair for pair in headers if pair[0] not in _HOP_BY_HOP],
                }
            )
            async for chunk in response.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _target(self, scope: Scope, scheme: str = "http") -> httpx.URL:
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        return self._url.copy_with(scheme=scheme, raw_path=scope["raw_path"] + query)

    # ── WebSockets ──────────────────────────────────────────────────────────────────────────

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A handshake from a page of another origin is refused: browsers always name it."""
        await receive()
        if self._refusal(scope):
            await send({"type": "websocket.close", "code": 1008})  # answered with 403
            return
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in _headers(scope)
            if name != b"host" and not name.startswith(_HANDSHAKE)
        ]
        try:
            async with connect(
                str(self._target(scope, "ws")),
                additional_headers=headers,
                subprotocols=scope.get("subprotocols") or None,
                user_agent_header=None,
                compression=None,
                max_size=None,
                ping_interval=None,
                open_timeout=5,
                proxy=None,
            ) as upstream:
                accept = {"type": "websocket.accept", "subprotocol": upstream.subprotocol}
                await send(accept)
                await _join(upstream, receive, send)
        except InvalidStatus as error:
            if error.response.status_code == httpx.codes.UNAUTHORIZED:
                self._guess(scope)
            await send({"type": "websocket.close", "code": 1008})
        except (OSError, TimeoutError, WebSocketException):
            await send({"type": "websocket.close", "code": 1014})


class _RequestBody:
    """What the client sends, and the end of its connection."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.end = asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raises `httpx.ReadError` when the client goes away."""
        while not self.end.is_set():
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise httpx.ReadError("the client has gone")
            if not message.get("more_body"):
                self.end.set()
            yield message.get("body", b"")

    async def hangup(self) -> None:
        await self.end.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def _join(upstream: ClientConnection, receive: Receive, send: Send) -> None:
    """Passes messages both ways until one side ends."""

    async def to_opencode() -> None:
        while (message := await receive())["type"] == "websocket.receive":
            text = message.get("text")
            await upstream.send(message["bytes"] if text is None else text)

    async def to_client() -> None:
        with contextlib.suppress(ConnectionClosed):
            async for data in upstream:
                content = {"text": data} if isinstance(data, str) else {"bytes": data}
                await send({"type": "websocket.send", **content})
        code, reason = upstream.close_code or 1011, upstream.close_reason or ""
        with contextlib.suppress(RuntimeError):  # the client was faster
            await send({"type": "websocket.close", "code": code, "reason": reason})

    tasks = {asyncio.create_task(to_opencode()), asyncio.create_task(to_client())}
    _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception) and not isinstance(result, ConnectionClosed):
            raise result


def _has_ticket(scope: Scope) -> bool:
    return b"ticket" in parse_qs(scope["query_string"])


def _headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """The client's, without those of its connection and without the daemon's own sessions, which
    browsers send along: cookies do not know ports.
    """
    pairs = [(name.lower(), value) for name, value in scope["headers"]]
    tokens = [t for name, value in pairs if name == b"connection" for t in value.split(b",")]
    excluded = _HOP_BY_HOP | {token.strip().lower() for token in tokens} | {b"cookie"}
    headers = [(name, value) for name, value in pairs if name not in excluded]
    cookies = [c for name, value in pairs if name == b"cookie" for c in value.split(b"; ")]
    opencode_cookies = [c for c in cookies if not c.startswith(b"iterate_session_")]
    return headers + ([(b"cookie", b"; ".join(opencode_cookies))] if opencode_cookies else [])
