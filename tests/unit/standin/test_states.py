from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.standin import states
from tasks.standin.rules import Refused
from tasks.standin.states import Sandbox, Snapshot, Store, WrongMove


def sandbox(**fields: typing.Any) -> Sandbox:
    return Sandbox(**{"name": "s", "snapshot": Snapshot(name="n"), **fields})


@given(st.lists(st.sampled_from(typing.get_args(states.SnapshotState)), max_size=8))
def test_a_snapshot_goes_only_where_the_table_says(moves: list[states.SnapshotState]) -> None:
    snapshot = Snapshot(name="n")
    for move in moves:
        here = snapshot.state
        if move in states.SNAPSHOT[here]:
            snapshot.move(move)
            assert snapshot.state == move
        else:
            with pytest.raises(WrongMove):
                snapshot.move(move)
            assert snapshot.state == here


def test_every_state_has_a_way_out_but_the_last_ones() -> None:
    assert [s for s, ways in states.SNAPSHOT.items() if not ways] == ["removing"]
    assert [s for s, ways in states.SANDBOX.items() if not ways] == ["destroyed"]
    assert set(states.SNAPSHOT) == set(typing.get_args(states.SnapshotState))
    assert set(states.SANDBOX) == set(typing.get_args(states.SandboxState))


def test_a_name_is_taken_in_any_state() -> None:
    store = Store()
    first = Snapshot(name="n")
    store.add_snapshot(first, limit=5)
    for state in typing.get_args(states.SnapshotState):
        first.state = state
        with pytest.raises(Refused) as refused:
            store.add_snapshot(Snapshot(name="n"), limit=5)
        assert refused.value.status == 409


def test_the_quota() -> None:
    store = Store()
    store.add_snapshot(Snapshot(name="a"), limit=1)
    with pytest.raises(Refused) as refused:
        store.add_snapshot(Snapshot(name="b"), limit=1)
    assert refused.value.status == 403


def test_names_and_ids_find() -> None:
    store = Store()
    snapshot = Snapshot(name="a/b:1")
    store.add_snapshot(snapshot, limit=1)
    assert store.snapshot("a/b:1") is snapshot
    assert store.snapshot(snapshot.id) is snapshot
    assert store.snapshot_by_id(snapshot.id) is snapshot
    with pytest.raises(Refused, match="uuid"):
        store.snapshot_by_id("a/b:1")


def test_a_sandbox_under_way_to_its_end_is_not_found() -> None:
    store = Store()
    one = sandbox(state="started")
    store.add_sandbox(one)
    assert store.sandbox(one.id) is one
    one.move("destroying")
    with pytest.raises(Refused) as refused:
        store.sandbox(one.id)
    assert refused.value.status == 404


@pytest.mark.parametrize(
    ("fields", "after", "what"),
    [
        ({"state": "started", "auto_stop": 15}, 14, None),
        ({"state": "started", "auto_stop": 15}, 15, "stop"),
        ({"state": "started", "auto_stop": 0}, 9999, None),
        ({"state": "stopped", "stopped": 0.0, "auto_delete": -1}, 9999, None),
        ({"state": "stopped", "stopped": 0.0, "auto_delete": 0}, 0, "delete"),
        ({"state": "stopped", "stopped": 0.0, "auto_delete": 5}, 4, None),
        ({"state": "stopped", "stopped": 0.0, "auto_delete": 5}, 5, "delete"),
        ({"state": "started", "auto_stop": 0, "ttl": 30}, 29, None),
        ({"state": "started", "auto_stop": 0, "ttl": 30}, 30, "delete"),
        ({"state": "error", "ttl": 30}, 30, "delete"),
        ({"state": "creating", "ttl": 30}, 30, None),
    ],
)
def test_what_the_intervals_demand(
    fields: dict[str, typing.Any], after: float, what: str | None
) -> None:
    one = sandbox(created=0.0, active=0.0, **fields)
    assert one.due(after * 60.0) == what
    assert one.due(after * 2.0, minute=2.0) == what


def test_starting_renews_the_token() -> None:
    one = sandbox()
    before = one.token
    one.move("started")
    assert one.token != before
