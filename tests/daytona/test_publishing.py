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
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base import project, waiting
from tasks.base.errors import TaskError, TimedOut
from tasks.base.retry import Policy, RemoteFailed
from tasks.daytona import buildstream, publish, snapshot
from tasks.daytona.adapter import Credentials, Daytona
from tasks.daytona.publish import BuildFault, NameTaken

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.daytona.conftest import Bench, Rounds

    Show = Callable[[str, object], None]

POST = "POST /api/snapshots"
GET = "GET /api/snapshots/*"


# ── states ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.case("F20")
def test_it_is_built_once_then_reused(bench: Bench, show: Show) -> None:
    wanted = bench.wanted()
    first = bench.publish(wanted)
    assert (first.how, first.snapshot.state) == ("built", "active")
    second = bench.publish(wanted)
    assert second.how == "reused"
    assert second.snapshot.id == first.snapshot.id
    assert bench.asked(POST) == 1
    show("same name, same content", f"snapshot {second.snapshot.name} is there already")


@pytest.mark.case("F20")
def test_409_for_the_same_content_is_a_success(bench: Bench, rounds: Rounds, show: Show) -> None:
    """It comes to be between the look and the create, any number of looks later."""

    def one(rng: random.Random) -> str:
        wanted = bench.sibling()
        bench.publish(wanted)
        looks = rng.randrange(1, 4)
        bench.stand_in.fault(
            "status", on=f"GET /api/snapshots/{wanted.name}", status=404, times=looks
        )
        again = bench.publish(wanted)
        assert again.how == "reused"
        return again.snapshot.name

    names = rounds(one)
    assert bench.asked(POST) > 2 * len(names), "no create met a 409"
    show("409, same name, same content", f"snapshot {names[0]} is there already")


def test_its_log_is_kept_in_whole_lines(bench: Bench) -> None:
    wanted = bench.wanted(text="FROM debian:trixie-slim\nRUN echo one; sleep 1; echo two\n")
    published = bench.publish(wanted)
    assert published.log
    lines = published.log.read_text().splitlines()
    assert lines.count("one") == 1, lines
    assert any("echo one; sleep 1" in line for line in lines)


def test_put_aside_it_is_activated(bench: Bench) -> None:
    wanted = bench.sibling()
    bench.publish(wanted)
    bench.stand_in.set_snapshot_state(wanted.name, "inactive")
    assert bench.publish(wanted).how == "activated"
    assert bench.asked(POST) == 1


