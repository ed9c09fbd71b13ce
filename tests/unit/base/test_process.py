from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tasks.base import process
from tasks.base.errors import CommandFailed, MissingTool, TimedOut
from tasks.base.project import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_a_child_has_the_environment_that_is_laid_over() -> None:
    result = process.capture(["sh", "-c", "echo $A-$HOME"], env={"A": "1", "HOME": None})
    assert result.stdout == b"1-\n"


def test_a_failure_names_the_command_and_its_last_line() -> None:
    with pytest.raises(CommandFailed) as caught:
        process.capture(["sh", "-c", "echo why >&2; exit 3"])
    assert caught.value.status == 3
    assert caught.value.last_line == "why"
    assert "why" in str(caught.value)


def test_a_missing_tool_and_a_missing_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MissingTool, match="`no-such-tool` is not installed"):
        process.capture(["no-such-tool"])
    with pytest.raises(MissingTool, match="no such folder"):
        process.run(["true"], cwd=tmp_path / "gone", quiet=True)


def test_a_hanging_child_is_ended() -> None:
    with pytest.raises(TimedOut):
        process.capture(["sleep", "60"], timeout=0.2)


def test_no_module_starts_a_shell() -> None:
    sources = [*ROOT.glob("*.py"), *ROOT.glob("tasks/**/*.py"), *ROOT.glob("apps/**/*.py")]
    modules = [
        path for path in sources if ".venv" not in path.parts and "node_modules" not in path.parts
    ]
    assert modules
    for path in modules:
        text = path.read_text()
        assert "shell=True" not in text, path
        assert "os.system(" not in text, path


CHILD = """
import sys, time, pathlib
sys.path.insert(0, sys.argv[1])
from tasks import __main__ as entry
class Command:
    @staticmethod
    def main(arguments):
        try:
            pathlib.Path(arguments[0]).touch()
            time.sleep(60)
        finally:
            pathlib.Path(arguments[1]).touch()
import importlib
importlib.import_module = lambda name: Command
sys.exit(entry.main(["setup", *sys.argv[2:]]))
"""


def _await(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} never came"
        time.sleep(0.01)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupts_run_every_finally(tmp_path: Path, signum: signal.Signals) -> None:
    start_file, cleaned_file = tmp_path / "started", tmp_path / "cleaned"
    command = [sys.executable, "-c", CHILD, str(ROOT), str(start_file), str(cleaned_file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as child:
        _await(start_file)
        time.sleep(0.2)  # until it sleeps: Python drops an interrupt that comes in a destructor
        child.send_signal(signum)
        _, said = child.communicate(timeout=20)
    assert child.returncode == 128 + signum
    assert cleaned_file.exists()
    assert b"Traceback" not in said
    assert said.count(b"\n") == 1


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """F11: the kernel answers every write to /dev/full as if its disk were full."""
    program = CHILD.replace("time.sleep(60)", "pathlib.Path('/dev/full').write_text('x')")
    command = [sys.executable, "-c", program, str(ROOT), str(tmp_path / "a"), str(tmp_path / "b")]
    child = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert child.returncode == 1
    (line,) = child.stderr.splitlines()
    assert line.startswith("✗ the disk is full: /")
    assert "TMPDIR" in line
    assert (tmp_path / "b").exists()


def test_the_death_of_nox_runs_every_finally(tmp_path: Path) -> None:
    start_file, cleaned_file = tmp_path / "started", tmp_path / "cleaned"
    parent = (
        "import subprocess, sys; subprocess.run(sys.argv[1:], check=False)"  # waits, as nox does
    )
    command = [sys.executable, "-c", parent, sys.executable, "-c", CHILD, str(ROOT),
               str(start_file), str(cleaned_file)]  # fmt: skip
    env = {**os.environ, "NOX_CURRENT_SESSION": "setup"}
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as nox:
        _await(start_file)
        time.sleep(0.2)  # as above
        nox.kill()
    _await(cleaned_file)
