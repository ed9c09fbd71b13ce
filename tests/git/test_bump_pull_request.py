"""One pull request of what bump_versions changed: real pushes to a bare repository, and GitHub's
API on loopback.
"""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base import project
from tasks.base.errors import BadInput, TaskError
from tasks.base.project import DOCKERFILE
from tasks.commands import bump_pull_request
from tasks.commands.bump_pull_request import BRANCH
from tasks.github import rest
from tests.support import github, repos

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.github_hub import GitHub

TOKEN = "ghs_" + "0123456789" * 4
LOCKS = f"{project.SANDBOX_DIR}/locks"


def dockerfile(bun: str) -> str:
    return f"FROM x:1\nENV SANDBOX_BUN_VERSION={bun}\nENV SANDBOX_UV_VERSION=0.1.0\n"


@dataclass
class ProposalDesk:
    """A clone in which bump_versions may have worked, and its GitHub."""

    repo: Path
    hub: GitHub
    capsys: pytest.CaptureFixture[str]

    def bump(self, version: str) -> None:
        for lock in (self.repo / LOCKS).glob("bun-*.json"):
            lock.unlink()
        repos.write(
            self.repo, {DOCKERFILE: dockerfile(version), f"{LOCKS}/bun-{version}.json": "{}\n"}
        )

    def run(self, *arguments: str) -> Any:
        self.capsys.readouterr()
        bump_pull_request.main([*arguments, "--json"])
        return json.loads(self.capsys.readouterr().out)

    def remote(self, *args: str) -> str:
        return repos.git(self.hub.bare, *args).strip()

    @property
    def tip(self) -> str | None:
        return self.hub.branch(BRANCH)


@pytest.fixture
def desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[ProposalDesk]:
    files = {
        DOCKERFILE: dockerfile("1.0.0"), f"{LOCKS}/bun-1.0.0.json": "{}\n",
        "package.json": "{}\n", ".gitignore": ".sandbox\n*.json\n",
    }  # fmt: skip
    repo = repos.new(tmp_path / "repo", **files)
    repos.git(repo, "add", "--force", ".")
    repos.commit(repo)
    repos.git(tmp_path, "clone", "-q", "--bare", str(repo), "bare.git")
    repos.git(repo, "remote", "add", "origin", str(tmp_path / "bare.git"))
    with github.serving(tmp_path / "bare.git") as hub:
        hub.token(TOKEN)
        hub.workflows["ci.yml"] = {"name": "CI", "state": "active"}
        for name in [n for n in os.environ if n.startswith("GITHUB_")]:
            monkeypatch.delenv(name)
        for name, value in hub.environment(TOKEN).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(project, "ROOT", repo)
        patched = functools.partial(rest.GitHubApi, sleep=lambda _: None)
        monkeypatch.setattr(rest, "GitHubApi", patched)
        yield ProposalDesk(repo, hub, capsys)


def test_nothing_to_bump_opens_no_pull_request(desk: ProposalDesk) -> None:
    result = desk.run()
    assert (result["changed"], result["action"]) == (False, "none")
    assert desk.tip is None
    assert desk.hub.pulls == {}


