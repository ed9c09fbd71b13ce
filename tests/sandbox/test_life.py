"""Stop, start again, other parents: the life of a sandbox as a whole."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tasks.base import project
from tests.sandbox.support import answers, ready_by_s6

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tasks.sandbox.sandbox import Sandbox
    from tests.sandbox.conftest import Maker

#: A stop must not need the engine's patience (10 s), which ends in SIGKILL.
STOP = 3.0


def test_stops_in_time(fresh_sandbox: Sandbox) -> None:
    start = time.monotonic()
    fresh_sandbox.stop(grace=20)
    assert time.monotonic() - start < STOP
    assert fresh_sandbox.end_reason()


@pytest.mark.needs("exit_status")
def test_a_stop_is_no_failure(fresh_sandbox: Sandbox) -> None:
    fresh_sandbox.stop(grace=20)
    assert fresh_sandbox.exit_status() == 0


@pytest.mark.needs("exit_status")
def test_stops_in_time_while_it_starts(
    make: Maker, rng: random.Random, times: Callable[[int, int], int]
) -> None:
    sandbox = make(ready=False)
    for _ in range(times(4, 100)):
        sandbox.start()
        time.sleep(rng.uniform(0, 2))
        start = time.monotonic()
        sandbox.stop(grace=20)
        assert time.monotonic() - start < STOP
        assert sandbox.exit_status() in {0, 143}
    sandbox.start()
    sandbox.wait_until_ready()


def test_a_restart_keeps_logs_and_files(fresh_sandbox: Sandbox) -> None:
    fresh_sandbox.write(f"{project.HOME}/work.txt", b"not lost\n")
    original_log = fresh_sandbox.read("/var/log/iterate-daemon/current")
    fresh_sandbox.restart(grace=3)
    fresh_sandbox.wait_until_ready()
    assert fresh_sandbox.read(f"{project.HOME}/work.txt") == b"not lost\n"
    after = fresh_sandbox.exec(
        "cat /var/log/iterate-daemon/@* /var/log/iterate-daemon/current 2>/dev/null;:"
    )
    assert original_log[:2000] in after.stdout_bytes
    assert len(after.stdout_bytes) > len(original_log)


def test_work_in_the_repository_survives_a_restart(fresh_sandbox: Sandbox) -> None:
    """Baked mode: the agent's work is the only copy there is."""
    fresh_sandbox.write(f"{project.REPO}/agent-work.txt", b"half done\n")
    fresh_sandbox.exec(
        "git rm -q --cached LICENSE && rm LICENSE && echo more >>README.md || true",
        cwd=project.REPO,
    )
    original_status = fresh_sandbox.exec(["git", "status", "--porcelain"], cwd=project.REPO).stdout
    assert "agent-work.txt" in original_status
    fresh_sandbox.restart(grace=3)
    fresh_sandbox.wait_until_ready()
    assert (
        fresh_sandbox.exec(["git", "status", "--porcelain"], cwd=project.REPO).stdout
        == original_status
    )


@pytest.mark.needs("init_control")
def test_works_under_another_init(make: Maker) -> None:
    sandbox = make(under_init=True)
    first = sandbox.exec(["cat", "/proc/1/comm"]).stdout.strip()
    assert first != "s6-svscan"
    assert sandbox.exec(["pgrep", "-x", "s6-svscan"]).stdout.strip() != "1"
    for service in project.SERVICES:
        ready_by_s6(sandbox, service)
    sandbox.restart(grace=3)
    sandbox.wait_until_ready()
    start = time.monotonic()
    sandbox.stop(grace=20)
    assert time.monotonic() - start < STOP


def test_works_as_a_shells_child(fresh_sandbox: Sandbox) -> None:
    """The entry point once more in the background, as a provider with its own init starts it.

    The first one's tree is still there: the second must not wreck it.
    """
    result = fresh_sandbox.exec(
        "timeout 5 setsid /usr/local/lib/sandbox/entry.sh </dev/null; echo status $?",
        check=False,
        timeout=20,
    )
    assert "status 0" not in result.stdout
    assert answers(fresh_sandbox)
    for service in project.SERVICES:
        ready_by_s6(fresh_sandbox, service)


@pytest.mark.needs("init_control")
def test_nothing_runs_as_a_zombie(sandbox: Sandbox) -> None:
    sandbox.exec("for i in 1 2 3 4 5; do (setsid sh -c 'sleep 0.1 & exit' &); done; sleep 1")
    states = sandbox.exec(["ps", "-eo", "stat="]).stdout.split()
    assert not [s for s in states if s.startswith("Z")]
