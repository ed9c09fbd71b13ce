"""The outermost layer of the server: injected faults strike here, and each request is noted."""

from __future__ import annotations

import asyncio
import fnmatch
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, Response

from daytona_standin.responses import api_error

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from daytona_standin.faults import FaultBook, InjectedFault

CONTROL_PREFIX = "/_stand-in/"
_MESSAGES = {
    401: "Invalid credentials",
    403: "Forbidden resource",
    429: "ThrottlerException: Too Many Requests",
    500: "An unexpected error occurred.",
}


class RequestLog:
    """Every request: its method and path, and the status of its answer (0: there was none)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: list[tuple[str, str, int]] = []

    def add(self, method: str, path: str, status: int) -> None:
        with self._lock:
            self._lines.append((method, path, status))

    def clear(self) -> None:
        with self._lock:
            self._lines.clear()

    def matching(self, pattern: str = "*") -> list[str]:
        """`METHOD /path STATUS` of each whose `METHOD /path` matches; `*` stands for anything."""
        with self._lock:
            return [
                f"{method} {path} {status}"
                for method, path, status in self._lines
                if fnmatch.fnmatchcase(f"{method} {path}", pattern)
            ]


class FrontDoor:
    """An ASGI application around another one. The control interface passes untouched."""

    def __init__(self, app: ASGIApp, faults: FaultBook, log: RequestLog) -> None:
        self._app = app
        self._faults = faults
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(CONTROL_PREFIX):
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        is_answered = False

        async def send_and_note(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                is_answered = True
                self._log.add(method, path, message["status"])
            await send(message)

        try:
            await self._answer(scope, receive, send_and_note)
        except (asyncio.CancelledError, ConnectionResetError):
            _hang_up(send)  # the stand-in ends, or a fault demands it
        except Exception:  # noqa: BLE001 - a mistake of the stand-in itself: it goes on, and says so
            sys.stderr.write(f"{method} {path}\n{traceback.format_exc()}")
            _hang_up(send)
        finally:
            if not is_answered:
                self._log.add(method, path, 0)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def discard(_message: Message) -> None:
            pass

        fault = self._faults.strike_request(scope["method"], scope["path"])
        if fault and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            fault = None
        if fault is None:
            await self._app(scope, receive, send)
            return
        if fault.kind in {"lost-reply", "lost-connection"}:
            await self._app(scope, receive, discard)
        if fault.kind not in {"status", "lost-reply"}:
            raise ConnectionResetError(fault.kind)
        await _refusal(fault, scope["path"])(scope, receive, send)


def _refusal(fault: InjectedFault, path: str) -> Response:
    headers = {}
    if fault.status == 429:
        headers["Retry-After-authenticated"] = str(int(fault.retry_after or 1))
    if fault.retry_after is not None:
        headers["Retry-After"] = f"{fault.retry_after:g}"
    if fault.plain:
        page = "<html><head><title>502 Bad Gateway</title></head></html>\n"
        return HTMLResponse(page, fault.status, headers)
    message = _MESSAGES.get(fault.status, "the stand-in was told to fail")
    return api_error(path, fault.status, message, headers=headers)


def _hang_up(send: Any) -> None:
    """Close the connection without an answer: uvicorn's `send` is a method of the request."""
    send.__self__.transport.abort()
