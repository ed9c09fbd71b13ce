"""Every state a snapshot can be in, and every fault on the way to `active`."""

from __future__ import annotations

import itertools
import os
import random
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
from tasks.base.retry import Policy, RemoteFailed
from tasks.daytona import build_stream, deletion
from tasks.daytona.api import Daytona
from tasks.daytona.credentials import Credentials
from tasks.daytona.ensure import BuildFault, NameTaken

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.daytona.snapshot import Snapshot
    from tests.daytona.conftest import PublishingBench, Rounds

    Show = Callable[[str, object], None]

POST = "POST /api/snapshots"
GET = "GET /api/snapshots/*"


# ── states ──────────────────────────────────────────────────────────────────────────────────


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


def test_the_build_log_is_kept_in_whole_lines(bench: PublishingBench) -> None:
    order = bench.order(text="FROM debian:trixie-slim\nRUN echo one; sleep 1; echo two\n")
    active = bench.publish(order)
    assert active.log
    lines = active.log.read_text().splitlines()
    assert lines.count("one") == 1, lines
    assert any("echo one; sleep 1" in line for line in lines)


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
    assert len(bench.stand_in.store.snapshots) == 1 + len(errors), "and the base"
    show("409, same name, other content", errors[0])


# ── faults ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.case("F19")
def test_a_lost_reply_makes_no_second_snapshot(
    bench: PublishingBench, rounds: Rounds, show: Show
) -> None:
    """502, or no word at all, though it was made; found by name and content, some looks later."""
    earlier_count = bench.request_count(POST)
    for number in range(rounds.count):
        kind: Any = ("lost-reply", "lost-connection")[number % 2]
        bench.stand_in.fault(kind, on=POST, status=502, plain=True)

    def strike(rng: random.Random) -> str:
        order = bench.sibling()
        # The first look is the one before the create.
        on, looks = f"GET /api/snapshots/{order.name}", rng.randrange(3)
        bench.stand_in.fault("status", on=on, status=503, after=1, times=looks)
        active = bench.publish(order)
        assert active.snapshot.state == "active"
        return active.outcome

    outcomes = rounds(strike)
    assert bench.request_count(POST) - earlier_count == len(outcomes), "created twice"
    show("502 on create, though created", f"the snapshot, active ({outcomes[0]}); one create")


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
def test_a_passing_fault_does_not_fail_the_publication(
    bench: PublishingBench, fault: dict[str, Any], on: str, show: Show
) -> None:
    bench.stand_in.fault(on=on, times=2, **fault)
    start = time.monotonic()
    assert (
        bench.publish(bench.sibling(), hurry=9 if "retry_after" in fault else 0.3).snapshot.state
        == "active"
    )
    if "retry_after" in fault:
        assert time.monotonic() - start >= 2.0
    assert len(bench.stand_in.store.snapshots) == 2
    show(" ".join(map(str, fault.values())) + ", twice", "the snapshot, active")


@pytest.mark.case("F17")
@pytest.mark.parametrize("on", ["GET *", POST])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, "auth"),
        (403, "scope"),
        (404, "not-found"),
        (413, "rejected"),
        (400, "rejected"),
        (422, "rejected"),
    ],
)
def test_a_permanent_refusal_is_not_asked_again(
    bench: PublishingBench, status: int, kind: str, on: str, show: Show
) -> None:
    if status == 404:
        on = POST  # to a look it is an answer: there is none
    bench.stand_in.fault("status", on=on, status=status, times=-1)
    with pytest.raises(RemoteFailed) as caught:
        bench.publish(bench.order())
    assert caught.value.kind == kind
    assert str(status) in str(caught.value)
    assert bench.request_count(on) == 1
    show(f"the API answers {status} to {on}", caught.value)


def test_an_outage_ends_with_advice(bench: PublishingBench, show: Show) -> None:
    bench.stand_in.fault("status", on="* /api/*", status=503, times=-1)
    start = time.monotonic()
    with pytest.raises(RemoteFailed) as caught:
        bench.publish(bench.order())
    assert caught.value.kind == "transient"
    assert time.monotonic() - start < 10
    assert "run it again" in str(caught.value)
    assert caught.value.exit_status == 75
    show("the API answers 503 for ever", caught.value)


