"""A repository's objects, held."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tasks import git
from tasks.base import liveness
from tasks.base.project import ROOT
from tasks.git import isolation, objects
from tests.support import pid_namespace, repos


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> git.Repo:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return git.open_repo(repos.new(tmp_path / "repo", a="1"))


def test_what_killed_runs_left_goes_and_what_others_hold_stays(repo: git.Repo) -> None:
    sha = repos.commit(repo.root)
    with objects.hold(repo, sha) as store:
        holds = store.git_dir.parent
    with subprocess.Popen(["sleep", "60"]) as child:
        killed_folder = liveness.current(child.pid)
        child.kill()
    owners = {
        "hold-killed": killed_folder,
        "hold-living": liveness.current(),
        "hold-elsewhere": dataclasses.replace(killed_folder, namespace="pid:[1]"),
        "hold-forgotten": dataclasses.replace(killed_folder, namespace="pid:[1]"),
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


def test_folders_of_killed_processes_go_and_those_of_living_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder that stands in for a repository's common directory goes with its process."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    repo = repos.new(tmp_path / "repo")
    script = (
        "import os, pathlib, signal; from tasks import git;"
        f"repo = git.open_repo(pathlib.Path({str(repo)!r}));"
        "print(repo.isolated.common, flush=True);"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}

    def run(rest: str) -> Path:
        command = [sys.executable, "-c", script + rest]
        result = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
        return Path(result.stdout.strip())

    assert not run("").exists(), "an ordinary end"
    killed_folder = run("os.kill(os.getpid(), signal.SIGKILL)")
    assert killed_folder.is_dir()
    checkout = git.open_repo(repo)
    isolation._sweep.cache_clear()
    second_checkout = git.open_repo(repo)
    assert not killed_folder.exists()
    assert checkout.isolated.common.is_dir()
    folder = second_checkout.isolated.common
    del second_checkout
    assert not folder.exists()
