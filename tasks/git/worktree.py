"""What a checkout holds, as git sees it: tracked files as they are on disk, and untracked files
that git does not ignore; submodules and nested repositories included, each with its own git data.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from tasks import git
from tasks.base import console
from tasks.base.errors import BadInput
from tasks.git import indexfile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Kind = Literal["file", "executable", "symlink", "directory"]
_GIT_MODE: Final[dict[Kind, int]] = {
    "file": 0o100644,
    "executable": 0o100755,
    "symlink": 0o120000,
    "directory": 0o40000,
}
_LISTED: Final = 10
#: What the system says of a path that another program has just removed, or put another kind at.
_GONE: Final = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_LFS: Final = b"version https://git-lfs.github.com/spec/v1"


@dataclass(frozen=True)
class Entry:
    """One thing to copy. `path` is relative to the outermost checkout; `oid` is the id of the
    blob that git would make of the bytes on disk ("" for a directory); `ctime_ns` tells whether
    they have changed since (0 for what a ref holds).
    """

    path: bytes
    kind: Kind
    oid: str
    size: int
    ctime_ns: int = 0

    @property
    def git_mode(self) -> int:
        return _GIT_MODE[self.kind]


@dataclass(frozen=True)
class Tree:
    """A scanned checkout, or the tree of a ref. `prefix` is "" for the outermost one, else
    `folder/` within it. `cut` are the commits where a ref's history ends in a shallow clone.
    """

    repo: git.Repo
    prefix: bytes
    sha: str
    branch: str | None
    index: indexfile.Index
    entries: tuple[Entry, ...]
    changes: int
    nested: tuple[Tree, ...] = ()
    notes: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()

    def trees(self) -> Iterator[Tree]:
        """The tree itself, then all that are nested in it."""
        yield self
        for tree in self.nested:
            yield from tree.trees()

    def everything(self) -> list[Entry]:
        """All entries, those of nested repositories included, in order of their paths."""
        entries = [*self.entries, *(e for tree in self.nested for e in tree.everything())]
        return sorted(entries, key=lambda entry: entry.path)

    def all_notes(self) -> list[str]:
        return [*self.notes, *(note for tree in self.nested for note in tree.all_notes())]


@dataclass
class _Walk:
    """What one walk through the folders of a checkout gathers."""

    repo: git.Repo
    prefix: bytes
    ignored: frozenset[bytes]
    tracked: dict[bytes, indexfile.IndexEntry]
    index: indexfile.Index
    trust_index: bool
    trust_modes: bool
    sha256: bool
    entries: list[Entry] = field(default_factory=list)
    nested: list[bytes] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def scan(path: Path, *, trust_index: bool = True) -> Tree:
    """List the checkout at `path`.

    Files whose stat data git's index vouches for are not read again, unless `trust_index` is
    off. Raises `BadInput` where there is no checkout with a commit, or a file cannot be read.
    """
    return _scan(git.open_repo(path), b"", trust_index=trust_index)


def _scan(repo: git.Repo, prefix: bytes, *, trust_index: bool) -> Tree:
    sha, branch = git.head(repo)
    sha256 = len(sha) == 64
    index = indexfile.read(repo, sha256=sha256)
    listed = repo.git(
        "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"
    )
    walk = _Walk(
        repo=repo,
        prefix=prefix,
        ignored=frozenset(name.rstrip(b"/") for name in listed.split(b"\0") if name),
        tracked={entry.path: entry for entry in index.entries if entry.stage in {0, 2}},
        index=index,
        trust_index=trust_index and not _converts(repo, index),
        trust_modes=repo.flag("core.fileMode") is not False,
        sha256=sha256,
    )
    _folder(walk, b"")
    _refuse_unreadable(walk)
    nested = tuple(
        _scan(git.open_repo(repo.root / os.fsdecode(name)), prefix + name + b"/",
              trust_index=trust_index)
        for name in walk.nested
        if os.path.lexists(repo.root / os.fsdecode(name) / ".git")  # else gone since it was listed
    )  # fmt: skip
    return Tree(
        repo=repo,
        prefix=prefix,
        sha=sha,
        branch=branch,
        index=index,
        entries=tuple(walk.entries),
        changes=repo.count_changes() + sum(tree.changes for tree in nested),
        nested=nested,
        notes=tuple(walk.notes),
    )


def _converts(repo: git.Repo, index: indexfile.Index) -> bool:
    """Whether checked-out bytes may differ from the blob's: line ends, filters, ident."""
    if any(entry.path.rpartition(b"/")[2] == b".gitattributes" for entry in index.entries):
        return True
    if (repo.common_dir / "info/attributes").exists() or repo.config("core.attributesFile"):
        return True
    return repo.config("core.autocrlf").lower() == "input" or bool(repo.flag("core.autocrlf"))


