"""The line of progress, on a real pseudo-terminal and elsewhere."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING

import pytest

from tasks.base import console, project
from tasks.base.progress import ProgressLine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ERASE = "\x1b[2K"


def on_terminal(program: str, environment: Mapping[str, str] | None = None) -> str:
    """What a program writes to a terminal that is its stderr."""
    reading, writing = pty.openpty()
    fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    quiet = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "TERM", "CI"}}
    child = subprocess.Popen(
        [sys.executable, "-c", program], cwd=project.ROOT, stderr=writing,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        env={**quiet, "TERM": "xterm", "PYTHONUTF8": "1", **(environment or {})},
    )  # fmt: skip
    os.close(writing)
    output = b""
    try:
        while block := os.read(reading, 4096):
            output += block
    except OSError:
        pass  # the terminal's other end is closed
    os.close(reading)
    assert child.wait(60) == 0, output
    return output.decode().replace("\r\n", "\n")


PROGRAM = """
import time
from tasks.base import console
from tasks.base.progress import ProgressLine
with ProgressLine(lambda: {text!r}, redraw=0.01, heartbeat=0.01):
    time.sleep(0.3)
    console.good("in between")
    time.sleep(0.3)
console.say("the end")
"""


def test_a_terminal_shows_one_line_that_other_lines_go_above() -> None:
    output = on_terminal(PROGRAM.format(text="half"))
    # Between two line ends, only what is drawn last stays.
    screen = [line.rpartition(ERASE)[2].lstrip("\r") for line in output.split("\n")]
    assert screen == ["\x1b[32m✓ in between\x1b[0m", "the end", ""]
    assert output.count("  half\r") >= 2


@pytest.mark.parametrize("text", ["x" * 100, "漢" * 100, "bad \x1b[31m\n" + "y" * 90])
def test_a_line_is_never_wider_than_the_terminal(text: str) -> None:
    output = on_terminal(PROGRAM.format(text=text))
    drawn = {part.replace(ERASE, "") for part in output.split("\r") if part.startswith("  ")}
    assert drawn
    assert all(part == console.fit(part, 39) for part in drawn)
    assert "\x1b[31m" not in output


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_without_control_sequences_gets_plain_lines(environment: dict[str, str]) -> None:
    output = on_terminal(PROGRAM.format(text="half"), environment)
    assert "\x1b" not in output
    assert "  half\n" in output
    assert "✓ in between\n" in output


def test_a_log_gets_a_sign_of_life_at_intervals(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ProgressLine(lambda: "half", redraw=0.001, heartbeat=0.05):
        wait_for(lambda: "half" in capsys.readouterr().err)
    with ProgressLine(lambda: "half", redraw=0.001, heartbeat=60):
        time.sleep(0.05)
    assert "half" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "columns", "start"),
    [("abc", 3, "abc"), ("abcd", 3, "abc"), ("漢字", 3, "漢"), ("e\u0301e\u0301", 1, "e\u0301"),
     ("", 0, "")],
)  # fmt: skip
def test_text_is_cut_by_its_width(text: str, columns: int, start: str) -> None:
    assert console.fit(text, columns) == start


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
