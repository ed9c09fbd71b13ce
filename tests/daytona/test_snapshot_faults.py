"""Every fault of the API on the way to an active snapshot."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base.errors import TimedOut
from tasks.base.retry import Policy, RemoteFailed
from tasks.daytona import deletion
from tasks.daytona.api import Daytona
from tasks.daytona.credentials import Credentials

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.daytona.conftest import PublishingBench, Rounds

    Show = Callable[[str, object], None]

POST = "POST /api/snapshots"
GET = "GET /api/snapshots/*"


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
        bench.stand_in.fault("status", on=on, status=503, skip=1, times=looks)
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
