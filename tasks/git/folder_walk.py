"""A walk through the folders of a checkout: every file, link and empty folder that git lists."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks import git
from tasks.base import console, project
from tasks.base.errors import BadInput
from tasks.git import file_ids, indexfile, lfs
from tasks.git.tree import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasks.git import Repo
    from tasks.git.file_ids import StatCache
    from tasks.git.tree import Kind

_LISTED: Final = 10
#: What the system says of a path that another program has just removed, or put another kind at.
_VANISHED: Final = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


@dataclass
class Walk:
    """What one walk through the folders of a checkout gathers."""

    repo: Repo
    prefix: bytes
    ignored_paths: frozenset[bytes]
    tracked: dict[bytes, indexfile.IndexEntry]
    cache: StatCache | None
    trust_modes: bool
    sha256: bool
    entries: list[Entry] = field(default_factory=list)
    nested: list[bytes] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def gather(walk: Walk) -> None:
    """Gather what is in the checkout, each folder where its name stands among its siblings."""
    folders = [_Folder(b"", _items(walk, b"") or iter(()), is_filled=True)]
    while folders:
        folder = folders[-1]
        item = next(folder.items, None)
        if item is None:
            folders.pop()
            if not folder.is_filled:
                walk.entries.append(
                    Entry(walk.prefix + folder.path.rstrip(b"/"), "directory", "", 0)
                )
            continue
        path = folder.path + item.name
        if item.name == b".git" or (path in walk.ignored_paths and path not in walk.tracked):
            folder.is_filled = True
            continue
        try:
            status = item.stat(follow_symlinks=False)
        except _VANISHED:
            continue  # gone since the folder was read
        except OSError as error:
            raise _unusable(walk, path, error) from None
        if not stat.S_ISDIR(status.st_mode):
            folder.is_filled |= _file(walk, item, path, status)
        elif _is_repository(walk, item, path, status):
            folder.is_filled = True
        elif items := _items(walk, path + b"/"):
            folder.is_filled = True
            folders.append(_Folder(path + b"/", items))


@dataclass
class _Folder:
    """A folder whose `items` are being gathered; `filled` once one of them stays."""

    path: bytes
    items: Iterator[os.DirEntry[bytes]]
    is_filled: bool = False


def _items(walk: Walk, folder: bytes) -> Iterator[os.DirEntry[bytes]] | None:
    """What is in `folder` ("" or `a/b/`); None where it is gone since it was listed."""
    try:
        items = sorted(
            os.scandir(os.path.join(os.fsencode(walk.repo.root), folder)),
            key=lambda item: item.name,
        )
    except PermissionError:
        walk.unreadable.append(printable(walk, folder))
        return iter(())
    except _VANISHED:
        return None
    except OSError as error:
        raise _unusable(walk, folder, error) from None
    return iter(items)


def _unusable(walk: Walk, path: bytes, error: OSError) -> BadInput:
    return BadInput(
        f"cannot read {console.fit(printable(walk, path), 200)}: {error.strerror}",
        fix="add it to .gitignore, or remove it",
    )


def _is_repository(
    walk: Walk, item: os.DirEntry[bytes], path: bytes, status: os.stat_result
) -> bool:
    """Whether the folder is a submodule or a repository of its own, which is noted then."""
    index_entry = walk.tracked.get(path)
    is_submodule = index_entry is not None and index_entry.mode == indexfile.GITLINK
    if not os.path.lexists(item.path + b"/.git"):
        if is_submodule:
            walk.notes.append(
                f"submodule {printable(walk, path)} is not initialised: its folder stays empty "
                "(git submodule update --init)"
            )
            walk.entries.append(Entry(walk.prefix + path, "directory", "", 0, status.st_ctime_ns))
        return is_submodule
    if is_submodule or git.is_git_dir(Path(os.fsdecode(item.path)) / ".git"):
        walk.nested.append(path)
        return True
    walk.notes.append(
        f"{printable(walk, path)}/.git is not a git repository: left out, the folder goes along"
    )
    return False


def _file(walk: Walk, item: os.DirEntry[bytes], path: bytes, status: os.stat_result) -> bool:
    """Gather a file or link; whether it is still there."""
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
        walk.notes.append(f"{printable(walk, path)} is neither file, link nor folder: left out")
        return False
    if is_in_the_way(walk.prefix + path):
        walk.notes.append(in_the_way_note(printable(walk, path)))
        return True
    index_entry = walk.tracked.get(path)
    kind: Kind
    if stat.S_ISLNK(status.st_mode):
        kind = "symlink"
    elif walk.trust_modes or index_entry is None:
        kind = "executable" if status.st_mode & stat.S_IXUSR else "file"
    else:
        kind = "executable" if index_entry.mode == 0o100755 else "file"
    try:
        oid = _blob_id(walk, item.path, path, status)
    except PermissionError:
        walk.unreadable.append(printable(walk, path))
        return True
    except _VANISHED:
        return False
    walk.entries.append(Entry(walk.prefix + path, kind, oid, status.st_size, status.st_ctime_ns))
    if kind != "symlink" and _is_lfs_pointer(item.path, status):
        walk.notes.append(lfs.note(printable(walk, path)))
    return True


def is_in_the_way(path: bytes) -> bool:
    """Whether the image has a folder of its own where this file or link is."""
    return os.fsdecode(path) in project.FILLED_FOLDERS


def in_the_way_note(name: str) -> str:
    return f"{name} is no folder, and the image has its own folder there: left out"


def _blob_id(walk: Walk, place: bytes, path: bytes, status: os.stat_result) -> str:
    oid = walk.cache.find(path, status) if walk.cache else None
    if oid:
        if not stat.S_ISLNK(status.st_mode) and not os.access(place, os.R_OK):
            raise PermissionError(place)
        return oid
    read_ns = time.time_ns()
    oid = file_ids.blob_id(place, status, sha256=walk.sha256)
    if walk.cache:
        walk.cache.add(path, status, oid, read_ns=read_ns)
    return oid


def _is_lfs_pointer(path: bytes, status: os.stat_result) -> bool:
    if not lfs.may_be_pointer(status.st_size):
        return False
    try:
        with open(path, "rb") as file:
            return lfs.is_pointer(file.read(64))
    except _VANISHED:
        return False  # a file that vanishes now is noticed when it is packed


def shorten_list(names: Sequence[str]) -> str:
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def printable(walk: Walk, path: bytes) -> str:
    return console.printable((walk.prefix + path).decode(errors="backslashreplace"))