@pytest.mark.parametrize("state", ["error", "build_failed"])
def test_an_earlier_failure_is_told_deleted_and_built_anew(
    bench: Bench, state: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = bench.sibling()
    first = bench.publish(wanted)
    bench.stand_in.set_snapshot_state(wanted.name, state, error="the disk of the runner was full")
    second = bench.publish(wanted)
    assert second.how == "built"
    assert second.snapshot.id != first.snapshot.id
    assert "the disk of the runner was full" in capsys.readouterr().err


def test_what_is_being_removed_is_waited_for(bench: Bench) -> None:
    """And its name stays taken a little longer than that."""
    wanted = bench.sibling()
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


@pytest.mark.case("F21")
def test_another_content_of_that_name_is_refused(bench: Bench, rounds: Rounds, show: Show) -> None:
    """In any state, and be it seen by a look or by a 409."""
    states: Any = ["active", "inactive", "error", "building", "pending", "build_failed"]

    def one(rng: random.Random) -> NameTaken:
        mine = bench.sibling()
        bench.publish(mine)
        state = rng.choice(states)
        bench.stand_in.set_snapshot_state(mine.name, state)
        bench.leaves(mine.name, state)
        if rng.random() < 0.5:
            bench.stand_in.fault("status", on=f"GET /api/snapshots/{mine.name}", status=404)
        other = bench.wanted(name=mine.name)
        with pytest.raises(NameTaken) as caught:
            bench.publish(other)
        assert mine.identity in str(caught.value)
        assert other.identity in str(caught.value)
        return caught.value

    told = rounds(one)
    assert len(bench.stand_in.snapshots()) == 1 + len(told), "and the base"
    show("409, same name, other content", told[0])


# ── faults ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.case("F19")
def test_a_lost_reply_makes_no_second_snapshot(bench: Bench, rounds: Rounds, show: Show) -> None:
    """502, or no word at all, though it was made; found by name and content, some looks later."""
    before = bench.asked(POST)
    for number in range(rounds.count):
        kind: Any = ("lost-reply", "lost-connection")[number % 2]
        bench.stand_in.fault(kind, on=POST, status=502, plain=True)

    def one(rng: random.Random) -> str:
        wanted = bench.sibling()
        # The first look is the one before the create.
        on, looks = f"GET /api/snapshots/{wanted.name}", rng.randrange(3)
        bench.stand_in.fault("status", on=on, status=503, skip=1, times=looks)
        published = bench.publish(wanted)
        assert published.snapshot.state == "active"
        return published.how

    how = rounds(one)
    assert bench.asked(POST) - before == len(how), "created twice"
    show("502 on create, though created", f"the snapshot, active ({how[0]}); one create")


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
def test_what_passes_is_got_over(bench: Bench, fault: dict[str, Any], on: str, show: Show) -> None:
    bench.stand_in.fault(on=on, times=2, **fault)
    begun = time.monotonic()
    assert (
        bench.publish(bench.sibling(), hurry=9 if "retry_after" in fault else 0.3).snapshot.state
        == "active"
    )
    if "retry_after" in fault:
        assert time.monotonic() - begun >= 2.0
    assert len(bench.stand_in.snapshots()) == 2
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
def test_what_stays_is_asked_once(
    bench: Bench, status: int, kind: str, on: str, show: Show
) -> None:
    if status == 404:
        on = POST  # to a look it is an answer: there is none
    bench.stand_in.fault("status", on=on, status=status, times=-1)
    with pytest.raises(RemoteFailed) as caught:
        bench.publish(bench.wanted())
    assert caught.value.kind == kind
    assert str(status) in str(caught.value)
    assert bench.asked(on) == 1
    show(f"the API answers {status} to {on}", caught.value)


def test_an_outage_ends_with_what_to_do(bench: Bench, show: Show) -> None:
    bench.stand_in.fault("status", on="* /api/*", status=503, times=-1)
    begun = time.monotonic()
    with pytest.raises(RemoteFailed) as caught:
        bench.publish(bench.wanted())
    assert caught.value.kind == "transient"
    assert time.monotonic() - begun < 10
    assert "run it again" in str(caught.value)
    assert caught.value.exit_status == 75
    show("the API answers 503 for ever", caught.value)


def test_a_full_account_is_said_at_once(bench: Bench, show: Show) -> None:
    bench.stand_in.fault("quota-full", times=-1)
    with pytest.raises(RemoteFailed) as caught:
        bench.publish(bench.wanted())
    assert caught.value.kind == "quota"
    assert "gc" in caught.value.fix
    assert bench.asked(POST) == 1
    show("quota full", caught.value)


@pytest.mark.case("F22")
def test_pending_for_ever_ends_at_the_deadline(bench: Bench, rounds: Rounds, show: Show) -> None:
    bench.stand_in.fault("pending-forever", times=-1)

    def one(rng: random.Random) -> TimedOut:
        wanted = bench.wanted()
        bench.leaves(wanted.name, "pending")
        deadline = rng.uniform(0.5, 3)
        begun = time.monotonic()
        with pytest.raises(TimedOut) as caught:
            bench.publish(wanted, timeout=deadline)
        assert deadline <= time.monotonic() - begun < deadline + 5
        found = bench.api.snapshot(wanted.name)
        assert found
        for word in (wanted.name, "pending", found.id, "AGAIN"):
            assert word in str(caught.value)
        assert caught.value.exit_status == 124
        return caught.value

    show("pending for ever", rounds(one)[0])


@pytest.mark.case("F22")
def test_the_deadline_shows_the_log_s_end(bench: Bench, show: Show) -> None:
    text = "FROM debian:trixie-slim\nRUN echo what it said last; sleep 14\n"
    wanted = bench.wanted(text=text)
    with pytest.raises(TimedOut, match="what it said last") as caught:
        bench.publish(wanted, timeout=8)
    assert "building" in str(caught.value)
    # It goes on, and the next run waits for that one.
    assert bench.publish(wanted).how == "attached"
    assert bench.asked(POST) == 1
    show("building for longer than the deadline", caught.value)


def test_an_unknown_state_is_waited_for_and_said(bench: Bench, show: Show) -> None:
    wanted = bench.sibling()
    bench.publish(wanted)
    odd: Any = "hibernating"
    bench.stand_in.set_snapshot_state(wanted.name, odd)
    with pytest.raises(TimedOut, match="hibernating") as caught:
        bench.publish(wanted, timeout=2)
    bench.leaves(wanted.name, "hibernating")
    show("a state nobody knows", caught.value)


@pytest.mark.case("F24")
@pytest.mark.parametrize("kind", ["build-fails", "build-failed-state"])
def test_a_failed_build_says_why(bench: Bench, kind: str, show: Show) -> None:
    bench.stand_in.fault(kind)
    wanted = bench.wanted()
    with pytest.raises(BuildFault) as caught:
        bench.publish(wanted)
    assert "did not complete successfully" in caught.value.reason
    assert "\n" not in str(caught.value)
    # It stays, so that its log can be read; the next run deletes it and builds anew.
    bench.leaves(wanted.name, "error", "build_failed")
    assert bench.asked(POST) == 1
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
    bench: Bench, rounds: Rounds, show: Show
) -> None:
    bench.stand_in.fault("pending-forever", times=-1)
    secret = {word: word.split()[-1].split("=")[-1].split("me:")[-1].split("@")[0]
              for word, fine in WORDS.items() if not fine}  # fmt: skip

    def one(rng: random.Random) -> BuildFault:
        wanted = bench.wanted()
        words = [*rng.sample(list(WORDS), 3), bench.api.credentials.api_key]
        rng.shuffle(words)
        state: Any = rng.choice(["error", "build_failed"])
        reason = "; ".join(words)

        def fail() -> None:
            waiting.until(lambda: bench.api.snapshot(wanted.name), what="it", timeout=20)
            bench.stand_in.set_snapshot_state(wanted.name, state, error=reason)

        thread = threading.Thread(target=fail)
        thread.start()
        bench.leaves(wanted.name, state)
        with pytest.raises(BuildFault) as caught:
            bench.publish(wanted)
        thread.join()
        told = str(caught.value)
        for word in words:
            if word in secret:
                assert secret[word] not in told
            elif WORDS.get(word):
                assert word in told
        assert bench.api.credentials.api_key not in told
        return caught.value

    show("an error with a secret in its reason", rounds(one)[0])


