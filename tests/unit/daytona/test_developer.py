"""Whose stage it is where nobody names one."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base import stages
from tasks.base.errors import BadInput
from tasks.daytona import developer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git has no user, and this account no name."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))

    def no_account(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", no_account)


def test_a_named_stage_takes_precedence() -> None:
    environment = {"APP_STAGE": "stg", "ITERATE_USER": "Ann B.", "USER": "bob"}
    assert developer.choose_stage("prd", environment) == "prd"
    assert developer.choose_stage(None, environment) == "stg"
    assert developer.choose_stage(None, {**environment, "APP_STAGE": " "}) == "dev-ann-b"
    with pytest.raises(BadInput, match="ITERATE_USER"):
        developer.choose_stage(None, {"ITERATE_USER": "日本", "USER": "bob"})


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("ann", "dev-ann"),
        ("Ann.Lovelace", "dev-ann-lovelace"),
        ("ACME\\ann", "dev-ann"),
        ("ann@example.com", "dev-ann"),
        ("Zoë", "dev-zoe"),
        ("x" * 60, f"dev-{'x' * 40}"),
        ("root", "dev-root"),
        ("ann--b", "dev-ann-b"),
    ],
)
@pytest.mark.parametrize("variable", ["USER", "LOGNAME"])
def test_the_variable_of_the_user_names_the_stage(variable: str, name: str, stage: str) -> None:
    assert developer.choose_stage(None, {variable: name, "APP_STAGE": ""}) == stage


@given(st.text(min_size=1).filter(lambda name: bool(name.strip())))
def test_any_name_gives_a_valid_stage(name: str) -> None:
    stage = developer.choose_stage(None, {"USER": name})
    assert stages.check_stage(stage) == stage
    assert stage.startswith("dev-")


def test_git_names_the_user_where_the_environment_does_not(tmp_path: Path) -> None:
    (tmp_path / "gitconfig").write_text("[user]\n\tname = Ada Lovelace\n")
    assert developer.choose_stage(None, {}) == "dev-ada-lovelace"
    assert developer.choose_stage(None, {"USER": " ", "LOGNAME": "bob"}) == "dev-bob"


def test_the_account_names_the_user_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    account = pwd.struct_passwd(("carla", "x", os.getuid(), 0, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: account)
    assert developer.choose_stage(None, {}) == "dev-carla"


def test_a_user_without_any_name_is_told_what_to_do() -> None:
    with pytest.raises(BadInput, match="--stage dev-NAME"):
        developer.choose_stage(None, {})


def test_a_repository_does_not_name_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".git").mkdir()
    for name, text in (
        ("HEAD", "ref: refs/heads/main\n"),
        ("config", "[user]\n\tname = mallory\n"),
    ):
        (tmp_path / ".git" / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput):
        developer.choose_stage(None, {})
