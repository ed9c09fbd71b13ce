"""The preview proxy: `PORT-SANDBOX.HOST` leads to that port of the sandbox, for who may."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode

import httpx
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from tasks.standin import wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp, Receive, Scope, Send

    from tasks.standin.service import StandIn
    from tasks.standin.states import Sandbox

DOMAIN: Final = "preview.localhost"
_HOST: Final = re.compile(rf"(\d+)-([A-Za-z0-9-]+)\.{re.escape(DOMAIN)}(?::\d+)?")
_HEADER: Final = "x-daytona-preview-token"
_PARAMETER: Final = "DAYTONA_SANDBOX_AUTH_KEY"
_QUIET: Final = "x-daytona-skip-last-activity-update"
#: Of the daemon itself: never public.
_OWN_PORTS: Final = frozenset({22222, 2280, 33333})
_HOP: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host"}
)


@dataclass(frozen=True)
class Signed:
    sandbox: str
    port: int
    until: float


class Previews:
    """ASGI: takes what is for a preview host, and hands on the rest."""

    def __init__(self, app: ASGIApp, standin: StandIn) -> None:
        self._app = app
        self._s = standin
        self._signed: dict[str, Signed] = {}
        self._client = httpx.AsyncClient(
            timeout=None,  # noqa: S113 - theirs to end
            trust_env=False,
            # A sandbox may be gone, and its address another's, by the next request.
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def sign(self, sandbox: Sandbox, port: int, seconds: float) -> str:
        token = secrets.token_hex(8)
        self._signed[token] = Signed(sandbox.id, port, time.time() + seconds)
        return token

    async def close(self) -> None:
        await self._client.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = ""
        if scope["type"] == "http":
            host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        match = _HOST.fullmatch(host)
        if match is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        reply = await self._answer(request, int(match[1]), match[2], host)
        await reply(scope, receive, send)

    async def _answer(self, request: Request, port: int, name: str, host: str) -> Response:
        signed = self._signed.get(name)
        if signed and signed.port == port and signed.until > time.time():
            name, allowed = signed.sandbox, True
        else:
            allowed = False
        sandbox = self._s.store.sandboxes.get(name)
        if sandbox is not None:
            allowed = allowed or self._allowed(request, sandbox, port)
        if sandbox is None or not allowed:
            return self._refusal(request)
        if sandbox.state != "started" or sandbox.container is None:
            return Response(status_code=502)
        if request.headers.get(_QUIET) != "true":
            sandbox.active = time.time()
        address = await run_in_threadpool(self._s.containers.address, sandbox.container)
        return await self._forward(request, address, port, host)

    def _allowed(self, request: Request, sandbox: Sandbox, port: int) -> bool:
        if sandbox.public and port not in _OWN_PORTS:
            return True
        given = [
            request.headers.get("authorization", "").removeprefix("Bearer ") == self._s.key,
            request.headers.get(_HEADER, "") == sandbox.token,
            request.query_params.get(_PARAMETER, "") == sandbox.token,
            request.cookies.get(f"daytona-sandbox-auth-{sandbox.id}", "") == sandbox.token,
        ]
        return any(given)

    def _refusal(self, request: Request) -> Response:
        if self._s.settings.preview_refusal == 307:
            return RedirectResponse("http://login.invalid/", 307)
        text = "unauthorized: missing or invalid preview access token"
        return wire.toolbox_error(request.method, request.url.path, 401, text, "UNAUTHORIZED")

    async def _forward(self, request: Request, address: str, port: int, host: str) -> Response:
        ours = request.headers.get("authorization") == f"Bearer {self._s.key}"
        stripped = _HOP | {_HEADER, _QUIET} | ({"authorization"} if ours else set())
        headers = [(k, v) for k, v in request.headers.items() if k not in stripped]
        headers += [("host", f"localhost:{port}"), ("x-forwarded-host", host)]
        query = [(k, v) for k, v in parse_qsl(request.url.query, True) if k != _PARAMETER]
        url = httpx.URL(
            scheme="http",
            host=address,
            port=port,
            raw_path=request.scope["raw_path"]
            + (f"?{urlencode(query)}".encode() if query else b""),
        )
        length = request.headers.get("content-length")
        body = request.stream() if length or "transfer-encoding" in request.headers else None
        upstream = self._client.build_request(request.method, url, headers=headers, content=body)
        try:
            answer = await self._client.send(upstream, stream=True)
        except httpx.TransportError:
            return Response(status_code=502)

        async def chunks() -> AsyncIterator[bytes]:
            try:
                async for chunk in answer.aiter_raw():
                    yield chunk
            finally:
                await answer.aclose()

        reply = StreamingResponse(chunks(), answer.status_code)
        reply.raw_headers = [
            (k.lower(), v) for k, v in answer.headers.raw if k.lower().decode() not in _HOP
        ]
        return reply
