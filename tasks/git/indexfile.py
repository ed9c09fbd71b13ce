"""Git's index file, versions 2 and 3, read and written again without this machine's traces.

Format: Documentation/gitformat-index.txt of git. Git itself first rewrites split, compressed
or sparse indexes to the plain form, so that only that form is read here.
"""

from __future__ import annotations

import hashlib
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base.errors import BadInput

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from tasks.git import Repo

_STAT: Final = struct.Struct(">10I")  # ctime s, ns, mtime s, ns, dev, ino, mode, uid, gid, size
_EXTENDED: Final = 0x4000
_STAGE: Final = 0x3000
_NAME: Final = 0x0FFF
_LOW32: Final = 0xFFFFFFFF

#: The mode of a submodule's entry: its id is a commit of another repository.
GITLINK: Final = 0o160000


@dataclass(frozen=True)
class IndexEntry:
    """One path. `mode` is git's (0o100644, 0o100755, 0o120000, 0o160000), `oid` hexadecimal."""

    path: bytes
    mode: int
    oid: str
    stage: int
    skip_worktree: bool
    stat: tuple[int, ...]

    def unchanged(self, status: os.stat_result, index_mtime_ns: int) -> bool:
        """Whether git's own cache proves that the file still holds `oid`.

        A file touched at or after the moment the index was written proves nothing ("racy").
        """
        c_s, c_ns, m_s, m_ns, _dev, ino, _mode, uid, gid, size = self.stat
        ctime, mtime = divmod(status.st_ctime_ns, 10**9), divmod(status.st_mtime_ns, 10**9)
        return (
            (c_s, m_s) == (ctime[0] & _LOW32, mtime[0] & _LOW32)
            and (c_ns, m_ns) == (ctime[1], mtime[1])
            and (uid, gid) == (status.st_uid & _LOW32, status.st_gid & _LOW32)
            and ino == status.st_ino & _LOW32
            and size == status.st_size & _LOW32
            and status.st_mtime_ns < index_mtime_ns
        )


@dataclass(frozen=True)
class Index:
    """`entries` in git's order; `clean` is the file without stat data and extensions."""

    entries: tuple[IndexEntry, ...]
    clean: bytes
    mtime_ns: int


def read(repo: Repo, *, sha256: bool) -> Index:
    """The index of a checkout; an empty one where there is no file."""
    path = repo.index_path
    try:
        raw, mtime_ns = path.read_bytes(), path.stat().st_mtime_ns
    except FileNotFoundError:
        return parse(_header(2, 0), mtime_ns=0, sha256=sha256, checksum=False)
    with tempfile.TemporaryDirectory(prefix="iterate-index-") as folder:
        copy = Path(folder) / "index"
        copy.write_bytes(raw)
        plain = ["--index-version", "2", "--no-split-index", "--no-untracked-cache"]
        repo.git(
            "update-index", *plain, "--no-fsmonitor", "--force-write-index",
            index=copy, settings=(("index.sparse", "false"), ("index.skipHash", "false")),
        )  # fmt: skip
        return parse(copy.read_bytes(), mtime_ns=mtime_ns, sha256=sha256)


def update(repo: Repo, index: Path, *, present: Iterable[bytes], absent: Iterable[bytes]) -> None:
    """Bring the index file `index` up to what is on disk: the paths that are there, those that are
    not. As `git add --all` does it, which would ask submodules with their own configuration.
    """
    for options, paths in (
        (("--force-remove",), absent),
        (("--add", "--remove", "--replace"), present),
    ):
        names = b"".join(path + b"\0" for path in paths)
        repo.git("update-index", *options, "-z", "--stdin", stdin=names, index=index)


def compose(entries: Iterable[tuple[bytes, int, str]], *, sha256: bool) -> Index:
    """The index of a commit just checked out; `entries` are path, mode, id in git's order."""
    index_entries: list[IndexEntry] = []
    body = bytearray()
    for path, mode, oid in entries:
        stat = (0, 0, 0, 0, 0, 0, mode, 0, 0, 0)
        index_entries.append(IndexEntry(path, mode, oid, 0, skip_worktree=False, stat=stat))
        start = len(body)
        flags = struct.pack(">H", min(len(path), _NAME))
        body += _STAT.pack(*stat) + bytes.fromhex(oid) + flags + path
        body += b"\0" * (8 - (len(body) - start) % 8)
    clean = _header(2, len(index_entries)) + bytes(body)
    return Index(tuple(index_entries), clean + _checksum(clean, sha256=sha256), 0)


def parse(raw: bytes, *, mtime_ns: int, sha256: bool, checksum: bool = True) -> Index:
    """Read a plain index. Raises `BadInput` for anything else."""
    hash_size = 32 if sha256 else 20
    signature, version, count = struct.unpack_from(">4sII", raw) if len(raw) >= 12 else (b"", 0, 0)
    if signature != b"DIRC" or version not in {2, 3}:
        raise BadInput("git's index cannot be read", fix="git reset rewrites it")
    entries: list[IndexEntry] = []
    clean = bytearray(_header(version, count))
    at = 12
    try:
        for _ in range(count):
            entry, body, at = _entry(raw, at, hash_size)
            entries.append(entry)
            clean += body
    except (struct.error, ValueError, IndexError):
        raise BadInput("git's index is cut short", fix="git reset rewrites it") from None
    if checksum and len(raw) < at + hash_size:
        raise BadInput("git's index is cut short", fix="git reset rewrites it")
    return Index(tuple(entries), bytes(clean) + _checksum(bytes(clean), sha256=sha256), mtime_ns)


def _checksum(content: bytes, *, sha256: bool) -> bytes:
    return (hashlib.sha256 if sha256 else hashlib.sha1)(content, usedforsecurity=False).digest()


def _entry(raw: bytes, at: int, hash_size: int) -> tuple[IndexEntry, bytes, int]:
    stat = _STAT.unpack_from(raw, at)
    body = at + _STAT.size
    oid = raw[body : body + hash_size]
    (flags,) = struct.unpack_from(">H", raw, body + hash_size)
    name_at = body + hash_size + 2
    extended = 0
    if flags & _EXTENDED:
        (extended,) = struct.unpack_from(">H", raw, name_at)
        name_at += 2
    length = flags & _NAME
    end = name_at + length if length < _NAME else raw.index(b"\0", name_at)
    path = raw[name_at:end]
    if len(path) != end - name_at or raw[end] != 0:
        raise ValueError("name")
    entry = IndexEntry(
        path=path,
        mode=stat[6],
        oid=oid.hex(),
        stage=(flags & _STAGE) >> 12,
        skip_worktree=bool(extended & 0x4000),
        stat=stat,
    )
    no_stat = _STAT.pack(0, 0, 0, 0, 0, 0, stat[6], 0, 0, 0)
    # padded with 1 to 8 NULs to a multiple of eight
    padded = at + ((end - at) // 8 + 1) * 8
    return entry, no_stat + raw[body:end] + b"\0" * (padded - end), padded


def _header(version: int, count: int) -> bytes:
    return struct.pack(">4sII", b"DIRC", version, count)
