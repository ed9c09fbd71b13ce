"""The ASGI application: routes, and who may use them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import time
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from iterate_daemon import opencode
from iterate_daemon.auth import SESSION_SECONDS, GuessBudget, Sessions, secrets_match
from iterate_daemon.gateway import Gateway
from iterate_daemon.guard import Guard
from iterate_daemon.health import Health
from iterate_daemon.ui import Assets, IndexPage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from iterate_daemon.config import Config

_log = logging.getLogger("iterate_daemon")

_BODY_LIMIT: Final = 4096
_BODY_SECONDS: Final = 5.0
#: Seconds in which the log has at most one line about wrong tokens, however many clients guess.
_WARN_SECONDS: Final = 60.0


def create_app(config: Config) -> Starlette:
    api = DaemonApi(config)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with opencode.client(config.opencode_url, config.opencode_password) as http:
            api.health = Health(config, http)
            yield
            await api.health.close()

    app = Starlette(
        routes=[
            Route("/healthz", api.healthz),
            Route("/readyz", api.readyz),
            Route("/api/status", api.status),
            Route("/api/session", api.session, methods=["GET", "POST", "DELETE"]),
            Route("/", IndexPage(config.ui_dir).__call__),
            Mount("/assets", Assets(config.ui_dir)),
        ],
        middleware=[
            Middleware(
                Gateway,
                port=config.gateway_port,
                url=config.opencode_url,
                allowed_hosts=config.allowed_hosts,
                guesses=GuessBudget(burst=20),
            ),
            Middleware(Guard, allowed_hosts=config.allowed_hosts),
        ],
        exception_handlers={HTTPException: _error_as_json},
        lifespan=lifespan,
    )
    # `//evil.example/` would be redirected to that host.
    app.router.redirect_slashes = False
    return app


class DaemonApi:
    """What each address answers."""

    health: Health

    def __init__(self, config: Config) -> None:
        self._token = config.token
        self._sessions = Sessions(config.token, config.ended_sessions_file)
        self._guess_budget = GuessBudget()
        self._warned_at = -math.inf

    async def healthz(self, _request: Request) -> Response:
        return JSONResponse(await self.health.live())

    async def readyz(self, _request: Request) -> Response:
        ready, answer = await self.health.ready()
        return JSONResponse(answer, status_code=200 if ready else 503)

    async def status(self, request: Request) -> Response:
        self._authenticate(request)
        return JSONResponse(await self.health.status())

    async def session(self, request: Request) -> Response:
        match request.method:
            case "POST":
                return await self._sign_in(request)
            case "DELETE":
                return self._sign_out(request)
        # Not a 401: a browser would show that as an error.
        return JSONResponse({"signed_in": self._has_session(request)})

    async def _sign_in(self, request: Request) -> Response:
        token = await _token_in_body(request)
        if not secrets_match(token, self._token):
            raise self._refuse_token(request)
        response = Response(status_code=204)
        response.set_cookie(
            self._sessions.cookie_name,
            self._sessions.start(),
            max_age=SESSION_SECONDS,
            secure=_is_https(request),
            httponly=True,
            samesite="strict",
        )
        return response

    def _sign_out(self, request: Request) -> Response:
        self._sessions.end(request.cookies.get(self._sessions.cookie_name, ""))
        response = Response(status_code=204)
        response.delete_cookie(
            self._sessions.cookie_name,
            secure=_is_https(request),
            httponly=True,
            samesite="strict",
        )
        return response

    def _authenticate(self, request: Request) -> None:
        """By the token as a Bearer header or by a session's cookie; never by the query string."""
        if "authorization" in request.headers:
            scheme, _, token = request.headers["authorization"].partition(" ")
            # Starlette reads headers as Latin-1; a token may have been sent as UTF-8.
            token = token.strip().encode("latin-1").decode(errors="replace")
            if scheme.lower() != "bearer" or not secrets_match(token, self._token):
                raise self._refuse_token(request)
            return
        if not self._has_session(request):
            raise _unauthorized("Sign in, or send the token as a Bearer header")

    def _has_session(self, request: Request) -> bool:
        return self._sessions.is_valid(request.cookies.get(self._sessions.cookie_name, ""))

    def _refuse_token(self, request: Request) -> HTTPException:
        client = request.client.host if request.client else "-"
        wait = self._guess_budget.spend(client)
        if wait <= 0:
            return _unauthorized("The token is wrong")
        moment = time.monotonic()
        if moment - self._warned_at >= _WARN_SECONDS:
            self._warned_at = moment
            _log.warning("too many wrong tokens, just now from %s: answered with 429", client)
        return HTTPException(
            429, "Too many wrong tokens; wait", headers={"Retry-After": str(math.ceil(wait))}
        )


def _unauthorized(text: str) -> HTTPException:
    return HTTPException(401, text, headers={"WWW-Authenticate": 'Bearer realm="iterate"'})


def _error_as_json(_request: Request, error: Exception) -> Response:
    """Errors as JSON, which says what to do and nothing about the inside."""
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse(
        {"error": error.detail}, status_code=error.status_code, headers=error.headers
    )


async def _token_in_body(request: Request) -> str:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, 'Send JSON: {"token": "…"}')
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _BODY_LIMIT:
                    raise HTTPException(413, "That is not a token", headers={"Connection": "close"})
    except (TimeoutError, ClientDisconnect):
        raise HTTPException(408, "The request did not end", {"Connection": "close"}) from None
    try:
        data: Any = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    token = data.get("token") if isinstance(data, dict) else None
    if not isinstance(token, str):
        raise HTTPException(400, 'Send JSON: {"token": "…"}')
    return token.strip()


def _is_https(request: Request) -> bool:
    """It only makes the sender's own cookie stricter, so a proxy's header may be believed."""
    return "https" in {request.url.scheme, request.headers.get("x-forwarded-proto")}