def test_a_full_account_is_reported_at_once(bench: PublishingBench, show: Show) -> None:
    bench.stand_in.fault("quota-full", times=-1)
    with pytest.raises(RemoteFailed) as caught:
        bench.publish(bench.order())
    assert caught.value.kind == "quota"
    assert "gc" in caught.value.fix
    assert bench.request_count(POST) == 1
    show("quota full", caught.value)


@pytest.mark.case("F22")
def test_a_snapshot_that_stays_pending_ends_at_the_deadline(
    bench: PublishingBench, rounds: Rounds, show: Show
) -> None:
    bench.stand_in.fault("pending-forever", times=-1)

    def strike(rng: random.Random) -> TimedOut:
        order = bench.order()
        bench.leaves(order.name, "pending")
        deadline = rng.uniform(0.5, 3)
        start = time.monotonic()
        with pytest.raises(TimedOut) as caught:
            bench.publish(order, timeout=deadline)
        assert deadline <= time.monotonic() - start < deadline + 5
        existing_snapshot = bench.api.snapshots.find(order.name)
        assert existing_snapshot
        for word in (order.name, "pending", existing_snapshot.id, "RESUME"):
            assert word in str(caught.value)
        assert caught.value.exit_status == 124
        return caught.value

    show("pending for ever", rounds(strike)[0])


@pytest.mark.case("F22")
def test_the_deadline_message_shows_the_end_of_the_log(bench: PublishingBench, show: Show) -> None:
    text = "FROM debian:trixie-slim\nRUN echo what it said last; sleep 14\n"
    order = bench.order(text=text)
    with pytest.raises(TimedOut, match="what it said last") as caught:
        bench.publish(order, timeout=8)
    assert "building" in str(caught.value)
    # It goes on, and the next run waits for that one.
    assert bench.publish(order).outcome == "attached"
    assert bench.request_count(POST) == 1
    show("building for longer than the deadline", caught.value)


def test_an_unknown_state_is_waited_for_and_named(bench: PublishingBench, show: Show) -> None:
    order = bench.sibling()
    bench.publish(order)
    odd: Any = "hibernating"
    bench.stand_in.set_snapshot_state(order.name, odd)
    with pytest.raises(TimedOut, match="hibernating") as caught:
        bench.publish(order, timeout=2)
    bench.leaves(order.name, "hibernating")
    show("a state nobody knows", caught.value)


@pytest.mark.case("F24")
@pytest.mark.parametrize("kind", ["build-fails", "build-failed-state"])
def test_a_failed_build_gives_its_reason(bench: PublishingBench, kind: str, show: Show) -> None:
    bench.stand_in.fault(kind)
    order = bench.order()
    with pytest.raises(BuildFault) as caught:
        bench.publish(order)
    assert "did not complete successfully" in caught.value.reason
    assert "\n" not in str(caught.value)
    # It stays, so that its log can be read; the next run deletes it and builds anew.
    bench.leaves(order.name, "error", "build_failed")
    assert bench.request_count(POST) == 1
    show(kind.replace("-", " "), caught.value)


#: What stands in a reason, and whether it may be shown.
WORDS = {
    "exit code: 137": True,
    "no space left on device": True,
    "failed to solve: debian:trixie-slim: not found": True,
    "ghp_" + "a1B2" * 9: False,
    "https://me:" + "hunter2hunter2" + "@git.example/a.git": False,
    "Authorization: Bearer " + "c3VwZXItc2VjcmV0": False,
    "npm_" + "a1B2" * 9: False,
    "ANTHROPIC_API_KEY=" + "sk-ant-api03-" + "x" * 60: False,
}


