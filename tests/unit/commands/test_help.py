"""Help of every command, in an interpreter that has what nox needs and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import packaging
import pytest

from tasks.base.project import ROOT
from tasks.commands import COMMANDS, GROUPS


@pytest.mark.parametrize("command", [*COMMANDS, *GROUPS])
def test_help_needs_no_package_of_ours(command: str, tmp_path: Path) -> None:
    (tmp_path / "packaging").symlink_to(Path(packaging.__file__).parent)
    process = subprocess.run(
        [sys.executable, "-S", "-m", "tasks", *command.split(), "--help"],
        cwd=ROOT, env={"PYTHONPATH": str(tmp_path), "PATH": ""}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("usage: "), "help is for a pipe as well: it is on stdout"
    assert process.stderr == ""
