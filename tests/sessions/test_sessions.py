"""The sessions through the real nox: help, exit statuses, mistyped commands, and their names."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tasks.base.project import ROOT
from tasks.commands import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: What people and other repositories type.
MISSION = {"snapshot_local", "local_test", "snapshot_daytona", "daytona_test", "bump_versions"}
NOXFILE = ast.parse((ROOT / "noxfile.py").read_text())
SESSIONS = {
    node.name: node
    for node in NOXFILE.body
    if isinstance(node, ast.FunctionDef) and node.decorator_list
}
SCRIPTS = json.loads((ROOT / "package.json").read_text())["scripts"]
STEPS = [name.removeprefix("ci ") for name in COMMANDS if name.startswith("ci ")]


def nox(
    *words: str, folder: Path = ROOT, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it as a person does; `environment` is laid over ours."""
    variables = {**os.environ, **(environment or {})}
    return subprocess.run(
        [sys.executable, "-m", "nox", *words], cwd=folder, env=variables, capture_output=True,
        text=True, timeout=100, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def failures(process: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in process.stderr.splitlines() if line.startswith("✗")]


# ── names ───────────────────────────────────────────────────────────────────────────────────


def test_the_sessions_of_the_mission_exist() -> None:
    assert SESSIONS.keys() >= MISSION


def test_every_session_has_a_script_and_every_script_a_session() -> None:
    sessions = {command.split()[2] for command in SCRIPTS.values()}
    assert sessions == set(SESSIONS)
    assert all(command.startswith("nox -s ") and " --" in command for command in SCRIPTS.values())


@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_is_thin_and_described_in_one_line(name: str) -> None:
    node = SESSIONS[name]
    description = ast.get_docstring(node) or ""
    assert 0 < len(description) <= 72
    assert "\n" not in description
    assert (node.end_lineno or 0) - node.lineno <= 10


# ── help ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [*SESSIONS, *(f"ci -- {step}" for step in STEPS)])
def test_help_is_ours_and_makes_no_environment(name: str, tmp_path: Path) -> None:
    session, *step = name.split(" -- ")
    process = nox("--envdir", str(tmp_path), "-s", session, "--", *step, "--help")
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith(f"usage: nox -s {name}")
    assert len(process.stdout.splitlines()) < 60
    assert list(tmp_path.iterdir()) == []


def test_the_areas_are_listed_without_an_environment(tmp_path: Path) -> None:
    process = nox("--envdir", str(tmp_path), "-s", "tests", "--", "--list")
    assert "image\t" in process.stdout
    assert list(tmp_path.iterdir()) == []


# ── exit statuses ───────────────────────────────────────────────────────────────────────────


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """The noxfile with a command that ends as its last argument says."""
    shutil.copy(ROOT / "noxfile.py", tmp_path)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/__main__.py").write_text(
        "import os, sys\nstatus = int(sys.argv[-1])\n"
        "os.kill(os.getpid(), -status) if status < 0 else sys.exit(status)\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("status", "expected"), [(0, 0), (1, 1), (2, 2), (13, 13), (75, 75), (124, 124), (-15, 143)]
)
def test_the_status_of_a_command_reaches_the_shell(fake: Path, status: int, expected: int) -> None:
    assert nox("-s", "doctor", "--", str(status), folder=fake).returncode == expected


def test_a_status_that_says_more_than_failure_ends_the_run(fake: Path) -> None:
    process = nox("-s", "setup", "doctor", "--", "75", folder=fake)
    assert process.returncode == 75
    assert "Running session doctor" not in process.stderr
    assert "Running session doctor" in nox("-s", "setup", "doctor", "--", "1", folder=fake).stderr


def test_an_unreachable_daytona_is_a_temporary_failure() -> None:
    """As the README promises: 75 means to run it again."""
    environment = {
        "DAYTONA_API_KEY": "dtn_none", "DAYTONA_API_URL": "http://127.0.0.1:9/api",
        "DAYTONA_ALLOW_LOOPBACK_HTTP": "1",
    }  # fmt: skip
    process = nox("-s", "snapshots", "--", "list", environment=environment)
    assert process.returncode == 75, process.stderr


# ── mistyped commands ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("-s snapshot_locl", "nox -s snapshot_local"),
        ("-s snapshot-local", "nox -s snapshot_local"),
        ("--session=snapshot_loca", "nox -s snapshot_local"),
        ("-s lint typs", "nox -s types"),
        ("-s git_test", "nox -s tests -- git"),
        ("-s web:test", "nox -s tests -- web"),
        ("-s workflow_test", "nox -s tests -- workflows"),
        ("-s deps_check", "nox -s deps"),
        ("-s sandbox-plan", "nox -s ci -- sandbox-plan"),
        ("-s snapshots list", "nox -s snapshots -- list"),
        ("-s tests image web", "nox -s tests -- image web"),
        ("-s local_test -k agents", "nox -s local_test -- -k agents"),
        ("-s xyzzy", "`nox -l` lists the sessions"),
    ],
)
def test_a_mistyped_session_is_one_line_with_the_nearest_one(words: str, advice: str) -> None:
    process = nox(*words.split())
    assert process.returncode == 2
    (line,) = failures(process)
    assert line.endswith(f" → {advice}")


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("tests -- imag", "nox -s tests -- image"),
        ("tests -- lint -k x", "leave out the option, or lint"),
        ("ci -- pln", "plan"),
        ("lint -- --fixx", "nox -s lint -- --help"),
    ],
)
def test_a_mistyped_argument_is_one_line_with_advice(words: str, advice: str) -> None:
    process = nox("-s", *words.split())
    assert process.returncode == 2
    (line,) = failures(process)
    assert line.endswith(f" → {advice}")
