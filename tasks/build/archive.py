"""Writing a tar that every builder reads alike, and tars that are named by their content.

Not `tarfile`'s: it pads each archive to 10 kB, and a context has many small ones.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK: Final = 1 << 20


class Readable(Protocol):
    def read(self, count: int = ..., /) -> bytes: ...


class Writable(Protocol):
    def write(self, data: bytes, /) -> int: ...


@dataclass(frozen=True)
class Part:
    """A tar: `digest` is the SHA-256 of its `bytes` bytes at `path`; `what` says what it holds."""

    digest: str
    path: Path
    bytes: int
    title: str


class Writer:
    """A tar of regular files: owner root, no times, GNU format (which keeps any name)."""

    def __init__(self, out: Writable) -> None:
        self._out = out

    def add(self, name: str, content: Readable, size: int, *, mode: int = 0o644) -> str:
        """Copy `size` bytes from `content`; their SHA-256."""
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, mode
        self._out.write(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
        digest = hashlib.sha256()
        remaining = size
        while remaining:
            data = content.read(min(remaining, _CHUNK))
            if not data:
                raise EOFError(name)
            digest.update(data)
            self._out.write(data)
            remaining -= len(data)
        self._out.write(b"\0" * (-size % tarfile.BLOCKSIZE))
        return digest.hexdigest()

    def close(self) -> None:
        self._out.write(b"\0" * (2 * tarfile.BLOCKSIZE))


class PartFile:
    """A part being written: named by its digest once it is whole, gone if that fails."""

    def __init__(self, into: Path, title: str) -> None:
        self._into = into
        self._title = title
        self._digest = hashlib.sha256()
        self._part: Part | None = None

    def __enter__(self) -> Self:
        handle, name = tempfile.mkstemp(prefix="part-", dir=self._into)
        self._path = Path(name)
        self._file = os.fdopen(handle, "wb")
        self._writer = Writer(_Tee(self._file, self._digest.update))
        return self

    def add(self, name: str, content: Readable, size: int, *, mode: int = 0o644) -> str:
        return self._writer.add(name, content, size, mode=mode)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._writer.close()
        size = self._file.tell()
        self._file.close()
        if kind is not None:
            self._path.unlink()
            return
        digest = self._digest.hexdigest()
        path = self._into / f"{digest}.tar"
        self._path.replace(path)
        self._part = Part(digest, path, size, self._title)

    def to_part(self) -> Part:
        assert self._part is not None  # noqa: S101 - left without an exception
        return self._part


class _Tee:
    def __init__(self, out: IO[bytes], update: Callable[[bytes], None]) -> None:
        self._out, self._update = out, update

    def write(self, data: bytes) -> int:
        self._update(data)
        return self._out.write(data)
