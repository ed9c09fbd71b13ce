"""What goes when a branch goes, and what never does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.errors import BadInput
from tasks.daytona import content, naming, retire
from tasks.daytona.ledger_entry import LedgerEntry
from tasks.daytona.snapshot import Snapshot

STAGE = "dev-topic"


def make_snapshot(number: int, *, stage: str = STAGE, state: str = "active") -> Snapshot:
    identity = f"{number:064x}"[::-1]
    return Snapshot(
        id=f"id-{stage}-{number}",
        name=str(naming.name_for(stage=stage, committed=number, identity=identity)),
        state=state,
        dockerfile=content.mark_dockerfile("FROM x:1", identity),
    )


def entry_for(snapshot: Snapshot, branch: str = "topic") -> LedgerEntry:
    return LedgerEntry(snapshot=snapshot.name, sha="0" * 40, identity="1" * 64, reason="publish",
                       author="a", date="2026", branch=branch)  # fmt: skip


def verdicts(snapshots: list[Snapshot], **options: Any) -> dict[str, str]:
    arguments: dict[str, Any] = {"stages": [STAGE], "points_at": {}, "in_use": {}, **options}
    return {v.snapshot.id: v.verdict for v in retire.judge(snapshots, **arguments)}


def test_a_branch_has_its_own_stage_and_those_moved_to_it() -> None:
    a = make_snapshot(1)
    assert retire.stages_of("topic", {}) == [STAGE]
    assert retire.stages_of("topic", {STAGE: entry_for(a)}) == [STAGE]
    assert retire.stages_of("topic", {STAGE: entry_for(a), "stg": entry_for(a)}) == [STAGE, "stg"]
    assert retire.stages_of("topic", {"stg": entry_for(a, "other")}) == [STAGE]
    # Of before entries had a branch.
    assert retire.stages_of("topic", {STAGE: entry_for(a, "")}) == [STAGE]


def test_a_stage_that_another_branch_uses_is_left_alone() -> None:
    assert retire.stages_of("topic", {STAGE: entry_for(make_snapshot(1), "other")}) == []


def test_production_is_never_retired() -> None:
    a = make_snapshot(1, stage="prd")
    assert retire.stages_of("main", {"prd": entry_for(a, "main")}) == ["dev-main"]
    for stage in ("prd", "stg", "dev-", "nonsense"):
        with pytest.raises(BadInput):
            retire.check_retirable(stage)
    assert retire.check_retirable(STAGE) == STAGE
    assert verdicts([a], moved_to=[a.name], stages=["prd"]) == {a.id: "keep"}


def test_retire_deletes_all_of_the_stage_and_nothing_else() -> None:
    snapshots = [
        make_snapshot(1),
        make_snapshot(2, state="build_failed"),
        make_snapshot(3, stage="dev-other"),
        make_snapshot(4, stage="stg"),
        make_snapshot(5, state="inactive"),
    ]
    assert verdicts(snapshots) == {
        "id-dev-topic-1": "delete", "id-dev-topic-2": "delete", "id-dev-topic-5": "delete",
    }  # fmt: skip


def test_retire_takes_of_a_shared_stage_only_the_branch_s_snapshots() -> None:
    branch_snapshot, other_snapshot = make_snapshot(1, stage="stg"), make_snapshot(2, stage="stg")
    assert verdicts(
        [branch_snapshot, other_snapshot], stages=[STAGE, "stg"], moved_to=[branch_snapshot.name]
    ) == {branch_snapshot.id: "delete"}


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({"points_at": {"NAME": ["dev-topic"]}}, "delete"),
        ({"points_at": {"NAME": ["dev-topic (previous)"]}}, "delete"),
        ({"points_at": {"NAME": ["dev-topic", "prd"]}}, "keep"),
        ({"points_at": {"NAME": ["prd (previous)"]}}, "keep"),
        ({"in_use": {"NAME": 1}}, "keep"),
        ({"in_use": {"id-dev-topic-1": 2}}, "keep"),
    ],
)
def test_retire_keeps_what_another_stage_or_sandbox_needs(
    options: dict[str, Any], verdict: str
) -> None:
    snapshot = make_snapshot(1)
    arguments = {
        name: {key.replace("NAME", snapshot.name): value for key, value in values.items()}
        for name, values in options.items()
    }
    assert verdicts([snapshot], **arguments) == {snapshot.id: verdict}


@pytest.mark.parametrize("state", ["building", "pulling", "pending", "removing", "a_new_state"])
def test_retire_keeps_what_is_under_way_or_unknown(state: str) -> None:
    assert verdicts([make_snapshot(1, state=state)]) == {"id-dev-topic-1": "keep"}


def test_retire_keeps_a_foreign_snapshot_of_such_a_name() -> None:
    snapshot = make_snapshot(1)
    other_snapshot = Snapshot(id="x", name=snapshot.name, state="active", image="x:1")
    assert verdicts([other_snapshot, Snapshot(id="y", name="x", state="active")]) == {}


@given(
    st.lists(st.tuples(st.sampled_from(["prd", "stg", STAGE, "dev-other"]), st.integers(1, 9))),
    st.dictionaries(st.integers(0, 9), st.sampled_from(["prd", "stg", STAGE, "prd (previous)"])),
)
def test_retire_never_deletes_what_production_uses(
    kinds: list[tuple[str, int]], pointers: dict[int, str]
) -> None:
    snapshots = [make_snapshot(number, stage=stage) for stage, number in dict.fromkeys(kinds)]
    points_at = {snapshots[at].name: [by] for at, by in pointers.items() if at < len(snapshots)}
    judged = retire.judge(
        snapshots,
        stages=[STAGE, "stg"],
        moved_to=[snapshot.name for snapshot in snapshots],
        points_at=points_at,
        in_use={},
    )
    for snapshot in judged:
        if snapshot.verdict == "delete":
            assert not snapshot.snapshot.name.startswith("prd--")
            assert not any(s.startswith("prd") for s in points_at.get(snapshot.snapshot.name, []))
