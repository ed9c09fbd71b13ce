"""A build context exactly as Daytona's runner makes one of the uploaded archives.

Only regular files come through: directories are skipped, everything else (symlinks, second names
of a linked file, devices) becomes a regular file of the same name and mode bits holding the
member's data, which is nothing for links. Owner and time are lost. The Dockerfile goes first, so
that a `Dockerfile` of a context overrides it.
"""

from __future__ import annotations

import io
import tarfile
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class EmptyContext(Exception):
    """An object without a byte."""


def flatten(
    dockerfile: str,
    contexts: Iterable[tuple[str, IO[bytes]]],
    out: IO[bytes],
    *,
    warn: Callable[[str], None] = lambda _text: None,
) -> int:
    """Write the context to `out`; the number of files in it. A corrupt archive is cut there.

    The streams of `contexts` can be wound back.
    """
    count = 1
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as packed:
        text = dockerfile.encode()
        _add(packed, "Dockerfile", 0o644, len(text), io.BytesIO(text))
        for name, stream in contexts:
            if not stream.read(1):
                raise EmptyContext(name)
            stream.seek(0)
            try:
                with tarfile.open(fileobj=stream, mode="r|*") as archive:
                    for member in archive:
                        if member.isdir():
                            continue
                        data = archive.extractfile(member) if member.isreg() else None
                        size = member.size if member.isreg() else 0
                        mode = member.mode & 0o7777
                        _add(packed, member.name, mode, size, data or io.BytesIO())
                        count += 1
            except tarfile.ReadError as error:
                warn(f"context {name} is corrupt: {error}")
    return count


def _add(packed: tarfile.TarFile, name: str, mode: int, size: int, data: IO[bytes]) -> None:
    plain = tarfile.TarInfo(name)
    plain.mode = mode
    plain.size = size
    packed.addfile(plain, data)
