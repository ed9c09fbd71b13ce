"""Start the local Daytona, `apps/daytona-standin`, as a child: its command line and environment.

The child ends with this process however this process ends: its standard input closes then. All that
it makes carries the labels of a run, so that the reaper finds it should the child be killed.
"""

from __future__ import annotations

import collections
import contextlib
import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tasks.base import certificates, console, process, programs, project, waiting
from tasks.base.errors import TaskError, TimedOut
from tasks.daytona.credentials import LOOPBACK_VARIABLE
from tasks.engine import discovery
from tasks.sandbox import providers
from tasks.sandbox.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

APPLICATION: Final = "apps/daytona-standin"
#: Seconds until it listens. It takes three; a busy machine takes more.
_START: Final = 180.0
#: Seconds to delete all that it has made.
_END: Final = 120.0


class StandInFailed(TaskError):
    code = "stand-in"


@dataclass(frozen=True)
class RunningStandIn:
    """`environment` makes the SDK and our own commands use it."""

    environment: Mapping[str, str]
    control_url: str
    _child: subprocess.Popen[bytes]

    def wait(self) -> None:
        """Return only by an exception: when this process is interrupted, or the stand-in ends."""
        status = self._child.wait()
        raise StandInFailed(f"the stand-in has ended by itself, with status {status}")


@contextlib.contextmanager
def running(*, port: int = 0) -> Iterator[RunningStandIn]:
    """A stand-in on loopback, on this machine's engine; nothing of it is left afterwards.

    `port` 0 is any free port. This interpreter must have the packages of the application's
    `requirements.txt`.
    """
    docker_engine = discovery.require()
    with contextlib.closing(providers.connect("docker")) as provider, Run(provider) as run:
        command = [
            *(sys.executable, "-m", "daytona_standin", "--leash", "--port", str(port)),
            *("--folder", str(run.folder / "stand-in")),
            *("--registry-program", str(programs.require_registry())),
            *(f"--label={name}={value}" for name, value in run.labels("stand-in").items()),
        ]
        if bundle := certificates.find_ca_bundle():
            command += ["--ca-bundle", str(bundle)]
        environment = {
            "DOCKER_HOST": docker_engine.host,
            "PYTHONPATH": str(project.ROOT / APPLICATION),
        }
        with _child(command, environment) as child:
            description = json.loads(child.first_line())
            yield RunningStandIn(
                environment={**description["environment"], LOOPBACK_VARIABLE: "1"},
                control_url=description["control_url"],
                _child=child.process,
            )


@contextlib.contextmanager
def _child(command: list[str], environment: Mapping[str, str]) -> Iterator[_StandInChild]:
    child = _StandInChild(command, environment)
    try:
        yield child
    finally:
        child.end()


class _StandInChild:
    """The process. Once it has started, its messages appear as warnings."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self._messages: collections.deque[str] = collections.deque(maxlen=20)
        self._first_lines: list[bytes] = []
        # In a session of its own: a terminal's Ctrl-C ends our own work first, which may need it.
        self.process = process.start(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._threads = [
            threading.Thread(target=target, daemon=True)
            for target in (self._read_first_line, self._relay_messages)
        ]
        for thread in self._threads:
            thread.start()

    def _read_first_line(self) -> None:
        if stdout := self.process.stdout:
            with stdout:
                self._first_lines.append(stdout.readline())

    def _relay_messages(self) -> None:
        if stderr := self.process.stderr:
            with stderr:
                for raw_message in stderr:
                    message = console.printable(raw_message.decode(errors="replace").rstrip())
                    self._messages.append(message)
                    if self._first_lines:
                        console.warn(f"stand-in: {message}")

    def first_line(self) -> bytes:
        """What it prints when it listens. Raises `StandInFailed` when it does not start."""
        try:
            waiting.until(
                lambda: bool(self._first_lines), what="the start of the stand-in", timeout=_START
            )
        except TimedOut as error:
            raise StandInFailed(error.what, fix="nox -s doctor") from error
        if line := self._first_lines[0]:
            return line
        self._threads[-1].join(5)
        reason = self._messages[-1] if self._messages else "it gave no reason"
        fix = "nox -s stand_in" if "ModuleNotFoundError" in reason else "nox -s doctor"
        reason = reason.removeprefix("daytona_standin: ")
        raise StandInFailed(f"the stand-in did not start: {reason}", fix=fix)

    def end(self) -> None:
        """Let go of it, wait until it has deleted all that it has made."""
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(timeout=_END)
        except subprocess.TimeoutExpired:
            process.stop(self.process)
            console.warn("the stand-in did not end by itself; its reaper deletes what it has left")
        for thread in self._threads:
            thread.join(5)
