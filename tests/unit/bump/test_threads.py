"""Work that nothing can end does not keep a process from ending."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tasks.base import project
from tasks.bump.threads import in_threads

HANGING = """
import threading
from tasks.bump.threads import in_threads
def hang(number):
    print("started", flush=True)
    threading.Event().wait()
in_threads(hang, range(3), threads=1)
"""


def test_results_come_in_the_order_of_their_items() -> None:
    assert in_threads(lambda number: number * 2, range(20)) == [n * 2 for n in range(20)]
    assert in_threads(str, []) == []


def test_threads_of_threads_do_not_wait_for_each_other() -> None:
    nested = in_threads(lambda n: in_threads(str, range(n), threads=1), range(9), threads=1)
    assert nested == [[str(m) for m in range(n)] for n in range(9)]


def test_an_exception_reaches_the_caller_and_ends_what_has_not_begun() -> None:
    numbers: list[int] = []

    def work(number: int) -> None:
        numbers.append(number)
        raise ValueError(number)

    with pytest.raises(ValueError, match="0"):
        in_threads(work, range(1000), threads=1)
    assert numbers[0] == 0


def test_a_signal_ends_a_process_whose_work_hangs() -> None:
    command = [sys.executable, "-c", HANGING]
    with subprocess.Popen(
        command, cwd=project.ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == "started\n"
        child.send_signal(signal.SIGINT)
        output, errors = child.communicate(timeout=60)
    assert output == ""
    assert "KeyboardInterrupt" in errors
