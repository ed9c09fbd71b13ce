"""Connections on which no request has arrived: bounded in time and in number.

A silent client then never keeps another one out. uvicorn itself bounds only the time between two
requests, and only until the first byte of the next one.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, ClassVar, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from asyncio import TimerHandle, Transport

    import h11
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

#: From the start of a connection, or the end of an answer, to the last header of a request.
REQUEST_SECONDS: Final = 10.0
#: Beyond that many, the connection that has waited longest is closed for a new one.
IDLE_LIMIT: Final = 128


class BoundedProtocol(H11Protocol):
    """HTTP/1.1, with an end to waiting for a request."""

    #: Of this process; the one that has waited longest is first.
    idle: ClassVar[OrderedDict[BoundedProtocol, TimerHandle]] = OrderedDict()

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_wait()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn leaves the None out
        if cycle is not None and not cycle.response_complete:
            self._end_wait()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._end_wait()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        # First, since a request that has arrived meanwhile begins in super().
        if not self.transport.is_closing():
            self._await_request()
        super().on_response_complete()

    def _await_request(self) -> None:
        self._end_wait()
        self.idle[self] = self.loop.call_later(REQUEST_SECONDS, self.close)
        while len(self.idle) > IDLE_LIMIT:
            next(iter(self.idle)).close()

    def _end_wait(self) -> None:
        if (timer := self.idle.pop(self, None)) is not None:
            timer.cancel()

    def close(self) -> None:
        """End a wait, and with it the connection."""
        self._end_wait()
        self.transport.abort()
