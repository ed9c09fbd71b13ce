from __future__ import annotations

from typing import get_args

import pytest
from daytona_standin.errors import ApiRefusal
from daytona_standin.faults import (
    DOOR_KINDS,
    STORAGE_KINDS,
    FaultBook,
    FaultKind,
    InjectedFault,
)
from daytona_standin.front_door import RequestLog


def test_a_fault_strikes_as_often_as_it_should() -> None:
    book = FaultBook()
    fault = book.add(InjectedFault(kind="status", on="POST /api/snap*", times=2, skip=1))
    assert book.strike_request("GET", "/api/snapshots") is None
    strikes = [book.strike_request("POST", "/api/snapshots") is fault for _ in range(5)]
    assert strikes == [False, True, True, False, False]
    assert fault.struck == 2


def test_a_fault_without_end_lasts_until_it_is_removed() -> None:
    book = FaultBook()
    book.add(InjectedFault(kind="pending-forever", times=-1))
    assert all(book.strike("pending-forever", "any") for _ in range(5))
    book.clear()
    assert book.strike("pending-forever", "any") is None


def test_a_fault_strikes_its_own_kind_and_name_only() -> None:
    book = FaultBook()
    book.add(InjectedFault(kind="log-stuck", on="first"))
    assert book.strike("log-cut", "first") is None
    assert book.strike("log-stuck", "second") is None
    assert book.strike_request("GET", "first") is None
    assert book.strike("log-stuck", "second", "first")


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"kind": "nonsense"},
        {"kind": "drop", "extra": 1},
        {"kind": "drop", "struck": 3},
        {"kind": "status", "status": "429"},
        {"kind": "status", "times": True},
        {"kind": "status", "plain": 1},
    ],
)
def test_a_malformed_fault_is_refused(value: object) -> None:
    with pytest.raises(ApiRefusal) as refusal:
        InjectedFault.from_json(value)
    assert refusal.value.status == 400


def test_every_kind_of_fault_can_be_injected() -> None:
    kinds = get_args(FaultKind)
    assert {InjectedFault.from_json({"kind": kind}).kind for kind in kinds} == set(kinds)
    assert set(kinds) > DOOR_KINDS | STORAGE_KINDS


def test_the_log_finds_requests_by_a_pattern() -> None:
    log = RequestLog()
    log.add("GET", "/api/a", 200)
    log.add("GET", "/api/b", 500)
    assert log.matching() == ["GET /api/a 200", "GET /api/b 500"]
    assert log.matching("GET /api/a") == ["GET /api/a 200"]
    assert log.matching("POST *") == []
    log.clear()
    assert log.matching() == []
