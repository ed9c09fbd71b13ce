"""Work that nothing can end does not keep a process from ending."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading

import pytest

from tasks.base import project
from tasks.bump.workers import Workers

HANGING = """
import threading
from tasks.bump.workers import Workers
started, never = threading.Event(), threading.Event()
def hang():
    started.set()
    never.wait()
with Workers(2, cancel=lambda: print("cancelled", flush=True)) as workers:
    work = workers.submit(hang)
    started.wait()
    print("started", flush=True)
    work.result()
"""


def test_results_and_errors_reach_who_asks_for_them() -> None:
    with Workers(2, cancel=lambda: None) as workers:
        assert workers.map(lambda number: number * 2, range(20)) == [n * 2 for n in range(20)]
        work = workers.submit(int, "not a number")
        with pytest.raises(ValueError, match="not a number"):
            work.result()


def test_leaving_the_block_waits_for_all_work() -> None:
    results: list[int] = []
    with Workers(1, cancel=lambda: None) as workers:
        for number in range(5):
            workers.submit(results.append, number)
    assert results == [0, 1, 2, 3, 4]


def test_an_exception_drops_the_work_that_has_not_begun() -> None:
    gate, started = threading.Event(), threading.Event()

    def block() -> None:
        started.set()
        gate.wait()

    results: list[int] = []
    workers = Workers(1, cancel=gate.set)
    with contextlib.suppress(KeyboardInterrupt), workers:
        running = workers.submit(block)
        waiting = workers.submit(results.append, 1)
        started.wait()
        raise KeyboardInterrupt
    running.result()
    assert waiting.cancelled()
    assert results == []


def test_a_signal_ends_a_process_whose_work_hangs() -> None:
    command = [sys.executable, "-c", HANGING]
    with subprocess.Popen(
        command, cwd=project.ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == "started\n"
        child.send_signal(signal.SIGINT)
        output, errors = child.communicate(timeout=60)
    assert output == "cancelled\n"
    assert "KeyboardInterrupt" in errors
