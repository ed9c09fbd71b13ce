"""A commit's history as git packs that stay the same while history grows.

The line of first parents is cut after each of its first commits (they are the largest), and then
at commits which their own ids choose: ids that end in twelve zero bits cut everywhere, after the
last of those the ones with eight do, then four, none. So old history lies in large packs that
never change again, what is recent in ever smaller ones, and a new commit adds one small pack (and
now and then joins the last few). A pack may hold differences to what earlier ones hold. Every
pack is made anew, by one thread, from the objects alone: how a clone has packed them does not show.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tasks.base.errors import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tasks.git.objects import Store

_FIRST: Final = 64
_LEVELS: Final = (12, 8, 4, 0)
#: A beginning that is larger is split: an upload that is taken up again sends little twice.
_PACK_LIMIT: Final = "64m"
_ESCAPE: Final = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_LETTERS: Final = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t",
                   b"v": b"\v"}  # fmt: skip


@dataclass(frozen=True)
class Segment:
    """What `tip` reaches and `base` (an ancestor, or None) does not."""

    base: str | None
    tip: str

    def revisions(self) -> list[str]:
        return [self.tip, *([f"^{self.base}"] if self.base else [])]


def segments(store: Store, sha: str) -> list[Segment]:
    """The history of `sha` in segments, the oldest first."""
    chain = [line.decode() for line in store.lines("rev-list", "--first-parent", sha)]
    cuts = _cuts(chain[::-1])
    return [Segment(base, tip) for base, tip in zip([None, *cuts], cuts, strict=False)]


def _cuts(chain: list[str]) -> list[str]:
    """Where the line of commits, the oldest first, is cut; the last one always is.

    >>> _cuts(["a1", "b1", "c1"])
    ['a1', 'b1', 'c1']
    """
    cuts, rest = chain[:_FIRST], chain[_FIRST:]
    for level in _LEVELS:
        positions = [at for at, sha in enumerate(rest) if int(sha[-8:], 16) % (1 << level) == 0]
        if positions:
            cuts += [rest[at] for at in positions]
            rest = rest[positions[-1] + 1 :]
    return cuts


def pack(store: Store, segment: Segment, into: Path) -> None:
    """Write the segment's packs into the folder `into`. What has no base gets indexes, too, and
    looks for no similar files: that takes longer than it saves, where each is there once.
    """
    common = [
        "pack-objects", "--revs", "--quiet", "--delta-base-offset", "--threads=1",
        "--no-reuse-delta", "--no-reuse-object", "--no-use-bitmap-index", "--no-sparse",
        "--depth=50", "--window-memory=32m", "--compression=6",
    ]  # fmt: skip
    single = len(list(store.lines("rev-list", "--max-count=2", segment.tip, "--"))) == 1
    stdin = _lines(segment.revisions())
    try:
        if segment.base:
            with (into / f"{segment.tip}.thin").open("wb") as out:
                store.write(*common, "--thin", "--stdout", "--window=10", stdin=stdin, out=out)
        else:
            options = [f"--window={0 if single else 10}", f"--max-pack-size={_PACK_LIMIT}"]
            store.git(*common, *options, str(into / "pack"), stdin=stdin)
    except CommandFailed as error:
        raise store.missing(segment.tip, error.last_line) from None


@dataclass(frozen=True)
class StoredObject:
    """An object of the history: `kind` is blob, tree, commit or tag, `size` in bytes; `path` is one
    path that it has had, "" for what has none.
    """

    oid: str
    kind: str
    size: int
    path: str


def reached(
    store: Store, revisions: list[str], paths: Mapping[str, str] | None = None
) -> Iterator[StoredObject]:
    """The objects that `revisions` (as `git rev-list` takes them) reach; `paths` are those of blobs
    that are named by their ids. Raises `TaskError` where one is missing, as in a partial clone.
    """
    blob_paths = paths or {}
    listed = store.lines(
        "rev-list", "--objects", "--stdin", stdin=(line.encode() for line in revisions)
    )
    form = "--batch-check=%(objectname) %(objecttype) %(objectsize) %(rest)"
    try:
        for line in store.lines("cat-file", form, stdin=listed):
            oid, kind, rest = line.decode("utf-8", "surrogateescape").split(" ", 2)
            size, _, path = rest.partition(" ")
            yield StoredObject(oid, kind, int(size), path or blob_paths.get(oid, ""))
    except (CommandFailed, ValueError) as error:  # an object of a pack that is gone has no size
        reason = error.last_line if isinstance(error, CommandFailed) else ""
        raise store.missing(revisions[0], reason) from None


def changes(store: Store, segment: Segment) -> Iterator[tuple[str, str]]:
    """Every path that a commit of the segment gives to a file, with the id of its content: an
    object has one path in `reached`, and may have had others. Raises `TaskError` where one is
    missing.
    """
    commits = store.lines("rev-list", *segment.revisions(), "--")
    # Of a merge, what differs from all its parents: the rest is a change of theirs.
    options = ("--stdin", "-r", "-c", "--root", "--raw", "--no-renames", "--no-abbrev")
    try:
        for line in store.lines("diff-tree", *options, stdin=commits):
            header, tab, path = line.partition(b"\t")
            oid = header.split()[-2:-1]
            if tab and oid and oid[0].strip(b"0"):
                yield oid[0].decode(), os.fsdecode(_unquoted(path))
    except CommandFailed as error:
        raise store.missing(segment.tip, error.last_line) from None


def _unquoted(path: bytes) -> bytes:
    """A path as git prints it: in quotes and with escapes, where it has odd characters
    (git-config(1), core.quotePath).
    """
    if not path.startswith(b'"'):
        return path
    return _ESCAPE.sub(lambda match: _escaped(match[1]), path[1:-1])


def _escaped(code: bytes) -> bytes:
    return _LETTERS.get(code) or (bytes([int(code, 8) & 255]) if code.isdigit() else code)


def files(store: Store, sha: str) -> dict[bytes, str]:
    """The files of the commit's own tree, with the ids of their contents."""
    raw = store.git("ls-tree", "-r", "-z", "--full-tree", sha)
    lines = (line.partition(b"\t") for line in raw.split(b"\0") if line)
    return {path: header.split()[2].decode() for header, _, path in lines}


def _lines(values: list[str]) -> bytes:
    return "".join(f"{value}\n" for value in values).encode()
