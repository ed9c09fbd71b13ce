"""What differs between two images on the engine: their files, and what their configuration says.

Read from `docker save`, which has the layers as they are: a container made of an image already has
files of the engine's own. https://specs.opencontainers.org/image-spec/layer/
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import subprocess
import tarfile
from dataclasses import dataclass, fields
from typing import IO, TYPE_CHECKING, Any, Final, cast

from tasks.base import console, process
from tasks.base.errors import TaskError
from tasks.base.progress import ProgressLine

if TYPE_CHECKING:
    from tasks.engine.engine import Engine

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
#: Names of `ImageEntry`'s fields as a person reads them.
_ASPECTS: Final = {"mtime": "time", "digest": "content", "target": "link target", "uid": "owner"}
#: What an image's configuration holds only because of the build it came from.
_OF_BUILD: Final = frozenset({"created", "history", "rootfs", "container", "container_config"})


@dataclass(frozen=True, kw_only=True)
class ImageEntry:
    """A path of an image. `digest` is SHA-256 in hex of a file's content, `mtime` in seconds."""

    kind: bytes
    mode: int
    uid: int
    gid: int
    mtime: float
    target: str
    digest: str


@dataclass(frozen=True)
class ImageContent:
    """Every path of an image, and its configuration as JSON."""

    entries: dict[str, ImageEntry]
    config: dict[str, Any]


@dataclass(frozen=True)
class PathDifference:
    """`aspects` says in which ways the two differ at `path`, in plain words."""

    path: str
    aspects: tuple[str, ...]


def compare(engine: Engine, first: str, second: str) -> list[PathDifference]:
    """In order of paths; the images by name or id. Raises `TaskError` if one cannot be read."""
    return differences(*(_content(engine, name) for name in (first, second)))


def differences(first: ImageContent, second: ImageContent) -> list[PathDifference]:
    changes = [
        PathDifference(f"(configuration) {key}", ("value",))
        for key in sorted((first.config.keys() | second.config.keys()) - _OF_BUILD)
        if first.config.get(key) != second.config.get(key)
    ]
    for path in sorted(first.entries.keys() | second.entries.keys()):
        pair = first.entries.get(path), second.entries.get(path)
        if pair[0] != pair[1]:
            changes.append(PathDifference(path, tuple(_aspects(*pair))))
    return changes


def _aspects(first: ImageEntry | None, second: ImageEntry | None) -> list[str]:
    if first is None or second is None:
        return ["only in the second" if first is None else "only in the first"]
    names = [f.name for f in fields(first) if getattr(first, f.name) != getattr(second, f.name)]
    return [_ASPECTS.get(name, name) for name in names]


def show(changes: list[PathDifference], first: str, second: str, *, limit: int = 50) -> None:
    """What a person reads; differences in nothing but a time are counted."""
    substantial = [change for change in changes if change.aspects != ("time",)]
    for change in substantial[:limit]:
        console.say(f"  {console.printable(change.path)}: {', '.join(change.aspects)}")
    if len(substantial) > limit:
        console.say(f"  and {len(substantial) - limit} more")
    times = len(changes) - len(substantial)
    console.say(
        f"{first} and {second} differ in {len(substantial)} paths, and in the time alone of {times}"
    )


def _content(engine: Engine, name: str) -> ImageContent:
    child = process.start(
        engine.command("save", name), env=engine.environment, stdout=subprocess.PIPE
    )
    archive = cast("IO[bytes]", child.stdout)
    try:
        with archive, ProgressLine(lambda: f"reading {name}"):
            content = read(archive)
        if status := process.wait(child):
            raise TaskError(f"docker save of {name} ended with status {status}", fix="see above")
    finally:
        process.stop(child)
    return content


def read(archive: IO[bytes]) -> ImageContent:
    """The content of the one image in what `docker save` writes."""
    layers: dict[str, list[tuple[str, ImageEntry]]] = {}
    documents: dict[str, Any] = {}
    with tarfile.open(fileobj=archive, mode="r|") as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isfile() else None
            if not isinstance(stream, io.BufferedReader):
                continue
            with stream:
                if stream.peek(1)[:1] in {b"{", b"["}:
                    documents[member.name] = json.load(stream)
                elif member.size:
                    layers[member.name] = _layer(stream)
    manifest = documents["manifest.json"][0]
    entries: dict[str, ImageEntry] = {}
    for layer in manifest["Layers"]:
        _apply(entries, layers[layer])
    return ImageContent(entries, documents[manifest["Config"]])


def _layer(stream: IO[bytes]) -> list[tuple[str, ImageEntry]]:
    entries = []
    with tarfile.open(fileobj=stream, mode="r|*") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            entry = ImageEntry(
                kind=member.type,
                mode=member.mode,
                uid=member.uid,
                gid=member.gid,
                mtime=member.mtime,
                target=member.linkname,
                digest=_sha256(content) if content else "",
            )
            entries.append((posixpath.normpath(f"/{member.name}"), entry))
    return entries


def _sha256(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := content.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _apply(entries: dict[str, ImageEntry], layer: list[tuple[str, ImageEntry]]) -> None:
    """What a layer removes goes first: its own files stay, whatever their order."""
    for path, _ in layer:
        folder, name = posixpath.split(path)
        if name == _OPAQUE:
            _remove(entries, folder, itself=False)
        elif name.startswith(_WHITEOUT):
            _remove(entries, posixpath.join(folder, name.removeprefix(_WHITEOUT)))
    for path, entry in layer:
        if not posixpath.basename(path).startswith(_WHITEOUT):
            existing = entries.get(path)
            if existing and existing.kind == tarfile.DIRTYPE != entry.kind:
                _remove(entries, path)
            entries[path] = entry


def _remove(entries: dict[str, ImageEntry], path: str, *, itself: bool = True) -> None:
    existing = entries.pop(path, None) if itself else entries.get(path)
    if existing and existing.kind == tarfile.DIRTYPE:
        for below in [name for name in entries if name.startswith(f"{path}/")]:
            del entries[below]