@pytest.mark.case("F24")
def test_a_failed_build_quotes_its_step_and_hides_secrets(
    bench: Bench, capsys: pytest.CaptureFixture[str], show: Show
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
    bench.leaves(wanted.name, "error")
    show("a build that fails at a step", caught.value)


@pytest.mark.case("F23")
def test_a_log_that_is_cut_is_no_end(bench: Bench, rounds: Rounds, show: Show) -> None:
    """At a random byte, twice for each of those who wait; each has every line once."""
    text = (
        "FROM debian:trixie-slim\n"
        "RUN for i in 1 2 3 4 5 6 7 8; do echo line-$i $(seq 9); sleep 1; done\n"
    )
    wanted = bench.wanted(text=text)
    chance = random.Random(rounds.seed)  # noqa: S311 - replayed by its seed
    for _ in range(2 * rounds.count):
        bench.stand_in.fault("log-cut", count=chance.randrange(1, 250))
    logs = itertools.count()

    def one(_: random.Random) -> str:
        published = bench.publish(wanted, log=f"{next(logs)}.log")
        assert published.snapshot.state == "active"
        assert published.log
        lines = published.log.read_text().splitlines()
        said = [line for line in lines if line.startswith("line-")]
        assert said == [f"line-{i} 1 2 3 4 5 6 7 8 9" for i in range(1, 9)], lines
        return published.how

    how = rounds(one)
    assert how.count("built") == 1
    struck = [f for f in bench.stand_in.faults() if f["struck"]]
    assert len(struck) > rounds.count, "few were cut: this test proves little"
    show("the log's stream is cut", f"{how.count('built')} built, {how.count('attached')} waited")


def test_a_silent_log_is_asked_for_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after the SDK's 300 s: the next connection goes on where the last one stood."""
    monkeypatch.setattr(buildstream, "_IDLE", 0.6)
    monkeypatch.setattr(buildstream, "_PAUSE", 0.2)
    text = "FROM debian:trixie-slim\nRUN for i in 1 2 3; do echo line-$i; sleep 2; done\n"
    published = bench.publish(bench.wanted(text=text))
    assert published.log
    lines = published.log.read_text().splitlines()
    assert [line for line in lines if line.startswith("line-")] == ["line-1", "line-2", "line-3"]
    log = "GET /snapshots/*/build-logs"
    assert bench.asked(log) > 3, "one connection was enough: this test proves nothing"


def test_a_stuck_log_holds_nothing_up(bench: Bench, show: Show) -> None:
    bench.stand_in.fault("log-stuck")
    begun = time.monotonic()
    wanted = bench.wanted(text="FROM debian:trixie-slim\nRUN sleep 1\n")
    assert bench.publish(wanted).snapshot.state == "active"
    assert time.monotonic() - begun < 20
    show("the log's stream is stuck", "the snapshot, active")


def test_a_delete_that_does_not_delete_is_told(bench: Bench, show: Show) -> None:
    from tasks.daytona.publish import delete

    found = bench.publish(bench.sibling()).snapshot
    bench.stand_in.fault("delete-ignored")
    with pytest.raises(TimedOut) as caught:
        delete(bench.api, found, timeout=1)
    assert found.id in str(caught.value)
    show("a delete that does not delete", caught.value)


@pytest.mark.case("F25")
def test_conflicts_after_a_delete_pass(bench: Bench, rounds: Rounds, show: Show) -> None:
    """A failed one is deleted and made anew: 409 for five seconds, though GET says 404."""
    before = bench.asked(POST)

    def one(rng: random.Random) -> str:
        wanted = bench.sibling()
        bench.publish(wanted)
        state: Any = rng.choice(["error", "build_failed"])
        bench.stand_in.set_snapshot_state(wanted.name, state, error="broken")
        barrier.wait(60)
        return bench.publish(wanted).how

    barrier = threading.Barrier(rounds.count, action=lambda: refuse_for(bench, 5))
    begun = time.monotonic()
    # All of them meet at the barrier, however many they are.
    assert rounds(one, workers=rounds.count) == ["built"] * rounds.count
    took = time.monotonic() - begun
    creates = (bench.asked(POST) - before) / rounds.count
    assert creates < 2 + 5 / 0.3 + 5, "it does not pause"
    show("409 for 5 s after a delete", f"built after {took:.0f} s")


def refuse_for(bench: Bench, seconds: float) -> None:
    bench.stand_in.fault("status", on=POST, status=409, times=-1)
    threading.Timer(seconds, bench.stand_in.clear_faults).start()


@pytest.mark.case("F25")
def test_conflicts_without_end_are_given_up_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, show: Show
) -> None:
    monkeypatch.setattr(publish, "GONE", 2.0)
    bench.stand_in.fault("status", on=POST, status=409, times=-1)
    with pytest.raises(RemoteFailed) as caught:
        bench.publish(bench.wanted())
    assert caught.value.kind == "conflict"
    assert bench.asked(POST) < 20
    show("409 without end, though nothing is there", caught.value)


