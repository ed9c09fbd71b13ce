"""Run something long: its output to a log, its elapsed time to the user."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tasks.base import console, process
from tasks.base.errors import CommandFailed, TimedOut

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

#: How often a log in CI hears of what takes long, in seconds.
HEARTBEAT: Final = 15.0
QUOTED: Final = 12


@dataclass(frozen=True)
class Log:
    """A file that every long command's output is added to."""

    path: Path

    def run(
        self,
        args: Sequence[str],
        *,
        title: str,
        shown: str | None = None,
        env: Mapping[str, str] | None = None,
        output: Path | None = None,
        must_finish: bool = False,
        give_up: Callable[[str, float], str] | None = None,
    ) -> None:
        """Run `args`; a failure quotes the last lines and is `CommandFailed`.

        `shown` stands for a long command, empty for none. `output` takes its stdout.
        `must_finish`: an interrupt waits for it to end (a package manager cut in the middle
        leaves a broken system). `give_up(text so far, seconds)` may return a reason to stop it.
        """
        if shown != "":
            console.say(f"$ {shown or process.show(args)}", "dim")
        watch = console.Stopwatch()
        with self.path.open("ab") as log, contextlib.ExitStack() as stack:
            log.write(f"\n$ {process.show(args)}\n".encode())
            log.flush()
            start = log.tell()
            stdout = stack.enter_context(output.open("wb")) if output else log
            # Out of the terminal's reach, so that Ctrl-C does not cut dpkg short.
            shield = ["setsid", "--wait"] if must_finish and sys.platform == "linux" else []
            child = process.start(
                [*shield, *args], env=env, stdout=stdout.fileno(), stderr=log.fileno()
            )
            try:
                reason = self._watch(child, title, watch, start, give_up)
            except BaseException:
                if must_finish:
                    console.warn(f"interrupted: {title} comes to its end first, a moment …")
                    child.wait()
                else:
                    process.stop(child)
                raise
        if reason:
            raise TimedOut(f"{title} was given up: {reason}")
        if child.returncode:
            raise self._failure(title, child.returncode, start)
        console.good(f"{title} ({watch})")

    def _watch(
        self,
        child: subprocess.Popen[bytes],
        title: str,
        watch: console.Stopwatch,
        start: int,
        give_up: Callable[[str, float], str] | None,
    ) -> str:
        redraw = console.is_terminal()
        told = 0.0
        try:
            while child.poll() is None:
                time.sleep(0.1)
                if give_up and (reason := give_up(self._text(start), watch.elapsed)):
                    process.stop(child)
                    return reason
                if redraw:
                    sys.stderr.write(f"\r\x1b[K  {title} … {watch}")
                    sys.stderr.flush()
                elif watch.elapsed - told > HEARTBEAT:
                    told = watch.elapsed
                    console.say(f"  {title} … {watch}: {_last(self._text(start))}", "dim")
        finally:
            if redraw:
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()
        return ""

    def _failure(self, title: str, status: int, start: int) -> CommandFailed:
        lines = [line for line in self._text(start).splitlines() if line.strip()]
        for line in lines[-QUOTED:]:
            console.say(f"  │ {console.printable(line)}", "dim")
        # apt and mmdebstrap say first what is wrong, then which of their parts it stopped.
        cause = next((line for line in lines if line.startswith("E: ")), "".join(lines[-1:]))
        why = f": {_last(cause)}" if lines else ""
        return CommandFailed(
            f"{title} failed with status {status}{why}",
            status=status,
            output="\n".join(lines),
            fix=f"the whole log is {self.path}",
        )

    def _text(self, start: int) -> str:
        with self.path.open("rb") as log:
            log.seek(start)
            return log.read().decode(errors="replace")


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return console.printable(lines[-1])[:160] if lines else "(no output yet)"