@pytest.mark.case("F24")
def test_a_reason_is_shown_verbatim_but_for_secrets(
    bench: PublishingBench, rounds: Rounds, show: Show
) -> None:
    bench.stand_in.fault("pending-forever", times=-1)
    secret = {word: word.split()[-1].split("=")[-1].split("me:")[-1].split("@")[0]
              for word, fine in WORDS.items() if not fine}  # fmt: skip

    def strike(rng: random.Random) -> BuildFault:
        order = bench.order()
        words = [*rng.sample(list(WORDS), 3), bench.api.credentials.api_key]
        rng.shuffle(words)
        state: Any = rng.choice(["error", "build_failed"])
        reason = "; ".join(words)

        def fail() -> None:
            waiting.until(lambda: bench.api.snapshots.find(order.name), what="it", timeout=20)
            bench.stand_in.set_snapshot_state(order.name, state, error=reason)

        thread = threading.Thread(target=fail)
        thread.start()
        bench.leaves(order.name, state)
        with pytest.raises(BuildFault) as caught:
            bench.publish(order)
        thread.join()
        errors = str(caught.value)
        for word in words:
            if word in secret:
                assert secret[word] not in errors
            elif WORDS.get(word):
                assert word in errors
        assert bench.api.credentials.api_key not in errors
        return caught.value

    show("an error with a secret in its reason", rounds(strike)[0])


@pytest.mark.case("F24")
def test_a_failed_build_quotes_its_step_and_hides_secrets(
    bench: PublishingBench, capsys: pytest.CaptureFixture[str], show: Show
) -> None:
    key = bench.api.credentials.api_key
    order = bench.order(
        text=f"FROM debian:trixie-slim\nRUN echo the key is {key}; echo why; exit 3\n"
    )
    with pytest.raises(BuildFault) as caught:
        bench.publish(order)
    output = str(caught.value) + capsys.readouterr().err
    assert "exit 3" in caught.value.step
    assert "why\n" in output
    assert key not in output
    log = (bench.folder / "build.log").read_text()
    assert "why" in log
    assert key not in log
    bench.leaves(order.name, "error")
    show("a build that fails at a step", caught.value)


@pytest.mark.case("F23")
def test_a_log_that_is_cut_is_read_again(
    bench: PublishingBench, rounds: Rounds, show: Show
) -> None:
    """At a random byte, twice for each of those who wait; each has every line once."""
    text = (
        "FROM debian:trixie-slim\n"
        "RUN for i in 1 2 3 4 5 6 7 8; do echo line-$i $(seq 9); sleep 1; done\n"
    )
    order = bench.order(text=text)
    chance = random.Random(rounds.seed)  # noqa: S311 - replayed by its seed
    for _ in range(2 * rounds.count):
        bench.stand_in.fault("log-cut", count=chance.randrange(1, 250))
    logs = itertools.count()

    def strike(_: random.Random) -> str:
        active = bench.publish(order, log=f"{next(logs)}.log")
        assert active.snapshot.state == "active"
        assert active.log
        lines = active.log.read_text().splitlines()
        output = [line for line in lines if line.startswith("line-")]
        assert output == [f"line-{i} 1 2 3 4 5 6 7 8 9" for i in range(1, 9)], lines
        return active.outcome

    outcomes = rounds(strike)
    assert outcomes.count("built") == 1
    struck = [f for f in bench.stand_in.faults.listed() if f["struck"]]
    assert len(struck) > rounds.count, "few were cut: this test proves little"
    show(
        "the log's stream is cut",
        f"{outcomes.count('built')} built, {outcomes.count('attached')} waited",
    )


