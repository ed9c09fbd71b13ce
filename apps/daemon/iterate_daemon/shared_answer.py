"""One answer for everybody who asks at about the same time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class SharedAnswer(Generic[T]):
    """Shares one call of `ask` among concurrent callers, and its answer for `seconds` after it.

    So a client without a token cannot make the daemon probe faster than that.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], *, seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._task: asyncio.Task[T] | None = None
        self._done_at = 0.0

    async def get(self) -> T:
        if self._task is None or (
            self._task.done() and time.monotonic() - self._done_at >= self._seconds
        ):
            self._task = asyncio.create_task(self._call())
        # Shielded: the others still wait when one client goes away.
        return await asyncio.shield(self._task)

    async def _call(self) -> T:
        try:
            return await self._ask()
        finally:
            self._done_at = time.monotonic()