def _folder(walk: _Walk, folder: bytes) -> bool | None:
    """Gather what is in `folder` ("" or `a/b/`); whether anything is there at all, None where the
    folder itself is gone since it was listed.
    """
    at = os.path.join(os.fsencode(walk.repo.root), folder)
    try:
        items = sorted(os.scandir(at), key=lambda item: item.name)
    except PermissionError:
        walk.unreadable.append(_printable(walk, folder))
        return True
    except _GONE:
        return None
    something = False
    for item in items:
        path = folder + item.name
        if item.name == b".git":
            something = True
            continue
        if path in walk.ignored and path not in walk.tracked:
            something = True
            continue
        something |= _item(walk, item, path)
    return something


def _item(walk: _Walk, item: os.DirEntry[bytes], path: bytes) -> bool:
    try:
        status = item.stat(follow_symlinks=False)
    except _GONE:
        return False  # gone since the folder was read
    if stat.S_ISDIR(status.st_mode):
        index_entry = walk.tracked.get(path)
        if (
            index_entry
            and index_entry.mode == indexfile.GITLINK
            and not os.path.lexists(item.path + b"/.git")
        ):
            walk.notes.append(
                f"submodule {_printable(walk, path)} is not initialised: its folder stays empty "
                "(git submodule update --init)"
            )
            walk.entries.append(Entry(walk.prefix + path, "directory", "", 0, status.st_ctime_ns))
        elif os.path.lexists(item.path + b"/.git"):
            walk.nested.append(path)
        else:
            filled = _folder(walk, path + b"/")
            if filled is False:
                entry = Entry(walk.prefix + path, "directory", "", 0, status.st_ctime_ns)
                walk.entries.append(entry)
            return filled is not None
        return True
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
        walk.notes.append(f"{_printable(walk, path)} is neither file, link nor folder: left out")
        return False
    return _file(walk, item, path, status)


def _file(walk: _Walk, item: os.DirEntry[bytes], path: bytes, status: os.stat_result) -> bool:
    """Gather a file or link; whether it is still there."""
    index_entry = walk.tracked.get(path)
    kind: Kind
    if stat.S_ISLNK(status.st_mode):
        kind = "symlink"
    elif walk.trust_modes or index_entry is None:
        kind = "executable" if status.st_mode & stat.S_IXUSR else "file"
    else:
        kind = "executable" if index_entry.mode == 0o100755 else "file"
    if index_entry and walk.trust_index and index_entry.unchanged(status, walk.index.mtime_ns):
        oid = index_entry.oid
        unreadable = kind != "symlink" and not os.access(item.path, os.R_OK)
        if unreadable and os.path.lexists(item.path):
            walk.unreadable.append(_printable(walk, path))
    else:
        try:
            oid = blob_id(item.path, status, sha256=walk.sha256)
        except PermissionError:
            walk.unreadable.append(_printable(walk, path))
            return True
        except _GONE:
            return False
    walk.entries.append(Entry(walk.prefix + path, kind, oid, status.st_size, status.st_ctime_ns))
    if kind != "symlink" and _is_lfs_pointer(item.path, status):
        walk.notes.append(lfs_note(_printable(walk, path)))
    return True


def _is_lfs_pointer(path: bytes, status: os.stat_result) -> bool:
    if not may_be_lfs_pointer(status.st_size):
        return False
    try:
        with open(path, "rb") as file:
            return is_lfs_pointer(file.read(len(_LFS)))
    except _GONE:
        return False  # a file that vanishes now is noticed when it is packed


def may_be_lfs_pointer(size: int) -> bool:
    """https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md: three short lines."""
    return 100 < size < 200


def is_lfs_pointer(content: bytes) -> bool:
    return content.startswith(_LFS)


def lfs_note(name: str) -> str:
    return f"{name} is a Git LFS pointer, not the file it stands for (git lfs pull)"


def blob_id(path: bytes, status: os.stat_result, *, sha256: bool) -> str:
    """The id git gives the bytes of a file, or the target of a link, as they are on disk."""
    digest = (hashlib.sha256 if sha256 else hashlib.sha1)(usedforsecurity=False)
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(path)
        digest.update(b"blob %d\0" % len(target) + target)
        return digest.hexdigest()
    digest.update(b"blob %d\0" % status.st_size)
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _refuse_unreadable(walk: _Walk) -> None:
    if not walk.unreadable:
        return
    rest = len(walk.unreadable) - _LISTED
    names = ", ".join(walk.unreadable[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")
    raise BadInput(f"cannot read {names}", fix="chmod u+r them, or add them to .gitignore")


def _printable(walk: _Walk, path: bytes) -> str:
    return console.printable((walk.prefix + path).decode(errors="backslashreplace"))
