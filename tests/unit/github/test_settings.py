"""What is set up on GitHub, what is not, and what the token may not see."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base.errors import BadInput
from tasks.base.retry import RemoteFailed
from tasks.commands import github_check
from tasks.github.settings import NotSetUp, repository_of
from tests.support.github_hub import ADMIN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.github_hub import GitHub


@pytest.fixture
def owned(job: GitHub, monkeypatch: pytest.MonkeyPatch) -> GitHub:
    """Set up as it is to be, looked at by an owner."""
    monkeypatch.setenv("GITHUB_TOKEN", job.token("ghp_owner", ADMIN, login="ann"))
    policy = {"protected_branches": False, "custom_branch_policies": True}
    job.environments = {
        "prd": {"deployment_branch_policy": policy, "branches": ["main"],
                "protection_rules": [{"type": "required_reviewers"}, {"type": "branch_policy"}]},
        "dev": {},
    }  # fmt: skip
    job.secrets = {"prd": ["DAYTONA_API_KEY"], "dev": ["DAYTONA_API_KEY"], "": ["OTHER"]}
    job.workflows = {"ci.yml": {"name": "CI", "state": "active"}}
    checks = {"required_status_checks": [{"context": "Gate"}]}
    job.rules = [{"type": "deletion"}, {"type": "required_status_checks", "parameters": checks}]
    return job


@pytest.fixture
def states(capsys: pytest.CaptureFixture[str]) -> Callable[[], dict[str, str]]:
    def run() -> dict[str, str]:
        capsys.readouterr()
        with contextlib.suppress(NotSetUp):
            github_check.main(["--json"])
        rows = json.loads(capsys.readouterr().out)
        return {row["name"]: row["state"] for row in rows}

    return run


def test_a_repository_that_is_set_up_has_no_missing_setting(
    owned: GitHub, states: Callable[[], dict[str, str]]
) -> None:
    assert set(states().values()) == {"ok"}
    assert not owned.count("^(POST|PATCH|PUT|DELETE)"), "it only looks"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda hub: hub.environments.pop("prd"), "environment prd"),
        (lambda hub: hub.environments["prd"].update(deployment_branch_policy=None),
         "environment prd"),
        (lambda hub: hub.environments["prd"].update(branches=["main", "*"]), "environment prd"),
        (lambda hub: hub.environments["prd"].update(branches=[]), "environment prd"),
        (lambda hub: hub.environments.pop("dev"), "environment dev"),
        (lambda hub: hub.environments["dev"].update(deployment_branch_policy={"x": 1}),
         "environment dev"),
        (lambda hub: hub.secrets["prd"].clear(), "DAYTONA_API_KEY in prd"),
        (lambda hub: hub.secrets["dev"].clear(), "DAYTONA_API_KEY in dev"),
        (lambda hub: hub.secrets[""].append("DAYTONA_API_KEY"), "DAYTONA_API_KEY nowhere else"),
        (lambda hub: hub.labels.clear(), "label sandbox"),
        (lambda hub: hub.rules.clear(), "merging waits for the checks"),
        (lambda hub: hub.permissions.update(enabled=False), "Actions are on"),
        (lambda hub: hub.permissions.update(allowed_actions="local_only"), "Actions are on"),
        (lambda hub: hub.workflows["ci.yml"].update(state="disabled_inactivity"),
         "workflows are enabled"),
        (lambda hub: hub.workflows.clear(), "workflows are enabled"),
        (lambda hub: hub.workflow_permissions.update(can_approve_pull_request_reviews=False),
         "Actions may open pull requests"),
    ],
)  # fmt: skip
def test_a_changed_setting_is_reported_as_missing(
    owned: GitHub,
    states: Callable[[], dict[str, str]],
    change: Callable[[GitHub], Any],
    name: str,
) -> None:
    change(owned)
    assert states()[name] == "missing"


def test_the_older_branch_protection_counts_too(
    owned: GitHub, states: Callable[[], dict[str, str]]
) -> None:
    owned.rules = []
    owned.protected = ["Gate"]
    assert states()["merging waits for the checks"] == "ok"


def test_a_setting_that_a_token_may_not_see_names_its_page(
    owned: GitHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setenv("GITHUB_TOKEN", owned.token("ghs_job"))
    github_check.main([])
    table = capsys.readouterr().err
    assert "could not be looked at" in table
    assert "https://github.com/iterate/iterate/settings/secrets/actions" in table
    assert "no DAYTONA_API_KEY among" in table
    assert "| ? |" in (tmp_path / "summary").read_text()


def test_the_error_names_the_missing_setting(owned: GitHub) -> None:
    owned.labels.clear()
    with pytest.raises(NotSetUp, match="not set up: label sandbox") as caught:
        github_check.main([])
    assert caught.value.exit_status == 1


def test_a_wrong_repository_or_token_is_one_line(
    owned: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_REPOSITORY", "iterate/other")
    with pytest.raises(RemoteFailed, match="404"):
        github_check.main([])
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_wrong")
    with pytest.raises(RemoteFailed, match="Bad credentials"):
        github_check.main([])
    monkeypatch.delenv("GITHUB_TOKEN")
    with pytest.raises(BadInput, match="GITHUB_TOKEN is not set"):
        github_check.main([])
    assert owned.requests == ["GET /repos/iterate/other"] * 2


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://github.com/a/b.git", "a/b"),
        ("https://user:secret@github.com/a/b", "a/b"),
        ("git@github.com:a/b.c.git", "a/b.c"),
        ("ssh://git@github.com/a/b/", "a/b"),
        ("https://evil.example/github.com/a/b", ""),
        ("https://github.com.evil.example/a/b", ""),
        ("/srv/git/a.git", ""),
        ("", ""),
    ],
)
def test_repository_of_a_remote_is_owner_and_name(url: str, name: str) -> None:
    assert repository_of(url) == name
