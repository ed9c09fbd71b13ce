"""Each branch has a stage of its own, whatever it is called."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.errors import BadInput
from tasks.daytona import snapshot

NAMES = st.one_of(
    st.text(min_size=1).filter(str.strip),
    st.from_regex(r"[a-z0-9A-Z._/-]{1,80}", fullmatch=True),
    st.from_regex(r"[a-z0-9]{0,4}-?[0-9a-f]{8}", fullmatch=True),
)


@given(NAMES)
def test_it_can_be_a_stage_and_begin_a_snapshots_name(branch: str) -> None:
    stage = snapshot.stage_for_branch(branch)
    assert snapshot.check_stage(stage) == stage
    assert stage not in {"prd", "stg"}
    name = snapshot.name_for(stage=stage, committed=0, identity="0" * 64)
    assert snapshot.check_name(str(name)) == str(name)
    assert snapshot.Name.parse(str(name)) == name
    assert snapshot.stage_for_branch(branch) == stage


@given(NAMES, NAMES)
def test_two_branches_have_two(one: str, other: str) -> None:
    if one != other:
        assert snapshot.stage_for_branch(one) != snapshot.stage_for_branch(other)


@given(NAMES)
def test_nobody_can_name_a_branch_after_anothers_stage(branch: str) -> None:
    taken = snapshot.stage_for_branch(branch).removeprefix("dev-")
    if taken != branch:
        assert snapshot.stage_for_branch(taken) != f"dev-{taken}"


@pytest.mark.parametrize(
    ("branch", "stage"),
    [
        ("fix-login", "dev-fix-login"),
        ("main", "dev-main"),
        ("fix/login", r"dev-fix-login-[0-9a-f]{8}"),
        ("Fix-login", r"dev-fix-login-[0-9a-f]{8}"),
        ("fix_login", r"dev-fix-login-[0-9a-f]{8}"),
        ("a--b", r"dev-a-b-[0-9a-f]{8}"),
        ("www.", r"dev-www-[0-9a-f]{8}"),
        ("日本", r"dev-[0-9a-f]{8}"),
        ('";touch${IFS}pwned#', r"dev-touch-ifs-pwned-[0-9a-f]{8}"),
        ("x-0123abcd", r"dev-x-0123abcd-[0-9a-f]{8}"),
        ("a" * 41, rf"dev-{'a' * 31}-[0-9a-f]{{8}}"),
        ("\udcff", r"dev-[0-9a-f]{8}"),
    ],
)
def test_what_they_look_like(branch: str, stage: str) -> None:
    assert re.fullmatch(stage, snapshot.stage_for_branch(branch))


@pytest.mark.parametrize("branch", ["", " ", "\n"])
def test_no_branch(branch: str) -> None:
    with pytest.raises(BadInput):
        snapshot.stage_for_branch(branch)
