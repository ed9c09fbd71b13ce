"""A git directory fit to travel: the checked-out commit's history and the index, and nothing of
this machine. No other branches, stashes, reflogs, hooks, credentials or paths; `git status`,
`git log` and `git fetch` work in it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from tasks import git
from tasks.base import process
from tasks.base.errors import CommandFailed
from tasks.git import isolation
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
    settings = {name: _travelling(tree.repo, name) for name in _TRAVELS}
    lines = _core(tree.sha, {k: v for k, v in settings.items() if v in _TRAVELS[k]})
    url = origin(tree)
    if url:
        lines += _origin(url)
        merge = tree.branch and tree.repo.config(f"branch.{tree.branch}.merge")
        if tree.branch and merge:
            lines += [f"[branch {git.quoted(tree.branch)}]", "\tremote = origin",
                      f"\tmerge = {git.quoted(merge)}"]  # fmt: skip
    return os.fsencode("\n".join(lines) + "\n")


def _travelling(repo: git.Repo, name: str) -> str:
    """A setting's value in the one form that git writes itself: `true` for `yes`."""
    value = repo.config(name).lower()
    if not _TRAVELS[name] & {"true", "false"} or value == "input":
        return value
    return {True: "true", False: "false", None: ""}[repo.flag(name)]


def origin(tree: Tree) -> str | None:
    """The address that the branch comes from, without credentials; None for none that travels."""
    remote = tree.branch and tree.repo.config(f"branch.{tree.branch}.remote")
    remote = remote if remote and remote != "." else "origin"
    if not tree.repo.config(f"remote.{remote}.url"):
        return None
    return git.clean_url(tree.repo.line("ls-remote", "--get-url", "--", remote))


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
    cut = set(tree.repo.shallow_commits)
    return sorted(cut & set(tree.repo.line("rev-list", tree.sha).split())) if cut else []


def copy_objects(tree: Tree, into: Path, *, known: str | None = None) -> None:
    """Pack what HEAD and the index reach into the git directory `into`.

    `known`, a commit that `into` has whole, leaves out what it reaches. Git runs in `into` and
    reads the checkout's objects as alternates, so that nothing is ever written to the checkout.
    """
    staged = sorted({entry.oid for entry in tree.index.entries if entry.mode != GITLINK})
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
