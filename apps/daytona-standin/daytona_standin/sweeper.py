"""Clean-up that survives the stand-in: `python -m daytona_standin.sweeper IDENTITY FOLDER`.

The sweeper holds the reading end of a pipe whose writing end only the stand-in has. Reading ends
when the stand-in says that it has cleaned up itself, or when it died: the kernel closes the pipe
however it died, SIGKILL included.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from daytona_standin.engine import LocalEngine

#: What the stand-in writes when nothing is left to sweep.
_CLEAN: Final = b"clean"
#: Seconds after the stand-in's death in which a request may still be under way at the engine.
_QUIET: Final = 2.0


class Sweeper:
    """The stand-in's end of the pipe."""

    def __init__(self, identity: str, folder: Path) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "daytona_standin.sweeper", identity, str(folder)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """Tell it that nothing is left, and wait for its end."""
        with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
            self._child.communicate(_CLEAN, timeout=30)


def main(identity: str, folder: str) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # it ends when the stand-in has ended
    if sys.stdin.buffer.read() == _CLEAN:
        return
    engine = LocalEngine(identity)
    engine.remove_all(quiet_seconds=_QUIET)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
