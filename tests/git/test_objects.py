"""A repository's objects, held."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from tasks import git
from tasks.git import objects
from tests.support import repos

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_what_killed_runs_left_goes_and_what_others_hold_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    repo = git.open_repo(repos.new(tmp_path / "repo", a="1"))
    sha = repos.commit(repo.root)
    with objects.hold(repo, sha) as store:
        holds = store.git_dir.parent
    with subprocess.Popen(["true"]) as ended:
        pass
    names = {"killed": f"hold-{ended.pid}-a", "new": f"hold-{ended.pid}-b",
             "ours": f"hold-{os.getpid()}-c", "nobody's": "hold-d"}  # fmt: skip
    for name in names.values():
        (holds / name / "objects").mkdir(parents=True)
        if name != names["new"]:
            os.utime(holds / name, (0, 0))
    with objects.hold(repo, sha):
        pass
    assert {path.name for path in holds.iterdir()} == {names["new"], names["ours"]}
