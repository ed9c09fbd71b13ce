from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.daytona import gc, snapshot
from tasks.daytona.snapshot import Snapshot


def made(number: int, *, stage: str = "dev-x", state: str = "active", **more: Any) -> Snapshot:
    identity = f"{number:064x}"
    name = str(snapshot.name_for(stage=stage, committed=number, identity=identity[::-1]))
    return Snapshot(
        id=f"id-{stage}-{number}",
        name=name,
        state=state,
        created=f"2026-01-{number:02d}T00:00:00Z",
        dockerfile=snapshot.marked("FROM x:1", identity[::-1]),
        **more,
    )


def verdicts(found: list[Snapshot], **more: Any) -> dict[str, str]:
    given: dict[str, Any] = {"points_at": {}, "in_use": {}, "newest": 2, **more}
    return {j.snapshot.id: j.verdict for j in gc.judge(found, **given)}


def test_the_newest_of_each_stage_stay() -> None:
    found = [made(n) for n in range(1, 6)] + [made(1, stage="prd")]
    assert verdicts(found) == {
        "id-prd-1": "keep",
        **{f"id-dev-x-{n}": "keep" if n > 3 else "delete" for n in range(1, 6)},
    }


def test_of_a_stage_that_is_gone_only_what_was_used_lately_stays() -> None:
    found = [made(n) for n in (1, 2, 5)] + [made(1, stage="prd"), made(1, stage="dev-known")]
    found.append(made(3, stage="dev-y", used="2026-01-09T00:00:00.000Z"))
    given: dict[str, Any] = {"stages": ["dev-known"], "abandoned": "2026-01-04T00:00:00"}
    assert verdicts(found, **given) == {
        "id-dev-y-3": "keep",
        "id-dev-x-1": "delete", "id-dev-x-2": "delete", "id-dev-x-5": "keep",
        "id-prd-1": "keep", "id-dev-known-1": "keep",
    }  # fmt: skip
    assert verdicts(found[:1]) == {"id-dev-x-1": "keep"}
    assert verdicts(found[:1], in_use={found[0].name: 1}, **given) == {"id-dev-x-1": "keep"}


@pytest.mark.parametrize("state", ["pending", "building", "pulling", "removing", "a_new_state"])
def test_what_is_under_way_or_unknown_stays(state: str) -> None:
    found = [made(1, state=state), made(2), made(3), made(4)]
    assert verdicts(found)["id-dev-x-1"] == "keep"


def test_what_a_stage_points_at_stays() -> None:
    old = made(1)
    found = [old, made(2), made(3), made(4)]
    assert verdicts(found, points_at={old.name: ["prd"]})["id-dev-x-1"] == "keep"


@pytest.mark.parametrize("by", ["name", "id"])
def test_what_runs_stays(by: str) -> None:
    old = made(1)
    found = [old, made(2), made(3), made(4)]
    assert verdicts(found, in_use={getattr(old, by): 1})["id-dev-x-1"] == "keep"


def test_what_failed_goes_and_takes_no_place() -> None:
    found = [made(4, state="error"), made(3, state="build_failed"), made(2), made(1)]
    assert [verdicts(found)[f"id-dev-x-{n}"] for n in (4, 3, 2, 1)] == [
        *("delete", "delete", "keep", "keep")
    ]


def test_other_stages_stay_when_one_is_named() -> None:
    found = [made(n, stage=stage) for n in range(1, 5) for stage in ("dev-x", "prd")]
    judged = verdicts(found, only={"dev-x"})
    assert all(v == "keep" for i, v in judged.items() if "prd" in i)
    assert judged["id-dev-x-1"] == "delete"


@given(
    st.lists(
        st.builds(
            Snapshot,
            id=st.text(min_size=1),
            name=st.text() | st.sampled_from(["prd--20260116-230007-abcdefabcdef", "prd"]),
            state=st.sampled_from(sorted(snapshot.KNOWN)),
            general=st.booleans(),
            dockerfile=st.text(),
        )
    )
)
def test_what_is_not_ours_is_not_even_considered(found: list[Snapshot]) -> None:
    assert verdicts(found, newest=0) == {}
