"""A ref's build context as several archives, each named by the SHA-256 of its bytes.

A part that the receiver has already is not sent again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.source import Source


@dataclass(frozen=True)
class Part:
    """A tar: `digest` is the SHA-256 of its `bytes` bytes at `path`; `what` says what it holds."""

    digest: str
    path: Path
    bytes: int
    what: str


@dataclass(frozen=True)
class Report:
    """`files` and `file_bytes` of the tree; `bytes` of all parts; the `largest` of the tree's
    files and of the history's, by name.
    """

    files: int
    file_bytes: int
    bytes: int
    largest: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Packed:
    """All of a context. No two parts hold a member of the same name: any order is right; this one
    is by digest. `dockerfile` is the source's own.
    """

    parts: tuple[Part, ...]
    dockerfile: str
    source: Source
    report: Report

    @property
    def identity(self) -> str:
        return self.source.identity

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts)


def pack(source: Source, into: Path) -> Packed:
    """Write the parts of `source` (of `source.from_ref`) into the folder `into`, as `DIGEST.tar`.

    A lasting folder is a cache: what is there already is not made again. Raises `BadInput` for
    secrets, for contexts that are too large, and for refs that cannot be built remotely.
    """
    raise NotImplementedError(source, into)
