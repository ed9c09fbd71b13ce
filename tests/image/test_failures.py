"""A build that fails or is ended says so, quotes why, and leaves the former image."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tasks.base import project
from tests.image.test_reuse import image_id

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.conftest import Workshop


def add_step(root: Path, command: str) -> None:
    path = root / project.DOCKERFILE
    text = path.read_text()
    user = f"USER {project.USER}\n"
    path.write_text(text.replace(user, f"{user}RUN {command}\n", 1))


def test_the_failing_step_is_quoted(workshop: Workshop) -> None:
    tag = workshop.tag("fails")
    workshop.build(tag)
    original_image = image_id(tag)
    add_step(workshop.root, "echo this is why; exit 7")
    result = workshop.attempt(tag)
    assert result.returncode == 1
    assert "RUN echo this is why; exit 7" in result.stderr
    assert "    this is why\n" in result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert "exit code: 7" in last
    assert ".sandbox/logs/snapshot-local-" in last
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert image_id(tag) == original_image


def processes(marker: str) -> list[int]:
    """Those whose command line has `marker`, a pattern, in it."""
    running = psutil.process_iter(["cmdline"])
    lines = {one.pid: " ".join(one.info["cmdline"] or []) for one in running}
    return [pid for pid, line in lines.items() if re.search(marker, line)]


def _end(nox: subprocess.Popen[bytes], marker: str, means: str) -> float:
    """Interrupt it once the step runs; when that was."""
    deadline = time.monotonic() + 120
    while not processes(f"^sleep {marker}"):
        assert nox.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    start = time.monotonic()
    if means == "group":
        os.killpg(nox.pid, signal.SIGINT)
    else:
        signals = {"nox": signal.SIGINT, "nox-term": signal.SIGTERM, "nox-kill": signal.SIGKILL}
        nox.send_signal(signals[means])
    return start


@pytest.mark.parametrize("means", ["group", "nox", "nox-term", "nox-kill"])
def test_an_interrupt_ends_the_build_and_leaves_the_image(workshop: Workshop, means: str) -> None:
    tag = workshop.tag(f"ended-{means}")
    workshop.build(tag)
    original_image = image_id(tag)
    marker = f"8{os.getpid() % 9999:04}{len(means)}"
    add_step(workshop.root, f"sleep {marker}")
    arguments = workshop.command("--tag", tag)[4:]
    nox_program = shutil.which(
        "nox"
    )  # the one that runs these tests: it is not in their environment
    assert nox_program
    command = [nox_program, "-s", "snapshot_local", "--", *arguments]
    with subprocess.Popen(
        command, cwd=workshop.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        start_new_session=True,
    ) as nox:  # fmt: skip
        try:
            start = _end(nox, marker, means)
            nox.wait(timeout=30)
            while processes(f"sleep {marker}") or processes(f"snapshot-local.*{tag}"):
                assert time.monotonic() - start < 20, "the build goes on"
                time.sleep(0.1)
        finally:
            # A build that goes on would keep its address on the engine's network for days.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(nox.pid, signal.SIGKILL)
    took = time.monotonic() - start
    assert took < (5 if means == "group" else 15), took
    codes = {"group": 130, "nox": 130, "nox-term": -signal.SIGTERM, "nox-kill": -signal.SIGKILL}
    assert nox.returncode == codes[means]
    assert image_id(tag) == original_image
