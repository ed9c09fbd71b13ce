from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.daytona import content, gc, naming, snapshot
from tasks.daytona.snapshot import Snapshot


def make_snapshot(
    number: int, *, stage: str = "dev-x", state: str = "active", **fields: Any
) -> Snapshot:
    identity = f"{number:064x}"
    name = str(naming.name_for(stage=stage, committed=number, identity=identity[::-1]))
    return Snapshot(
        id=f"id-{stage}-{number}",
        name=name,
        state=state,
        created_at=f"2026-01-{number:02d}T00:00:00Z",
        dockerfile=content.mark_dockerfile("FROM x:1", identity[::-1]),
        **fields,
    )


def verdicts(snapshots: list[Snapshot], **options: Any) -> dict[str, str]:
    arguments: dict[str, Any] = {
        "points_at": {},
        "in_use": {},
        "newest": 2,
        "published_in": {"dev-x": [""], "prd": [""]},
        **options,
    }
    return {v.snapshot.id: v.verdict for v in gc.judge(snapshots, **arguments)}


def test_gc_keeps_the_newest_of_each_stage() -> None:
    snapshots = [make_snapshot(n) for n in range(1, 6)] + [make_snapshot(1, stage="prd")]
    assert verdicts(snapshots) == {
        "id-prd-1": "keep",
        **{f"id-dev-x-{n}": "keep" if n > 3 else "delete" for n in range(1, 6)},
    }


def test_gc_keeps_all_of_a_stage_without_an_entry_but_what_failed() -> None:
    """A ledger elsewhere, or lost, may point at any of them."""
    snapshots = [make_snapshot(n, stage=stage) for n in range(1, 5) for stage in ("prd", "dev-y")]
    snapshots.append(make_snapshot(5, stage="dev-y", state="error"))
    judged = gc.judge(snapshots, points_at={}, in_use={}, published_in={"prd": [""]}, newest=1)
    reasons = {v.snapshot.id: (v.verdict, v.reason) for v in judged}
    assert {reasons[f"id-dev-y-{n}"] for n in range(1, 5)} == {
        ("keep", "dev-y has no entry in this ledger")
    }
    assert reasons["id-dev-y-5"] == ("delete", "failed")
    assert [reasons[f"id-prd-{n}"][0] for n in (1, 2, 3, 4)] == ["delete"] * 3 + ["keep"]


@given(st.lists(st.tuples(st.sampled_from(["prd", "stg", "dev-a", "dev-b"]), st.integers(1, 9))))
def test_gc_with_an_empty_ledger_deletes_nothing(kinds: list[tuple[str, int]]) -> None:
    snapshots = [make_snapshot(number, stage=stage) for stage, number in dict.fromkeys(kinds)]
    assert set(verdicts(snapshots, published_in={}, newest=0).values()) <= {"keep"}


def test_gc_keeps_the_newest_of_each_region() -> None:
    us = [make_snapshot(n, regions=("us",)) for n in (1, 2, 3)]
    eu = [replace(make_snapshot(n, regions=("eu",)), id=f"eu-{n}") for n in (4, 5, 6)]
    judged = verdicts([*us, *eu], published_in={"dev-x": ["us", "eu"]}, newest=1)
    assert [judged[f"id-dev-x-{n}"] for n in (1, 2, 3)] == ["delete", "delete", "keep"]
    assert [judged[f"eu-{n}"] for n in (4, 5, 6)] == ["delete", "delete", "keep"]
    judged = verdicts([*us, *eu], published_in={"dev-x": ["us"]}, newest=1)
    assert [judged[f"eu-{n}"] for n in (4, 5, 6)] == ["keep"] * 3


@pytest.mark.parametrize("state", ["pending", "building", "pulling", "removing", "a_new_state"])
def test_gc_keeps_what_is_under_way_or_unknown(state: str) -> None:
    snapshots = [
        make_snapshot(1, state=state),
        make_snapshot(2),
        make_snapshot(3),
        make_snapshot(4),
    ]
    assert verdicts(snapshots)["id-dev-x-1"] == "keep"


def test_gc_keeps_what_a_stage_points_at() -> None:
    old = make_snapshot(1)
    snapshots = [old, make_snapshot(2), make_snapshot(3), make_snapshot(4)]
    assert verdicts(snapshots, points_at={old.name: ["prd"]})["id-dev-x-1"] == "keep"


@pytest.mark.parametrize("by", ["name", "id"])
def test_gc_keeps_what_a_sandbox_uses(by: str) -> None:
    old = make_snapshot(1)
    snapshots = [old, make_snapshot(2), make_snapshot(3), make_snapshot(4)]
    assert verdicts(snapshots, in_use={getattr(old, by): 1})["id-dev-x-1"] == "keep"


def test_gc_deletes_failed_snapshots_which_take_no_place() -> None:
    snapshots = [
        make_snapshot(4, state="error"),
        make_snapshot(3, state="build_failed"),
        make_snapshot(2),
        make_snapshot(1),
    ]
    assert [verdicts(snapshots)[f"id-dev-x-{n}"] for n in (4, 3, 2, 1)] == [
        *("delete", "delete", "keep", "keep")
    ]


def test_gc_of_one_stage_keeps_the_other_stages() -> None:
    snapshots = [make_snapshot(n, stage=stage) for n in range(1, 5) for stage in ("dev-x", "prd")]
    judged = verdicts(snapshots, only_stages={"dev-x"})
    assert all(v == "keep" for i, v in judged.items() if "prd" in i)
    assert judged["id-dev-x-1"] == "delete"


@given(
    st.lists(
        st.builds(
            Snapshot,
            id=st.text(min_size=1),
            name=st.text() | st.sampled_from(["prd--20260116-230007-abcdefabcdef", "prd"]),
            state=st.sampled_from(sorted(snapshot.KNOWN_STATES)),
            general=st.booleans(),
            dockerfile=st.text(),
        )
    )
)
def test_gc_does_not_consider_foreign_snapshots(snapshots: list[Snapshot]) -> None:
    assert verdicts(snapshots, newest=0) == {}
