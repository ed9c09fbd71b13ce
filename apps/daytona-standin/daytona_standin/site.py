"""All addresses of the stand-in: the API, the toolbox, build logs, control, and the dashboard."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse

from daytona_standin.responses import api_error, toolbox_error

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from daytona_standin.errors import ApiRefusal
    from daytona_standin.surface import Surface

_BUILD_LOG: Final = re.compile(r"/snapshots/[^/]+/build-logs")
#: The real server answers every address that is not below /api with its dashboard.
_DASHBOARD: Final = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Daytona stand-in</title></head>
<body><h1>Daytona stand-in</h1>
<p>This is not Daytona. The API is below <code>/api</code>; see docs/stand-in.md.</p></body>
</html>
"""


class Site:
    """An ASGI application."""

    def __init__(
        self, *, api: Surface, toolbox: Surface, build_logs: Surface, control: Surface
    ) -> None:
        self._api = api
        self._toolbox = toolbox
        self._build_logs = build_logs
        self._control = control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._respond(request)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        path = request.url.path
        if path == "/api" or path.startswith("/api/"):
            return await self._api.respond(request)
        if path.startswith("/toolbox/"):
            return await self._toolbox.respond(request)
        if path.startswith("/_stand-in/"):
            return await self._control.respond(request)
        if _BUILD_LOG.fullmatch(path):
            return await self._build_logs.respond(request)
        if request.method in {"GET", "HEAD"}:
            return HTMLResponse(_DASHBOARD)
        return api_error(path, 404, f"Cannot {request.method} {path}")


def refuse_as_api(request: Request, refusal: ApiRefusal) -> Response:
    return api_error(request.url.path, refusal.status, refusal.message, headers=refusal.headers)


def refuse_as_toolbox(request: Request, refusal: ApiRefusal) -> Response:
    return toolbox_error(request.method, request.url.path, refusal.status, refusal.message)