def test_a_pull_request_is_opened_then_updated_then_closed(desk: ProposalDesk) -> None:
    head = repos.git(desk.repo, "rev-parse", "HEAD").strip()
    repos.write(desk.repo, {"notes.txt": "mine", "readme.txt": "changed by hand\n"})
    desk.bump("1.1.0")
    first = desk.run()
    assert (first["action"], first["pushed"], first["dispatched"]) == ("opened", True, True)
    assert first["sha"] == desk.tip
    # One commit on top of what was checked out, of what bump_versions writes and nothing else.
    assert desk.remote("rev-parse", f"{BRANCH}^") == head
    assert desk.remote("show", "--name-status", "--format=", "--no-renames", BRANCH).split() == [
        "M", DOCKERFILE, "D", f"{LOCKS}/bun-1.0.0.json", "A", f"{LOCKS}/bun-1.1.0.json",
    ]  # fmt: skip
    (pull,) = desk.hub.pulls.values()
    assert pull["title"] == "Bump bun 1.1.0"
    assert "- bun 1.0.0 → 1.1.0: https://github.com/oven-sh/bun" in pull["body"]
    assert [label["name"] for label in pull["labels"]] == ["dependencies"]
    assert desk.hub.runs[0]["head_sha"] == desk.tip

    unchanged = desk.run()
    assert (unchanged["action"], unchanged["pushed"], unchanged["dispatched"]) == (
        "updated",
        False,
        False,
    )
    assert unchanged["sha"] == first["sha"]

    desk.bump("1.2.0")
    newer = desk.run()
    assert (newer["action"], newer["pushed"], newer["dispatched"]) == ("updated", True, True)
    assert desk.remote("rev-parse", f"{BRANCH}^") == head
    assert pull["title"] == "Bump bun 1.2.0"
    assert len(desk.hub.runs) == 2

    repos.git(desk.repo, "checkout", "-q", "--", ".")
    (desk.repo / LOCKS / "bun-1.2.0.json").unlink()
    withdrawn = desk.run()
    assert (withdrawn["changed"], withdrawn["action"]) == (False, "closed")
    assert pull["state"] == "closed"
    assert desk.tip is None
    assert desk.run()["action"] == "none"


def test_the_checkout_is_left_unchanged(desk: ProposalDesk) -> None:
    desk.bump("1.1.0")
    state = (repos.status(desk.repo), repos.git(desk.repo, "for-each-ref", "refs/heads"))
    desk.run()
    desk.run()
    assert state == (repos.status(desk.repo), repos.git(desk.repo, "for-each-ref", "refs/heads"))
    assert not (desk.repo / ".git/shallow").exists()


def test_a_newer_base_gets_a_new_commit(desk: ProposalDesk) -> None:
    desk.bump("1.1.0")
    first = desk.run()["sha"]
    repos.write(desk.repo, {"other.txt": "x"})
    repos.git(desk.repo, "add", "other.txt")
    repos.git(desk.repo, "commit", "-q", "-m", "other")
    with pytest.raises(BadInput, match="is not in main"):
        desk.run()  # it would come along
    repos.git(desk.repo, "push", "-q", "origin", "main")
    result = desk.run()
    assert result["pushed"]
    assert result["sha"] != first
    assert desk.remote("rev-list", "--count", f"main..{BRANCH}") == "1"


def test_a_text_from_a_file_becomes_the_body(desk: ProposalDesk, tmp_path: Path) -> None:
    desk.bump("1.1.0")
    body = tmp_path / "body.md"
    body.write_text("the table\n" + "x" * 70_000)
    desk.run("--markdown", str(body))
    (pull,) = desk.hub.pulls.values()
    assert pull["body"].startswith("the table")
    assert len(pull["body"]) < 65_536
    with pytest.raises(BadInput, match="cannot be read"):
        desk.run("--markdown", str(tmp_path / "none.md"))


