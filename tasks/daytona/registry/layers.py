"""A local image as the blobs that a registry keeps: its config, and its layers compressed.

The config, and with it the image's id, is sent as it is: what was tested here is what arrives.
Layers stay in a cache by their content, and are packed without a time of day in them, so that they
have the same bytes on every machine and a registry that holds them recognises them.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
import tarfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from tasks.base import console, files, process
from tasks.base.errors import TaskError
from tasks.base.parsing import parse_json
from tasks.base.project import cache_dir
from tasks.build.base_layout import COMPRESSED_LAYERS

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.engine.engine import Engine

CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1"
_BLOCK: Final = 16 * 1024 * 1024
#: Days that a layer stays in the cache after its last use.
_KEPT_DAYS: Final = 14


@dataclass(frozen=True, kw_only=True)
class ImageBlob:
    """`digest` is `sha256:…` of its `bytes` bytes at `path`; `media_type` is OCI's."""

    digest: str
    bytes: int
    path: Path
    media_type: str

    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.bytes}


def unpack(engine: Engine, image: str, folder: Path) -> tuple[ImageBlob, list[ImageBlob]]:
    """The config and the layers of `image` (an id or name on `engine`), through `folder`."""
    archive = folder / "image.tar"
    console.step("taking the image's layers out of the engine")
    process.capture(
        engine.command("image", "save", "--output", str(archive), image),
        env=engine.environment,
        timeout=900,
    )
    with tarfile.open(archive) as tar:
        listing = parse_json(_read(tar, "manifest.json"))[0]
        content = _read(tar, listing["Config"])
        config = folder / "config.json"
        config.write_bytes(content)
        ids = parse_json(content)["rootfs"]["diff_ids"]
        layers = [
            pack_layer(tar, name, identity)
            for name, identity in zip(listing["Layers"], ids, strict=True)
        ]
    archive.unlink()
    # A layer that is used is touched.
    files.remove_unused(cache_dir() / "layers", seconds=_KEPT_DAYS * 86400)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    blob = ImageBlob(digest=digest, bytes=len(content), path=config, media_type=CONFIG_TYPE)
    return blob, layers


def pack_layer(archive: tarfile.TarFile, name: str, identity: str) -> ImageBlob:
    """One layer of an engine's archive: as the engine keeps it packed, else gzipped."""
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", identity):
        raise TaskError(f"the image names a layer {console.printable(identity)[:80]}")
    cached = cache_dir() / "layers" / f"{identity.removeprefix('sha256:')}.packed"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        layer = archive.extractfile(name)
        if layer is None:
            raise TaskError(f"the engine's archive of the image lacks layer {name}")
        with files.replacement(cached) as file:
            _compress(layer, file)
    cached.touch()
    with cached.open("rb") as packed_file:
        kind = COMPRESSED_LAYERS[packed_file.read(2)]
    return ImageBlob(
        digest=f"sha256:{_digest(cached)}",
        bytes=cached.stat().st_size,
        path=cached,
        media_type=f"{_LAYER_TYPE}{kind}",
    )


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise TaskError(f"the engine's archive of the image lacks {name}")
    return file.read()


def _compress(layer: IO[bytes], into: IO[bytes]) -> None:
    magic = layer.read(2)
    if magic in COMPRESSED_LAYERS:  # by an engine with the containerd store
        into.write(magic)
        shutil.copyfileobj(layer, into, _BLOCK)
        return
    with gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=into, mtime=0) as gzipped:
        gzipped.write(magic)
        shutil.copyfileobj(layer, gzipped, _BLOCK)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
