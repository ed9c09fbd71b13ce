from __future__ import annotations

import pytest

from tasks.standin.faults import Fault, Faults, Log
from tasks.standin.rules import Refused


def test_a_fault_strikes_so_many_times_where_it_should() -> None:
    faults = Faults()
    fault = faults.add(Fault(kind="status", on="POST /api/snap*", times=2, after=1, status=429))
    assert faults.at_door("GET", "/api/snapshots") is None
    struck = [faults.at_door("POST", "/api/snapshots") is fault for _ in range(5)]
    assert struck == [False, True, True, False, False]
    assert fault.struck == 2


def test_a_fault_without_end_lasts_until_it_is_taken_back() -> None:
    faults = Faults()
    faults.add(Fault(kind="pending-forever", times=-1))
    assert all(faults.strike("pending-forever", "any") for _ in range(5))
    faults.clear()
    assert faults.strike("pending-forever", "any") is None


def test_a_fault_of_one_kind_is_not_taken_for_another() -> None:
    faults = Faults()
    faults.add(Fault(kind="log-stuck", on="mine"))
    assert faults.strike("log-cut", "mine") is None
    assert faults.strike("log-stuck", "other") is None
    assert faults.at_door("GET", "mine") is None
    assert faults.strike("log-stuck", "other", "mine")


@pytest.mark.parametrize("value", [{}, {"kind": "nonsense"}, {"kind": "drop", "extra": 1}])
def test_what_is_not_a_fault_is_refused(value: object) -> None:
    with pytest.raises(Refused):
        Fault.from_json(value)


def test_the_log_counts() -> None:
    log = Log()
    log.add("GET", "/api/a", 200)
    log.add("GET", "/api/b", 500)
    assert (log.count(), log.count("GET /api/a"), log.count("POST *")) == (2, 1, 0)
