"""The id that git gives the bytes of a file, and those of files that were read before.

Git's index has such a cache, too, but it says that a file is *clean*: that what git would make of
its bytes, under the attributes of that moment, is the blob. This one is of the bytes themselves,
so attributes, filters and line ends cannot make it wrong.

A file counts as unchanged while device, inode, size, mtime and ctime are the same to the
nanosecond. No program can set the ctime. A file that was changed just before it was read is not
kept: a second change could fall into the same tick of the file system's clock ("racy").
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tasks.base import files
from tasks.base.project import cache_dir

if TYPE_CHECKING:
    from pathlib import Path

_KEPT_SECONDS: Final = 14 * 86400.0
#: Nanoseconds: more than a tick of Linux's clock; some file systems have whole seconds only.
_TICK: Final = 100_000_000
_COARSE_TICK: Final = 2_000_000_000
_SECOND: Final = 1_000_000_000


def blob_id(path: bytes, status: os.stat_result, *, sha256: bool) -> str:
    """The id git gives the bytes of a file, or the target of a link, as they are on disk."""
    digest = (hashlib.sha256 if sha256 else hashlib.sha1)(usedforsecurity=False)
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(path)
        digest.update(b"blob %d\0" % len(target) + target)
        return digest.hexdigest()
    digest.update(b"blob %d\0" % status.st_size)
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


class StatCache:
    """The ids of the files of one checkout, by their stat data.

    Whatever goes wrong with its own file costs time only.
    """

    def __init__(self, root: Path, *, sha256: bool) -> None:
        name = hashlib.sha256(os.fsencode(root) + (b"\0sha256" if sha256 else b"")).hexdigest()
        self._path = cache_dir() / "stat" / name[:40]
        self._former: dict[bytes, bytes] = {}
        with suppress(OSError):
            fields = self._path.read_bytes().split(b"\0")
            self._former = dict(zip(fields[::2], fields[1::2], strict=False))
        self._current: dict[bytes, bytes] = {}

    def find(self, path: bytes, status: os.stat_result) -> str | None:
        """The id of the file's bytes, if it is as it was when it was read."""
        key = _key(path, status)
        oid = self._former.get(key)
        if oid is None:
            return None
        self._current[key] = oid
        return oid.decode()

    def add(self, path: bytes, status: os.stat_result, oid: str, *, read_ns: int) -> None:
        """Keep what was read from `read_ns` on, nanoseconds since 1970."""
        newest = max(status.st_ctime_ns, status.st_mtime_ns)
        tick = _TICK if status.st_ctime_ns % _SECOND else _COARSE_TICK
        if newest + tick < read_ns:
            self._current[_key(path, status)] = oid.encode()

    def save(self) -> None:
        """For the next scan; files that this one did not see are forgotten."""
        if self._current.keys() == self._former.keys():
            if self._current:
                with suppress(OSError):
                    os.utime(self._path)
            return
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            rows = (key + b"\0" + oid for key, oid in self._current.items())
            files.write(self._path, b"\0".join(rows))
            files.remove_unused(self._path.parent, seconds=_KEPT_SECONDS)


def _key(path: bytes, status: os.stat_result) -> bytes:
    return b"%d %d %d %d %d %s" % (
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, path,
    )  # fmt: skip
