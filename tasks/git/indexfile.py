"""Git's index, read and written by git itself: `ls-files` and `update-index`.

So split, compressed and sparse indexes, and those of SHA-256 repositories, need no code of ours.
https://git-scm.com/docs/git-ls-files, https://git-scm.com/docs/git-update-index
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tasks.base import process
from tasks.base.errors import BadInput, CommandFailed
from tasks.git import isolation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasks.git import Repo
    from tasks.git.isolation import IsolatedGitDir

#: The mode of a submodule's entry: its id is a commit of another repository.
GITLINK: Final = 0o160000
#: As `ls-files --debug` shows the flags of an entry, and the on-disk format has them
#: (gitformat-index(5)): `git update-index --assume-unchanged` and `--skip-worktree`, `git add -N`.
_ASSUME_UNCHANGED: Final = 0x8000
_INTENT_TO_ADD: Final = 1 << 29
_SKIP_WORKTREE: Final = 1 << 30
_KEPT_FLAGS: Final = _ASSUME_UNCHANGED | _INTENT_TO_ADD | _SKIP_WORKTREE
_ROW: Final = re.compile(
    rb"(?P<mode>[0-7]{6}) (?P<oid>[0-9a-f]{40,64}) (?P<stage>[0-3])\t(?P<path>[^\0]+)\0"
    rb"(?:  [^\n]*\n){4}  size: \d+\tflags: (?P<flags>[0-9a-f]+)\n"
)


class IndexEntry(NamedTuple):
    """One path. `mode` is git's (0o100644, 0o100755, 0o120000, 0o160000), `oid` hexadecimal,
    `flags` those of `_KEPT_FLAGS`.
    """

    path: bytes
    mode: int
    oid: str
    stage: int = 0
    flags: int = 0

    @property
    def is_left_out(self) -> bool:
        """Whether git expects no file, as in a sparse checkout."""
        return bool(self.flags & _SKIP_WORKTREE)


@dataclass(frozen=True)
class Index:
    """The entries in git's order. Neither stat data nor extensions are part of it."""

    entries: tuple[IndexEntry, ...]

    @cached_property
    def digest(self) -> bytes:
        """Names the content: two indexes with the same digest are the same to git."""
        digest = hashlib.sha256()
        for path, mode, oid, stage, flags in self.entries:
            digest.update(b"%o %s %d %x %s\0" % (mode, oid.encode(), stage, flags, path))
        return digest.digest()


def read(repo: Repo) -> Index:
    """The index of a checkout; an empty one where there is no file. Raises `BadInput`."""
    try:
        raw = repo.git("ls-files", "--stage", "--debug", "-z")
    except CommandFailed as error:
        raise BadInput(
            f"git's index cannot be read: {error.last_line}", fix="git reset rewrites it"
        ) from None
    return Index(tuple(_entries(raw)))


def _entries(raw: bytes) -> Iterable[IndexEntry]:
    end = 0
    while row := _ROW.match(raw, end):
        end = row.end()
        mode, oid, stage, path, flags = row.groups()
        yield IndexEntry(path, int(mode, 8), oid.decode(), int(stage), int(flags, 16) & _KEPT_FLAGS)
    if end != len(raw):
        raise BadInput(
            "this version of git prints its index in a form that is not known here",
            fix="install another version of git",
        )


def write(index: Index, git_dir: Path, *, into: Path | None = None) -> None:
    """Make `index` the index file of the git directory `git_dir`, or the file `into`; without
    stat data.
    """
    sha256 = any(len(entry.oid) == 64 for entry in index.entries)
    isolated = isolation.isolate(git_dir, git_dir, bare=True, sha256=sha256)
    file = into or git_dir / "index"
    rows = b"".join(
        b"%o %s %d\t%s\0" % (entry.mode, entry.oid.encode(), entry.stage, entry.path)
        for entry in index.entries
        if not entry.flags & _INTENT_TO_ADD
    )
    _run(isolated, file, "update-index", "--force-write-index", "-z", "--index-info", stdin=rows)
    _intend_to_add([e for e in index.entries if e.flags & _INTENT_TO_ADD], isolated, file)
    for flag, option in (
        (_ASSUME_UNCHANGED, "--assume-unchanged"),
        (_SKIP_WORKTREE, "--skip-worktree"),
    ):
        names = b"".join(e.path + b"\0" for e in index.entries if e.flags & flag)
        if names:
            _run(isolated, file, "update-index", "-z", option, "--stdin", stdin=names)


def _intend_to_add(entries: list[IndexEntry], isolated: IsolatedGitDir, file: Path) -> None:
    """`git add --intent-to-add` has no plumbing: it runs in a folder that holds only these files,
    all empty, and writes its empty blob there, too.
    """
    if not entries:
        return
    with tempfile.TemporaryDirectory(prefix="iterate-intent-") as folder:
        root, objects = Path(folder, "tree"), Path(folder, "objects")
        objects.mkdir()
        for entry in entries:
            path = root / os.fsdecode(entry.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            if entry.mode == 0o120000:
                path.symlink_to("target")
            else:
                path.touch(0o777 if entry.mode == 0o100755 else 0o666)
        names = b"".join(entry.path + b"\0" for entry in entries)
        _run(
            isolated, file, "add", "--intent-to-add", "--force", "--pathspec-from-file=-",
            "--pathspec-file-nul", stdin=names, root=root, objects=objects,
        )  # fmt: skip


def _run(
    isolated: IsolatedGitDir,
    file: Path,
    *args: str,
    stdin: bytes,
    root: Path | None = None,
    objects: Path | None = None,
) -> None:
    env = isolation.environment() | isolated.environment(root)
    env |= {"GIT_INDEX_FILE": str(file), "GIT_LITERAL_PATHSPECS": "1"}
    if objects:
        env["GIT_OBJECT_DIRECTORY"] = str(objects)
    try:
        process.capture(["git", *args], env=env, stdin=stdin, cwd=root, timeout=600)
    except CommandFailed as error:
        raise BadInput(
            f"git's index holds what git cannot write: {error.last_line}",
            fix="git reset rewrites it",
        ) from None


def update(repo: Repo, index: Path, *, present: Iterable[bytes], absent: Iterable[bytes]) -> None:
    """Bring the index file `index` up to what is on disk: the paths that are there, those that are
    not. As `git add --all` does it, which would ask submodules with their own configuration.
    """
    for options, paths in (
        (("--force-remove",), absent),
        (("--add", "--remove", "--replace"), present),
    ):
        names = b"".join(path + b"\0" for path in paths)
        repo.git("update-index", *options, "-z", "--stdin", stdin=names, index=index)
