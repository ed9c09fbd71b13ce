"""A git directory fit to travel: the checked-out commit's history and the index, and nothing of
this machine. No other branches, stashes, reflogs, hooks, credentials or paths; `git status`,
`git log` and `git fetch` work in it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from tasks import git
from tasks.base import process
from tasks.base.errors import CommandFailed, TaskError
from tasks.git.indexfile import GITLINK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tasks.git.worktree import Tree

#: Settings that decide whether `git status` finds a file changed; they travel, with these values.
_TRAVELS: Final = {
    "core.autocrlf": {"true", "false", "input"},
    "core.eol": {"lf", "crlf", "native"},
    "core.fileMode": {"true"},
    "core.ignoreCase": {"false"},
    "core.symlinks": {"true"},
}


def export(tree: Tree, into: Path) -> None:
    """Write the clean git directory of `tree`'s own repository as `into`, which must not exist.

    Raises `TaskError` where objects are missing (a partial clone).
    """
    (into / "objects/pack").mkdir(parents=True)
    (into / "objects/info").mkdir()
    (into / "refs/heads").mkdir(parents=True)
    (into / "config").write_bytes(config(tree))
    head = f"ref: refs/heads/{tree.branch}" if tree.branch else tree.sha
    (into / "HEAD").write_bytes(os.fsencode(f"{head}\n"))
    if tree.branch:
        # Packed, since a file's name may not hold what a branch's name may.
        (into / "packed-refs").write_bytes(os.fsencode(f"{tree.sha} refs/heads/{tree.branch}\n"))
    shallow = shallow_commits(tree)
    if shallow:
        (into / "shallow").write_bytes("".join(f"{sha}\n" for sha in shallow).encode())
    (into / "index").write_bytes(tree.index.clean)
    copy_objects(tree, into)


def config(tree: Tree) -> bytes:
    """The new repository's configuration file."""
    settings = {name: tree.repo.config(name) for name in _TRAVELS}
    lines = _core(tree.sha, {k: v for k, v in settings.items() if v in _TRAVELS[k]})
    url = origin(tree)
    if url:
        lines += _origin(url)
        merge = tree.branch and tree.repo.config(f"branch.{tree.branch}.merge")
        if tree.branch and merge:
            lines += [f"[branch {git.quoted(tree.branch)}]", "\tremote = origin",
                      f"\tmerge = {git.quoted(merge)}"]  # fmt: skip
    return os.fsencode("\n".join(lines) + "\n")


def origin(tree: Tree) -> str | None:
    """The address that the branch comes from, without credentials; None for none that travels."""
    remote = tree.branch and tree.repo.config(f"branch.{tree.branch}.remote")
    remote = remote if remote and remote != "." else "origin"
    return git.clean_url(tree.repo.line("remote", "get-url", remote, check=False))


def config_of_ref(sha: str, origin: str | None) -> bytes:
    """The configuration of an image made from a ref: nothing of any one clone is in it."""
    url = git.clean_url(origin or "")
    return os.fsencode("\n".join(_core(sha, {}) + (_origin(url) if url else [])) + "\n")


def _core(sha: str, settings: Mapping[str, str]) -> list[str]:
    sha256 = len(sha) == 64
    lines = ["[core]", f"\trepositoryformatversion = {1 if sha256 else 0}", "\tbare = false",
             "\tlogAllRefUpdates = true"]  # fmt: skip
    lines += [f"\t{name.partition('.')[2]} = {value}" for name, value in settings.items()]
    return lines + (["[extensions]", "\tobjectFormat = sha256"] if sha256 else [])


def _origin(url: str) -> list[str]:
    fetch = "\tfetch = +refs/heads/*:refs/remotes/origin/*"
    return ['[remote "origin"]', f"\turl = {git.quoted(url)}", fetch]


def shallow_commits(tree: Tree) -> list[str]:
    """The commits whose parents are missing (`git clone --depth`), of those that HEAD reaches."""
    path = tree.repo.root / tree.repo.line("rev-parse", "--git-path", "shallow")
    if not path.exists():
        return []
    cut = set(path.read_text().split())
    return sorted(cut & set(tree.repo.line("rev-list", "HEAD").split()))


def copy_objects(tree: Tree, into: Path, *, known: str | None = None) -> None:
    """Pack what HEAD and the index reach into the git directory `into`.

    `known`, a commit that `into` has whole, leaves out what it reaches. Git runs in `into` and
    reads the checkout's objects as alternates, so that nothing is ever written to the checkout.
    """
    wanted = [tree.sha, *sorted({e.oid for e in tree.index.entries if e.mode != GITLINK})]
    if known:
        wanted.append(f"^{known}")
    objects = tree.repo.root / tree.repo.line("rev-parse", "--git-path", "objects")
    environment = git.environment(None)
    environment["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = git.quoted(str(objects.resolve()))
    # One thread: of several, each run could give other bytes, and other bytes are built anew.
    command = ["git", "--git-dir", str(into), "-c", "pack.writeReverseIndex=false",
               "pack-objects", "--threads=1", "--revs", "--quiet", "--delta-base-offset",
               str(into / "objects/pack/pack")]  # fmt: skip
    try:
        process.capture(
            command, env=environment, stdin="".join(f"{oid}\n" for oid in wanted).encode(),
            timeout=3600,
        )  # fmt: skip
    except CommandFailed as error:
        raise TaskError(
            f"git could not pack {tree.sha[:12]} and its history: {error.last_line}",
            fix="git fsck; in a partial clone, git fetch --refetch --no-filter first",
        ) from None
