"""Builds that fail at Daytona, and logs that break."""

from __future__ import annotations

import itertools
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base import waiting
from tasks.base.errors import TimedOut
from tasks.daytona import build_stream
from tasks.daytona.ensure import BuildFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.daytona.conftest import PublishingBench, Rounds

    Show = Callable[[str, object], None]

POST = "POST /api/snapshots"
GET = "GET /api/snapshots/*"


def test_the_build_log_is_kept_in_whole_lines(bench: PublishingBench) -> None:
    order = bench.order(text="FROM debian:trixie-slim\nRUN echo one; sleep 1; echo two\n")
    active = bench.publish(order)
    assert active.log
    lines = active.log.read_text().splitlines()
    assert lines.count("one") == 1, lines
    assert any("echo one; sleep 1" in line for line in lines)


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
    struck = [f for f in bench.stand_in.faults() if f["struck"]]
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
