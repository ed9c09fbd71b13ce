"""`python -m tasks COMMAND`: finds the command, and turns expected failures into one line."""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from tasks.base import console
from tasks.base.errors import Interrupted, TaskError
from tasks.github import job

if TYPE_CHECKING:
    from types import FrameType

#: Command → module in tasks.commands; each has `main(arguments) -> None`. Imported at use.
COMMANDS: Final = {
    "bump-pull-request": "bump_pull_request",
    "bump-versions": "bump_versions",
    "daytona-test": "daytona_test",
    "deps": "deps",
    "doctor": "doctor",
    "gate": "gate",
    "github-check": "github_check",
    "github-comment": "github_comment",
    "image-test": "image_test",
    "lint": "lint",
    "local-test": "local_test",
    "plan": "plan",
    "reap": "reap",
    "require-engine": "require_engine",
    "sandbox-plan": "sandbox_plan",
    "setup": "setup",
    "snapshot-daytona": "snapshot_daytona",
    "snapshot-local": "snapshot_local",
    "snapshots": "snapshots",
    "stand-in": "stand_in",
    "stand-in-test": "stand_in_test",
    "web-test": "web_test",
}

_PR_SET_PDEATHSIG: Final = 1


def main(arguments: list[str]) -> int:
    name, *rest = arguments or ["--help"]
    if name in {"-h", "--help"}:
        console.say("usage: python -m tasks COMMAND [--help]\ncommands: " + " ".join(COMMANDS))
        return 0
    if name not in COMMANDS:
        console.fail(
            f"there is no command `{console.printable(name)}` → one of: {' '.join(COMMANDS)}"
        )
        return 2
    with job.quarantine():
        return _run(name, rest)


def _run(name: str, arguments: list[str]) -> int:
    session = name.replace("-", "_")
    try:
        _end_as_if_interrupted()
        importlib.import_module(f"tasks.commands.{COMMANDS[name]}").main(arguments)
    except TaskError as error:
        console.fail(str(error))
        for note in error.notes:
            console.warn(note)
        job.report_failure(session, what=error.what, fix=error.fix, notes=error.notes)
        return error.exit_status
    except (KeyboardInterrupt, Interrupted) as interrupt:
        signum = interrupt.signum if isinstance(interrupt, Interrupted) else signal.SIGINT
        console.fail(f"interrupted: `{name}` was ended and has cleaned up")
        what = "it was interrupted, and has cleaned up"
        notes = tuple(getattr(interrupt, "__notes__", ()))
        for note in notes:
            console.warn(note)
        job.report_failure(session, what=what, fix="run it again", notes=notes)
        return 128 + signum
    except BrokenPipeError:
        # The reader of our output went away (`| head`); nothing is left to tell it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        kind = type(error).__name__
        job.report_failure(session, what=f"an unexpected {kind}", fix="its log has the traceback")
        raise
    return 0


def _end_as_if_interrupted() -> None:
    """SIGTERM runs every `finally`, and so does the death of nox (which may leave children).

    prctl(2), PR_SET_PDEATHSIG: the kernel signals us when our parent dies.
    """

    def interrupted(signum: int, _frame: FrameType | None) -> NoReturn:
        raise Interrupted(signum)

    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGHUP, interrupted)
    if sys.platform == "linux" and "NOX_CURRENT_SESSION" in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        # Its parent was gone before; or nox is a container's first process.
        if os.getppid() == 1 and b"nox" not in Path("/proc/1/cmdline").read_bytes():
            raise Interrupted(signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
