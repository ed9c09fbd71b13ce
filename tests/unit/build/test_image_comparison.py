"""Two images compared, path by path, as `docker save` writes them."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

from tasks.build import image_comparison
from tasks.build.image_comparison import PathDifference


def member(name: str, content: bytes | None = None, **values: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A folder, unless it has content or a type."""
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
    info.size = len(content or b"")
    for key, value in values.items():
        setattr(info, key, value)
    return info, content or b""


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def saved(
    *layers: list[tuple[tarfile.TarInfo, bytes]], **config: Any
) -> image_comparison.ImageContent:
    names = [f"blobs/sha256/{number}" for number in range(len(layers))]
    manifest = [{"Config": "blobs/sha256/config", "Layers": names}]
    content = archive(
        *(member(name, archive(*layer)) for name, layer in zip(names, layers, strict=True)),
        member("blobs/sha256/config", json.dumps({"created": "today", **config}).encode()),
        member("manifest.json", json.dumps(manifest).encode()),
    )
    return image_comparison.read(io.BytesIO(content))


def test_an_image_equals_itself_whatever_its_layers() -> None:
    first = saved([member("etc"), member("etc/motd", b"hello")], created="yesterday")
    second = saved([member("etc")], [member("etc/motd", b"hello")])
    assert image_comparison.differences(first, second) == []


def test_each_way_to_differ_is_named() -> None:
    first = saved(
        [
            member("content", b"1"), member("mode", b"", mode=0o644), member("gone", b""),
            member("time", b""), member("link", type=tarfile.SYMTYPE, linkname="a"),
        ],
        config={"User": "iterate"},
    )  # fmt: skip
    second = saved(
        [
            member("content", b"2"), member("mode", b"", mode=0o755), member("new", b""),
            member("time", b"", mtime=5), member("link", type=tarfile.SYMTYPE, linkname="b"),
        ],
        config={"User": "root"},
    )  # fmt: skip
    assert image_comparison.differences(first, second) == [
        PathDifference("(configuration) config", ("value",)),
        PathDifference("/content", ("content",)),
        PathDifference("/gone", ("only in the first",)),
        PathDifference("/link", ("link target",)),
        PathDifference("/mode", ("mode",)),
        PathDifference("/new", ("only in the second",)),
        PathDifference("/time", ("time",)),
    ]


def test_what_a_layer_removes_is_gone() -> None:
    image = saved(
        [
            member("a"), member("a/b", b""), member("c"), member("c/d", b""), member("e"),
            member("e/f", b""), member("keep", b""),
        ],
        [
            member("a/new", b""), member(".wh.c", b""), member("a/.wh..wh..opq", b""),
            member("e", b"a file now"),
        ],
    )  # fmt: skip
    assert set(image.entries) == {"/a", "/a/new", "/e", "/keep"}
