"""The files that a Dockerfile's COPY lines name, in groups that change seldom."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from tasks.base.errors import BadInput
from tasks.build import dockerfile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.build.source import Source
    from tasks.git.tree import Entry

_LARGE_FILE: Final = 1 << 20
_ONE_IN: Final = 32


def entries(source: Source, text: str, *, required: str) -> list[Entry]:
    """The files of `source` that the Dockerfile `text` copies early, and `required`, in order.

    Raises `BadInput` for what a remote builder would lose, and for a file that is not there.
    """
    return sorted(_entries(source, text, required), key=lambda entry: entry.path)


def _entries(source: Source, text: str, required: str) -> Iterator[Entry]:
    names = {required.encode()}
    for copy in (
        instruction for instruction in dockerfile.parse(text) if instruction.keyword == "COPY"
    ):
        if not any(flag.startswith("--from=") for flag in copy.flags):
            names |= {os.path.normpath(name).encode() for name in copy.operands[:-1]}
    names.discard(b".")
    matches: set[bytes] = set()
    for entry in source.tree.entries:
        of = [name for name in names if entry.path == name or entry.path.startswith(name + b"/")]
        matches.update(of)
        if not of or entry.kind == "directory":
            continue
        if entry.kind == "symlink" or entry.path == b"Dockerfile":
            kind = "a symbolic link" if entry.kind == "symlink" else "the context's Dockerfile"
            name = entry.path.decode("utf-8", "backslashreplace")
            raise BadInput(
                f"COPY {of[0].decode()}: {name} is {kind}, which Daytona's builder loses",
                fix="copy a file instead, or only what COPY . brings",
            )
        yield entry
    for missing_name in sorted(names - matches):
        raise BadInput(
            f"COPY {missing_name.decode()}: {source.sha[:12]} has no such file", fix="commit it"
        )


def groups(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Runs of files; names choose where one ends, so that a change moves no other's limits."""
    group: list[Entry] = []
    for entry in entries:
        group.append(entry)
        if hashlib.sha256(entry.path).digest()[0] % _ONE_IN == 0 or entry.size > _LARGE_FILE:
            yield group
            group = []
    if group:
        yield group
