"""A layout made of what engines of several ages save."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from tasks.build import base_layout

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
LAYER = b"a layer's tar"


def save_archive(to: Path, *, config: str, layers: dict[str, bytes], names: list[str]) -> Path:
    """An archive as `docker save` writes it; a name of `names` not in `layers` is a link."""
    with tarfile.open(to, "w") as tar:
        image = [{"Config": config, "RepoTags": ["debian:x"], "Layers": names}]
        files = {config: CONFIG, **layers, "manifest.json": json.dumps(image).encode()}
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name in names:
            if name not in layers:
                info = tarfile.TarInfo(name)
                info.type, info.linkname = tarfile.LNKTYPE, next(iter(layers))
                tar.addfile(info)
    return to


def read(layout: Path) -> list[tuple[str, bytes]]:
    """The layers by kind; everything on the way to them is checked."""

    def blob(entry: dict[str, object]) -> bytes:
        algorithm, _, digest = str(entry["digest"]).partition(":")
        content = (layout / "blobs" / algorithm / digest).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
        assert len(content) == entry["size"]
        return content

    assert json.loads((layout / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    manifest = json.loads(blob(entry))
    assert manifest["mediaType"] == entry["mediaType"]
    assert blob(manifest["config"]) == CONFIG
    kinds = [layer["mediaType"].rpartition("layer.v1")[2] for layer in manifest["layers"]]
    return list(zip(kinds, map(blob, manifest["layers"]), strict=True))


def test_of_engine_25_and_newer(tmp_path: Path) -> None:
    blob = "blobs/sha256/"
    archive = save_archive(
        tmp_path / "a.tar", config=f"{blob}c", layers={f"{blob}l": LAYER}, names=[f"{blob}l"]
    )
    base_layout.convert(archive, tmp_path / "out")
    ((kind, content),) = read(tmp_path / "out")
    assert kind == ".tar+gzip"
    assert gzip.decompress(content) == LAYER


def test_of_engine_23_where_a_layer_twice_is_a_link(tmp_path: Path) -> None:
    archive = save_archive(
        tmp_path / "a.tar", config="c.json", layers={"1/layer.tar": LAYER},
        names=["1/layer.tar", "2/layer.tar"],
    )  # fmt: skip
    base_layout.convert(archive, tmp_path / "out")
    assert [gzip.decompress(content) for _, content in read(tmp_path / "out")] == [LAYER, LAYER]


@pytest.mark.parametrize(
    ("layer", "kind"),
    [(gzip.compress(LAYER), ".tar+gzip"), (b"\x28\xb5\x2f\xfd" + LAYER, ".tar+zstd")],
    ids=["gzip", "zstd"],
)
def test_of_the_containerd_store_whose_layers_are_packed(
    tmp_path: Path, layer: bytes, kind: str
) -> None:
    archive = save_archive(tmp_path / "a.tar", config="c", layers={"l": layer}, names=["l"])
    base_layout.convert(archive, tmp_path / "out")
    assert read(tmp_path / "out") == [(kind, layer)]


def test_the_same_image_gives_the_same_layout(tmp_path: Path) -> None:
    for number, config in enumerate(["c.json", "blobs/sha256/c"]):
        archive = save_archive(tmp_path / "a.tar", config=config, layers={"l": LAYER}, names=["l"])
        base_layout.convert(archive, tmp_path / str(number))
    first, second = ((tmp_path / n / "index.json").read_bytes() for n in "01")
    assert first == second
