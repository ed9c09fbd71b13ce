"""Odd surroundings end in a result or in one line, never in a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tasks.base.project import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DRY = ["snapshot-local", "--dry-run", "--json"]


def run(
    *arguments: str, env: Mapping[str, str | None] | None = None, shell: str = '"$@"'
) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in {**os.environ, **(env or {})}.items() if v is not None}
    command = ["sh", "-c", shell, "sh", sys.executable, "-m", "tasks", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    "env",
    [
        {"TMPDIR": "/no/such/folder"},
        {"HOME": None},
        {"HOME": "/no/such/home"},
        {"LC_ALL": "C", "LANG": None, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"COLUMNS": "40"},
        {"TERM": "dumb"},
        {"PATH": "/usr/bin:/bin"},
    ],
    ids=str,
)
def test_environments(env: Mapping[str, str | None]) -> None:
    result = run(*DRY, env=env)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert json.loads(result.stdout)["sha"]


@pytest.mark.parametrize("shell", ['"$@" <&-', '"$@" >&-', '"$@" 2>&-', '"$@" >&- 2>&- <&-'])
def test_closed_streams(shell: str) -> None:
    result = run(*DRY, shell=shell)
    assert "Traceback" not in result.stderr
    assert result.returncode == 0


def test_a_reader_that_goes_away() -> None:
    result = run("doctor", "--json", shell='"$@" | head -c 1')  # noqa: S604 - sh's text
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "command",
    [["require-engine"], ["snapshot-local"], ["local-test"], ["tests", "--prerequisites", "image"]],
    ids=" ".join,
)
def test_without_an_engine_one_line_within_two_seconds(command: list[str], tmp_path: Path) -> None:
    start = time.monotonic()
    run("doctor", "--help")  # Python's own start, on a machine as busy as this one
    began = time.monotonic()
    result = run(*command, env={"DOCKER_HOST": f"unix://{tmp_path}/docker.sock"})
    # docker's own client waits for a minute; a busy machine makes everything ten times slower.
    assert time.monotonic() - began < 2 + 10 * (began - start)
    assert result.returncode >= 10
    failures = [line for line in result.stderr.splitlines() if line.startswith("✗")]
    assert len(failures) == 1
    assert "→" in failures[0]


@pytest.mark.parametrize("arguments", [["--no-such-flag"], ["extra"], ["--tag"]])
def test_unknown_arguments_are_refused(arguments: list[str]) -> None:
    result = run("snapshot-local", *arguments)
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("✗ ")
    assert line.endswith("nox -s snapshot_local -- --help")
    assert "Traceback" not in result.stderr


def test_an_unknown_command_names_the_known_ones() -> None:
    result = run("snapshot-locl")
    assert result.returncode == 2
    assert "snapshot-local" in result.stderr
    assert result.stderr.count("\n") == 1
