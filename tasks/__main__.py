"""`python -m tasks COMMAND`: finds the command, and turns expected failures into one line."""

from __future__ import annotations

import ctypes
import difflib
import errno
import importlib
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from tasks.base import console, loopback
from tasks.base.errors import Interrupted, TaskError
from tasks.commands import COMMANDS, GROUPS
from tasks.github import job

if TYPE_CHECKING:
    from types import FrameType

_PR_SET_PDEATHSIG: Final = 1


def main(arguments: list[str]) -> int:
    """Run one command; the result is the exit status of the process."""
    os.environ.update(loopback.exempt(os.environ))  # for us and all that we start
    name, *rest = arguments or ["--help"]
    if name in GROUPS:
        return _in_group(name, rest or ["--help"])
    if name in {"-h", "--help"}:
        names = [command for command in COMMANDS if " " not in command] + list(GROUPS)
        print(f"usage: python -m tasks COMMAND [--help]\ncommands: {' '.join(sorted(names))}")
        return 0
    return _run(name, rest) if name in COMMANDS else _unknown(name, list(COMMANDS))


def _in_group(group: str, arguments: list[str]) -> int:
    name, *rest = arguments
    names = [c.removeprefix(f"{group} ") for c in COMMANDS if c.startswith(f"{group} ")]
    if name in {"-h", "--help"}:
        print(f"usage: nox -s {group} -- COMMAND [--help]\n\n{GROUPS[group]}\n\ncommands:")
        for command in names:
            module = importlib.import_module(f"tasks.commands.{COMMANDS[f'{group} {command}']}")
            print(f"  {command:{max(map(len, names))}}  {(module.__doc__ or '').splitlines()[0]}")
        return 0
    return _run(f"{group} {name}", rest) if name in names else _unknown(name, names)


def _unknown(name: str, names: list[str]) -> int:
    nearest = difflib.get_close_matches(name.replace("_", "-"), names, n=1)
    advice = nearest[0] if nearest else f"one of: {' '.join(names)}"
    console.fail(f"there is no command `{console.printable(name)}` → {advice}")
    return 2


def _run(name: str, arguments: list[str]) -> int:
    with job.quarantine():
        return _run_command(name, arguments)


def _run_command(name: str, arguments: list[str]) -> int:
    title = name.rpartition(" ")[2].replace("-", "_")
    try:
        _end_as_if_interrupted()
        importlib.import_module(f"tasks.commands.{COMMANDS[name]}").main(arguments)
    except TaskError as error:
        console.fail(str(error))
        for note in error.notes:
            console.warn(note)
        job.report_failure(title, problem=error.what, fix=error.fix, notes=error.notes)
        return error.exit_status
    except (KeyboardInterrupt, Interrupted) as interrupt:
        signum = interrupt.signum if isinstance(interrupt, Interrupted) else signal.SIGINT
        console.fail(f"interrupted: `{name}` was ended and has cleaned up")
        problem = "it was interrupted, and has cleaned up"
        notes = tuple(getattr(interrupt, "__notes__", ()))
        for note in notes:
            console.warn(note)
        job.report_failure(title, problem=problem, fix="run it again", notes=notes)
        return 128 + signum
    except BrokenPipeError:
        # The reader of our output went away (`| head`); nothing is left to tell it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return _report_full_disk(title, error)
        kind = type(error).__name__
        job.report_failure(title, problem=f"an unexpected {kind}", fix="its log has the traceback")
        raise
    return 0


def _report_full_disk(title: str, error: OSError) -> int:
    folder = Path(os.fsdecode(error.filename or tempfile.gettempdir())).absolute()
    while not folder.is_dir():
        folder = folder.parent
    free = console.size(shutil.disk_usage(folder).free)
    problem = f"the disk is full: {console.printable(str(folder))} has {free} left"
    fix = "free some disk, or set TMPDIR to a folder on another one"
    console.fail(f"{problem} → {fix}")
    job.report_failure(title, problem=problem, fix=fix)
    return 1


def _end_as_if_interrupted() -> None:
    """SIGTERM runs every `finally`, and so does the death of nox (which may leave children).

    prctl(2), PR_SET_PDEATHSIG: the kernel signals us when our parent dies.
    """

    def interrupt(signum: int, _frame: FrameType | None) -> NoReturn:
        raise Interrupted(signum)

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
    if sys.platform == "linux" and "NOX_CURRENT_SESSION" in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        # Its parent has ended already; or nox is a container's first process.
        if os.getppid() == 1 and b"nox" not in Path("/proc/1/cmdline").read_bytes():
            raise Interrupted(signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
