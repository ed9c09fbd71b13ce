"""`tasks.setup.setup_log` with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.base.errors import CommandFailed, TimedOut
from tasks.setup.setup_log import SetupLog

ROOT = Path(__file__).parents[3]


@pytest.fixture
def log(tmp_path: Path) -> SetupLog:
    return SetupLog(tmp_path / "log")


def test_output_goes_to_the_log(log: SetupLog, capfd: pytest.CaptureFixture[str]) -> None:
    log.run(["sh", "-c", "echo out; echo err >&2"], title="talking")
    assert log.path.read_text().splitlines()[-2:] == ["out", "err"]
    assert "talking (" in capfd.readouterr().err


def test_stdout_can_go_to_another_file(log: SetupLog, tmp_path: Path) -> None:
    log.run(["sh", "-c", "echo out; echo err >&2"], title="x", output=tmp_path / "out")
    assert (tmp_path / "out").read_text() == "out\n"
    assert "err" in log.path.read_text()


def test_a_failure_quotes_the_last_lines_and_the_first_cause(
    log: SetupLog, capfd: pytest.CaptureFixture[str]
) -> None:
    script = "seq 100; echo 'E: no such package'; echo 'E: giving up'; echo bye; exit 7"
    with pytest.raises(CommandFailed, match="status 7: E: no such package") as caught:
        log.run(["sh", "-c", script], title="failing")
    assert str(log.path) in caught.value.fix
    output = capfd.readouterr().err
    assert "│ bye" in output
    assert "│ 50\n" not in output


def test_a_failure_quotes_no_output_of_other_commands(
    log: SetupLog, capfd: pytest.CaptureFixture[str]
) -> None:
    log.run(["echo", "of the first"], title="first")
    with pytest.raises(CommandFailed):
        log.run(["false"], title="second")
    assert "of the first" not in capfd.readouterr().err.rpartition("first (")[2]


def test_giving_up_ends_the_child(log: SetupLog) -> None:
    def after_a_word(text: str, _seconds: float) -> str:
        return "enough" if "started" in text else ""

    start = time.monotonic()
    with pytest.raises(TimedOut, match="enough"):
        log.run(["sh", "-c", "echo started; exec sleep 60"], title="waiting", give_up=after_a_word)
    assert time.monotonic() - start < 10


def run_and_interrupt(tmp_path: Path, *, must_finish: bool) -> str:
    """Press Ctrl-C in a child's first second; returns what the child wrote."""
    trace = tmp_path / "trace"
    script = f"echo begun > {trace}; sleep 1.5; echo ended > {trace}"
    program = (
        "import sys; from pathlib import Path; from tasks.setup.setup_log import SetupLog\n"
        f"SetupLog(Path({str(tmp_path / 'log')!r})).run(['sh', '-c', {script!r}], title='work',"
        f" must_finish={must_finish})"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        start_new_session=True,
        stderr=subprocess.PIPE,
    ) as child:
        deadline = time.monotonic() + 20
        while not trace.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does it: the whole group
        _, stderr = child.communicate(timeout=20)
    assert b"KeyboardInterrupt" in stderr
    return trace.read_text().strip()


def test_an_interrupt_waits_for_a_package_manager(tmp_path: Path) -> None:
    assert run_and_interrupt(tmp_path, must_finish=True) == "ended"


def test_an_interrupt_ends_other_commands(tmp_path: Path) -> None:
    assert run_and_interrupt(tmp_path, must_finish=False) == "begun"
