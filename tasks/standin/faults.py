"""Faults on request: what goes wrong, where, and how often."""

from __future__ import annotations

import asyncio
import fnmatch
import threading
import traceback
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from tasks.base import console
from tasks.standin import wire
from tasks.standin.rules import Refused

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

Kind = Literal[
    # At the front door, for any route:
    "status",  # refuse with `status`; `plain`: with a page that is not JSON; `retry_after`
    "lost-reply",  # do what was asked, then answer `status` all the same
    "drop",  # close the connection instead of answering
    "lost-connection",  # do what was asked, then close the connection
    "slow",  # wait `seconds` first
    # In what it does:
    "build-fails",  # the build ends with an error at its first step
    "build-failed-state",  # the same, told as `build_failed`
    "pending-forever",
    "slow-build",  # building takes `seconds` longer
    "log-stuck",  # the log stream says nothing more and does not end
    "log-cut",  # the log stream breaks off after `count` bytes
    "quota-full",
    "slow-start",  # a sandbox takes `seconds` longer to start
    "failed-start",
    "delete-ignored",  # answers that it deletes, and does not
    "upload-cut",  # an upload's connection breaks after `count` bytes
    "upload-status",  # the object storage answers `status`
]
_DOOR = frozenset({"status", "lost-reply", "drop", "lost-connection", "slow"})
STORAGE = frozenset({"upload-cut", "upload-status"})


@dataclass(kw_only=True)
class Fault:
    kind: Kind
    #: `METHOD /path`, with * for anything. Faults of what it does may name a snapshot or sandbox.
    on: str = "*"
    #: How often; -1: until taken back.
    times: int = 1
    #: Let so many pass first.
    after: int = 0
    status: int = 500
    plain: bool = False
    retry_after: float | None = None
    seconds: float = 0.0
    count: int = 0
    #: How often it struck.
    struck: int = 0

    @classmethod
    def from_json(cls, value: Any) -> Fault:
        try:
            fault = cls(**value)
        except TypeError as error:
            raise Refused(400, f"not a fault: {error}") from error
        if fault.kind not in get_args(Kind):
            raise Refused(400, f"there is no fault {fault.kind}; one of {get_args(Kind)}")
        return fault


class Faults:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def listed(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(f) for f in self._faults]

    def strike(self, kind: Kind, *names: str) -> Fault | None:
        """The fault of that kind that is due for any of `names` now; it counts as struck."""
        return self._take(frozenset({kind}), names)

    def at_door(self, method: str, path: str) -> Fault | None:
        return self._take(_DOOR, (f"{method} {path}",))

    def _take(self, kinds: frozenset[str], names: tuple[str, ...]) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.kind not in kinds or fault.times == 0:
                    continue
                if not any(fnmatch.fnmatchcase(n, fault.on) for n in (names or ("",))):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.times -= 1 if fault.times > 0 else 0
                fault.struck += 1
                return fault
        return None


class Log:
    """Every request that came in: method, path, the status it got (0: none)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.lines: list[tuple[str, str, int]] = []

    def add(self, method: str, path: str, status: int) -> None:
        with self._lock:
            self.lines.append((method, path, status))

    def count(self, pattern: str = "*") -> int:
        """How many requests match `METHOD /path`, with * for anything."""
        with self._lock:
            return sum(fnmatch.fnmatchcase(f"{m} {p}", pattern) for m, p, _ in self.lines)


class Door:
    """ASGI, outermost: strikes with what is due, and keeps the log."""

    def __init__(self, app: ASGIApp, faults: Faults, log: Log) -> None:
        self._app = app
        self._faults = faults
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_stand-in"):
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        answered = False

        async def noted(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                self._log.add(method, path, message["status"])
            await send(message)

        try:
            await self._answer(scope, receive, noted)
        except (asyncio.CancelledError, ConnectionResetError):
            _hang_up(send)  # the stand-in ends, or a fault wants it
        except Exception:  # noqa: BLE001 - a mistake of the stand-in; the 500 has been sent
            console.warn(f"stand-in: {method} {path}\n{traceback.format_exc()}")
        finally:
            if not answered:
                self._log.add(method, path, 0)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def lost(_message: Message) -> None:
            pass

        fault = self._faults.at_door(scope["method"], scope["path"])
        if fault and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            fault = None
        if fault is None:
            await self._app(scope, receive, send)
            return
        if fault.kind in {"lost-reply", "lost-connection"}:
            await self._app(scope, receive, lost)
        if fault.kind not in {"status", "lost-reply"}:
            raise ConnectionResetError(fault.kind)
        await self._refuse(fault, scope, receive, send)

    async def _refuse(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {}
        if fault.status == 429:
            headers["Retry-After-authenticated"] = str(int(fault.retry_after or 1))
        if fault.retry_after is not None:
            headers["Retry-After"] = f"{fault.retry_after:g}"
        if fault.plain:
            body = b"<html><head><title>502 Bad Gateway</title></head></html>\n"
            start = [(b"content-type", b"text/html")]
            start += [(k.encode(), v.encode()) for k, v in headers.items()]
            message = {"type": "http.response.start", "status": fault.status, "headers": start}
            await send(message)
            await send({"type": "http.response.body", "body": body})
            return
        text = {
            401: "Invalid credentials",
            403: "Forbidden resource",
            429: "ThrottlerException: Too Many Requests",
            500: "An unexpected error occurred.",
        }.get(fault.status, "stand-in: asked to fail")
        reply = wire.error(scope["path"], fault.status, text, headers=headers)
        await reply(scope, receive, send)


def _hang_up(send: Any) -> None:
    """Close the connection under uvicorn's feet: its `send` is a method of the request."""
    send.__self__.transport.abort()
