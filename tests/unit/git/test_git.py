from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import git
from tests.support import repos

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://git.example/a/b.git", "https://git.example/a/b.git"),
        ("https://user:pass@git.example/a", "https://git.example/a"),
        ("https://token@git.example:8443/a", "https://git.example:8443/a"),
        ("https://git.example/a?private_token=x#y", "https://git.example/a"),
        ("ssh://git@git.example:22/a", "ssh://git@git.example:22/a"),
        ("ssh://git:pass@git.example/a", "ssh://git@git.example/a"),
        ("git@git.example:a/b.git", "git@git.example:a/b.git"),
        ("git.example:a/b.git", "git.example:a/b.git"),
        ("http://u:p@[::1]:80/a", "http://[::1]:80/a"),
        ("/home/me/repo", None),
        ("../repo", None),
        ("file:///home/me/repo", None),
        ("C:\\repo", None),
        ("", None),
        ("https://git.example:port/a", None),
        ("https://git.example/a\n[remote]", None),
        ("ext::sh -c touch% pwned", None),
    ],
)
def test_addresses_travel_without_credentials(url: str, clean: str | None) -> None:
    assert git.clean_url(url) == clean


@given(user=st.text("abc123%_", min_size=1), password=st.text("xyz%40:", min_size=1))
def test_no_password_survives(user: str, password: str) -> None:
    clean = git.clean_url(f"https://{user}:PW{password}@git.example/a")
    assert clean is None or "PW" not in clean


def test_the_callers_git_variables_are_out_of_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, second_repo = repos.new(tmp_path / "repo"), repos.new(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(second_repo / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "no-index"))
    assert git.open_repo(repo).git_dir == repo / ".git"


def test_a_detached_head_has_no_branch(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo")
    sha = repos.git(repo, "rev-parse", "HEAD").strip()
    assert git.head(git.open_repo(repo)) == (sha, "main")
    repos.git(repo, "checkout", "-q", "--detach")
    assert git.head(git.open_repo(repo)) == (sha, None)
