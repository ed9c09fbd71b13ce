from __future__ import annotations

import hashlib

import pytest

from tasks.standin import rules
from tasks.standin.rules import Refused


@pytest.mark.parametrize(
    "name", ["prd--20260116-230007-a1b2c3", "a/b:1", "x@sha256:" + "0" * 64, "A_b.c-d:e"]
)
def test_names_that_are_taken(name: str) -> None:
    assert rules.check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "a b", "a//b", "/a", "a/", "ä", "a@sha256:12", None, 7),
        *("app-data:1", "hotel:2", "mailto:x", "www.x", "http://x", "a<b>", "a\nb"),
    ],
)
def test_names_that_are_refused(name: object) -> None:
    with pytest.raises(Refused) as refused:
        rules.check_name(name)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "image",
    ["debian:trixie-slim", "127.0.0.1:5000/p/x:1", "r.example/x/y@sha256:" + "a" * 64],
)
def test_images_that_are_taken(image: str) -> None:
    assert rules.check_image_name(image) == image


@pytest.mark.parametrize(
    "image", ["debian", "debian:latest", "x@sha256:12", "127.0.0.1:5000/x", "Upper:1", "", None]
)
def test_images_that_are_refused(image: object) -> None:
    with pytest.raises(Refused):
        rules.check_image_name(image)


def test_a_build_is_named_by_its_text_and_its_contexts_in_any_order() -> None:
    ref = rules.build_ref("FROM x\n", ["b", "a"])
    assert ref == rules.build_ref("FROM x\n", ["a", "b"])
    assert ref == f"daytona-{hashlib.sha256(b'FROM x' + bytes([10]) + b'ab').hexdigest()}:daytona"
    assert ref != rules.build_ref("FROM y\n", ["a", "b"])


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        ("FROM x\n", ["sleep", "infinity"]),
        ('FROM x\nENTRYPOINT ["/a", "b c"]\n', ["/a", "b c"]),
        ("FROM x\nENTRYPOINT /a b\n", ["/a b"]),
        ('FROM x\nENTRYPOINT "/a b"\n', ["/a b"]),
        ('FROM x\nENTRYPOINT ["/a"]\n# ENTRYPOINT ["/late"]\n', ["/late"]),
        ('FROM x\nENTRYPOINT ["/a", \\\n "b"]\n', ['["/a", \\']),
        ("FROM x\nentrypoint /a\n", ["sleep", "infinity"]),
        ('FROM x AS y\nENTRYPOINT ["/y"]\nFROM z\nCMD ["c"]\n', ["/y"]),
    ],
)
def test_the_entry_point_is_read_off_the_text(dockerfile: str, words: list[str]) -> None:
    assert rules.entrypoint_of(dockerfile) == words


def test_labels_are_contained() -> None:
    labels = {"a": "1", "b": "2"}
    assert rules.matches(labels, {})
    assert rules.matches(labels, {"a": "1"})
    assert not rules.matches(labels, {"a": "2"})
    assert not rules.matches(labels, {"c": "1"})


def test_environment_names() -> None:
    rules.check_env_names(["A", "_b1"])
    with pytest.raises(Refused):
        rules.check_env_names(["1A"])
