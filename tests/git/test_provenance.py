"""What is said before a shared stage is moved: to what others do not have, or back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks import git
from tasks.build import source
from tasks.daytona import provenance
from tasks.daytona.ledger_entry import new_entry
from tasks.git import refs
from tests.support import repos

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.daytona.ledger_entry import LedgerEntry


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Of a repository with three commits on `main`."""
    origin = repos.new(tmp_path / "origin", **{"n.txt": "0"})
    for number in (1, 2):
        repos.write(origin, {"n.txt": str(number)})
        repos.commit(origin)
    repos.git(tmp_path, "clone", "-q", str(origin), "clone")
    return tmp_path / "clone"


def remarks(clone: Path, ref: str = "main", stage: str = "prd") -> list[str]:
    repo = git.open_repo(clone)
    resolved_ref = refs.resolve(repo, ref)
    commit = source.from_ref(repo, resolved_ref, build_args={})
    return list(provenance.remarks(repo, commit, stage))


def sha(clone: Path, ref: str) -> str:
    return repos.git(clone, "rev-parse", ref).strip()


def entry(commit: str) -> LedgerEntry:
    return new_entry(snapshot="current", sha=commit, identity="1" * 64, reason="publish")


def test_a_commit_that_all_have_needs_no_remark(clone: Path) -> None:
    assert remarks(clone) == []
    assert remarks(clone, "HEAD~1") == []
    assert remarks(clone, "origin/main") == []


@pytest.mark.parametrize("stage", ["prd", "stg"])
def test_a_commit_on_no_remote_branch_is_remarked(clone: Path, stage: str) -> None:
    commit = repos.commit(clone)
    (remark,) = remarks(clone, stage=stage)
    assert commit[:12] in remark
    assert "git push" in remark
    assert remarks(clone, stage="dev-ann") == []
    repos.git(clone, "push", "-q", "origin", "main:topic")
    assert remarks(clone, stage=stage) == []


def test_a_repository_without_a_remote_is_remarked(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "alone", **{"n.txt": "0"})
    (remark,) = remarks(repo)
    assert "no remote branch" in remark


def test_a_branch_behind_its_upstream_is_remarked(clone: Path) -> None:
    repos.git(clone, "reset", "-q", "--hard", "HEAD~2")
    (remark,) = remarks(clone)
    assert "main is 2 commits behind origin/main" in remark
    assert "ahead" not in remark
    # A commit by its id is meant as it is.
    assert remarks(clone, sha(clone, "HEAD")) == []


def test_a_branch_that_has_left_its_upstream_is_remarked_twice(clone: Path) -> None:
    repos.git(clone, "reset", "-q", "--hard", "HEAD~1")
    repos.commit(clone)
    nowhere, behind = remarks(clone)
    assert "no remote branch" in nowhere
    assert "1 commit behind origin/main, and 1 commit ahead" in behind


def test_a_move_back_is_remarked_with_what_it_replaces(clone: Path) -> None:
    repo = git.open_repo(clone)
    current = entry(sha(clone, "main"))
    remark = provenance.backward_remark(repo, "prd", current, sha(clone, "main~2"))
    assert "prd moves back" in remark
    assert "lacks 2 commits" in remark
    for word in ("current", current.author, current.date, current.sha[:12]):
        assert word in remark
    assert provenance.backward_remark(repo, "dev-ann", current, sha(clone, "main~2")) == ""


def test_a_move_forward_is_not_remarked(clone: Path) -> None:
    repo = git.open_repo(clone)
    old, new = sha(clone, "main~1"), sha(clone, "main")
    assert provenance.backward_remark(repo, "prd", entry(old), new) == ""
    assert provenance.backward_remark(repo, "prd", entry(new), new) == ""


def test_a_move_to_another_line_is_remarked(clone: Path) -> None:
    repo = git.open_repo(clone)
    current = entry(sha(clone, "main"))
    repos.git(clone, "reset", "-q", "--hard", "HEAD~1")
    new = repos.commit(clone)
    assert "another line" in provenance.backward_remark(repo, "prd", current, new)


def test_a_commit_that_this_clone_lacks_is_not_judged(clone: Path) -> None:
    repo = git.open_repo(clone)
    for unknown in ("5e" * 20, "0" * 40, "--output=x", ""):
        remark = provenance.backward_remark(repo, "prd", entry(unknown), sha(clone, "main"))
        assert remark == ""
