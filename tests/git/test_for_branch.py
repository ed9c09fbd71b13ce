"""`snapshot_daytona --for-branch`: which stage, which commit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base import stages
from tasks.base.errors import BadInput
from tasks.commands import snapshot_daytona
from tasks.daytona import request
from tasks.git import refs
from tests.support import repos

if TYPE_CHECKING:
    from pathlib import Path

DOCKERFILE = "FROM debian:trixie-slim\nENV SANDBOX_BUN_VERSION=1.0.0\n"


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = repos.new(tmp_path / "repo", **{"apps/os/sandbox/Dockerfile": DOCKERFILE})
    monkeypatch.setattr(request, "ROOT", path)
    # Packing has tests of its own.
    monkeypatch.setattr(snapshot_daytona, "_dry_run", lambda _request: {"dry_run": True})
    for name in ("APP_STAGE", "ITERATE_USER", refs.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return path


def dry(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    snapshot_daytona.main([*arguments, "--dry-run", "--json"])
    return json.loads(capsys.readouterr().out)


def test_for_branch_means_the_branch_and_not_a_tag_of_its_name(
    repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repos.git(repo, "tag", "topic")
    repos.git(repo, "checkout", "-q", "-b", "topic")
    sha = repos.commit(repo)
    result = dry(capsys, "--for-branch", "topic")
    assert (result["sha"], result["stage"]) == (sha, "dev-topic")


def test_for_branch_finds_a_branch_of_the_remote(
    repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """As a job has it: only what was asked for is checked out."""
    name = 'ann/";touch${IFS}pwned#'
    repos.git(repo, "checkout", "-q", "-b", name)
    sha = repos.commit(repo)
    repos.git(repo, "checkout", "-q", "main")
    repos.git(tmp_path, "clone", "-q", str(repo), "clone")
    monkeypatch.setattr(request, "ROOT", tmp_path / "clone")
    result = dry(capsys, "--for-branch", name)
    assert (result["sha"], result["stage"]) == (sha, stages.stage_for_branch(name))
    assert not list(tmp_path.rglob("pwned"))


def test_ref_and_stage_take_precedence_over_for_branch(
    repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = repos.git(repo, "rev-parse", "HEAD").strip()
    repos.commit(repo)
    result = dry(capsys, "--for-branch", "main", "--ref", first, "--stage", "stg")
    assert (result["sha"], result["stage"]) == (first, "stg")
    # A workflow has an empty variable where there is no branch.
    result = dry(capsys, "--for-branch", "", "--ref", first, "--stage", "dev-x")
    assert (result["sha"], result["stage"]) == (first, "dev-x")


@pytest.mark.usefixtures("repo")
@pytest.mark.parametrize("name", ["gone", "main~1", "main..main", "--help", "a\nb", "@{-1}"])
def test_for_branch_of_an_unknown_branch_is_refused(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    with pytest.raises(BadInput):
        dry(capsys, f"--for-branch={name}")
