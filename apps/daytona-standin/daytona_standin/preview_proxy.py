"""The preview proxy: `PORT-SANDBOX.HOST` leads to that port of the sandbox, for those who may."""

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

from daytona_standin.responses import toolbox_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp, Receive, Scope, Send

    from daytona_standin.authentication import ApiKey
    from daytona_standin.containers import SandboxContainers
    from daytona_standin.records import SandboxRecord
    from daytona_standin.settings import StandInSettings
    from daytona_standin.store import RecordStore

DOMAIN: Final = "preview.localhost"
_HOST: Final = re.compile(rf"(\d+)-([A-Za-z0-9-]+)\.{re.escape(DOMAIN)}(?::\d+)?")
_HEADER: Final = "x-daytona-preview-token"
_PARAMETER: Final = "DAYTONA_SANDBOX_AUTH_KEY"
#: A request with this header is not counted as activity.
QUIET_HEADER: Final = "x-daytona-skip-last-activity-update"
#: Ports of the daemon itself, which are never public.
_DAEMON_PORTS: Final = frozenset({22222, 2280, 33333})
#: Headers of one connection, which a proxy does not pass on.
_HOP_HEADERS: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host"}
)


@dataclass(frozen=True)
class _SignedLink:
    sandbox: str
    port: int
    end: float


class PreviewLinks:
    """Addresses of ports in sandboxes, and which of them are signed. `port`: the stand-in's own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._signed: dict[str, _SignedLink] = {}

    def url(self, label: str) -> str:
        return f"http://{label}.{DOMAIN}:{self._port}"

    def sign(self, sandbox: str, port: int, seconds: float) -> str:
        """A token that stands for the sandbox's id in an address, for so many seconds."""
        token = secrets.token_hex(8)
        self._signed[token] = _SignedLink(sandbox, port, time.time() + seconds)
        return token

    def resolve(self, token: str, port: int) -> str | None:
        """The id of the sandbox that a signed address leads to."""
        link = self._signed.get(token)
        if link is None or link.port != port or link.end <= time.time():
            return None
        return link.sandbox


class PreviewProxy:
    """An ASGI application: answers requests for a preview host, and hands on all others."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        links: PreviewLinks,
        store: RecordStore,
        containers: SandboxContainers,
        key: ApiKey,
        settings: StandInSettings,
    ) -> None:
        self._app = app
        self._links = links
        self._store = store
        self._containers = containers
        self._key = key
        self._settings = settings
        self._client = httpx.AsyncClient(
            timeout=None,  # noqa: S113 - the visitor decides how long to wait
            trust_env=False,
            # By the next request the address may belong to another sandbox.
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = ""
        if scope["type"] == "http":
            host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        match = _HOST.fullmatch(host)
        if match is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        response = await self._respond(request, int(match[1]), match[2], host)
        await response(scope, receive, send)

    async def _respond(self, request: Request, port: int, name: str, host: str) -> Response:
        signed_sandbox = self._links.resolve(name, port)
        sandbox = self._store.sandboxes.get(signed_sandbox or name)
        if sandbox is None or not (signed_sandbox or self._may_see(request, sandbox, port)):
            return self._refuse(request)
        if "upgrade" in request.headers:
            text = "Not Implemented: the stand-in does not imitate WebSockets of previews"
            return toolbox_error(request.method, request.url.path, 501, text)
        if sandbox.state != "started" or sandbox.container is None:
            return Response(status_code=502)
        if request.headers.get(QUIET_HEADER) != "true":
            sandbox.last_active = time.time()
        address = await run_in_threadpool(self._containers.address, sandbox.container)
        return await self._forward_request(request, address, port, host)

    def _may_see(self, request: Request, sandbox: SandboxRecord, port: int) -> bool:
        if sandbox.public and port not in _DAEMON_PORTS:
            return True
        tokens = (
            request.headers.get(_HEADER, ""),
            request.query_params.get(_PARAMETER, ""),
            request.cookies.get(f"daytona-sandbox-auth-{sandbox.id}", ""),
        )
        return self._key.matches(request) or sandbox.token in tokens

    def _refuse(self, request: Request) -> Response:
        if self._settings.preview_refusal_status == 307:
            return RedirectResponse("http://login.invalid/", 307)
        text = "unauthorized: missing or invalid preview access token"
        return toolbox_error(request.method, request.url.path, 401, text)

    async def _forward_request(
        self, request: Request, address: str, port: int, host: str
    ) -> Response:
        try:
            response = await self._client.send(
                self._upstream_request(request, address, port, host), stream=True
            )
        except httpx.TransportError:
            return Response(status_code=502)

        async def chunks() -> AsyncIterator[bytes]:
            try:
                async for chunk in response.aiter_raw():
                    yield chunk
            finally:
                await response.aclose()

        answer = StreamingResponse(chunks(), response.status_code)
        answer.raw_headers = [
            (name.lower(), value)
            for name, value in response.headers.raw
            if name.lower().decode() not in _HOP_HEADERS
        ]
        return answer

    def _upstream_request(
        self, request: Request, address: str, port: int, host: str
    ) -> httpx.Request:
        """The visitor's request without what was for the proxy."""
        proxy_headers = _HOP_HEADERS | {_HEADER, QUIET_HEADER}
        if self._key.matches(request):
            proxy_headers |= {"authorization"}
        headers = [(k, v) for k, v in request.headers.items() if k not in proxy_headers]
        headers += [("host", f"localhost:{port}"), ("x-forwarded-host", host)]
        query = [(k, v) for k, v in parse_qsl(request.url.query, True) if k != _PARAMETER]
        raw_path = request.scope["raw_path"]
        if query:
            raw_path += f"?{urlencode(query)}".encode()
        url = httpx.URL(scheme="http", host=address, port=port, raw_path=raw_path)
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        body = request.stream() if has_body else None
        return self._client.build_request(request.method, url, headers=headers, content=body)
