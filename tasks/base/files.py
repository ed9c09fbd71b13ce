"""Files that are there as a whole or not at all, and the removal of those that nobody needs.

A new file is written under another name and then renamed, so whoever is killed leaves the old
content or the new one, never a part. What a killed process leaves is the unfinished file: it is
locked for as long as its writer lives (the kernel sees to that, in every container), and the next
writer in that folder removes those that nobody has locked.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import stat
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_UNFINISHED: Final = re.compile(r".*\.[0-9a-f]{12}\.new", re.DOTALL)
#: Seconds after which an unfinished file is removed where the file system has no locks.
_STALE_AGE: Final = 86400.0


def write(path: Path, content: str | bytes, *, through: Path | None = None) -> None:
    """Replace `path`, or create it; see `replacement`."""
    with replacement(path, through=through) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacement(
    path: Path, *, through: Path | None = None, is_durable: bool = False
) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of `path` when the block ends without an exception.

    Mode and owner of an existing file stay. `through` is the folder, on the same file system, for
    the unfinished file: `path`'s own where there is none. `is_durable`: a loss of power after the
    block does not bring the old content back.
    """
    folder = through or path.parent
    remove_unfinished(folder)
    temporary, file = _create(folder, path.name)
    try:
        with file:
            yield file
            _adopt(path, file)
            file.flush()
            if is_durable:
                os.fsync(file.fileno())
            temporary.replace(path)  # while it is locked
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if is_durable:
        _sync_folder(path.parent)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes have left of their `replacement`s in that folder."""
    for path in folder.glob("*.new"):
        if not _UNFINISHED.fullmatch(path.name):
            continue
        with contextlib.suppress(OSError), path.open("rb") as file:  # another process removes, too
            if (
                _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                or time.time() - path.stat().st_mtime > _STALE_AGE
            ):
                path.unlink(missing_ok=True)


def remove_unused(folder: Path, *, seconds: float, pattern: str = "*") -> None:
    """Remove the files and folders that nobody has touched for so long."""
    oldest = time.time() - seconds
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):  # another process removes, too
            status = path.lstat()
            if status.st_mtime >= oldest:
                continue
            if stat.S_ISDIR(status.st_mode):
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def _create(folder: Path, name: str) -> tuple[Path, IO[bytes]]:
    while True:
        path = folder / f"{name[:200]}.{secrets.token_hex(6)}.new"
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb")
        _lock(file, fcntl.LOCK_EX)
        # One that was removed before it was locked is made again.
        if os.fstat(file.fileno()).st_nlink:
            return path, file
        file.close()


def _lock(file: IO[bytes], operation: int) -> bool:
    try:
        fcntl.flock(file, operation)
    except OSError:
        return False
    return True


def _adopt(path: Path, file: IO[bytes]) -> None:
    """Give the new file the mode and the owner of the one that it replaces."""
    try:
        existing = path.stat()
    except FileNotFoundError:
        return
    os.fchmod(file.fileno(), stat.S_IMODE(existing.st_mode))
    if (existing.st_uid, existing.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(file.fileno(), existing.st_uid, existing.st_gid)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
