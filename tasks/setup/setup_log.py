"""Run a long command: its output goes to a log, its elapsed time to the user."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tasks.base import console, process
from tasks.base.errors import CommandFailed, TimedOut
from tasks.base.progress import ProgressLine

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

#: Seconds between two signs of life of a long command, where nobody watches a terminal.
HEARTBEAT: Final = 15.0
QUOTED_LINES: Final = 12


@dataclass(frozen=True)
class SetupLog:
    """A file to which the output of every long command is added."""

    path: Path

    def run(
        self,
        args: Sequence[str],
        *,
        title: str,
        display: str | None = None,
        env: Mapping[str, str] | None = None,
        output: Path | None = None,
        must_finish: bool = False,
        give_up: Callable[[str, float], str] | None = None,
    ) -> None:
        """Run `args`; a failure quotes the last lines and is `CommandFailed`.

        `display` is shown instead of a long command; "" shows nothing. `output` takes its stdout.
        `must_finish`: an interrupt waits for it to end (a package manager cut in the middle
        leaves a broken system). `give_up(text so far, seconds)` may return a reason to stop it.
        """
        if display != "":
            console.say(f"$ {display or process.show(args)}", "dim")
        watch = console.Stopwatch()
        start = self._add_heading(args)
        # Out of the terminal's reach, so that Ctrl-C does not cut dpkg short.
        shield = ["setsid", "--wait"] if must_finish and sys.platform == "linux" else []
        with self._child([*shield, *args], env, output) as child:
            try:
                reason = self._watch(child, title, watch, start, give_up)
            except BaseException:
                _end(child, title, must_finish=must_finish)
                raise
        if reason:
            raise TimedOut(f"{title}: stopped, because {reason}")
        if child.returncode:
            raise self._failure(title, child.returncode, start)
        console.good(f"{title} ({watch})")

    def _add_heading(self, args: Sequence[str]) -> int:
        """Write the command itself; returns where its output starts, in bytes."""
        with self.path.open("ab") as log:
            log.write(f"\n$ {process.show(args)}\n".encode())
            return log.tell()

    @contextlib.contextmanager
    def _child(
        self, args: Sequence[str], env: Mapping[str, str] | None, output: Path | None
    ) -> Iterator[subprocess.Popen[bytes]]:
        with self.path.open("ab") as log, contextlib.ExitStack() as stack:
            stdout = stack.enter_context(output.open("wb")) if output else log
            yield process.start(args, env=env, stdout=stdout.fileno(), stderr=log.fileno())

    def _watch(
        self,
        child: subprocess.Popen[bytes],
        title: str,
        watch: console.Stopwatch,
        start: int,
        give_up: Callable[[str, float], str] | None,
    ) -> str:
        """Wait for the child; returns why it was stopped, "" when it ended by itself."""

        def describe() -> str:
            return f"{title} … {watch}: {_last_line(self._text(start))}"

        with ProgressLine(describe, heartbeat=HEARTBEAT):
            while child.poll() is None:
                time.sleep(0.1)
                if give_up and (reason := give_up(self._text(start), watch.elapsed)):
                    process.stop(child)
                    return reason
        return ""

    def _failure(self, title: str, status: int, start: int) -> CommandFailed:
        lines = [line for line in self._text(start).splitlines() if line.strip()]
        for line in lines[-QUOTED_LINES:]:
            console.say(f"  │ {console.printable(line)}", "dim")
        # apt and mmdebstrap name the cause first, then which of their parts it stopped.
        cause = next((line for line in lines if line.startswith("E: ")), "".join(lines[-1:]))
        reason = f": {_last_line(cause)}" if lines else ""
        return CommandFailed(
            f"{title} failed with status {status}{reason}",
            status=status,
            output="\n".join(lines),
            fix=f"the whole log is {self.path}",
        )

    def _text(self, start: int) -> str:
        with self.path.open("rb") as log:
            log.seek(start)
            return log.read().decode(errors="replace")


def _end(child: subprocess.Popen[bytes], title: str, *, must_finish: bool) -> None:
    if not must_finish:
        process.stop(child)
        return
    console.warn(f"interrupted; waiting until “{title}” has finished …")
    child.wait()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return console.printable(lines[-1])[:160] if lines else "(no output yet)"
