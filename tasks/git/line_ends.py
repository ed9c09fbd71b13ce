"""Line ends of the programs that run in the sandbox: CRLF breaks them, far from its cause.

`.gitattributes` has them checked out with LF; a clone that was made before it was, or an editor,
may have left CRLF all the same.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from tasks.base import console, project
from tasks.base.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.git.tree import Tree

CURE: Final = "git config core.autocrlf input, delete what is named, then git checkout -- it"
_FOLDER: Final = os.fsencode(project.SANDBOX_DIR) + b"/"


def refuse_crlf(tree: Tree, *, is_ref: bool) -> None:
    """Raise `BadInput` when a program of the sandbox in `tree` has Windows line ends."""
    if names := list(_find(tree, is_ref=is_ref)):
        raise BadInput(describe(names), fix=CURE)


def find_crlf(root: str) -> list[str]:
    """The programs of the sandbox, in the repository at `root`, that have Windows line ends."""
    return [
        os.path.relpath(path, root)
        for folder, _, names in sorted(os.walk(os.path.join(root, project.SANDBOX_DIR)))
        for path in (os.path.join(folder, name) for name in sorted(names))
        if _is_program(os.fsencode(path)) and os.path.isfile(path) and _has_crlf(path)
    ]


def describe(names: list[str]) -> str:
    return f"{console.printable(', '.join(names))} has Windows line ends (CRLF) and runs in Linux"


def _find(tree: Tree, *, is_ref: bool) -> Iterator[str]:
    for entry in tree.entries:
        if entry.kind not in {"file", "executable"} or not entry.path.startswith(_FOLDER):
            continue
        if not _is_program(entry.path):
            continue
        path = os.path.join(os.fsencode(tree.repo.root), entry.path)
        is_wrong = (
            b"\r\n" in tree.repo.git("cat-file", "blob", entry.oid) if is_ref else _has_crlf(path)
        )
        if is_wrong:
            yield os.fsdecode(entry.path)


def _is_program(path: bytes) -> bool:
    name = os.path.basename(path)
    return name.endswith(b".sh") or name in {b"bash", b"check", b"finish", b"run"}


def _has_crlf(path: bytes | str) -> bool:
    try:
        with open(path, "rb") as file:
            return b"\r\n" in file.read()
    except OSError:
        return False  # whoever copies or starts it says so
