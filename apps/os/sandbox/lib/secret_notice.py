"""Local mode: what looks like a secret in the git data that a sync brings along is said.

Nothing is refused: the whole checkout is mounted anyway, and the user's start goes on. But what is
made of the container later (`docker commit`) holds the objects, so the log names them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from tasks import git
from tasks.base import console
from tasks.base.errors import BadInput
from tasks.git import history, indexfile, objects
from tasks.git.secrets import findings, history_scan

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from tasks.git.secrets.findings import SecretFinding
    from tasks.git.tree import Tree

#: Bytes of new history that a start looks through: a second or two.
_LOOKED_THROUGH: Final = 64 << 20


def find(
    tree: Tree, to: Path, *, known_commit: str | None = None, indexed: Collection[str] = ()
) -> set[SecretFinding]:
    """What looks like a secret in the objects that the repository at `to` has received: beyond the
    commit `known_commit` and the blobs that its index had already.
    """
    store = objects.unheld(git.open_repo(to))
    paths = {entry.oid: os.fsdecode(entry.path) for entry in tree.index.entries
             if entry.mode != indexfile.GITLINK and entry.oid not in indexed}  # fmt: skip
    revisions = [tree.sha, *paths, *([f"^{known_commit}"] if known_commit else [])]
    stored = history.reached(store, revisions, paths)
    scan = history_scan.scan(store, stored, limit=_LOOKED_THROUGH)
    if scan.unread:
        console.warn(f"{console.size(scan.unread)} of history was not looked through for secrets")
    return set(history_scan.findings([scan], tree.entries, prefix=tree.prefix))


def say(source: Path, secrets: set[SecretFinding]) -> None:
    """Name the secrets in the log, but for those that the checkout at `source` allows."""
    try:
        allowed = findings.read_allowed_in(source)
    except BadInput as error:
        console.warn(str(error))
        allowed = []
    if names := findings.summarize(secrets, allowed):
        console.warn(
            f"secrets of the host's repository are in the sandbox's now: {names}; what is made of "
            "this container (docker commit) holds them"
        )
