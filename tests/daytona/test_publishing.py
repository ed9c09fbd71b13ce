"""Every state a snapshot can be in, and every fault on the way to `active`."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tasks import settings, snapshot, waiting
from tasks.daytona import Credentials, Daytona
from tasks.errors import TaskError, TimedOut
from tasks.publish import BuildFault, NameTaken
from tasks.retry import Policy, RemoteFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.daytona.conftest import Bench

    Show = Callable[[str, object], None]

POST = "POST /api/snapshots"
GET = "GET /api/snapshots/*"


# ── states ──────────────────────────────────────────────────────────────────────────────────


def test_it_is_built_once_then_reused(bench: Bench, show: Show) -> None:
    """F20."""
    wanted = bench.wanted()
    first = bench.publish(wanted)
    assert (first.how, first.snapshot.state) == ("built", "active")
    second = bench.publish(wanted)
    assert second.how == "reused"
    assert second.snapshot.id == first.snapshot.id
    assert bench.asked(POST) == 1
    show("F20 same name, same content", f"{second.snapshot.name} is there already")


def test_its_log_is_kept_in_whole_lines(bench: Bench) -> None:
    wanted = bench.wanted(text="FROM debian:trixie-slim\nRUN echo one; sleep 1; echo two\n")
    published = bench.publish(wanted)
    assert published.log
    lines = published.log.read_text().splitlines()
    assert lines.count("one") == 1, lines
    assert any("echo one; sleep 1" in line for line in lines)


def test_put_aside_it_is_activated(bench: Bench) -> None:
    wanted = bench.wanted()
    bench.publish(wanted)
    bench.stand_in.set_snapshot_state(wanted.name, "inactive")
    assert bench.publish(wanted).how == "activated"
    assert bench.asked(POST) == 1


@pytest.mark.parametrize("state", ["error", "build_failed"])
def test_an_earlier_failure_is_told_deleted_and_built_anew(
    bench: Bench, state: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = bench.wanted()
    first = bench.publish(wanted)
    bench.stand_in.set_snapshot_state(wanted.name, state, error="the disk of the runner was full")
    second = bench.publish(wanted)
    assert second.how == "built"
    assert second.snapshot.id != first.snapshot.id
    assert "the disk of the runner was full" in capsys.readouterr().err


def test_what_is_being_removed_is_waited_for(bench: Bench) -> None:
    """And its name stays taken a little longer than that."""
    wanted = bench.wanted()
    first = bench.publish(wanted).snapshot
    bench.api.delete_snapshot(first)
    assert bench.publish(wanted).how == "built"
    assert bench.creates == 2


def test_two_at_once_build_once(bench: Bench) -> None:
    wanted = bench.wanted(text="FROM debian:trixie-slim\nRUN sleep 1\n")
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda: results.append(bench.publish(wanted))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [r.snapshot.state for r in results] == ["active"] * 3
    assert len({r.snapshot.id for r in results}) == 1
    assert sorted(r.how for r in results).count("built") == 1


@pytest.mark.parametrize("state", ["active", "inactive", "error", "building"])
def test_another_content_of_that_name_is_refused(bench: Bench, state: Any, show: Show) -> None:
    """F21."""
    mine = bench.wanted()
    bench.publish(mine)
    bench.stand_in.set_snapshot_state(mine.name, state)
    other = bench.wanted(name=mine.name)
    with pytest.raises(NameTaken) as caught:
        bench.publish(other)
    assert mine.identity in str(caught.value)
    assert other.identity in str(caught.value)
    assert len(bench.stand_in.store.snapshots) == 1
    if state == "active":
        show("F21 same name, other content", caught.value)


# ── faults ──────────────────────────────────────────────────────────────────────────────────


def test_a_lost_reply_makes_no_second_snapshot(bench: Bench, show: Show) -> None:
    """F19: 502, though it was made."""
    wanted = bench.wanted()
    bench.stand_in.fault("lost-reply", on=POST, status=502, plain=True)
    published = bench.publish(wanted)
    assert published.snapshot.state == "active"
    assert bench.asked(POST) == 1
    show("F19 502 on create, though created", f"{published.how}, one create")


def test_a_lost_connection_makes_no_second_snapshot(bench: Bench) -> None:
    bench.stand_in.fault("lost-connection", on=POST)
    assert bench.publish(bench.wanted()).snapshot.state == "active"
    assert bench.asked(POST) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 429, "retry_after": 1.0},
        {"kind": "status", "status": 429},
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 502, "plain": True},
        {"kind": "status", "status": 500},
        {"kind": "drop"},
    ],
    ids=lambda f: "-".join(map(str, f.values())),
)
@pytest.mark.parametrize("on", [POST, GET, "POST *", "* /api/*"])
def test_what_passes_is_got_over(bench: Bench, fault: dict[str, Any], on: str) -> None:
    bench.stand_in.fault(on=on, times=2, **fault)
    begun = time.monotonic()
    assert bench.publish(bench.wanted()).snapshot.state == "active"
    if "retry_after" in fault:
        assert time.monotonic() - begun >= 1.0
    assert len(bench.stand_in.store.snapshots) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(401, "auth"), (403, "scope"), (400, "rejected"), (422, "rejected")]
)
def test_what_stays_is_asked_once(bench: Bench, status: int, kind: str, show: Show) -> None:
    """F17."""
    bench.stand_in.fault("status", on="* /api/*", status=status, times=-1)
    with pytest.raises(RemoteFailed) as caught:
        bench.publish(bench.wanted())
    assert caught.value.kind == kind
    assert bench.asked("*") == 1
    show(f"F17 {status} for ever", caught.value)


def test_an_outage_ends_with_what_to_do(bench: Bench, show: Show) -> None:
    bench.stand_in.fault("status", on="* /api/*", status=503, times=-1)
    begun = time.monotonic()
    with pytest.raises(RemoteFailed) as caught:
        bench.publish(bench.wanted())
    assert caught.value.kind == "transient"
    assert time.monotonic() - begun < 10
    assert "run it again" in str(caught.value)
    show("503 for ever", caught.value)


def test_a_full_account_is_said_at_once(bench: Bench, show: Show) -> None:
    bench.stand_in.fault("quota-full", times=-1)
    with pytest.raises(RemoteFailed) as caught:
        bench.publish(bench.wanted())
    assert caught.value.kind == "quota"
    assert "gc" in caught.value.fix
    assert bench.asked(POST) == 1
    show("quota full", caught.value)


def test_pending_for_ever_ends_at_the_deadline(bench: Bench, show: Show) -> None:
    """F22."""
    bench.stand_in.fault("pending-forever")
    wanted = bench.wanted()
    with pytest.raises(TimedOut) as caught:
        bench.publish(wanted, timeout=2)
    said = str(caught.value)
    found = bench.api.snapshot(wanted.name)
    assert found
    for word in (wanted.name, "pending", found.id, "AGAIN"):
        assert word in said
    show("F22 pending for ever", said)


def test_an_unknown_state_is_waited_for_and_said(bench: Bench, show: Show) -> None:
    wanted = bench.wanted()
    bench.publish(wanted)
    odd: Any = "hibernating"
    bench.stand_in.set_snapshot_state(wanted.name, odd)
    with pytest.raises(TimedOut, match="hibernating") as caught:
        bench.publish(wanted, timeout=2)
    bench.stand_in.set_snapshot_state(wanted.name, "active")
    show("a state nobody knows", caught.value)


@pytest.mark.parametrize("kind", ["build-fails", "build-failed-state"])
def test_a_failed_build_says_why(bench: Bench, kind: str, show: Show) -> None:
    """F24."""
    bench.stand_in.fault(kind)
    wanted = bench.wanted()
    with pytest.raises(BuildFault) as caught:
        bench.publish(wanted)
    assert "did not complete successfully" in caught.value.reason
    assert "\n" not in str(caught.value)
    show(f"F24 {kind}", caught.value)


def test_a_failed_build_quotes_its_step_and_hides_secrets(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    key = bench.api.credentials.api_key
    wanted = bench.wanted(
        text=f"FROM debian:trixie-slim\nRUN echo the key is {key}; echo why; exit 3\n"
    )
    with pytest.raises(BuildFault) as caught:
        bench.publish(wanted)
    said = str(caught.value) + capsys.readouterr().err
    assert "exit 3" in caught.value.step
    assert "why\n" in said
    assert key not in said
    log = (bench.folder / "build.log").read_text()
    assert "why" in log
    assert key not in log


def test_a_build_that_failed_here_is_not_tried_for_ever(bench: Bench) -> None:
    bench.stand_in.fault("build-fails", times=-1)
    with pytest.raises(BuildFault):
        bench.publish(bench.wanted())
    assert bench.asked(POST) == 1


@pytest.mark.parametrize("seed", range(5))
def test_a_log_that_is_cut_is_no_end(bench: Bench, seed: int) -> None:
    """F23: at a random byte, twice; every line is in the file once."""
    rng = random.Random(seed)  # noqa: S311
    for _ in range(2):
        bench.stand_in.fault("log-cut", count=rng.randrange(1, 400))
    text = "FROM debian:trixie-slim\nRUN for i in 1 2 3 4 5; do echo line-$i; sleep 0.5; done\n"
    published = bench.publish(bench.wanted(text=text))
    assert published.snapshot.state == "active"
    assert published.log
    lines = published.log.read_text().splitlines()
    said = [line for line in lines if line.startswith("line-")]
    assert said == [f"line-{i}" for i in range(1, 6)], lines


def test_a_stuck_log_holds_nothing_up(bench: Bench) -> None:
    bench.stand_in.fault("log-stuck")
    begun = time.monotonic()
    wanted = bench.wanted(text="FROM debian:trixie-slim\nRUN sleep 1\n")
    assert bench.publish(wanted).snapshot.state == "active"
    assert time.monotonic() - begun < 20


def test_a_delete_that_does_not_delete_is_told(bench: Bench, show: Show) -> None:
    from tasks.publish import delete

    found = bench.publish(bench.wanted()).snapshot
    bench.stand_in.fault("delete-ignored")
    with pytest.raises(TimedOut) as caught:
        delete(bench.api, found, timeout=1)
    assert found.id in str(caught.value)
    show("delete that does not delete", caught.value)


def test_conflicts_after_a_delete_pass(bench: Bench) -> None:
    """F25: 409 for a while, though GET says 404."""
    bench.stand_in.fault("status", on=POST, status=409, times=4)
    assert bench.publish(bench.wanted()).how == "built"


def test_a_wrong_key_is_said_once_and_never_shown(bench: Bench, show: Show) -> None:
    """N37."""
    wrong = "dtn_" + "f" * 64
    given = Credentials(api_key=wrong, api_url=bench.api.credentials.api_url)
    other = Daytona(given, policy=Policy(attempts=3, base=0.01))
    with pytest.raises(RemoteFailed) as caught:
        bench.publisher(api=other).ensure(bench.wanted())
    other.close()
    assert caught.value.kind == "auth"
    assert wrong not in str(caught.value)
    assert bench.asked("*") == 1
    show("N37 a wrong key", caught.value)


# ── interrupts ──────────────────────────────────────────────────────────────────────────────

PUBLISHER = textwrap.dedent("""
    import sys, signal
    from pathlib import Path
    from tasks import daytona, snapshot
    from tasks.publish import Publisher, Wanted
    api = daytona.connect()
    name, identity, log = sys.argv[1:]
    text = snapshot.marked("FROM debian:trixie-slim\\nRUN sleep 5\\n", identity)
    create = lambda: api.create_from_contexts(name, dockerfile=text, contexts=[])
    Publisher(api, log=Path(log), timeout=60).ensure(
        Wanted(name=name, identity=identity, create=create, again="AGAIN"))
