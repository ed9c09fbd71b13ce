"""Looks for secrets in the objects of a history: everything that a `.git` brings into an image.

An object never changes, so it is read once: what a segment of the history holds is cached by its
commits and by the rules. An edit costs nothing here, a new commit only what is new in it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from tasks.base import console
from tasks.git import history, object_cache
from tasks.git.history import Segment, StoredObject
from tasks.git.secrets import rules
from tasks.git.secrets.findings import Place, SecretFinding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tasks.git.objects import Store
    from tasks.git.tree import Entry

#: Of the cached form.
_FORMAT: Final = 4
#: Of one scan, as many bytes are read; the rest is reported as unread.
LIMIT: Final = 2 << 30
#: Bytes; what takes seconds is said before it begins.
_SAID_FROM: Final = 64 << 20
_LARGEST: Final = 5


@dataclass(frozen=True)
class Hit:
    """An object that is a secret: by its name (`by_name`) or by what stands in it."""

    path: str
    kind: str
    oid: str
    by_name: bool


@dataclass(frozen=True)
class Scan:
    """What was found in objects; the `largest` as path and bytes; `unread` bytes were too many to
    read.
    """

    hits: tuple[Hit, ...]
    largest: tuple[tuple[str, int], ...]
    unread: int


def scan(
    store: Store,
    stored_objects: Iterable[StoredObject],
    *,
    paths: Iterable[tuple[str, str]] = (),
    limit: int = LIMIT,
) -> Scan:
    """Look for secrets, by name and content, in every file and message of `stored`; `paths` are
    ids and paths of files, beyond the one path that each of `stored` has.
    """
    texts = {item.oid: item for item in stored_objects if item.kind != "tree"}
    blobs = [item for item in texts.values() if item.kind == "blob"]
    named_blobs = {*((item.oid, item.path) for item in blobs), *paths}
    hits = [Hit(path, kind, oid, by_name=True) for oid, path in named_blobs
            if (kind := rules.by_name(_bytes(path), tracked=True))]  # fmt: skip
    configuration: defaultdict[str, list[str]] = defaultdict(list)
    for oid, path in named_blobs:
        if rules.is_store(_bytes(path)):
            configuration[oid].append(path)
    older = [oid for oid in configuration if oid not in texts]
    for oid, size in (store.sizes(older) if older else {}).items():
        texts[oid] = StoredObject(oid, "blob", size, configuration[oid][0])
    names, unread = _choose(list(texts.values()), limit)
    size = sum(item.size for item in texts.values()) - unread
    if size > _SAID_FROM:
        console.step(f"looking for secrets in {console.size(size)} of history, once")
    for blob in store.blobs(names):
        paths_of = configuration.get(blob.oid, [names[blob.oid]])
        kind = rules.by_stream(blob.read, _bytes(paths_of[0]))
        if kind == rules.IN_STORE:
            hits += [Hit(path, kind, blob.oid, by_name=True) for path in paths_of]
        elif kind:
            hits.append(Hit(names[blob.oid], kind, blob.oid, by_name=False))
    hits.sort(key=lambda hit: (hit.path, hit.kind, hit.oid))
    largest = sorted(((item.path, item.size) for item in blobs), key=lambda pair: -pair[1])
    return Scan(tuple(hits), tuple(largest[:_LARGEST]), unread)


def _choose(texts: list[StoredObject], limit: int) -> tuple[dict[str, str], int]:
    """The objects to read, with their names, and the bytes of those that are too many: the largest
    are left out.
    """
    names: dict[str, str] = {}
    size = unread = 0
    for item in sorted(texts, key=lambda item: item.size):
        if size + item.size > limit or not rules.worth_reading(item.size):
            unread += item.size
            continue
        size += item.size
        names[item.oid] = item.path or f"the message of {item.kind} {item.oid[:12]}"
    return names, unread


def notes(scans: Iterable[Scan]) -> list[str]:
    """What was not read, in a line."""
    unread = max((scan.unread for scan in scans), default=0)
    if not unread:
        return []
    return [f"{console.size(unread)} of the history was too much to be searched for secrets"]


def scan_segments(store: Store, segments: list[Segment], into: Path) -> list[Scan]:
    """What each segment holds; nothing is read twice, neither today nor by a later run."""
    caches = [into / f"{_key(store, segment)}.scan.json" for segment in segments]
    scans = [_load(cache) for cache in caches]
    fresh = scans.index(None) if None in scans else len(segments)
    if len(segments) - fresh > 1:
        # All at once, which is faster; only where something is found it matters in which.
        joint_scan = _scan(store, Segment(segments[fresh].base, segments[-1].tip))
        if not joint_scan.hits:
            scans[fresh:] = [joint_scan] * (len(segments) - fresh)
            for cache in caches[fresh:]:
                object_cache.save(cache, asdict(joint_scan))
    result = []
    for cache, segment, cached_scan in zip(caches, segments, scans, strict=True):
        segment_scan = cached_scan or _scan(store, segment)
        if cached_scan is None:
            object_cache.save(cache, asdict(segment_scan))
        result.append(segment_scan)
    return result


def scan_staged(store: Store, staged: dict[str, str], into: Path) -> Scan:
    """What the index holds beyond the commit: paths with the ids of their blobs."""
    key = _digest("staged", *(f"{oid} {path}" for path, oid in sorted(staged.items())))
    cache = into / f"{key}.scan.json"
    index_scan = _load(cache)
    if index_scan is None:
        sizes = store.sizes(staged.values())
        stored_objects = [
            StoredObject(oid, "blob", sizes[oid], path) for path, oid in staged.items()
        ]
        index_scan = scan(
            store, stored_objects, paths=[(item.oid, item.path) for item in stored_objects]
        )
        object_cache.save(cache, asdict(index_scan))
    return index_scan


def findings(
    scans: Iterable[Scan],
    entries: Iterable[Entry],
    *,
    prefix: bytes = b"",
    place: Place = "history",
) -> Iterator[SecretFinding]:
    """What was found, where it is to be mended: what a file of the tree still holds is that file's
    matter, under each of its paths. `prefix` is the folder of the scanned repository.
    """
    paths: defaultdict[str, list[bytes]] = defaultdict(list)
    for entry in entries:
        if entry.kind != "directory":
            paths[entry.oid].append(entry.path)
    for hit in (hit for scan in scans for hit in scan.hits):
        path = prefix + _bytes(hit.path)
        current_paths = paths.get(hit.oid, [])
        if current_paths and not hit.by_name:
            yield from (SecretFinding(name, hit.kind, hit.oid, "file") for name in current_paths)
        elif path not in current_paths:
            yield SecretFinding(path, hit.kind, hit.oid, place)


def _scan(store: Store, segment: Segment) -> Scan:
    stored_objects = [*history.reached(store, segment.revisions())]
    return scan(store, stored_objects, paths=history.changes(store, segment))


def _load(cache: Path) -> Scan | None:
    try:
        value = object_cache.load(cache)
        hits = tuple(Hit(**hit) for hit in value["hits"])
        return Scan(hits, tuple((path, size) for path, size in value["largest"]), value["unread"])
    except (TypeError, KeyError, ValueError):
        return None


def _key(store: Store, segment: Segment) -> str:
    return _digest("segment", segment.base or "", segment.tip, *sorted(store.shallow))


def _digest(*words: str) -> str:
    text = "\0".join([str(_FORMAT), rules.digest(), *words])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:40]


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
