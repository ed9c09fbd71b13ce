"""Servers of the stand-in that are programs of their own, on loopback ports, on a leash."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from tasks.base import console, process, waiting
from tasks.base.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOOPBACK: Final = "127.0.0.1"
_LEASH: Final = Path(__file__).with_name("leash.py")


class ServerFailed(TaskError):
    code = "stand-in-server"


def free_port() -> int:
    """One that a child can bind a moment later: not of those that systems give to connections
    (from 32768 on Linux, from 49152 elsewhere), which would be gone by then now and then.
    """
    for port in random.sample(range(20000, 32768), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port
    raise ServerFailed("no port is free between 20000 and 32767", fix="ss -ltn shows who has them")


class Server:
    """One child that speaks HTTP, from when `base_url` + `probe` answers. `name` is for people;
    `client` asks it.
    """

    def __init__(
        self,
        name: str,
        args: Sequence[str],
        *,
        log: Path,
        base_url: str,
        probe: str = "",
        headers: Mapping[str, str] | None = None,
        env: Mapping[str, str | None] | None = None,
    ) -> None:
        self.name = name
        self._log = log
        self._probe = probe
        self.client = httpx.Client(base_url=base_url, headers=headers, timeout=60, trust_env=False)
        with log.open("ab") as file:
            self._child = process.start(
                [sys.executable, str(_LEASH), *args],
                env=env,
                stdin=subprocess.PIPE,
                stdout=file.fileno(),
                stderr=file.fileno(),
            )
        try:
            waiting.until(self._answers, what=f"the start of {self.name}", timeout=30)
        except BaseException:
            self.stop()
            raise

    def _answers(self) -> bool:
        if self._child.poll() is not None:
            lines = self._log.read_text(errors="replace").strip().splitlines() or ["no word"]
            raise ServerFailed(f"{self.name} ended at once: {console.printable(lines[-1])}")
        try:
            return self.client.get(self._probe).is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        self.client.close()
        if self._child.stdin:
            self._child.stdin.close()
        process.stop(self._child)
