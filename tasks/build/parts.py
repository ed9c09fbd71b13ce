"""A ref's build context as several archives, each named by the SHA-256 of its bytes.

A part that the receiver has already is not sent again. What is in them, all as regular files with
plain names (a remote builder keeps nothing else):

- `.git/objects/pack/`, `.git/sandbox-packs/`: the commit and its history, cut so that a new
  commit adds a small part;
- `.git/`: HEAD, settings, and what the build needs to write the tree (restore.py does that there);
- what the Dockerfile's COPY lines name, for the stages that come before the tree does.

The same commit gives the same bytes in any clone.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from tasks.base import console, process
from tasks.base.errors import BadInput
from tasks.base.project import DOCKERFILE, SANDBOX_DIR
from tasks.build import context, copied_files, dockerfile
from tasks.build.archive import Part, PartFile, Writer
from tasks.git import commits, history, object_cache, objects, reftree
from tasks.git.secrets import findings, history_scan, tree_scan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasks.build.source import Source
    from tasks.git.history import Segment
    from tasks.git.objects import Store
    from tasks.git.secrets.history_scan import Scan

#: Of the context's form; apps/os/sandbox/lib/restore.py of the packed commit must know it.
FORMAT: Final = 2
RESTORE: Final = f"{SANDBOX_DIR}/lib/restore.py"
ORDER: Final = ".git/sandbox-restore.json"
#: Within `.git`: packs that are complete only with those before them.
THIN: Final = "sandbox-packs"
#: A remote builder holds the whole context in memory.
LIMIT: Final = 4 << 30

_FORM: Final = re.compile(rb"^FORMAT = (\d{1,9})$", re.MULTILINE)
_LARGEST: Final = 5


@dataclass(frozen=True)
class PartsReport:
    """`files` and `file_bytes` of the tree; `bytes` of all parts; the `largest` of the tree's
    files and of the history's, by name; `notes` are for people.
    """

    files: int
    file_bytes: int
    bytes: int
    largest: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Packed:
    """All of a context. No two parts hold a member of the same name: any order is right; this one
    is by digest. `dockerfile` is the source's own.
    """

    parts: tuple[Part, ...]
    dockerfile: str
    source: Source
    report: PartsReport

    @property
    def identity(self) -> str:
        return self.source.identity

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts)


def pack(source: Source, into: Path, *, limit: int = LIMIT) -> Packed:
    """Write the parts of `source` (of `source.from_ref`) into the folder `into`, as `DIGEST.tar`.

    A lasting folder is a cache: what is there already is not made again, and what was not used
    for two weeks is deleted. Raises `BadInput` for secrets in the tree or the history, for
    contexts over `limit` bytes, and for refs that a remote builder would not build.
    """
    into.mkdir(parents=True, exist_ok=True)
    with objects.hold(source.tree.repo, source.sha) as store:
        text = _dockerfile(source, store)
        segments = history.segments(store, source.sha)
        cut = reftree.shallow(store, source.sha)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            work = [pool.submit(_segment, store, segment, cut, into) for segment in segments]
            try:
                scans = _scan(source, store, segments, into)
                segment_parts = [segment.result() for segment in work]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        files = {
            name: description for _, names in segment_parts for name, description in names.items()
        }
        parts = [part for parts, _ in segment_parts for part in parts]
        parts += [_git_data(source, store, files, into), *_copy_parts(source, store, text, into)]
    unique = {part.digest: part for part in parts}
    unique_parts = tuple(unique[digest] for digest in sorted(unique))
    report = _report(source, unique_parts, scans)
    _refuse_large(report, limit)
    object_cache.forget_old(into)
    return Packed(unique_parts, text, source, report)


def check(source: Source, into: Path) -> None:
    """Raise `BadInput` where `pack` would, before anything is packed; `into` is its cache."""
    into.mkdir(parents=True, exist_ok=True)
    with objects.hold(source.tree.repo, source.sha) as store:
        _dockerfile(source, store)
        _scan(source, store, history.segments(store, source.sha), into)


def write(context_parts: Packed, out: IO[bytes]) -> None:
    """One tar, as a remote builder makes it of the parts: `Dockerfile`, then every member."""
    text = context_parts.dockerfile.encode()
    writer = Writer(out)
    writer.add("Dockerfile", io.BytesIO(text), len(text))
    for part in context_parts.parts:
        with tarfile.open(part.path, encoding="utf-8", errors="surrogateescape") as tar:
            for member in tar:
                content = tar.extractfile(member)
                if content is not None:
                    writer.add(member.name, content, member.size, mode=member.mode)
    writer.close()


# ---- what may be packed ----------------------------------------------------------------------


def _dockerfile(source: Source, store: Store) -> str:
    """The ref's own Dockerfile, if it can be built from such a context."""
    form = _FORM.search(_content(source, store, RESTORE) or b"")
    raw = _content(source, store, DOCKERFILE)
    if raw is None:
        raise BadInput(f"{source.describe()} has no {DOCKERFILE}", fix="choose another ref")
    if not form or int(form[1]) != FORMAT:
        raise BadInput(
            f"{source.describe()} is too old to be built from a ref: its build does not know this "
            "form of context",
            fix="merge main into it, or check it out and build with its own nox -s snapshot_local",
        )
    text = raw.decode()
    findings = dockerfile.lint(text)
    if findings:
        raise BadInput(
            f"{DOCKERFILE} of {source.sha[:12]}, {findings[0]}"
            + (f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""),
            fix="mend it and commit",
        )
    return text


def _content(source: Source, store: Store, path: str) -> bytes | None:
    for entry in source.tree.entries:
        if entry.path == path.encode() and entry.kind in {"file", "executable"}:
            return store.content(entry.oid)
    return None


