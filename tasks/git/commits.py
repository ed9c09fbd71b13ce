"""What a commit object says of itself: read from the object, not printed by porcelain."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tasks.git import Repo
    from tasks.git.objects import Store

_PERSON: Final = re.compile(rb"(?P<name>[^<]*)<[^>]*> (?P<time>\d{1,18})", re.DOTALL)


@dataclass(frozen=True)
class Commit:
    """The header of a commit object; `committed` is in seconds since 1970, 0 where none stands."""

    tree: str
    parents: tuple[str, ...]
    committer: str
    committed: int


def read(repo: Repo | Store, sha: str) -> Commit:
    """The commit `sha`, a full id. Raises `CommandFailed` where it is not there."""
    return parse(repo.git("cat-file", "commit", sha))


def parse(raw: bytes) -> Commit:
    """Format: Documentation/user-manual.txt of git, "Commit Object"; each field is one line."""
    header = raw.partition(b"\n\n")[0].split(b"\n")
    fields = [(name, value) for name, _, value in (line.partition(b" ") for line in header)]
    person = next((value for name, value in fields if name == b"committer"), b"")
    committer = _PERSON.match(person)
    return Commit(
        tree=next((value.decode() for name, value in fields if name == b"tree"), ""),
        parents=tuple(value.decode() for name, value in fields if name == b"parent"),
        committer=committer["name"].strip().decode(errors="replace") if committer else "",
        committed=int(committer["time"]) if committer else 0,
    )
