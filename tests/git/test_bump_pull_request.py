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

    from tests.support.github import GitHub

TOKEN = "ghs_" + "0123456789" * 4
LOCKS = f"{project.SANDBOX_DIR}/locks"


def dockerfile(bun: str) -> str:
    return f"FROM x:1\nENV SANDBOX_BUN_VERSION={bun}\nENV SANDBOX_UV_VERSION=0.1.0\n"


@dataclass
class Desk:
    """A clone in which bump_versions may have worked, and its GitHub."""

    repo: Path
    hub: GitHub
    capsys: pytest.CaptureFixture[str]

    def bump(self, version: str) -> None:
        for old in (self.repo / LOCKS).glob("bun-*.json"):
            old.unlink()
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
) -> Iterator[Desk]:
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
        patched = functools.partial(rest.Api, sleep=lambda _: None)
        monkeypatch.setattr(rest, "Api", patched)
        yield Desk(repo, hub, capsys)


def test_nothing_to_bump(desk: Desk) -> None:
    result = desk.run()
    assert (result["changed"], result["action"]) == (False, "none")
    assert desk.tip is None
    assert desk.hub.pulls == {}


def test_opened_then_kept_then_closed(desk: Desk) -> None:
    head = repos.git(desk.repo, "rev-parse", "HEAD").strip()
    repos.write(desk.repo, {"notes.txt": "mine", "readme.txt": "changed by hand\n"})
    desk.bump("1.1.0")
    opened = desk.run()
    assert (opened["action"], opened["pushed"], opened["dispatched"]) == ("opened", True, True)
    assert opened["sha"] == desk.tip
    # One commit on top of what was checked out, of what bump_versions writes and nothing else.
    assert desk.remote("rev-parse", f"{BRANCH}^") == head
    assert desk.remote("show", "--name-status", "--format=", "--no-renames", BRANCH).split() == [
        "M", DOCKERFILE, "D", f"{LOCKS}/bun-1.0.0.json", "A", f"{LOCKS}/bun-1.1.0.json",
    ]  # fmt: skip
    (pull,) = desk.hub.pulls.values()
    assert pull["title"] == "Bump bun 1.1.0"
    assert "| bun | `1.0.0` | `1.1.0` | https://github.com/oven-sh/bun" in pull["body"]
    assert [one["name"] for one in pull["labels"]] == ["dependencies"]
    assert desk.hub.runs[0]["head_sha"] == desk.tip

    again = desk.run()
    assert (again["action"], again["pushed"], again["dispatched"]) == ("updated", False, False)
    assert again["sha"] == opened["sha"]

    desk.bump("1.2.0")
    more = desk.run()
    assert (more["action"], more["pushed"], more["dispatched"]) == ("updated", True, True)
    assert desk.remote("rev-parse", f"{BRANCH}^") == head
    assert pull["title"] == "Bump bun 1.2.0"
    assert len(desk.hub.runs) == 2

    repos.git(desk.repo, "checkout", "-q", "--", ".")
    (desk.repo / LOCKS / "bun-1.2.0.json").unlink()
    closed = desk.run()
    assert (closed["changed"], closed["action"]) == (False, "closed")
    assert pull["state"] == "closed"
    assert desk.tip is None
    assert desk.run()["action"] == "none"


def test_the_checkout_stays_as_it_is(desk: Desk) -> None:
    desk.bump("1.1.0")
    before = (repos.status(desk.repo), repos.git(desk.repo, "for-each-ref", "refs/heads"))
    desk.run()
    desk.run()
    after = (repos.status(desk.repo), repos.git(desk.repo, "for-each-ref", "refs/heads"))
    assert after == before
    assert not (desk.repo / ".git/shallow").exists()


def test_on_a_newer_base_it_is_made_anew(desk: Desk) -> None:
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


def test_a_text_of_its_own(desk: Desk, tmp_path: Path) -> None:
    desk.bump("1.1.0")
    body = tmp_path / "body.md"
    body.write_text("the table\n" + "x" * 70_000)
    desk.run("--markdown", str(body))
    (pull,) = desk.hub.pulls.values()
    assert pull["body"].startswith("the table")
    assert len(pull["body"]) < 65_536
    with pytest.raises(BadInput, match="cannot be read"):
        desk.run("--markdown", str(tmp_path / "none.md"))