def _scan(source: Source, store: Store, segments: list[Segment], into: Path) -> list[Scan]:
    """Refuse secrets: names of the tree, names and content of all that the history holds."""
    pyproject = (_content(source, store, "pyproject.toml") or b"").decode(errors="replace")
    entries = source.tree.entries
    allowed = findings.read_allowed(pyproject)
    scans = history_scan.scan_segments(store, segments, into)
    secrets = [*tree_scan.in_commit(store, entries), *history_scan.findings(scans, entries)]
    findings.refuse(secrets, allowed)
    return scans


def _report(source: Source, parts: Sequence[Part], scans: Sequence[Scan]) -> PartsReport:
    tree = context.report(source)
    sizes = dict(file_size for scan in scans for file_size in scan.largest)
    sizes |= dict(tree.largest)
    largest = sorted(sizes.items(), key=lambda file_size: -file_size[1])[:_LARGEST]
    notes = [*source.tree.all_notes(), *history_scan.notes(scans)]
    return PartsReport(
        files=tree.files,
        file_bytes=tree.bytes,
        bytes=sum(part.bytes for part in parts),
        largest=tuple((console.printable(_printable_name(name)), size) for name, size in largest),
        notes=tuple(notes),
    )


def _printable_name(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _refuse_large(report: PartsReport, limit: int) -> None:
    if report.bytes > limit:
        names = ", ".join(f"{name} ({console.size(size)})" for name, size in report.largest)
        raise BadInput(
            f"the context has {console.size(report.bytes)}, more than {console.size(limit)}; the "
            f"largest in tree and history: {names}",
            fix="keep large files out of git, and rewrite the history that holds them",
        )


# ---- the parts -------------------------------------------------------------------------------


def _segment(
    store: Store, segment: Segment, cut: list[str], into: Path
) -> tuple[list[Part], dict[str, Any]]:
    """The parts of one segment, and the size and digest of each file in them."""
    cache = into / f"{_key(store, segment, *cut)}.parts.json"
    cached = object_cache.load(cache)
    if cached is not None:
        parts = [Part(**{**part, "path": into / f"{part['digest']}.tar"}) for part in cached[0]]
        if all(part.path.exists() and part.path.stat().st_size == part.bytes for part in parts):
            for path in (cache, *(part.path for part in parts)):
                os.utime(path)
            return parts, cached[1]
    title = f"history to {segment.tip[:12]}"
    pack_parts: list[Part] = []
    files: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="packs-", dir=into) as folder:
        history.pack(store, segment, Path(folder))
        for pack in sorted(Path(folder).glob("*.pack")) or [Path(folder) / f"{segment.tip}.thin"]:
            with PartFile(into, title) as part:
                for path in (pack, pack.with_suffix(".idx")):
                    if not path.exists():
                        continue
                    name = f"{THIN if segment.base else 'objects/pack'}/{path.name}"
                    size = path.stat().st_size
                    with path.open("rb") as file:
                        digest = part.add(f".git/{name}", file, size)
                    files[name] = [size, digest]
                    path.unlink()
            pack_parts.append(part.to_part())
    object_cache.save(cache, [[{**asdict(part), "path": ""} for part in pack_parts], files])
    return pack_parts, files


def _git_data(source: Source, store: Store, files: dict[str, Any], into: Path) -> Part:
    """HEAD, settings, the record of the source, and the order to restore.py."""
    small = {"HEAD": f"{source.sha}\n".encode(), **source.tree.git_files}
    listed = {name: [len(data), hashlib.sha256(data).hexdigest()] for name, data in small.items()}
    order = {
        "format": FORMAT,
        "sha": source.sha,
        # restore.py of older commits gives it to the files.
        "time": commits.read(store, source.sha).committed,
        "files": {**files, **listed},
        "thin": [name for name in files if name.startswith(f"{THIN}/")],
    }
    with PartFile(into, "git data") as part:
        for name, data in {
            **{f".git/{name}": data for name, data in small.items()},
            context.SOURCE_FILE: _json(source.record()),
            ORDER: _json(order),
        }.items():
            part.add(name, io.BytesIO(data), len(data))
    return part.to_part()


def _copy_parts(source: Source, store: Store, text: str, into: Path) -> Iterator[Part]:
    """The files that COPY lines name, and restore.py, in parts of a few dozen each."""
    entries = copied_files.entries(source, text, required=RESTORE)
    for group in copied_files.groups(entries):
        blobs = store.blobs(entry.oid for entry in group)
        first = _printable_name(group[0].path.decode("utf-8", "surrogateescape"))
        title = first if len(group) == 1 else f"{first} and {len(group) - 1} more"
        with PartFile(into, console.printable(title)) as part:
            for entry, blob in zip(group, blobs, strict=True):
                mode = 0o755 if entry.kind == "executable" else 0o644
                name = entry.path.decode("utf-8", "surrogateescape")
                part.add(name, blob, blob.size, mode=mode)
        yield part.to_part()


# ---- the cache -------------------------------------------------------------------------------


def _key(store: Store, segment: Segment, *extra: str) -> str:
    """Another git may pack in another way, so its version counts."""
    version = _git_version()
    cut = store.shallow if extra else ()
    text = "\0".join([str(FORMAT), version, segment.base or "", segment.tip, *extra, *cut])
    return hashlib.sha256(text.encode()).hexdigest()[:40]


@functools.cache
def _git_version() -> str:
    return process.capture(["git", "--version"]).stdout.decode()


def _json(value: Any) -> bytes:
    return (json.dumps(value, sort_keys=True) + "\n").encode()
