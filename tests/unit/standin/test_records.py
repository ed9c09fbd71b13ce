from __future__ import annotations

import typing

import pytest
from daytona_standin import records
from daytona_standin.errors import ApiRefusal
from daytona_standin.records import InvalidTransition, SandboxRecord, SnapshotRecord
from daytona_standin.store import RecordStore
from hypothesis import given
from hypothesis import strategies as st


def sandbox(**fields: typing.Any) -> SandboxRecord:
    return SandboxRecord(**{"name": "s", "snapshot": SnapshotRecord(name="n"), **fields})


@given(st.lists(st.sampled_from(typing.get_args(records.SnapshotState)), max_size=8))
def test_a_snapshot_moves_only_as_the_table_allows(moves: list[records.SnapshotState]) -> None:
    snapshot = SnapshotRecord(name="n")
    for move in moves:
        state = snapshot.state
        if move in records.SNAPSHOT_TRANSITIONS[state]:
            snapshot.move(move)
            assert snapshot.state == move
        else:
            with pytest.raises(InvalidTransition):
                snapshot.move(move)
            assert snapshot.state == state


def test_every_state_but_the_last_can_be_left() -> None:
    assert [s for s, transitions in records.SNAPSHOT_TRANSITIONS.items() if not transitions] == [
        "removing"
    ]
    assert [s for s, transitions in records.SANDBOX_TRANSITIONS.items() if not transitions] == [
        "destroyed"
    ]
    assert set(records.SNAPSHOT_TRANSITIONS) == set(typing.get_args(records.SnapshotState))
    assert set(records.SANDBOX_TRANSITIONS) == set(typing.get_args(records.SandboxState))


def test_a_name_is_taken_in_every_state() -> None:
    store = RecordStore()
    first = SnapshotRecord(name="n")
    store.add_snapshot(first, limit=5)
    for state in typing.get_args(records.SnapshotState):
        first.state = state
        with pytest.raises(ApiRefusal) as refusal:
            store.add_snapshot(SnapshotRecord(name="n"), limit=5)
        assert refusal.value.status == 409


def test_a_snapshot_over_the_quota_is_refused() -> None:
    store = RecordStore()
    store.add_snapshot(SnapshotRecord(name="a"), limit=1)
    with pytest.raises(ApiRefusal) as refusal:
        store.add_snapshot(SnapshotRecord(name="b"), limit=1)
    assert refusal.value.status == 403


def test_a_snapshot_is_found_by_name_and_id() -> None:
    store = RecordStore()
    snapshot = SnapshotRecord(name="a/b:1")
    store.add_snapshot(snapshot, limit=1)
    assert store.snapshot("a/b:1") is snapshot
    assert store.snapshot(snapshot.id) is snapshot
    assert store.snapshot_by_id(snapshot.id) is snapshot
    with pytest.raises(ApiRefusal, match="uuid"):
        store.snapshot_by_id("a/b:1")


def test_a_sandbox_that_is_being_deleted_is_not_found() -> None:
    store = RecordStore()
    record = sandbox(state="started")
    store.add_sandbox(record)
    assert store.sandbox(record.id) is record
    record.move("destroying")
    with pytest.raises(ApiRefusal) as refusal:
        store.sandbox(record.id)
    assert refusal.value.status == 404


@pytest.mark.parametrize(
    ("fields", "minutes", "action"),
    [
        ({"state": "started", "auto_stop": 15}, 14, None),
        ({"state": "started", "auto_stop": 15}, 15, "stop"),
        ({"state": "started", "auto_stop": 0}, 9999, None),
        ({"state": "stopped", "stopped_at": 0.0, "auto_delete": -1}, 9999, None),
        ({"state": "stopped", "stopped_at": 0.0, "auto_delete": 0}, 0, "delete"),
        ({"state": "stopped", "stopped_at": 0.0, "auto_delete": 5}, 4, None),
        ({"state": "stopped", "stopped_at": 0.0, "auto_delete": 5}, 5, "delete"),
        ({"state": "started", "auto_stop": 0, "time_to_live": 30}, 29, None),
        ({"state": "started", "auto_stop": 0, "time_to_live": 30}, 30, "delete"),
        ({"state": "error", "time_to_live": 30}, 30, "delete"),
        ({"state": "creating", "time_to_live": 30}, 30, None),
    ],
)
def test_an_interval_demands_its_action_when_it_is_over(
    fields: dict[str, typing.Any], minutes: float, action: str | None
) -> None:
    record = sandbox(created_at=0.0, last_active=0.0, **fields)
    assert record.due_action(minutes * 60.0) == action
    assert record.due_action(minutes * 2.0, minute_seconds=2.0) == action


def test_a_start_renews_the_token() -> None:
    record = sandbox()
    first_token = record.token
    record.move("started")
    assert record.token != first_token
