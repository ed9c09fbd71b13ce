from __future__ import annotations

import time

import pytest

from tasks.base import waiting
from tasks.base.errors import TaskError, TimedOut


def test_waiting_returns_the_result_of_the_probe() -> None:
    answers = iter([None, False, "there"])
    assert waiting.until(lambda: next(answers), what="it", timeout=5, interval=0.001) == "there"


def test_waiting_ends_at_the_deadline_with_the_last_state() -> None:
    start = time.monotonic()
    with pytest.raises(TimedOut, match=r"the door did not happen within 0\.2 s: locked"):
        waiting.until(lambda: None, what="the door", timeout=0.2, state=lambda: "locked")
    assert time.monotonic() - start < 5


def test_waiting_ends_at_once_when_the_probe_raises() -> None:
    def probe() -> None:
        raise TaskError("it exited")

    with pytest.raises(TaskError, match="it exited"):
        waiting.until(probe, what="it", timeout=60)
