"""Several things at a time, in threads that never keep an interrupted program from ending."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")


def for_each(items: Sequence[T], do: Callable[[T], R], *, workers: int) -> list[R]:
    """The results of `do` for each item, in order. The first failure is raised at once.

    The threads are daemons, unlike an executor's: after Ctrl-C nothing waits for them.
    """
    jobs: queue.SimpleQueue[tuple[int, T]] = queue.SimpleQueue()
    outcomes: queue.SimpleQueue[tuple[int, list[R], BaseException | None]] = queue.SimpleQueue()
    is_over = threading.Event()
    for job in enumerate(items):
        jobs.put(job)

    def work() -> None:
        while not is_over.is_set():
            try:
                number, item = jobs.get_nowait()
            except queue.Empty:
                return
            try:
                outcomes.put((number, [do(item)], None))
            except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
                outcomes.put((number, [], error))

    for _ in range(min(workers, len(items))):
        threading.Thread(target=work, daemon=True).start()
    results: dict[int, R] = {}
    try:
        while len(results) < len(items):
            number, result, error = outcomes.get()
            if error is not None:
                raise error
            results[number] = result[0]
    finally:
        is_over.set()
    return [results[number] for number in range(len(items))]
