"""A build context exactly as Daytona's runner makes one of the uploaded archives.

Only regular files come through: folders are skipped, and every other member (a symbolic link, the
second name of a linked file, a device) becomes a regular file of the same name and mode bits that
holds the member's data, which is nothing for links. Owners and times are lost. The Dockerfile comes
first, so that a `Dockerfile` in a context overrides it.
"""

from __future__ import annotations

import io
import tarfile
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class EmptyContext(Exception):
    """The uploaded object has no content."""


def flatten(
    dockerfile: str,
    contexts: Iterable[tuple[str, IO[bytes]]],
    output: IO[bytes],
    *,
    warn: Callable[[str], None] = lambda _text: None,
) -> int:
    """Write the context to `output` and return the number of files in it.

    The streams of `contexts` must be seekable. A corrupt archive is cut off where it is corrupt,
    with a warning.
    """
    count = 1
    with tarfile.open(fileobj=output, mode="w|", format=tarfile.PAX_FORMAT) as flat:
        text = dockerfile.encode()
        _add(flat, "Dockerfile", 0o644, len(text), io.BytesIO(text))
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
                        _add(flat, member.name, mode, size, data or io.BytesIO())
                        count += 1
            except tarfile.ReadError as error:
                warn(f"context {name} is corrupt: {error}")
    return count


def _add(flat: tarfile.TarFile, name: str, mode: int, size: int, data: IO[bytes]) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = mode
    entry.size = size
    flat.addfile(entry, data)
