"""Stages: where they come from, and that each branch has one of its own."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base import stages
from tasks.base.errors import BadInput

NAMES = st.one_of(
    st.text(min_size=1).filter(str.strip),
    st.from_regex(r"[a-z0-9A-Z._/-]{1,80}", fullmatch=True),
    st.from_regex(r"[a-z0-9]{0,4}-?[0-9a-f]{8}", fullmatch=True),
)


@given(NAMES)
def test_a_branch_of_any_name_has_a_valid_stage(branch: str) -> None:
    stage = stages.stage_for_branch(branch)
    assert stages.check_stage(stage) == stage
    assert stage not in {"prd", "stg"}
    assert stages.stage_for_branch(branch) == stage


@given(NAMES, NAMES)
def test_two_branches_have_two_stages(first_branch: str, second_branch: str) -> None:
    if first_branch != second_branch:
        assert stages.stage_for_branch(first_branch) != stages.stage_for_branch(second_branch)


@given(NAMES)
def test_a_branch_named_like_another_branchs_stage_has_a_stage_of_its_own(branch: str) -> None:
    name = stages.stage_for_branch(branch).removeprefix("dev-")
    if name != branch:
        assert stages.stage_for_branch(name) != f"dev-{name}"


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
def test_the_stage_of_a_branch_looks_like_it(branch: str, stage: str) -> None:
    assert re.fullmatch(stage, stages.stage_for_branch(branch))


@pytest.mark.parametrize("branch", ["", " ", "\n"])
def test_a_branch_without_a_name_has_no_stage(branch: str) -> None:
    with pytest.raises(BadInput):
        stages.stage_for_branch(branch)


@pytest.mark.parametrize("stage", ["prd", "stg", "dev-a", "dev-ann.b-2"])
def test_a_valid_stage_is_taken_as_it_is(stage: str) -> None:
    assert stages.check_stage(stage) == stage


@pytest.mark.parametrize(
    "text", ["", "prod", "dev-", "dev", "dev-A", "dev--a", "prd ", "dev-a/b", "dev-é", "dev-a--b"]
)
def test_another_text_is_not_a_valid_stage(text: str) -> None:
    with pytest.raises(BadInput, match="is not a valid stage"):
        stages.check_stage(text)


def test_the_option_takes_precedence_over_the_environment() -> None:
    environment = {"APP_STAGE": "stg", "ITERATE_USER": "Ann B."}
    assert stages.stage_from("prd", environment) == "prd"
    assert stages.stage_from(None, environment) == "stg"
    assert stages.stage_from(None, {**environment, "APP_STAGE": " "}) == "dev-ann-b"
    with pytest.raises(BadInput, match="no stage is given"):
        stages.stage_from(None, {"ITERATE_USER": "日本"})
    with pytest.raises(BadInput):
        stages.stage_from("", environment)
