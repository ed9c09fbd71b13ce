"""`bump_versions` on the real registries, and what a build makes of locks that do not fit."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tasks.base import project
from tasks.bump import lock_files, pins

if TYPE_CHECKING:
    from tests.image.conftest import Workshop

BUN = "SANDBOX_BUN_VERSION"


def test_the_real_registries_know_every_pin(workshop: Workshop) -> None:
    """Whatever is new today: each pin is found, with its date, and nothing but it would change."""
    record = workshop.bump("--check")
    assert {pin["pin"] for pin in record["pins"]} == {pin.variable for pin in pins.PINS}
    for pin in record["pins"]:
        assert pin["error"] is None, pin
        assert not any("the pin, is not in the registry" in note for note in pin["notices"])
        if pin["changes"]:
            assert pin["published"] < record["now"]
            assert all(v.startswith("sha") for v in pin["integrity"].values())


def test_a_real_bump_touches_the_version_and_the_lock(workshop: Workshop) -> None:
    path = workshop.root / project.DOCKERFILE
    old = path.read_text()
    was = pins.current_versions(old)[BUN]
    record = workshop.bump("--to", "bun=1.4.3", "--allow-downgrade")
    assert [pin["to"] for pin in record["pins"]] == ["1.4.3"]
    assert path.read_text() == old.replace(f"{BUN}={was}", f"{BUN}=1.4.3")
    lock = json.loads((workshop.root / lock_files.FOLDER / "bun-1.4.3.json").read_text())
    integrity = lock["packages"]["node_modules/bun"]["integrity"]
    assert {"": integrity} == record["pins"][0]["integrity"]


def test_other_bytes_than_locked_fail_the_build_and_both_are_shown(workshop: Workshop) -> None:
    """Of a program that is an optional dependency, over whose absence npm passes silently; and of
    a wheel.
    """
    tag = workshop.tag("bytes")
    versions = pins.current_versions((workshop.root / project.DOCKERFILE).read_text())
    path = workshop.root / lock_files.lock_path(pins.find_pin("bun"), versions[BUN])
    lock = json.loads(path.read_text())
    program = lock["packages"]["node_modules/@oven/bun-linux-x64"]
    right = program["integrity"]
    wrong = program["integrity"] = "sha512-" + "A" * 86 + "=="
    whole = path.read_text()
    path.write_text(json.dumps(lock))
    failed = workshop.attempt(tag)
    assert failed.returncode == 1
    assert wrong in failed.stderr
    assert right in failed.stderr
    path.write_text(whole)

    uv = pins.find_pin("uv")
    wheel = workshop.root / lock_files.lock_path(uv, versions[uv.variable])
    digests = re.findall(r"sha256:([0-9a-f]{64})", wheel.read_text())
    wheel.write_text(re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, wheel.read_text()))
    failed = workshop.attempt(tag)
    assert failed.returncode == 1
    assert "0" * 64 in failed.stderr
    assert any(value in failed.stderr for value in digests)


def test_a_pin_without_its_lock_fails_the_build_and_says_what_to_do(workshop: Workshop) -> None:
    path = workshop.root / project.DOCKERFILE
    path.write_text(re.sub(rf"({BUN}=)\S+", r"\g<1>1.4.2", path.read_text()))
    failed = workshop.attempt(workshop.tag("lockless"))
    assert failed.returncode == 1
    assert "nox -s bump_versions -- --only bun" in failed.stderr
