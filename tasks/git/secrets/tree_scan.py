"""Looks for secrets in what lands in an image: files, what the index holds, the history of HEAD."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from tasks.base import console
from tasks.git import history, indexfile, object_cache, objects
from tasks.git.secrets import history_scan, rules
from tasks.git.secrets.findings import SecretFinding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tasks.git.objects import Store
    from tasks.git.tree import Entry, Tree

_CACHE_FILE: Final = "files.scan.json"
_NAMED: Final = 3


def in_working_tree(tree: Tree, root: bytes, cache: Path) -> Iterator[SecretFinding]:
    """The secrets of one tree of the checkout at `root`; what is too large to be read is said.

    Raises `OSError` where a file has gone since it was listed.
    """
    store = objects.unheld(tree.repo)  # `git gc` keeps what HEAD and the index reach
    committed = history.files(store, tree.sha)
    staged = {
        os.fsdecode(tree.prefix + entry.path): entry.oid
        for entry in tree.index.entries
        if entry.mode != indexfile.GITLINK and committed.get(entry.path) != entry.oid
    }
    scans = history_scan.scan_segments(store, history.segments(store, tree.sha), cache)
    index_scan = history_scan.scan_staged(store, staged, cache)
    for note in history_scan.notes([*scans, index_scan]):
        console.warn(note)
    yield from history_scan.findings(scans, tree.entries, prefix=tree.prefix)
    yield from history_scan.findings([index_scan], tree.entries, place="index")
    scanned = {*committed.values(), *staged.values()}
    tracked = {tree.prefix + entry.path for entry in tree.index.entries}
    yield from _in_files(tree.entries, root, tracked, scanned, cache)


def in_commit(store: Store, entries: Iterable[Entry]) -> Iterator[SecretFinding]:
    """The secrets among the files of a commit that their paths decide on; the content of all the
    others is looked at with the history.
    """
    stores = {}
    for entry in entries:
        if entry.kind == "directory":
            continue
        kind = rules.by_name(entry.path, tracked=True)
        if kind:
            yield SecretFinding(entry.path, kind, entry.oid, "file")
        elif entry.kind != "symlink" and rules.is_store(entry.path):
            stores[entry.path] = entry.oid
    for path, blob in zip(stores, store.blobs(stores.values()), strict=False):
        kind = rules.by_stream(blob.read, path)
        if kind:
            yield SecretFinding(path, kind, blob.oid, "file")


def _in_files(
    entries: Iterable[Entry], root: bytes, tracked: set[bytes], scanned: set[str], cache: Path
) -> Iterator[SecretFinding]:
    """Of files on disk: by their names, and by content where git has no object of it yet."""
    known = _KnownFiles(cache)
    large: list[Entry] = []
    for entry in entries:
        if entry.kind == "directory":
            continue
        kind = rules.by_name(entry.path, tracked=entry.path in tracked)
        is_store = rules.is_store(entry.path)
        if kind is None and entry.kind != "symlink" and (is_store or entry.oid not in scanned):
            if rules.worth_reading(entry.size):
                kind = known.kind(os.path.join(root, entry.path), entry)
            elif entry.size:
                large.append(entry)
        if kind:
            yield SecretFinding(entry.path, kind, entry.oid, "file")
    known.save()
    if large:
        names = ", ".join(console.printable(os.fsdecode(entry.path)) for entry in large[:_NAMED])
        rest = f" and {len(large) - _NAMED} more" if len(large) > _NAMED else ""
        size = console.size(sum(entry.size for entry in large))
        console.warn(f"not searched for secrets, since they are too large: {names}{rest} ({size})")


class _KnownFiles:
    """What was found in files that git has no object of: a build reads an edited file once."""

    def __init__(self, cache: Path) -> None:
        self._path = cache / f"{rules.digest()[:16]}.{_CACHE_FILE}"
        loaded = object_cache.load(self._path)
        self._loaded: dict[str, str | None] = loaded if isinstance(loaded, dict) else {}
        self._seen: dict[str, str | None] = {}

    def kind(self, path: bytes, entry: Entry) -> str | None:
        key = f"{entry.oid} {rules.is_store(entry.path)}"
        if key in self._loaded:
            kind = self._loaded[key]
        else:
            with open(path, "rb") as file:
                kind = rules.by_stream(file.read, entry.path)
                status = os.fstat(file.fileno())
            if (status.st_ctime_ns, status.st_size) != (entry.ctime_ns, entry.size):
                return kind  # no longer the content of that id
        self._seen[key] = kind
        return kind

    def save(self) -> None:
        if self._seen.keys() - self._loaded.keys():
            object_cache.save(self._path, {**self._loaded, **self._seen})
