"""What a checkout or a commit holds: what a scan gives, and contexts are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tasks.git import Repo
    from tasks.git.indexfile import Index

Kind = Literal["file", "executable", "symlink", "directory"]
_GIT_MODE: Final[dict[Kind, int]] = {
    "file": 0o100644,
    "executable": 0o100755,
    "symlink": 0o120000,
    "directory": 0o40000,
}


@dataclass(frozen=True)
class Entry:
    """One thing to copy. `path` is relative to the outermost checkout; `oid` is the id of the
    blob that git would make of the bytes on disk ("" for a directory); `ctime_ns` tells whether
    they have changed since (0 for what a ref holds).
    """

    path: bytes
    kind: Kind
    oid: str
    size: int
    ctime_ns: int = 0

    @property
    def git_mode(self) -> int:
        return _GIT_MODE[self.kind]


@dataclass(frozen=True)
class Tree:
    """A scanned checkout, or the tree of a ref. `prefix` is "" for the outermost one, else
    `folder/` within it. `git_files` are the small files of `settings` that travel in `.git`.
    """

    repo: Repo
    prefix: bytes
    sha: str
    branch: str | None
    index: Index
    git_files: Mapping[str, bytes]
    entries: tuple[Entry, ...]
    changes: int
    nested: tuple[Tree, ...] = ()
    notes: tuple[str, ...] = ()

    def trees(self) -> Iterator[Tree]:
        """The tree itself, then all that are nested in it."""
        yield self
        for tree in self.nested:
            yield from tree.trees()

    def everything(self) -> list[Entry]:
        """All entries, those of nested repositories included, in order of their paths."""
        entries = [*self.entries, *(e for tree in self.nested for e in tree.everything())]
        return sorted(entries, key=lambda entry: entry.path)

    def all_notes(self) -> list[str]:
        return [*self.notes, *(note for tree in self.nested for note in tree.all_notes())]
