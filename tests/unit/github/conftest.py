"""A job on a GitHub of our own: its environment, its files, and naps that are only written down."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

import pytest

from tasks.base import project
from tasks.github import rest
from tests.support import github, github_runner, repos

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.github_hub import GitHub

TOKEN = "ghs_" + "0123456789" * 4


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nobody pushes to it here."""
    folder = tmp_path_factory.mktemp("github")
    repo = repos.new(folder / "repo")
    repos.git(folder, "clone", "-q", "--bare", str(repo), "bare.git")
    return folder / "bare.git"


@pytest.fixture
def hub(bare: Path) -> Iterator[GitHub]:
    with github.serving(bare) as running:
        running.token(TOKEN)
        yield running


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long commands would have slept."""
    slept: list[float] = []
    patched = functools.partial(rest.GitHubApi, sleep=slept.append)
    monkeypatch.setattr(rest, "GitHubApi", patched)
    return slept


@pytest.fixture
def job(hub: GitHub, naps: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitHub:
    """`hub`, with a job's environment around it."""
    assert naps == []
    for name in [n for n in os.environ if n.startswith("GITHUB_")]:
        monkeypatch.delenv(name)
    variables = {
        **hub.environment(TOKEN),
        "GITHUB_ACTIONS": "true",
        "GITHUB_RUN_ID": "77",
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(project, "state_dir", lambda: tmp_path)
    return hub


@pytest.fixture
def outputs(tmp_path: Path) -> Callable[[], dict[str, str]]:
    """The step's, so far."""
    return lambda: github_runner.outputs((tmp_path / "output").read_text())