def test_in_a_job_it_is_what_bump_versions_left(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    repos.write(desk.repo, {".sandbox/bump-versions.md": "what it said"})
    monkeypatch.setattr(project, "state_dir", lambda: desk.repo / ".sandbox")
    desk.bump("1.1.0")
    desk.run()
    (pull,) = desk.hub.pulls.values()
    assert pull["body"] == "what it said"


def test_nobodys_commit_is_pushed_over(desk: Desk, tmp_path: Path) -> None:
    desk.bump("1.1.0")
    desk.run()
    repos.git(tmp_path, "clone", "-q", "-b", BRANCH, str(desk.hub.bare), "theirs")
    theirs = tmp_path / "theirs"
    repos.write(theirs, {"fix.txt": "x"})
    sha = repos.commit(theirs, "a fix on top")
    repos.git(theirs, "push", "-q", "origin", BRANCH)
    desk.bump("1.2.0")
    with pytest.raises(TaskError, match="has a commit of A on top"):
        desk.run()
    repos.git(desk.repo, "checkout", "-q", "--", ".")
    (desk.repo / LOCKS / "bun-1.2.0.json").unlink()
    with pytest.raises(TaskError, match="has a commit of A on top"):
        desk.run()
    assert desk.tip == sha


def test_a_forks_branch_of_that_name_is_not_ours(desk: Desk) -> None:
    theirs = desk.hub.pull(head=BRANCH, owner="mallory")
    desk.bump("1.1.0")
    assert desk.run()["action"] == "opened"
    assert desk.hub.pulls[theirs]["title"] == "A title"


def refuse(desk: Desk, message: str) -> None:
    hook = desk.hub.bare / "hooks" / "pre-receive"
    hook.write_text(f"#!/bin/sh\necho '{message}' >&2\nexit 1\n")
    hook.chmod(0o755)


def test_a_protected_branch(desk: Desk) -> None:
    refuse(desk, "error: GH006: Protected branch update failed for refs/heads/bump-versions.")
    desk.bump("1.1.0")
    with pytest.raises(TaskError) as caught:
        desk.run()
    assert "GH006" in str(caught.value)
    assert "branch protection" in caught.value.fix
    assert "\n" not in str(caught.value)
    assert desk.hub.pulls == {}


def test_what_github_refuses(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_checks_that_do_not_start(desk: Desk, workflow: Any, word: str) -> None:
    desk.hub.workflows = workflow
    desk.bump("1.1.0")
    with pytest.raises(TaskError, match=word) as caught:
        desk.run()
    assert "the pull request is there" in str(caught.value)
    assert f"gh workflow run ci.yml --ref {BRANCH}" in caught.value.fix
    assert len(desk.hub.pulls) == 1
    # The next run starts them.
    desk.hub.workflows = {"ci.yml": {"name": "CI", "state": "active"}}
    assert desk.run()["dispatched"]


@pytest.mark.parametrize("done", [True, False])
def test_no_reply_while_opening_makes_one_pull_request(desk: Desk, *, done: bool) -> None:
    desk.hub.fail("POST", "/pulls$", done=done)
    desk.bump("1.1.0")
    assert desk.run()["action"] == "opened"
    assert len(desk.hub.pulls) == 1


def test_closed_by_a_person_it_is_opened_anew(desk: Desk) -> None:
    """They closed that one; the next week's has other versions."""
    desk.bump("1.1.0")
    first = desk.run()["pull_request"]
    desk.hub.pulls[first]["state"] = "closed"
    desk.bump("1.2.0")
    assert desk.run()["pull_request"] != first


def test_an_older_checkout_will_do(desk: Desk, tmp_path: Path) -> None:
    """Somebody pushed to the base since; the pull request shows what it changes all the same."""
    repos.git(tmp_path, "clone", "-q", str(desk.hub.bare), "theirs")
    repos.commit(tmp_path / "theirs")
    repos.git(tmp_path / "theirs", "push", "-q", "origin", "main")
    desk.bump("1.1.0")
    assert desk.run()["action"] == "opened"


def test_the_base(desk: Desk) -> None:
    desk.bump("1.1.0")
    with pytest.raises(BadInput, match="its own base"):
        desk.run("--base", BRANCH)
    with pytest.raises(BadInput, match="has no branch no-such"):
        desk.run("--base", "no-such")
