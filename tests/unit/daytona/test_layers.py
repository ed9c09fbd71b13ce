"""What an engine keeps packed goes to the registry as it is, and is called what it is."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from tasks.daytona.registry import layers

if TYPE_CHECKING:
    from pathlib import Path

LAYER = b"a layer" * 100
#: Of a real zstd stream only the first bytes matter here: nothing unpacks it.
ZSTD = b"\x28\xb5\x2f\xfd" + LAYER
GZIP = gzip.compress(LAYER)


@pytest.mark.parametrize(
    ("layer", "kind", "expected"),
    [
        pytest.param(LAYER, "tar+gzip", None, id="a-tar"),
        pytest.param(GZIP, "tar+gzip", GZIP, id="gzip"),
        pytest.param(ZSTD, "tar+zstd", ZSTD, id="zstd"),
    ],
)
def test_a_layer_is_packed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: bytes, kind: str, expected: bytes | None
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        info = tarfile.TarInfo("layer")
        info.size = len(layer)
        tar.addfile(info, io.BytesIO(layer))
    file.seek(0)
    with tarfile.open(fileobj=file) as tar:
        blob = layers.pack_layer(tar, "layer", "sha256:" + "0" * 64)
    assert blob.media_type == f"application/vnd.oci.image.layer.v1.{kind}"
    content = blob.path.read_bytes()
    assert content == expected if expected else gzip.decompress(content) == LAYER
