"""The pnpm side: scripts as the sessions are, and lock files that hold anywhere."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGE = json.loads((ROOT / "package.json").read_text())


def sessions() -> set[str]:
    """Functions that the noxfile decorates with `nox.session`."""
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any("nox.session" in ast.unparse(decorator) for decorator in node.decorator_list)
    }


def test_every_session_has_a_script_and_every_script_a_session() -> None:
    # Some sessions have a second script, with its flags.
    form = r"nox -s (\w+) --( .+)?"
    scripts = {name: re.fullmatch(form, s) for name, s in PACKAGE["scripts"].items()}
    assert all(scripts.values()), "a script that is no session"
    scripted = [match[1] for match in scripts.values() if match]
    assert set(scripted) == sessions()
    assert scripts["snapshot:local-docker"]
    assert scripts["snapshot:local-docker:test"]


def test_pnpm_is_the_one_the_image_has() -> None:
    dockerfile = (ROOT / "apps/os/sandbox/Dockerfile").read_text()
    pin = re.search(r"SANDBOX_PNPM_VERSION=(\S+)", dockerfile)
    assert pin is not None
    assert PACKAGE["packageManager"] == f"pnpm@{pin[1]}"


@pytest.mark.parametrize(
    "lock",
    [
        "pnpm-lock.yaml",
        "apps/daemon/requirements.txt",
        "apps/daytona-standin/requirements.txt",
        "apps/os/sandbox/requirements.txt",
    ],
)
def test_lock_files_name_no_host_and_hash_every_package(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "index-url" not in text
    if lock.endswith(".yaml"):
        packages = text[text.index("\npackages:\n") : text.index("\nsnapshots:\n")]
        assert packages.count("\n  ") > 10
        names = re.findall(r"^  \S.*:$", packages, re.MULTILINE)
        assert len(names) == packages.count("integrity: sha512-")
    else:
        entries = [line for line in text.splitlines() if "==" in line]
        assert entries
        assert all(line.endswith("\\") for line in entries), "a package without a hash"


def test_every_dependency_of_the_daemon_is_locked() -> None:
    declared = re.findall(
        r'^  "([a-z-]+)[<>=]', (ROOT / "apps/daemon/pyproject.toml").read_text(), re.MULTILINE
    )
    locked = (ROOT / "apps/daemon/requirements.txt").read_text()
    assert declared
    for name in declared:
        assert re.search(rf"^{name}==", locked, re.MULTILINE), name
