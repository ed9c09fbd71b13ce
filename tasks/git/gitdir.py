"""A git directory fit to travel: the checked-out commit's history and the index, and nothing of
this machine. No other branches, stashes, reflogs, hooks, credentials or paths; `git status`,
`git log` and `git fetch` work in it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tasks import git
from tasks.base import process
from tasks.base.errors import CommandFailed
from tasks.git import indexfile, isolation

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.git.tree import Tree


def export(tree: Tree, into: Path) -> None:
    """Write the clean git directory of `tree`'s own repository as `into`, which must not exist.

    Raises `TaskError` where objects are missing (a partial clone).
    """
    (into / "objects/pack").mkdir(parents=True)
    (into / "objects/info").mkdir()
    (into / "refs/heads").mkdir(parents=True)
    head = f"ref: refs/heads/{tree.branch}" if tree.branch else tree.sha
    (into / "HEAD").write_bytes(os.fsencode(f"{head}\n"))
    if tree.branch:
        # Packed, since a file's name may not hold what a branch's name may.
        (into / "packed-refs").write_bytes(os.fsencode(f"{tree.sha} refs/heads/{tree.branch}\n"))
    for name, content in tree.git_files.items():
        (into / name).parent.mkdir(exist_ok=True)
        (into / name).write_bytes(content)
    indexfile.write(tree.index, into)
    copy_objects(tree, into)


def copy_objects(tree: Tree, into: Path, *, known: str | None = None) -> None:
    """Pack what HEAD and the index reach into the git directory `into`.

    `known`, a commit that `into` has whole, leaves out what it reaches. Git runs in `into` and
    reads the checkout's objects as alternates, so that nothing is ever written to the checkout.
    """
    staged = sorted({entry.oid for entry in tree.index.entries if entry.mode != indexfile.GITLINK})
    revisions = [tree.sha, *staged, *([f"^{known}"] if known else [])]
    isolated = isolation.isolate(into, into, bare=True, sha256=len(tree.sha) == 64)
    objects = git.quoted(str(tree.repo.isolated.objects.resolve()))
    environment = isolation.environment([("pack.writeReverseIndex", "false")])
    environment |= isolated.environment() | {"GIT_ALTERNATE_OBJECT_DIRECTORIES": objects}
    # One thread: of several, each run could give other bytes, and other bytes are built anew.
    command = ["git", "pack-objects", "--threads=1", "--revs", "--quiet", "--delta-base-offset",
               str(into / "objects/pack/pack")]  # fmt: skip
    try:
        stdin = "".join(f"{revision}\n" for revision in revisions).encode()
        process.capture(command, env=environment, stdin=stdin, timeout=3600)
    except CommandFailed as error:
        raise git.missing_objects(
            tree.sha, partial=tree.repo.partial, reason=error.last_line
        ) from None
