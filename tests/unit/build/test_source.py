"""The identity names what decides the image, and nothing else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tasks.build import source
from tests.support import repos

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def identity(repo: Path, **build_args: str) -> str:
    return source.from_working_tree(repo, build_args=build_args).identity


@pytest.mark.parametrize(
    "change",
    [
        lambda repo: (repo / "readme.txt").write_text("two\n"),
        lambda repo: (repo / "readme.txt").chmod(0o755),
        lambda repo: (repo / "readme.txt").unlink(),
        lambda repo: (repo / "new.txt").write_text("n"),
        lambda repo: (repo / "folder").mkdir(),
        lambda repo: (repo / "link").symlink_to("readme.txt"),
        lambda repo: repos.git(repo, "commit", "-q", "--allow-empty", "-m", "x"),
        lambda repo: repos.git(repo, "checkout", "-q", "-b", "side"),
        lambda repo: repos.git(repo, "checkout", "-q", "--detach"),
        lambda repo: repos.git(repo, "rm", "-q", "--cached", "readme.txt"),
    ],
)
def test_changes_that_count(tmp_path: Path, change: Callable[[Path], object]) -> None:
    repo = repos.new(tmp_path / "repo")
    original_identity = identity(repo)
    change(repo)
    assert identity(repo) != original_identity


@pytest.mark.parametrize(
    "change",
    [
        lambda repo: os.utime(repo / "readme.txt", (1, 1)),
        lambda repo: repos.git(repo, "status"),
        lambda repo: repos.write(repo, {"ignored.log": "x"}),
        lambda repo: repos.git(repo, "branch", "other"),
        lambda repo: repos.git(repo, "gc", "-q"),
        lambda repo: repos.git(repo, "config", "user.name", "me"),
        lambda repo: (repo / "readme.txt").chmod(0o640),
    ],
)
def test_changes_that_do_not(tmp_path: Path, change: Callable[[Path], object]) -> None:
    repo = repos.new(tmp_path / "repo", **{".gitignore": "*.log\n"})
    original_identity = identity(repo)
    change(repo)
    assert identity(repo) == original_identity


def test_build_arguments_count(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo")
    identities = {
        identity(repo),
        identity(repo, A="1"),
        identity(repo, A="2"),
        identity(repo, B="1"),
    }
    assert len(identities) == 4


def test_trusting_the_index_or_not_is_the_same(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo", **{"a/b": "x", "run": "y"})
    repos.write(repo, {"a/b": "changed", "new": "n"})
    read = source.from_working_tree(repo, build_args={}, use_cache=False)
    assert read.identity == identity(repo)
    assert read.record() == {
        "sha": repos.git(repo, "rev-parse", "HEAD").strip(),
        "branch": "main",
        "dirty": True,
        "identity": read.identity,
    }
