from __future__ import annotations

import hashlib

import pytest
from daytona_standin import rules
from daytona_standin.errors import ApiRefusal


@pytest.mark.parametrize(
    "name", ["prd--20260116-230007-a1b2c3", "a/b:1", "x@sha256:" + "0" * 64, "A_b.c-d:e"]
)
def test_a_valid_name_is_accepted(name: str) -> None:
    assert rules.check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "a b", "a//b", "/a", "a/", "ä", "a@sha256:12"),
        *("app-data:1", "hotel:2", "mailto:x", "www.x", "http://x", "a<b>", "a\nb"),
    ],
)
def test_an_invalid_name_is_refused(name: str) -> None:
    with pytest.raises(ApiRefusal) as refusal:
        rules.check_name(name)
    assert refusal.value.status == 400


@pytest.mark.parametrize(
    "image",
    ["debian:trixie-slim", "127.0.0.1:5000/p/x:1", "r.example/x/y@sha256:" + "a" * 64],
)
def test_a_valid_image_is_accepted(image: str) -> None:
    assert rules.check_image_name(image) == image


@pytest.mark.parametrize(
    "image", ["debian", "debian:latest", "x@sha256:12", "127.0.0.1:5000/x", "Upper:1", ""]
)
def test_an_invalid_image_is_refused(image: str) -> None:
    with pytest.raises(ApiRefusal):
        rules.check_image_name(image)


def test_a_build_ref_depends_on_the_text_and_on_contexts_in_any_order() -> None:
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
def test_the_entry_point_is_the_last_one_in_the_text(dockerfile: str, words: list[str]) -> None:
    assert rules.entrypoint_of(dockerfile) == words


def test_labels_contain_each_required_label() -> None:
    labels = {"a": "1", "b": "2"}
    assert rules.contains_labels(labels, {})
    assert rules.contains_labels(labels, {"a": "1"})
    assert not rules.contains_labels(labels, {"a": "2"})
    assert not rules.contains_labels(labels, {"c": "1"})


def test_an_invalid_variable_name_is_refused() -> None:
    rules.check_variable_names(["A", "_b1"])
    with pytest.raises(ApiRefusal):
        rules.check_variable_names(["1A"])
