"""How far a long task has come: one line that is redrawn on a terminal, and a sign of life every
now and then elsewhere.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Self

from tasks.base import console

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two lines: on a terminal, and where nobody watches one.
_REDRAW: Final = 0.2
_HEARTBEAT: Final = 15.0


class ProgressLine:
    """Within its block, `describe` says what is going on. Other lines that `console` prints go
    above it. An exception of `describe` ends the line, not the task.
    """

    def __init__(
        self, describe: Callable[[], str], *, redraw: float = _REDRAW, heartbeat: float = _HEARTBEAT
    ) -> None:
        self._describe = describe
        self._is_live = console.is_terminal()
        self._interval = redraw if self._is_live else heartbeat
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        console.clear_status()

    def _show(self) -> None:
        while not self._is_over.wait(self._interval):
            text = f"  {console.printable(self._describe())}"
            if self._is_live:
                console.show_status(text)
            else:
                console.say(text, "dim")
