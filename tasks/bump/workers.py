"""Threads that never keep a process from ending.

The threads of `concurrent.futures` are waited for when the interpreter exits, so one that hangs in
the system's name look-up, which nothing can cut, would outlive Ctrl-C for as long as it likes.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S")

_Job = tuple["Future[object]", "Callable[[], object]"]


class Workers:
    """A fixed number of daemon threads. Leaving the block waits for what was submitted; an
    exception in it calls `cancel`, which has to end what the threads are waiting for, and leaves
    at once.
    """

    def __init__(self, count: int, *, cancel: Callable[[], object]) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._cancel = cancel
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._drop_jobs()
            self._cancel()
        for _ in self._threads:
            self._jobs.put(None)
        if error is None:
            for thread in self._threads:
                thread.join()

    def submit(self, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        self._jobs.put((future, lambda: work(*args, **options)))  # type: ignore[arg-type]
        return future

    def map(self, work: Callable[[S], T], items: Iterable[S]) -> list[T]:
        """`work` of each item, in order. Not from within the workers: it could wait for ever."""
        futures = [self.submit(work, item) for item in items]
        return [future.result() for future in futures]

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, work = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it reaches whoever asks for the result
                future.set_exception(error)
            else:
                future.set_result(result)

    def _drop_jobs(self) -> None:
        try:
            while job := self._jobs.get_nowait():
                job[0].cancel()
        except queue.Empty:
            return
