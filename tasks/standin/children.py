"""Servers of the stand-in that are programs of their own, on loopback ports, on a leash."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks import console, process, waiting
from tasks.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LOOPBACK: Final = "127.0.0.1"
_LEASH: Final = Path(__file__).with_name("leash.py")


class ServerFailed(TaskError):
    code = "stand-in-server"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


class Server:
    """One child. `name` is what people know it by."""

    def __init__(
        self,
        name: str,
        args: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str | None] | None = None,
    ) -> None:
        self.name = name
        self._log = log
        with log.open("ab") as file:
            self._child = process.start(
                [sys.executable, str(_LEASH), *args],
                env=env,
                stdin=subprocess.PIPE,
                stdout=file.fileno(),
                stderr=file.fileno(),
            )

    def wait_until(self, answers: Callable[[], bool], *, timeout: float = 30) -> None:
        def probe() -> bool:
            if self._child.poll() is not None:
                lines = self._log.read_text(errors="replace").strip().splitlines() or ["no word"]
                raise ServerFailed(f"{self.name} ended at once: {console.printable(lines[-1])}")
            return answers()

        waiting.until(probe, what=f"the start of {self.name}", timeout=timeout)

    def stop(self) -> None:
        if self._child.stdin:
            self._child.stdin.close()
        process.stop(self._child)
