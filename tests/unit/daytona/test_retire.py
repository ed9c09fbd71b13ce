"""What goes when a branch goes, and what never does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.errors import BadInput
from tasks.daytona import retire, snapshot
from tasks.daytona.ledger import Entry
from tasks.daytona.snapshot import Snapshot

OWN = "dev-topic"


def made(number: int, *, stage: str = OWN, state: str = "active") -> Snapshot:
    identity = f"{number:064x}"[::-1]
    return Snapshot(
        id=f"id-{stage}-{number}",
        name=str(snapshot.name_for(stage=stage, committed=number, identity=identity)),
        state=state,
        dockerfile=snapshot.marked("FROM x:1", identity),
    )


def used(one: Snapshot, branch: str = "topic") -> Entry:
    return Entry(snapshot=one.name, sha="0" * 40, identity="1" * 64, why="publish", who="a",
                 when="2026", branch=branch)  # fmt: skip


def verdicts(found: list[Snapshot], **more: Any) -> dict[str, str]:
    given: dict[str, Any] = {"stages": [OWN], "points_at": {}, "in_use": {}, **more}
    return {j.snapshot.id: j.verdict for j in retire.judge(found, **given)}


def test_a_branchs_stages() -> None:
    a = made(1)
    assert retire.stages_of("topic", {}) == [OWN]
    assert retire.stages_of("topic", {OWN: used(a)}) == [OWN]
    assert retire.stages_of("topic", {OWN: used(a), "stg": used(a)}) == [OWN, "stg"]
    assert retire.stages_of("topic", {"stg": used(a, "other")}) == [OWN]
    # Of before entries had a branch.
    assert retire.stages_of("topic", {OWN: used(a, "")}) == [OWN]


def test_a_stage_that_another_branch_has_by_now_is_left_alone() -> None:
    assert retire.stages_of("topic", {OWN: used(made(1), "other")}) == []


def test_production_is_never_retired() -> None:
    a = made(1, stage="prd")
    assert retire.stages_of("main", {"prd": used(a, "main")}) == ["dev-main"]
    for stage in ("prd", "stg", "dev-", "nonsense"):
        with pytest.raises(BadInput):
            retire.check_stage(stage)
    assert retire.check_stage(OWN) == OWN
    assert verdicts([a], moved_to=[a.name], stages=["prd"]) == {a.id: "keep"}


def test_all_of_the_stage_goes_and_nothing_else() -> None:
    found = [made(1), made(2, state="build_failed"), made(3, stage="dev-other"),
             made(4, stage="stg"), made(5, state="inactive")]  # fmt: skip
    assert verdicts(found) == {
        "id-dev-topic-1": "delete", "id-dev-topic-2": "delete", "id-dev-topic-5": "delete",
    }  # fmt: skip


def test_of_a_shared_stage_only_what_was_the_branchs() -> None:
    mine, theirs = made(1, stage="stg"), made(2, stage="stg")
    assert verdicts([mine, theirs], stages=[OWN, "stg"], moved_to=[mine.name]) == {
        mine.id: "delete"
    }


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ({"points_at": {"NAME": ["dev-topic"]}}, "delete"),
        ({"points_at": {"NAME": ["dev-topic (previous)"]}}, "delete"),
        ({"points_at": {"NAME": ["dev-topic", "prd"]}}, "keep"),
        ({"points_at": {"NAME": ["prd (previous)"]}}, "keep"),
        ({"in_use": {"NAME": 1}}, "keep"),
        ({"in_use": {"id-dev-topic-1": 2}}, "keep"),
    ],
)
def test_what_another_one_needs_stays(more: dict[str, Any], verdict: str) -> None:
    one = made(1)
    given = {
        name: {key.replace("NAME", one.name): value for key, value in values.items()}
        for name, values in more.items()
    }
    assert verdicts([one], **given) == {one.id: verdict}


@pytest.mark.parametrize("state", ["building", "pulling", "pending", "removing", "a_new_state"])
def test_what_is_under_way_or_unknown_stays(state: str) -> None:
    assert verdicts([made(1, state=state)]) == {"id-dev-topic-1": "keep"}


def test_what_only_bears_our_name_stays() -> None:
    one = made(1)
    theirs = Snapshot(id="x", name=one.name, state="active", image="x:1")
    assert verdicts([theirs, Snapshot(id="y", name="x", state="active")]) == {}


@given(
    st.lists(st.tuples(st.sampled_from(["prd", "stg", OWN, "dev-other"]), st.integers(1, 9))),
    st.dictionaries(st.integers(0, 9), st.sampled_from(["prd", "stg", OWN, "prd (previous)"])),
)
def test_nothing_that_production_uses_goes(
    kinds: list[tuple[str, int]], pointers: dict[int, str]
) -> None:
    found = [made(number, stage=stage) for stage, number in dict.fromkeys(kinds)]
    points_at = {found[at].name: [by] for at, by in pointers.items() if at < len(found)}
    judged = retire.judge(
        found, stages=[OWN, "stg"], moved_to=[one.name for one in found], points_at=points_at,
        in_use={},
    )  # fmt: skip
    for one in judged:
        if one.verdict == "delete":
            assert not one.snapshot.name.startswith("prd--")
            assert not any(s.startswith("prd") for s in points_at.get(one.snapshot.name, []))
