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
    from typing import IO

_FOLDER: Final = "bump-work"
_OWNER: Final = "owner.lock"


class BumpRunning(TaskError):
    code = "busy"


@contextmanager
def work_folder(state: Path) -> Iterator[Path]:
    """A folder below `state` for this process alone; what killed processes left is deleted."""
    parent = state / _FOLDER
    parent.mkdir(parents=True, exist_ok=True)
    # Whoever makes or deletes such folders is alone for that moment: a new one has no owner yet.
    with (parent / _OWNER).open("a") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        _sweep(parent)
        folder = Path(tempfile.mkdtemp(dir=parent))
        owner = (folder / _OWNER).open("a")
        fcntl.flock(owner, fcntl.LOCK_EX)
    with owner:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for folder in parent.iterdir():
        if folder.is_dir() and not folder.is_symlink() and _is_abandoned(folder / _OWNER):
            shutil.rmtree(folder, ignore_errors=True)
    files.remove_unfinished(parent.parent)


def _is_abandoned(owner: Path) -> bool:
    try:
        with owner.open() as file:
            return _try_lock(file)
    except FileNotFoundError:
        return True


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def exclusive_run(state: Path) -> Iterator[None]:
    """Only one run at a time writes to this repository; a second one raises `BumpRunning`."""
    with (state / "bump-versions.lock").open("a+") as file:
        if not _try_lock(file):
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
