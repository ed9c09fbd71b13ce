"""Which version of the repository is built: resolved once, named by one identity everywhere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tasks.build import platforms
from tasks.git import reftree, worktree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tasks.git import Repo
    from tasks.git.refs import ResolvedRef
    from tasks.git.tree import Tree

#: Part of every identity: raise it when the same source is to give another image.
FORMAT: Final = 2


@dataclass(frozen=True)
class Source:
    """A scanned working tree, or a commit of the object database (then `ref` says how it was
    named). `identity` is 64 hexadecimal digits that name its content, its git state, the build
    arguments and the `platform`; equal identities give equal images.
    """

    tree: Tree
    identity: str
    platform: str
    ref: ResolvedRef | None = None

    @property
    def sha(self) -> str:
        return self.tree.sha

    @property
    def branch(self) -> str | None:
        return self.tree.branch

    @property
    def dirty(self) -> bool:
        return self.tree.changes > 0

    def describe(self) -> str:
        if self.ref:
            return self.ref.describe()
        state = f", {self.tree.changes} uncommitted changes" if self.dirty else ""
        return f"{self.branch or 'detached HEAD'} at {self.sha[:12]}{state}"

    def record(self) -> dict[str, Any]:
        """What the image says of its source in /etc/sandbox-build.json."""
        return {
            "sha": self.sha,
            "branch": self.branch,
            "dirty": self.dirty,
            "identity": self.identity,
        }


def from_working_tree(
    path: Path, *, build_args: Mapping[str, str], platform: str = "", use_cache: bool = True
) -> Source:
    """The checkout at `path` as it is on disk, for `platform` (this machine's, unless one is
    given). Raises `BadInput` where there is none.
    """
    tree = worktree.scan(path, use_cache=use_cache)
    platform = platform or platforms.of_machine()
    return Source(tree, identity(tree, build_args, platform), platform)


def from_ref(
    repo: Repo, ref: ResolvedRef, *, build_args: Mapping[str, str], platform: str = ""
) -> Source:
    """The commit `ref`, from the object database alone, as a detached HEAD: whatever the ref was
    called, and in any clone, the same commit gives the same identity.
    """
    tree = reftree.scan(repo, ref.sha)
    platform = platform or platforms.of_machine()
    return Source(tree, identity(tree, build_args, platform), platform, ref)


def for_platform(source: Source, platform: str, *, build_args: Mapping[str, str]) -> Source:
    """The same source, to be built for another platform."""
    if platform == source.platform:
        return source
    return Source(source.tree, identity(source.tree, build_args, platform), platform, source.ref)


def identity(tree: Tree, build_args: Mapping[str, str], platform: str) -> str:
    """Hash of what decides the image: git ids, modes, the index, HEAD, the small files of `.git`
    (its configuration, attributes, where history ends), the build arguments and the platform.

    The Dockerfile is one of the entries. Every field ends in NUL, so no two lists read alike.
    """
    return _digest(tree, {**build_args, "platform": platform}, commits=True)


def content(tree: Tree, build_args: Mapping[str, str]) -> str:
    """`identity` without the commit, its branch and its history: two commits of the same content
    differ in nothing that is worth a build of its own.
    """
    return _digest(tree, build_args, commits=False)


def _digest(tree: Tree, build_args: Mapping[str, str], *, commits: bool) -> str:
    digest = hashlib.sha256(b"iterate-sandbox %d\0" % FORMAT)
    for name, value in sorted(build_args.items()):
        digest.update(f"{name}={value}\0".encode())
    _add(digest, tree, commits=commits)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, tree: Tree, *, commits: bool) -> None:
    commit = f"{tree.sha}\0{tree.branch or ''}\0" if commits else ""
    digest.update(tree.prefix + b"\0" + commit.encode())
    digest.update(tree.index.digest)
    for name, content in sorted(tree.git_files.items()) if commits else ():
        digest.update(b"%s %s\0" % (name.encode(), hashlib.sha256(content).hexdigest().encode()))
    for entry in tree.entries:
        digest.update(b"%o %s %s\0" % (entry.git_mode, entry.oid.encode(), entry.path))
    for nested in tree.nested:
        _add(digest, nested, commits=commits)
