"""The engine's base image as an OCI layout, for a builder that cannot see the engine's images.

`docker save` wrote layouts only from Engine 25 on, so one is made of what every version saves.
https://specs.opencontainers.org/image-spec/image-layout/
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import quote

from tasks.base import console, files, process, project
from tasks.base.parsing import parse_json

if TYPE_CHECKING:
    from tasks.engine.engine import Engine

_VENDOR: Final = "application/vnd.oci.image"
#: How a packed layer begins.
COMPRESSED_LAYERS: Final = {b"\x1f\x8b": ".tar+gzip", b"\x28\xb5": ".tar+zstd"}
#: Seconds after which a base image that was not used goes.
_MAX_AGE: Final = 30 * 86400


@dataclass(frozen=True)
class Layout:
    folder: Path
    digest: str

    def __str__(self) -> str:
        """As `docker buildx build --build-context NAME=…` takes it."""
        return f"oci-layout://{self.folder}@{self.digest}"


def of(engine: Engine, name: str, into: Path | None = None) -> Layout | None:
    """The image of that name, exported once for each image id; None if the engine has none."""
    answer = engine.get(f"/images/{quote(name, safe='')}/json")
    if answer.status != 200:
        return None
    into = into or project.cache_dir() / "base"
    folder = into / str(answer.json()["Id"]).partition(":")[2][:32]
    if not (folder / "index.json").exists():
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into, prefix="new-") as temporary:
            archive, new = Path(temporary, "saved.tar"), Path(temporary, "layout")
            command = engine.command("save", "--output", str(archive), name)
            process.capture(command, env=engine.environment, timeout=600)
            convert(archive, new)
            try:
                new.rename(folder)
            except OSError:  # another build was faster
                if not (folder / "index.json").exists():
                    raise
        files.remove_unused(into, seconds=_MAX_AGE)
    os.utime(folder)
    index = parse_json((folder / "index.json").read_text(encoding="utf-8"))
    return Layout(folder, index["manifests"][0]["digest"])


def convert(archive: Path, to: Path) -> None:
    """Make a layout at `to` of the one image in a `docker save` archive, always the same one."""
    blobs = to / "blobs/sha256"
    blobs.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        image = json.load(_member(tar, "manifest.json"))[0]
        config = _blob(_member(tar, image["Config"]), blobs, ".config.v1+json")
        layers = [_layer(_member(tar, layer), blobs) for layer in image["Layers"]]
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_VENDOR}.manifest.v1+json",
        "config": config,
        "layers": layers,
    }
    text = json.dumps(manifest, sort_keys=True).encode()
    digest = hashlib.sha256(text).hexdigest()
    (blobs / digest).write_bytes(text)
    (to / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    entry = {"mediaType": manifest["mediaType"], "digest": f"sha256:{digest}", "size": len(text)}
    (to / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    """The file of that name. Older engines save a layer that stands there twice as a link."""
    member = tar.extractfile(name)
    if member is None:
        raise ValueError(f"no {console.printable(name)} in what docker save gave")
    return member


def _layer(content: IO[bytes], blobs: Path) -> dict[str, Any]:
    """It travels to the builder, so it is packed; the image's id does not depend on that."""
    kind = COMPRESSED_LAYERS.get(content.read(2))
    content.seek(0)
    if kind:
        return _blob(content, blobs, f".layer.v1{kind}")
    with tempfile.TemporaryFile(dir=blobs) as file:
        with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as compressed:
            shutil.copyfileobj(content, compressed, 1 << 20)
        file.seek(0)
        return _blob(file, blobs, ".layer.v1.tar+gzip")


def _blob(content: IO[bytes], blobs: Path, kind: str) -> dict[str, Any]:
    digest = hashlib.sha256()
    temporary = blobs / "new"
    with temporary.open("wb") as file:
        while chunk := content.read(1 << 20):
            digest.update(chunk)
            file.write(chunk)
        size = file.tell()
    temporary.rename(blobs / digest.hexdigest())
    return {"mediaType": _VENDOR + kind, "digest": f"sha256:{digest.hexdigest()}", "size": size}
