"""What every test starts from."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# Started in the background of a script (some CI runners do), a process has SIGINT ignored, and so
# have its children: tests that press Ctrl-C would press in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: By these a session knows that it is in a job, and writes into that job's files.
_OF_A_JOB = (
    "GITHUB_ACTIONS", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_TOKEN",
    "SANDBOX_WITHIN_SESSION",
)  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def _in_no_job() -> Iterator[None]:
    """Tests that run in a job are no sessions of it. Put back at the end: local_test, which runs
    tests in its own process, is in its job again.
    """
    before = {name: os.environ.pop(name) for name in _OF_A_JOB if name in os.environ}
    yield
    os.environ.update(before)
