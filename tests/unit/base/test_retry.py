from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base import retry
from tasks.base.retry import Policy, RemoteFailed

if TYPE_CHECKING:
    from collections.abc import Callable

RNG = random.Random(1)  # noqa: S311
CURRENT_TIME = 1_700_000_000.0


def failing(*kinds: retry.Kind, after: float | None = None) -> Callable[[], str]:
    """Fails in these ways, then works."""
    outstanding = list(kinds)

    def do() -> str:
        if outstanding:
            raise RemoteFailed("asking", kind=outstanding.pop(0), after=after)
        return "done"

    return do


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (302, "", "rejected"),
        (400, "name should not be empty", "rejected"),
        (401, "Invalid credentials", "auth"),
        (403, "Forbidden resource", "scope"),
        (403, "Snapshot quota exceeded. Maximum allowed: 30", "quota"),
        (400, "Total CPU limit exceeded. Maximum allowed: 10", "quota"),
        (404, "Snapshot with name x not found", "not-found"),
        (408, "", "transient"),
        (409, 'Snapshot with name "x" already exists for this organization', "conflict"),
        (413, "too large", "rejected"),
        (422, "", "rejected"),
        (425, "", "transient"),
        (429, "ThrottlerException: Too Many Requests", "rate"),
        (500, "An unexpected error occurred.", "transient"),
        (501, "Not Implemented", "rejected"),
        (502, "<html>", "transient"),
        (503, "", "transient"),
        (504, "", "transient"),
    ],
)
def test_a_status_and_its_text_have_a_kind(status: int, message: str, kind: str) -> None:
    assert retry.classify(status, message) == kind


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "2"}, 2),
        ({"retry-after": "0"}, 0),
        ({"Retry-After-sandbox-create": "7"}, 7),
        ({"Retry-After": "2", "Retry-After-authenticated": "5"}, 5),
        ({"Retry-After": "Tue, 14 Nov 2023 22:13:30 GMT"}, 10),
        ({"Retry-After": "Tue, 14 Nov 2023 22:00:00 GMT"}, 0),
        ({"Retry-After": "Tue, 14 Nov 2023 22:13:30 -0000"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({"X-Retry-After": "9"}, None),
    ],
)
def test_headers_say_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry.asked_to_wait(headers, current_time=CURRENT_TIME) == seconds


def test_a_failure_that_may_pass_is_tried_again() -> None:
    slept: list[float] = []
    do = failing("rate", "transient", "network")
    assert retry.call(do, sleep=slept.append, rng=RNG) == "done"
    assert len(slept) == 3


@pytest.mark.parametrize("kind", ["auth", "scope", "quota", "conflict", "not-found", "rejected"])
def test_another_failure_is_raised_at_once(kind: retry.Kind) -> None:
    slept: list[float] = []
    with pytest.raises(RemoteFailed) as caught:
        retry.call(failing(kind), sleep=slept.append)
    assert caught.value.kind == kind
    assert slept == []


def test_attempts_end_with_the_last_failure() -> None:
    slept: list[float] = []
    kinds: list[retry.Kind] = ["transient"] * 9
    do = failing(*kinds)
    with pytest.raises(RemoteFailed, match="transient"):
        retry.call(do, policy=Policy(attempts=4), sleep=slept.append)
    assert len(slept) == 3


def test_no_attempt_is_earlier_than_the_server_asks() -> None:
    slept: list[float] = []
    retry.call(failing("rate", "rate", after=2.0), sleep=slept.append)
    assert len(slept) == 2
    assert min(slept) >= 2


def test_a_wait_of_an_hour_is_a_failure() -> None:
    slept: list[float] = []
    with pytest.raises(RemoteFailed):
        retry.call(failing("rate", after=3600.0), sleep=slept.append)
    assert slept == []


@given(attempt=st.integers(1, 40), seed=st.integers(), after=st.none() | st.floats(0, 1e6))
def test_pauses_are_capped_and_never_zero(attempt: int, seed: int, after: float | None) -> None:
    policy = Policy()
    rng = random.Random(seed)  # noqa: S311
    pause = policy.pause(attempt, after=after, rng=rng)
    assert 0 < pause <= (policy.cap if after is None else policy.longest + policy.cap)


def test_a_servers_message_cannot_write_to_the_terminal() -> None:
    error = retry.failure("asking", 502, message="\x1b[2Jgone\nand more")
    assert "\x1b" not in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("header", "advice"),
    [("3600", "wait 1h00m, as it asks"), ("90", "wait 1m30s, as it asks"), ("0", "in a minute")],
)
def test_advice_names_the_time_that_a_server_asks_for(header: str, advice: str) -> None:
    error = retry.failure("asking", 429, headers={"Retry-After": header}, fix="in a minute")
    assert advice in error.fix


def test_no_attempt_begins_after_the_total_time() -> None:
    slept: list[float] = []
    policy = Policy(attempts=9, base=10.0, total=5.0)
    with pytest.raises(RemoteFailed):
        retry.call(failing("rate", "rate"), policy=policy, sleep=slept.append, rng=RNG)
    assert slept == []


def test_retries_are_reported() -> None:
    reports: list[str] = []
    retry.call(failing("network"), sleep=lambda _: None, rng=RNG, report=reports.append)
    assert len(reports) == 1
    assert "again in" in reports[0]


@pytest.mark.parametrize(
    "text", [None, "", "soon", "Tue, 14 Nov 2023 22:13:30 -0000", "Tue, 99 Nov 2023 22:13:30 GMT"]
)
def test_a_date_that_cannot_be_read_is_none(text: str | None) -> None:
    assert retry.parse_date(text) is None