def test_a_job_uses_the_text_that_bump_versions_left(
    desk: ProposalDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    repos.write(desk.repo, {".sandbox/bump-versions.md": "what it said"})
    monkeypatch.setattr(project, "state_dir", lambda: desk.repo / ".sandbox")
    desk.bump("1.1.0")
    desk.run()
    (pull,) = desk.hub.pulls.values()
    assert pull["body"] == "what it said"


def test_a_foreign_commit_is_never_pushed_over(desk: ProposalDesk, tmp_path: Path) -> None:
    desk.bump("1.1.0")
    desk.run()
    repos.git(tmp_path, "clone", "-q", "-b", BRANCH, str(desk.hub.bare), "theirs")
    clone = tmp_path / "theirs"
    repos.write(clone, {"fix.txt": "x"})
    sha = repos.commit(clone, "a fix on top")
    repos.git(clone, "push", "-q", "origin", BRANCH)
    desk.bump("1.2.0")
    with pytest.raises(TaskError, match="has a commit of A on top"):
        desk.run()
    repos.git(desk.repo, "checkout", "-q", "--", ".")
    (desk.repo / LOCKS / "bun-1.2.0.json").unlink()
    with pytest.raises(TaskError, match="has a commit of A on top"):
        desk.run()
    assert desk.tip == sha


def test_a_branch_of_that_name_in_a_fork_is_not_ours(desk: ProposalDesk) -> None:
    foreign = desk.hub.pull(head=BRANCH, owner="mallory")
    desk.bump("1.1.0")
    assert desk.run()["action"] == "opened"
    assert desk.hub.pulls[foreign]["title"] == "A title"


def refuse(desk: ProposalDesk, message: str) -> None:
    hook = desk.hub.bare / "hooks" / "pre-receive"
    hook.write_text(f"#!/bin/sh\necho '{message}' >&2\nexit 1\n")
    hook.chmod(0o755)


def test_a_protected_branch_names_the_protection(desk: ProposalDesk) -> None:
    refuse(desk, "error: GH006: Protected branch update failed for refs/heads/bump-versions.")
    desk.bump("1.1.0")
    with pytest.raises(TaskError) as caught:
        desk.run()
    assert "GH006" in str(caught.value)
    assert "branch protection" in caught.value.fix
    assert "\n" not in str(caught.value)
    assert desk.hub.pulls == {}


def test_a_refusal_of_github_is_reported_and_the_push_used_later(
    desk: ProposalDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.bump("1.1.0")
    desk.hub.workflow_permissions["can_approve_pull_request_reviews"] = False
    with pytest.raises(TaskError, match="Settings → Actions → General"):
        desk.run()
    desk.hub.workflow_permissions["can_approve_pull_request_reviews"] = True
    # What was pushed by then is used.
    result = desk.run()
    assert (result["action"], result["pushed"], result["dispatched"]) == ("opened", False, True)
    monkeypatch.delenv("GITHUB_TOKEN")
    with pytest.raises(BadInput, match="GITHUB_TOKEN is not set"):
        desk.run()


@pytest.mark.parametrize(
    ("workflow", "word"),
    [
        ({}, "404 Not Found"),
        ({"ci.yml": {"name": "CI", "state": "active", "dispatch": False}}, "workflow_dispatch"),
        ({"ci.yml": {"name": "CI", "state": "disabled_manually"}}, "disabled workflow"),
    ],
)
def test_checks_that_do_not_start_are_reported(
    desk: ProposalDesk, workflow: Any, word: str
) -> None:
    desk.hub.workflows = workflow
    desk.bump("1.1.0")
    with pytest.raises(TaskError, match=word) as caught:
        desk.run()
    assert "the pull request is open" in str(caught.value)
    assert f"gh workflow run ci.yml --ref {BRANCH}" in caught.value.fix
    assert len(desk.hub.pulls) == 1
    # The next run starts them.
    desk.hub.workflows = {"ci.yml": {"name": "CI", "state": "active"}}
    assert desk.run()["dispatched"]


@pytest.mark.parametrize("carried_out", [True, False])
def test_no_reply_while_opening_makes_one_pull_request(
    desk: ProposalDesk, *, carried_out: bool
) -> None:
    desk.hub.fail("POST", "/pulls$", carried_out=carried_out)
    desk.bump("1.1.0")
    assert desk.run()["action"] == "opened"
    assert len(desk.hub.pulls) == 1


def test_a_pull_request_closed_by_a_person_is_opened_anew(desk: ProposalDesk) -> None:
    """They closed that one; the next week's has other versions."""
    desk.bump("1.1.0")
    first = desk.run()["pull_request"]
    desk.hub.pulls[first]["state"] = "closed"
    desk.bump("1.2.0")
    assert desk.run()["pull_request"] != first


def test_an_older_checkout_can_be_proposed(desk: ProposalDesk, tmp_path: Path) -> None:
    """Somebody pushed to the base since; the pull request shows what it changes all the same."""
    repos.git(tmp_path, "clone", "-q", str(desk.hub.bare), "theirs")
    repos.commit(tmp_path / "theirs")
    repos.git(tmp_path / "theirs", "push", "-q", "origin", "main")
    desk.bump("1.1.0")
    assert desk.run()["action"] == "opened"


def test_an_impossible_base_is_refused(desk: ProposalDesk) -> None:
    desk.bump("1.1.0")
    with pytest.raises(BadInput, match="its own base"):
        desk.run("--base", BRANCH)
    with pytest.raises(BadInput, match="has no branch no-such"):
        desk.run("--base", "no-such")
