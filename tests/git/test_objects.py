"""A repository's objects, held."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tasks import git
from tasks.base import liveness
from tasks.git import objects
from tests.support import pid_namespace, repos

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> git.Repo:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return git.open_repo(repos.new(tmp_path / "repo", a="1"))


def test_what_killed_runs_left_goes_and_what_others_hold_stays(repo: git.Repo) -> None:
    sha = repos.commit(repo.root)
    with objects.hold(repo, sha) as store:
        holds = store.git_dir.parent
    with subprocess.Popen(["sleep", "60"]) as child:
        killed = liveness.current(child.pid)
        child.kill()
    owners = {
        "hold-killed": killed,
        "hold-living": liveness.current(),
        "hold-elsewhere": dataclasses.replace(killed, namespace="pid:[1]"),
        "hold-forgotten": dataclasses.replace(killed, namespace="pid:[1]"),
    }
    for name, owner in owners.items():
        (holds / name / "objects").mkdir(parents=True)
        (holds / name / "owner").write_text(owner.to_label())
    for name in ("hold-unsigned", "hold-new"):
        (holds / name).mkdir()
    for name in ("hold-living", "hold-forgotten", "hold-unsigned"):
        os.utime(holds / name, (0, 0))
    with objects.hold(repo, sha):
        pass
    assert {path.name for path in holds.iterdir()} == {"hold-living", "hold-elsewhere", "hold-new"}


def test_a_run_in_another_pid_namespace_leaves_a_hold_alone(repo: git.Repo) -> None:
    """A container that has the same cache mounted: no process of ours is to be seen there."""
    sha = repos.commit(repo.root)
    program = """if True:
        import pathlib, sys
        from tasks import git
        from tasks.git import objects
        with objects.hold(git.open_repo(pathlib.Path(sys.argv[1])), sys.argv[2]) as store:
            print(len(list(store.git_dir.parent.iterdir())))
    """
    with objects.hold(repo, sha) as store:
        os.utime(store.git_dir, (time.time() - 2 * 86400,) * 2)
        assert pid_namespace.run_python(program, str(repo.root), sha) == "2"
        assert store.git("cat-file", "-t", sha) == b"commit\n"
