"""Programs that the stand-in runs beside itself, each on a leash; servers among them."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import httpx

from daytona_standin.errors import StandInError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOOPBACK: Final = "127.0.0.1"
_LEASH: Final = Path(__file__).with_name("leash.py")
#: Seconds for a server to answer first. It takes one or two; a busy machine takes more.
_START: Final = 120.0


class LeashedProcess:
    """A program that ends when `end` is called, or when the stand-in dies."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        stdin: int = subprocess.DEVNULL,
        stdout: int | IO[bytes],
    ) -> None:
        lifeline, self._writing_end = os.pipe()
        try:
            self.process = subprocess.Popen(
                [sys.executable, str(_LEASH), str(lifeline), *command],
                env=dict(environment),
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.STDOUT,
                pass_fds=[lifeline],
            )
        except BaseException:
            self.let_go()
            raise
        finally:
            os.close(lifeline)

    def let_go(self) -> None:
        """Ask the program to end; it is killed three seconds later."""
        with contextlib.suppress(OSError):  # it was closed before
            os.close(self._writing_end)
        self._writing_end = -1

    def end(self) -> None:
        self.let_go()
        self.process.wait()


def free_port() -> int:
    """A port that a child can bind a moment later.

    It is none of those that systems give to outgoing connections (from 32768 on Linux, from 49152
    elsewhere), which could be taken by then.
    """
    for port in random.sample(range(20000, 32768), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port
    raise StandInError("no port is free between 20000 and 32767; `ss -ltn` shows who has them")


class ChildServer:
    """A program that speaks HTTP. It is running once `base_url` + `probe` has answered."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        base_url: str,
        probe: str = "",
        headers: Mapping[str, str] | None = None,
        environment: Mapping[str, str],
    ) -> None:
        self._name = name
        self._log = log
        self._probe = probe
        #: Asks the server.
        self.client = httpx.Client(base_url=base_url, headers=headers, timeout=60, trust_env=False)
        with log.open("ab") as file:
            self._leashed = LeashedProcess(command, environment=environment, stdout=file)
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START
        while time.monotonic() < deadline:
            if self._leashed.process.poll() is not None:
                lines = self._log.read_text(errors="replace").strip().splitlines()
                raise StandInError(f"{self._name} ended at once: {lines[-1] if lines else ''}")
            with contextlib.suppress(httpx.TransportError):
                if self.client.get(self._probe).is_success:
                    return
            time.sleep(0.1)
        raise StandInError(f"{self._name} did not start within {_START:g} s")

    def stop(self) -> None:
        self.client.close()
        self._leashed.end()