""")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_after_an_interrupt_the_next_run_attaches(
    bench: Bench, signum: signal.Signals, show: Show
) -> None:
    """Ctrl-C ends at once, however the log stands; nothing is built twice."""
    # A step that no engine has cached: the build must be seen under way.
    text = f"FROM debian:trixie-slim\nRUN sleep 5; : {time.time_ns()}\n"
    wanted = bench.wanted(text=text)
    if signum == signal.SIGINT:
        bench.stand_in.fault("log-stuck")
    args = [wanted.name, wanted.identity, str(bench.folder / "log")]
    child = subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, *args],
        cwd=settings.ROOT,
        env=dict(os.environ),
        stderr=subprocess.PIPE,
        text=True,
    )
    waiting.until(
        lambda: (s := bench.api.snapshot(wanted.name)) and s.state == "building",
        what="the build",
        timeout=20,
    )
    time.sleep(0.7)
    begun = time.monotonic()
    child.send_signal(signum)
    _, said = child.communicate(timeout=20)
    assert time.monotonic() - begun < 3
    if signum == signal.SIGINT:
        assert "AGAIN" in said
        line = next(line for line in said.splitlines() if "AGAIN" in line)
        show("Ctrl-C while it builds", line)
    again = bench.publish(wanted)
    assert again.how in {"attached", "reused"}
    assert bench.asked(POST) == 1


def test_vanishing_for_ever_is_said(bench: Bench) -> None:
    wanted = bench.wanted()

    def deleted_at_once() -> snapshot.Snapshot:
        made = wanted.create()
        bench.stand_in.store.snapshots.pop(made.id)
        return made

    from dataclasses import replace

    with pytest.raises(TaskError, match="vanished"):
        bench.publish(replace(wanted, create=deleted_at_once))