def test_a_silent_log_is_asked_for_again(
    bench: PublishingBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the SDK's 300 s: the next connection goes on where the last one stood."""
    monkeypatch.setattr(build_stream, "_IDLE", 0.6)
    monkeypatch.setattr(build_stream, "_PAUSE", 0.2)
    text = "FROM debian:trixie-slim\nRUN for i in 1 2 3; do echo line-$i; sleep 2; done\n"
    active = bench.publish(bench.order(text=text))
    assert active.log
    lines = active.log.read_text().splitlines()
    assert [line for line in lines if line.startswith("line-")] == ["line-1", "line-2", "line-3"]
    log = "GET /snapshots/*/build-logs"
    assert bench.request_count(log) > 3, "one connection was enough: this test proves nothing"


def test_a_stuck_log_does_not_delay_the_publication(bench: PublishingBench, show: Show) -> None:
    bench.stand_in.fault("log-stuck")
    start = time.monotonic()
    order = bench.order(text="FROM debian:trixie-slim\nRUN sleep 1\n")
    assert bench.publish(order).snapshot.state == "active"
    assert time.monotonic() - start < 20
    show("the log's stream is stuck", "the snapshot, active")


def test_a_deletion_without_effect_is_reported(bench: PublishingBench, show: Show) -> None:
    existing_snapshot = bench.publish(bench.sibling()).snapshot
    bench.stand_in.fault("delete-ignored")
    with pytest.raises(TimedOut) as caught:
        deletion.delete(bench.api, existing_snapshot, timeout=1)
    assert existing_snapshot.id in str(caught.value)
    show("a delete that does not delete", caught.value)


@pytest.mark.case("F25")
def test_conflicts_after_a_deletion_are_waited_for(
    bench: PublishingBench, rounds: Rounds, show: Show
) -> None:
    """A failed one is deleted and made anew: 409 for five seconds, though GET says 404."""
    earlier_count = bench.request_count(POST)

    def strike(rng: random.Random) -> str:
        order = bench.sibling()
        bench.publish(order)
        state: Any = rng.choice(["error", "build_failed"])
        bench.stand_in.set_snapshot_state(order.name, state, error="broken")
        barrier.wait(60)
        return bench.publish(order).outcome

    barrier = threading.Barrier(rounds.count, action=lambda: refuse_for(bench, 5))
    start = time.monotonic()
    # All of them meet at the barrier, however many they are.
    assert rounds(strike, workers=rounds.count) == ["built"] * rounds.count
    seconds = time.monotonic() - start
    creates = (bench.request_count(POST) - earlier_count) / rounds.count
    assert creates < 2 + 5 / 0.3 + 5, "it does not pause"
    show("409 for 5 s after a delete", f"built after {seconds:.0f} s")


def refuse_for(bench: PublishingBench, seconds: float) -> None:
    bench.stand_in.fault("status", on=POST, status=409, times=-1)
    threading.Timer(seconds, bench.stand_in.clear_faults).start()


@pytest.mark.case("F25")
def test_conflicts_without_end_are_given_up_on(
    bench: PublishingBench, monkeypatch: pytest.MonkeyPatch, show: Show
) -> None:
    monkeypatch.setattr(deletion, "DELETION_TIMEOUT", 2.0)
    bench.stand_in.fault("status", on=POST, status=409, times=-1)
    with pytest.raises(RemoteFailed) as caught:
        bench.publish(bench.order())
    assert caught.value.kind == "conflict"
    assert bench.request_count(POST) < 20
    show("409 without end, though nothing is there", caught.value)


@pytest.mark.case("N37")
def test_a_wrong_key_is_reported_once_and_never_shown(bench: PublishingBench, show: Show) -> None:
    wrong_key = "dtn_" + "f" * 64
    credentials = Credentials(api_key=wrong_key, api_url=bench.api.credentials.api_url)
    other_api = Daytona(credentials, policy=Policy(attempts=3, base=0.01))
    with pytest.raises(RemoteFailed) as caught:
        bench.publish(bench.order(), api=other_api)
    other_api.close()
    assert caught.value.kind == "auth"
    assert wrong_key not in str(caught.value)
    assert bench.request_count("*") == 1
    show("a wrong key", caught.value)


# ── interrupts ──────────────────────────────────────────────────────────────────────────────

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
        bench.stand_in.store.snapshots.pop(snapshot.id)
        return snapshot

    with pytest.raises(TaskError, match="vanished"):
        bench.publish(replace(order, create=create_and_delete))
