"""Whether the image of a commit has other content than the image of its base, commits aside."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tasks.base import console
from tasks.base.errors import TaskError
from tasks.build import image, source
from tasks.git import refs

if TYPE_CHECKING:
    from tasks.build.source import Source
    from tasks.git import Repo

#: What GitHub gives as the commit before the first one of a branch.
_NO_COMMIT: Final = re.compile(r"0{40}|0{64}")


@dataclass(frozen=True, kw_only=True)
class ImageChange:
    """Whether an image is to be built and tested, and why (not)."""

    is_changed: bool
    reason: str


def source_of(repo: Repo, ref: str) -> Source:
    """The source that `ref` names; raises `BadInput` for a ref that is not in this clone."""
    return source.from_ref(repo, refs.resolve(repo, ref), build_args=image.BUILD_ARGS)


def content_of(source_at_ref: Source) -> str:
    """A hash of everything that goes into the image, the commits aside."""
    return source.content(source_at_ref.tree, image.BUILD_ARGS)


def compare(repo: Repo, content: str, base: str) -> ImageChange:
    """Compare with the image of `base`, "" for none.

    Every doubt is a change: one build too many costs minutes, one too few hides a fault.
    """
    if not base.strip():
        return ImageChange(is_changed=True, reason="there is no base to compare with")
    if _NO_COMMIT.fullmatch(base):
        return ImageChange(is_changed=True, reason="the branch is new: it has no base")
    try:
        base_source = source_of(repo, base)
    except TaskError as error:
        return ImageChange(is_changed=True, reason=f"the base cannot be looked at: {error.what}")
    description = f"{base_source.sha[:12]} ({console.printable(base)})"
    if content_of(base_source) == content:
        return ImageChange(is_changed=False, reason=f"the same content as {description}")
    return ImageChange(is_changed=True, reason=f"other content than {description}")
