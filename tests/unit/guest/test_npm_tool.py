"""What the build makes of an npm lock: this machine's programs required, the others gone."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import npm_tool
import pytest

from tasks.base.project import ROOT
from tasks.bump import lock_files, pins


def locked(name: str) -> dict[str, Any]:
    pin = pins.find_pin(name)
    versions = pins.current_versions((ROOT / "apps/os/sandbox/Dockerfile").read_text())
    path = ROOT / lock_files.lock_path(pin, versions[pin.variable])
    lock: dict[str, Any] = json.loads(path.read_text())
    return lock


@pytest.mark.parametrize(("name", "program"), [
    ("opencode", "opencode-linux-x64"), ("claude-code", "@anthropic-ai/claude-code-linux-x64"),
    ("bun", "@oven/bun-linux-x64"), ("pnpm", "@pnpm/exe.linux-x64"),
])  # fmt: skip
def test_the_program_is_required_and_the_only_one(name: str, program: str) -> None:
    lock = locked(name)
    npm_tool.tailor(lock, "x64")
    package = pins.find_pin(name).package
    assert set(lock["packages"]) == {"", f"node_modules/{package}", f"node_modules/{program}"}
    assert "optional" not in lock["packages"][f"node_modules/{program}"]
    assert set(lock["packages"][""]["dependencies"]) == {package, program}
    assert set(lock["packages"][f"node_modules/{package}"]["optionalDependencies"]) == {program}


@pytest.mark.parametrize("pin", pins.PINS, ids=lambda pin: pin.name)
def test_every_lock_is_of_its_pin_with_checksums_and_without_addresses(pin: pins.Pin) -> None:
    version = pins.current_versions((ROOT / "apps/os/sandbox/Dockerfile").read_text())[pin.variable]
    text = (ROOT / lock_files.lock_path(pin, version)).read_text()
    assert not re.search(r'"resolved"|index-url|registry', text)
    if pin.origin == "pypi":
        assert text.startswith(f"{pin.package}=={version} ")
        assert "--hash=sha256:" in text
        return
    packages = json.loads(text)["packages"]
    assert packages[""]["dependencies"] == {pin.package: version}
    assert packages[f"node_modules/{pin.package}"]["version"] == version
    assert all(e["integrity"].startswith("sha512-") for place, e in packages.items() if place)


def test_no_lock_without_its_pin() -> None:
    versions = pins.current_versions((ROOT / "apps/os/sandbox/Dockerfile").read_text())
    wanted = {Path(lock_files.lock_path(pin, versions[pin.variable])).name for pin in pins.PINS}
    assert {path.name for path in (ROOT / lock_files.FOLDER).iterdir()} == wanted


def test_one_copy_of_each_program(tmp_path: Path) -> None:
    program = tmp_path / "node_modules/a/bin"
    program.parent.mkdir(parents=True)
    program.write_bytes(b"x" * 2_000_000)
    second_path = tmp_path / "node_modules/b"
    os.link(program, second_path)
    (tmp_path / "small").write_text("x")
    os.link(tmp_path / "small", tmp_path / "tiny")
    npm_tool.deduplicate(tmp_path)
    assert {program.is_symlink(), second_path.is_symlink()} == {True, False}
    assert second_path.read_bytes() == program.read_bytes()
    assert not (tmp_path / "tiny").is_symlink()
