"""Git LFS: pointers that stand in the place of a file's content.

https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md: three short lines.
"""

from __future__ import annotations

from typing import Final

_VERSION: Final = b"version https://git-lfs.github.com/spec/v1"


def may_be_pointer(size: int) -> bool:
    return 100 < size < 200


def is_pointer(content: bytes) -> bool:
    return content.startswith(_VERSION)


def note(name: str) -> str:
    return f"{name} is a Git LFS pointer, not the file it stands for (git lfs pull)"
