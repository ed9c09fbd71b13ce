"""The pnpm scripts, with the pnpm that the image has: arguments and exit statuses pass through."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tasks.base.project import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.conftest import Workshop

#: A command that ends as its last argument says.
COMMANDS = "import sys\nprint(*sys.argv[1:])\nsys.exit(int(sys.argv[-1]))\n"


@pytest.fixture
def pnpm(workshop: Workshop, tmp_path: Path) -> Path:
    """The program itself, which needs nothing else of the image."""
    tag = workshop.tag("pnpm")
    workshop.build(tag)
    script = 'cat "$(readlink -f "$(command -v pnpm)")"'
    command = ["docker", "run", "--rm", "--entrypoint", "bash", tag, "-lc", script]
    program = tmp_path / "bin" / "pnpm"
    program.parent.mkdir()
    with program.open("wb") as file:
        subprocess.run(command, stdout=file, check=True, timeout=120)
    program.chmod(0o755)
    return program


@pytest.fixture
def front_door(tmp_path: Path) -> Path:
    """The noxfile, the scripts and pnpm's settings, before a command that ends as it is told."""
    folder = tmp_path / "front-door"
    (folder / "tasks").mkdir(parents=True)
    (folder / "tasks/__main__.py").write_text(COMMANDS)
    for name in ("noxfile.py", "package.json", "pnpm-workspace.yaml"):
        shutil.copy(ROOT / name, folder)
    return folder


def test_a_script_passes_its_arguments_and_the_exit_status(pnpm: Path, front_door: Path) -> None:
    options = ("--config.verify-deps-before-run=false", "run", "doctor", "--json")
    for status in (0, 1, 2, 75, 124):
        process = subprocess.run(
            [pnpm, *options, str(status)], cwd=front_door, stdin=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(front_door)}, capture_output=True, text=True,
            timeout=100, check=False,
        )  # fmt: skip
        assert process.returncode == status, process.stderr
        assert f"doctor --json {status}" in process.stdout
    version = subprocess.run([pnpm, "--version"], capture_output=True, text=True, check=True)
    manager = json.loads((ROOT / "package.json").read_text())["packageManager"]
    assert f"pnpm@{version.stdout.strip()}" == manager
