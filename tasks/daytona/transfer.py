"""What an upload has done, and how far it has come."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from tasks.base import console
from tasks.base.progress import ProgressLine


@dataclass(frozen=True, kw_only=True)
class TransferReport:
    """`bytes_sent` of `total` in `seconds`; `reused` of the `parts` were there already."""

    parts: int
    reused: int
    bytes_sent: int
    total: int
    seconds: float

    def __str__(self) -> str:
        rate = f", {console.size(self.bytes_sent / self.seconds)}/s" if self.seconds > 0.1 else ""
        return (
            f"{console.size(self.bytes_sent)} of {console.size(self.total)} sent in"
            f" {console.seconds(self.seconds)}{rate}; {self.reused} of {self.parts} parts were"
            " there already"
        )

    def record(self) -> dict[str, Any]:
        return {
            "parts": self.parts,
            "parts_reused": self.reused,
            "bytes": self.total,
            "bytes_sent": self.bytes_sent,
            "seconds": round(self.seconds, 2),
        }


class TransferProgress:
    """Within its block people see how far it has come. Thread-safe."""

    def __init__(self, *, to_send: int, reused: int, parts: int) -> None:
        self.bytes_sent = 0
        self._to_send = to_send
        self._reused = f"{reused} of {parts} parts reused"
        self._lock = threading.Lock()
        self._watch = console.Stopwatch()
        self._line = ProgressLine(lambda: str(self))

    def add(self, count: int) -> None:
        with self._lock:
            self.bytes_sent += count

    def __enter__(self) -> None:
        self._line.__enter__()

    def __exit__(self, *_exc: object) -> None:
        self._line.__exit__()

    def __str__(self) -> str:
        rate = self.bytes_sent / max(self._watch.elapsed, 0.001)
        share = 100 * self.bytes_sent // max(self._to_send, 1)
        return (
            f"{console.size(self.bytes_sent)} of {console.size(self._to_send)} ({share} %),"
            f" {console.size(rate)}/s, {self._reused}"
        )