@pytest.mark.case("N37")
def test_a_wrong_key_is_said_once_and_never_shown(bench: Bench, show: Show) -> None:
    wrong = "dtn_" + "f" * 64
    given = Credentials(api_key=wrong, api_url=bench.api.credentials.api_url)
    other = Daytona(given, policy=Policy(attempts=3, base=0.01))
    with pytest.raises(RemoteFailed) as caught:
        bench.publisher(api=other).ensure(bench.wanted())
    other.close()
    assert caught.value.kind == "auth"
    assert wrong not in str(caught.value)
    assert bench.asked("*") == 1
    show("a wrong key", caught.value)


# ── interrupts ──────────────────────────────────────────────────────────────────────────────

PUBLISHER = textwrap.dedent("""
    import sys, signal
    from pathlib import Path
    from tasks.daytona import adapter, snapshot
    from tasks.daytona.publish import Publisher, Wanted
    api = adapter.connect()
    name, identity, log, text = sys.argv[1:]
    text = snapshot.marked(text, identity)
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
    text = f"FROM debian:trixie-slim\nRUN sleep 10; : {time.time_ns()}\n"
    wanted = bench.wanted()
    if signum == signal.SIGINT:
        bench.stand_in.fault("log-stuck")
    args = [wanted.name, wanted.identity, str(bench.folder / "log"), text]
    child = subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, *args],
        cwd=project.ROOT,
        env=dict(os.environ),
        stderr=subprocess.PIPE,
        text=True,
    )
    waiting.until(
        lambda: (s := bench.api.snapshot(wanted.name)) and s.state == "building",
        what="the build",
        timeout=20,
    )
    time.sleep(1)
    begun = time.monotonic()
    child.send_signal(signum)
    _, said = child.communicate(timeout=20)
    assert time.monotonic() - begun < 6
    if signum == signal.SIGINT:
        assert "AGAIN" in said
        line = next(line for line in said.splitlines() if "AGAIN" in line)
        show("Ctrl-C while it builds", line)
    again = bench.publish(wanted)
    assert again.how in {"attached", "reused"}
    assert bench.asked(POST) == 1


def test_vanishing_for_ever_is_said(bench: Bench) -> None:
    wanted = bench.sibling()

    def deleted_at_once() -> snapshot.Snapshot:
        made = wanted.create()
        bench.stand_in.forget_snapshot(made.name)
        return made

    from dataclasses import replace

    with pytest.raises(TaskError, match="vanished"):
        bench.publish(replace(wanted, create=deleted_at_once))
