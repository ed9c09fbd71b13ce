"""Files of the repository that a bump rewrites: read whole, replaced in one step."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.base import files
from tasks.base.errors import BadInput

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Document:
    """A file as it was read. `path` is the file itself, behind any link."""

    path: Path
    text: str

    def is_unchanged(self) -> bool:
        try:
            return _decode(self.path.read_bytes()) == self.text
        except OSError:
            return False


def read(root: Path, name: str) -> Document:
    """A file of the repository that may be rewritten. Raises `BadInput` for any other."""
    path = root / name
    try:
        real = path.resolve(strict=True)
        state = real.stat()
    except (OSError, RuntimeError) as error:
        raise BadInput(f"{name} does not exist", fix="run this in the repository") from error
    if not real.is_relative_to(root.resolve()):
        raise BadInput(f"{name} is a link out of the repository", fix="put the file itself there")
    if not stat.S_ISREG(state.st_mode):
        raise BadInput(f"{name} is not a file")
    if not state.st_mode & stat.S_IWUSR or not os.access(real, os.W_OK):
        raise BadInput(f"{name} is read-only", fix=f"chmod u+w {name}")
    return Document(real, _decode(real.read_bytes()))


def read_if_present(path: Path) -> str | None:
    try:
        return _decode(path.read_bytes())
    except OSError:
        return None


def write(path: Path, text: str, *, work: Path) -> None:
    """Replace a file in one step; mode and owner stay. The new one is written in `work` first."""
    path.parent.mkdir(exist_ok=True)
    with files.replacement(path, through=work, is_durable=True) as file:
        file.write(text.encode("utf-8", "surrogateescape"))


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
