"""A repository that can be published, and the command that would publish it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tasks.daytona import request
from tests.support import builder, repos
from tests.support.dry_run import DryRun

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    at = repos.new(tmp_path / "repo", **builder.buildable())
    for number in range(3):
        repos.write(at, {"n.txt": str(number)})
        repos.commit(at)
    return at


@pytest.fixture
def command(
    repo: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> DryRun:
    monkeypatch.setattr(request, "ROOT", repo)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("SANDBOX_ITERATE_REPO_REF", raising=False)
    dry_run = DryRun(repo, capsys)
    real = subprocess.Popen.__init__

    def spy(self: Any, args: Any, *rest: Any, **options: Any) -> None:
        dry_run.commands.append([os.fsdecode(word) for word in args])
        real(self, args, *rest, **options)

    monkeypatch.setattr(subprocess.Popen, "__init__", spy)
    return dry_run
