"""What a commit holds, from the object database alone: no file of the working tree is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tasks.base import console
from tasks.base.errors import BadInput, CommandFailed
from tasks.base.parsing import parse_toml
from tasks.git import folder_walk, indexfile, lfs, objects, settings
from tasks.git.indexfile import Index, IndexEntry
from tasks.git.tree import Entry, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.git import Repo
    from tasks.git.objects import Store
    from tasks.git.tree import Kind

_KINDS: Final[dict[int, Kind]] = {
    0o100644: "file",
    0o100755: "executable",
    0o120000: "symlink",
    indexfile.GITLINK: "directory",
}


def scan(repo: Repo, sha: str) -> Tree:
    """The tree of the commit `sha`, as a checkout of it with a detached HEAD would be."""
    with objects.hold(repo, sha) as store:
        listed = list(_listed(store, sha))
        cut = shallow(store, sha)
        in_the_way = [row[0] for row in listed if folder_walk.is_in_the_way(row[0])]
        notes = [*_submodules(listed), *_pointers(store, listed)]
        notes += [folder_walk.in_the_way_note(_printable(path)) for path in in_the_way]
        origin = _origin(store, listed)
    if cut:
        notes.append(
            "this clone is shallow: the image's history ends where the clone's does, and it is "
            "not the image that a full clone gives (git fetch --unshallow)"
        )
    return Tree(
        repo=repo,
        prefix=b"",
        sha=sha,
        branch=None,
        index=Index(tuple(IndexEntry(path, mode, oid) for path, mode, oid, _ in listed)),
        git_files=settings.of_ref(sha, origin, cut),
        entries=tuple(
            Entry(path, _KINDS[mode], "" if mode == indexfile.GITLINK else oid, size)
            # in the order of a walk through folders, as a checkout's entries are
            for path, mode, oid, size in sorted(listed, key=lambda row: row[0].split(b"/"))
            if path not in in_the_way
        ),
        changes=0,
        notes=tuple(notes),
    )


def shallow(store: Store, sha: str) -> list[str]:
    """Of the commits that `sha` reaches, those whose parents the clone lacks."""
    if not store.shallow:
        return []
    reachable = {line.decode() for line in store.lines("rev-list", sha)}
    return sorted(reachable & set(store.shallow))


def _origin(store: Store, listed: list[tuple[bytes, int, str, int]]) -> str | None:
    """`[tool.sandbox] origin`: where `git fetch` in the image goes, the same from every clone."""
    for path, _, oid, _ in listed:
        if path == b"pyproject.toml":
            try:
                tables = parse_toml(store.content(oid).decode(errors="replace"))
                origin = tables["tool"]["sandbox"]["origin"]
            except (ValueError, KeyError, TypeError):
                return None
            return origin if isinstance(origin, str) else None
    return None


def _listed(store: Store, sha: str) -> Iterator[tuple[bytes, int, str, int]]:
    try:
        raw = store.git("ls-tree", "-r", "-z", "--full-tree", "--long", sha)
    except CommandFailed as error:
        raise store.missing(sha, error.last_line) from None
    for line in raw.split(b"\0"):
        if not line:
            continue
        description, _, path = line.partition(b"\t")
        mode_text, _, oid, size = description.split()
        mode = int(mode_text, 8)
        if mode not in _KINDS:  # 100664 and the like, of old versions of git
            mode = 0o100755 if mode & 0o100 else 0o100644
        for name in path.split(b"/"):
            if name in {b"", b".", b".."} or name.lower() == b".git":
                raise BadInput(
                    f"{_printable(path)}: no checkout can hold a path like this",
                    fix="choose another commit; git fsck has more",
                )
        yield path, mode, oid.decode(), 0 if size == b"-" else int(size)


def _submodules(listed: list[tuple[bytes, int, str, int]]) -> Iterator[str]:
    for path, mode, oid, _ in listed:
        if mode == indexfile.GITLINK:
            yield (
                f"submodule {_printable(path)} ({oid[:12]}): a ref holds its commit's id alone, so "
                "its folder stays empty in the image"
            )


def _pointers(store: Store, listed: list[tuple[bytes, int, str, int]]) -> Iterator[str]:
    small = [(path, oid) for path, mode, oid, size in listed
             if lfs.may_be_pointer(size) and mode in {0o100644, 0o100755}]  # fmt: skip
    names = (path for path, _ in small)
    for blob in store.blobs(oid for _, oid in small):
        path = next(names)
        if lfs.is_pointer(blob.read()):
            yield lfs.note(_printable(path))


def _printable(path: bytes) -> str:
    return console.printable(path.decode(errors="backslashreplace"))
