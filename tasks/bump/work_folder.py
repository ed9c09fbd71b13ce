"""What one run of the bumper keeps on disk only while it lives, and the lock that makes it alone.

Both are kept by locks of the kernel, which end with their process however that ends: also with
`kill -9`, in another pid namespace, or with the machine.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base import console, files
from tasks.base.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER: Final = "bump-work"


class BumpRunning(TaskError):
    code = "busy"


@contextmanager
def work_folder(state: Path) -> Iterator[Path]:
    """A folder below `state` for this process alone; what killed processes left is deleted."""
    parent = state / _FOLDER
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    files.remove_unfinished(state)
    folder, handle = _create(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _create(parent: Path) -> tuple[Path, int]:
    """A folder that is locked. One that was swept before it was locked is made again."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=parent))
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        fcntl.flock(handle, fcntl.LOCK_EX)
        if folder.exists():
            return folder, handle
        os.close(handle)


def _sweep(parent: Path) -> None:
    for folder in parent.iterdir():
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # not a folder, or another process sweeps, too
            continue
        if _try_lock(handle):
            shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def exclusive_run(state: Path) -> Iterator[None]:
    """Only one run at a time writes to this repository; a second one raises `BumpRunning`."""
    with (state / "bump-versions.lock").open("a+") as file:
        if not _try_lock(file.fileno()):
            file.seek(0)
            owner = console.printable(file.read().strip()) or "another process"
            raise BumpRunning(
                f"bump_versions is running in this repository already ({owner})",
                fix="wait for it, then try again",
            )
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield
