"""One way to wait: a deadline, a reason, the last state, and an early end when it is hopeless."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from tasks.base.errors import TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def until(
    probe: Callable[[], T | None],
    *,
    what: str,
    timeout: float,
    state: Callable[[], str] = str,
    interval: float = 0.1,
) -> T:
    """Call `probe` until it returns something other than None or False, and return that.

    `probe` raises when what it waits for can no longer happen; that ends the wait at once.
    `state` describes, for the error, how things stood at the deadline. Raises `TimedOut`
    after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        result = probe()
        if result is not None and result is not False:
            return result
        if time.monotonic() >= deadline:
            last = state()
            raise TimedOut(f"{what} did not happen within {timeout:g} s" + (last and f": {last}"))
        time.sleep(interval)
        interval = min(interval * 1.3, 1.0)
