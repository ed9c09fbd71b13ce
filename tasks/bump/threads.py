"""Work in threads that never keep a process from ending.

The threads of `concurrent.futures` are waited for when the interpreter exits, so one that hangs in
the system's name look-up, which nothing can cut, would outlive Ctrl-C for as long as it likes.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

S = TypeVar("S")
T = TypeVar("T")


def in_threads(work: Callable[[S], T], items: Iterable[S], *, threads: int = 8) -> list[T]:
    """`work` of each item, in order. Raises what one of them raised, and begins no other then."""
    jobs: deque[tuple[Future[T], S]] = deque((Future(), item) for item in items)
    futures = [future for future, _ in jobs]

    def run() -> None:
        while True:
            try:
                future, item = jobs.popleft()
            except IndexError:
                return
            try:
                future.set_result(work(item))
            except BaseException as error:  # noqa: BLE001 - it reaches whoever asks for the result
                future.set_exception(error)

    for _ in range(min(threads, len(jobs))):
        threading.Thread(target=run, daemon=True).start()
    try:
        return [future.result() for future in futures]
    finally:
        jobs.clear()
