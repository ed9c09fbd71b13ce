"""What a checkout holds, as git sees it: tracked files as they are on disk, and untracked files
that git does not ignore; submodules and nested repositories included, each with its own git data.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tasks import git
from tasks.base import console
from tasks.base.errors import BadInput
from tasks.git import attributes, folder_walk, indexfile, settings
from tasks.git.file_ids import StatCache
from tasks.git.folder_walk import Walk, printable, shorten_list
from tasks.git.tree import Entry, Tree

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.git import Repo


def scan(path: Path, *, use_cache: bool = True) -> Tree:
    """List the checkout at `path`.

    Files that are as they were when a former scan read them are not read again, unless `use_cache`
    is off. Raises `BadInput` where there is no checkout with a commit, or a file cannot be read.
    """
    return _scan(git.open_repo(path), b"", use_cache=use_cache)


def _scan(repo: Repo, prefix: bytes, *, use_cache: bool) -> Tree:
    sha, branch = git.head(repo)
    sha256 = len(sha) == 64
    index = indexfile.read(repo)
    listed = repo.git(
        "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"
    )
    walk = Walk(
        repo=repo,
        prefix=prefix,
        ignored_paths=frozenset(name.rstrip(b"/") for name in listed.split(b"\0") if name),
        tracked={entry.path: entry for entry in index.entries if entry.stage in {0, 2}},
        cache=StatCache(repo.root, sha256=sha256) if use_cache else None,
        trust_modes=repo.flag("core.fileMode") is not False,
        sha256=sha256,
    )
    folder_walk.gather(walk)
    _refuse_unreadable(walk)
    if walk.cache:
        walk.cache.save()
    git_files = settings.of_checkout(repo, sha, branch) | _attributes(walk)
    nested = tuple(
        tree for name in walk.nested if (tree := _nested(walk, name, use_cache=use_cache))
    )
    return Tree(
        repo=repo,
        prefix=prefix,
        sha=sha,
        branch=branch,
        index=index,
        git_files=git_files,
        entries=tuple(walk.entries),
        changes=repo.count_changes() + sum(tree.changes for tree in nested),
        nested=nested,
        notes=tuple(walk.notes),
    )


def _attributes(walk: Walk) -> dict[str, bytes]:
    """The attributes that have to travel beside the files; notes what no attribute can bring."""
    paths = b"".join(path + b"\0" for path in walk.tracked)
    listed = attributes.listed(walk.repo, paths)
    if not listed:
        return {}
    start = len(walk.prefix)
    image_files = [entry.path[start:] for entry in walk.entries
               if entry.path.rpartition(b"/")[2] == attributes.FILE_NAME]  # fmt: skip
    lines = attributes.overrides(walk.repo, paths, listed, image_files)
    oids = {entry.path[start:]: entry.oid for entry in walk.entries}
    for driver in walk.repo.filters:
        converted = [
            path
            for path, values in listed.items()
            if values.get(b"filter") == os.fsencode(driver)
            and oids.get(path, walk.tracked[path].oid) != walk.tracked[path].oid
        ]
        if converted:
            names = shorten_list([printable(walk, path) for path in converted])
            walk.notes.append(
                f"git in the image has no filter driver {console.printable(driver)}, and lists as "
                f"changed what it has converted here: {names}"
            )
    return {settings.ATTRIBUTES: lines} if lines else {}


def _nested(walk: Walk, name: bytes, *, use_cache: bool) -> Tree | None:
    """The repository in the folder `name`; None, with a note, for one that is left out."""
    place = walk.repo.root / os.fsdecode(name)
    if not os.path.lexists(place / ".git"):
        return None  # gone since it was listed
    try:
        repo = git.open_repo(place)
    except BadInput:
        if os.path.lexists(place / ".git"):
            raise
        return None
    if repo.root.resolve() != place.resolve():
        raise BadInput(
            f"the .git in {printable(walk, name)} is not of that folder, but of "
            f"{console.printable(str(repo.root))}",
            fix="for a submodule, git submodule update --init; or git config --unset core.worktree",
        )
    if not repo.line("rev-parse", "--verify", "--quiet", "HEAD^{commit}", check=False):
        walk.notes.append(
            f"{printable(walk, name)} is a repository without a commit: left out (git commit in "
            "it, or remove its .git folder)"
        )
        if name in walk.tracked:
            walk.entries.append(Entry(walk.prefix + name, "directory", "", 0))
        return None
    if not repo.common_dir.is_relative_to(walk.repo.root.resolve()) and not (
        repo.common_dir.is_relative_to(walk.repo.common_dir)
    ):
        walk.notes.append(
            f"{printable(walk, name)} belongs to the repository at "
            f"{console.printable(str(repo.common_dir))}, outside this checkout: its history goes "
            "into the image"
        )
    return _scan(repo, walk.prefix + name + b"/", use_cache=use_cache)


def _refuse_unreadable(walk: Walk) -> None:
    if walk.unreadable:
        raise BadInput(
            f"cannot read {shorten_list(walk.unreadable)}",
            fix="chmod u+r them, or add them to .gitignore",
        )
