"""Every state in which a snapshot can be found, and an interrupt in each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base import project, waiting
from tasks.base.errors import TaskError, TimedOut
from tasks.daytona.ensure import NameTaken

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tasks.daytona.snapshot import Snapshot
    from tests.daytona.conftest import PublishingBench, Rounds

    Show = Callable[[str, object], None]

POST = "POST /api/snapshots"
GET = "GET /api/snapshots/*"


@pytest.mark.case("F20")
def test_a_snapshot_is_built_once_and_then_reused(bench: PublishingBench, show: Show) -> None:
    order = bench.order()
    first = bench.publish(order)
    assert (first.outcome, first.snapshot.state) == ("built", "active")
    second = bench.publish(order)
    assert second.outcome == "reused"
    assert second.snapshot.id == first.snapshot.id
    assert bench.request_count(POST) == 1
    show("same name, same content", f"snapshot {second.snapshot.name} is there already")


@pytest.mark.case("F20")
def test_a_conflict_over_the_same_content_is_a_success(
    bench: PublishingBench, rounds: Rounds, show: Show
) -> None:
    """It comes to be between the look and the create, any number of looks later."""

    def strike(rng: random.Random) -> str:
        order = bench.sibling()
        bench.publish(order)
        looks = rng.randrange(1, 4)
        bench.stand_in.fault(
            "status", on=f"GET /api/snapshots/{order.name}", status=404, times=looks
        )
        second = bench.publish(order)
        assert second.outcome == "reused"
        return second.snapshot.name

    names = rounds(strike)
    assert bench.request_count(POST) > 2 * len(names), "no create met a 409"
    show("409, same name, same content", f"snapshot {names[0]} is there already")


def test_an_inactive_snapshot_is_activated(bench: PublishingBench) -> None:
    order = bench.sibling()
    bench.publish(order)
    bench.stand_in.set_snapshot_state(order.name, "inactive")
    assert bench.publish(order).outcome == "activated"
    assert bench.request_count(POST) == 1


@pytest.mark.parametrize("state", ["error", "build_failed"])
def test_a_failed_snapshot_is_reported_deleted_and_built_anew(
    bench: PublishingBench, state: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    order = bench.sibling()
    first = bench.publish(order)
    bench.stand_in.set_snapshot_state(order.name, state, error="the disk of the runner was full")
    second = bench.publish(order)
    assert second.outcome == "built"
    assert second.snapshot.id != first.snapshot.id
    assert "the disk of the runner was full" in capsys.readouterr().err


def test_a_snapshot_that_is_being_removed_is_waited_for(bench: PublishingBench) -> None:
    """And its name stays taken a little longer than that."""
    order = bench.sibling()
    first = bench.publish(order).snapshot
    bench.api.snapshots.delete(first)
    assert bench.publish(order).outcome == "built"
    assert bench.creates == 2


def test_three_runs_at_once_build_once(bench: PublishingBench) -> None:
    order = bench.order(text="FROM debian:trixie-slim\nRUN sleep 1\n")
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda: results.append(bench.publish(order))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [r.snapshot.state for r in results] == ["active"] * 3
    assert len({r.snapshot.id for r in results}) == 1
    assert sorted(r.outcome for r in results).count("built") == 1


@pytest.mark.case("F21")
def test_a_name_with_another_content_is_refused(
    bench: PublishingBench, rounds: Rounds, show: Show
) -> None:
    """In any state, and be it seen by a look or by a 409."""
    states: Any = ["active", "inactive", "error", "building", "pending", "build_failed"]

    def strike(rng: random.Random) -> NameTaken:
        order = bench.sibling()
        bench.publish(order)
        state = rng.choice(states)
        bench.stand_in.set_snapshot_state(order.name, state)
        bench.leaves(order.name, state)
        if rng.random() < 0.5:
            bench.stand_in.fault("status", on=f"GET /api/snapshots/{order.name}", status=404)
        other_order = bench.order(name=order.name)
        with pytest.raises(NameTaken) as caught:
            bench.publish(other_order)
        assert order.identity in str(caught.value)
        assert other_order.identity in str(caught.value)
        return caught.value

    errors = rounds(strike)
    assert len(bench.stand_in.snapshots()) == 1 + len(errors), "and the base"
    show("409, same name, other content", errors[0])


def test_an_unknown_state_is_waited_for_and_named(bench: PublishingBench, show: Show) -> None:
    order = bench.sibling()
    bench.publish(order)
    odd: Any = "hibernating"
    bench.stand_in.set_snapshot_state(order.name, odd)
    with pytest.raises(TimedOut, match="hibernating") as caught:
        bench.publish(order, timeout=2)
    bench.leaves(order.name, "hibernating")
    show("a state nobody knows", caught.value)


PUBLISHER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from tasks.daytona import api, content
    from tasks.daytona.ensure import SnapshotOrder, ensure_active
    daytona = api.connect()
    name, identity, log, text = sys.argv[1:]
    text = content.mark_dockerfile(text, identity)
    create = lambda: daytona.snapshots.create_from_contexts(name, dockerfile=text, contexts=[])
    order = SnapshotOrder(name=name, identity=identity, create=create, resume_command="RESUME")
    ensure_active(daytona, order, log=Path(log), timeout=60)
""")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_after_an_interrupt_the_next_run_attaches(
    bench: PublishingBench, signum: signal.Signals, show: Show
) -> None:
    """Ctrl-C ends at once, however the log stands; nothing is built twice."""
    # A step that no engine has cached: the build must be seen under way.
    text = f"FROM debian:trixie-slim\nRUN sleep 10; : {time.time_ns()}\n"
    order = bench.order()
    if signum == signal.SIGINT:
        bench.stand_in.fault("log-stuck")
    args = [order.name, order.identity, str(bench.folder / "log"), text]
    child = subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, *args],
        cwd=project.ROOT,
        env=dict(os.environ),
        stderr=subprocess.PIPE,
        text=True,
    )
    waiting.until(
        lambda: (s := bench.api.snapshots.find(order.name)) and s.state == "building",
        what="the build",
        timeout=20,
    )
    time.sleep(1)
    start = time.monotonic()
    child.send_signal(signum)
    _, output = child.communicate(timeout=20)
    assert time.monotonic() - start < 6
    if signum == signal.SIGINT:
        assert "RESUME" in output
        line = next(line for line in output.splitlines() if "RESUME" in line)
        show("Ctrl-C while it builds", line)
    second = bench.publish(order)
    assert second.outcome in {"attached", "reused"}
    assert bench.request_count(POST) == 1


def test_a_snapshot_that_always_vanishes_is_reported(bench: PublishingBench) -> None:
    order = bench.sibling()

    def create_and_delete() -> Snapshot:
        snapshot = order.create()
        bench.stand_in.forget_snapshot(snapshot.name)
        return snapshot

    with pytest.raises(TaskError, match="vanished"):
        bench.publish(replace(order, create=create_and_delete))
