"""A checkout that somebody works in while it is read, and any state that edits leave."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.base.errors import BadInput
from tasks.build import context, source
from tests.support import repos

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_that_changes_while_packed_is_noticed(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo")
    build_source = source.from_working_tree(repo, build_args={})
    (repo / "readme.txt").write_text("two, and longer\n")
    with pytest.raises(context.FileChanged, match=r"readme\.txt changed"):
        context.write(build_source, io.BytesIO())
    (repo / "readme.txt").unlink()
    with pytest.raises(context.FileChanged, match=r"readme\.txt changed"):
        context.write(build_source, io.BytesIO())


def test_a_folder_that_vanishes_while_it_is_listed_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = repos.new(tmp_path / "repo", **{"doomed/a/b.txt": "x", "kept/c.txt": "y"})
    real = os.scandir

    def scandir(at: bytes | int) -> object:
        if isinstance(at, bytes) and at.rstrip(b"/").endswith((b"doomed", b"doomed/a")):
            shutil.rmtree(at, ignore_errors=True)
        return real(at)

    monkeypatch.setattr(os, "scandir", scandir)
    build_source = source.from_working_tree(repo, build_args={})
    monkeypatch.undo()
    assert [e.path for e in build_source.tree.everything()] == [b"kept/c.txt", b"readme.txt"]
    context.write(build_source, io.BytesIO())


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("name", ["link", "folder/file.txt", "new.txt"])
def test_what_vanishes_before_it_is_read_is_noticed(
    tmp_path: Path, name: str, replace: bool
) -> None:
    repo = repos.new(tmp_path / "repo", **{"folder/file.txt": "x"})
    (repo / "link").symlink_to("folder")
    repos.write(repo, {"new.txt": "n"})
    build_source = source.from_working_tree(repo, build_args={})
    (repo / name).unlink()
    if replace:
        (repo / name).mkdir()
    with pytest.raises(context.FileChanged, match="changed while it was read"):
        context.write(build_source, io.BytesIO())
    if name == "new.txt":  # its content is read for secrets first
        with pytest.raises(context.FileChanged, match="changed while it was read"):
            context.refuse_secrets(build_source)


def test_another_program_that_makes_and_deletes_folders(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo", **{"kept.txt": "x"})
    loop = "while :; do mkdir -p d/e/f; echo x > d/e/f/g; ln -s x d/l; rm -rf d; done"
    with subprocess.Popen(["sh", "-c", loop], cwd=repo, stderr=subprocess.DEVNULL) as busy:
        try:
            for _ in range(20):
                build_source = source.from_working_tree(repo, build_args={})
                with suppress(context.FileChanged):
                    context.refuse_secrets(build_source)
                    context.write(build_source, io.BytesIO())
        finally:
            busy.kill()


def test_an_unreadable_file_is_refused(short_path: Path) -> None:
    repo = repos.new(short_path / "repo", secretive="x")
    subprocess.run(["chmod", "-R", "a+rX", str(short_path)], check=True)
    (repo / "secretive").chmod(0)
    script = (
        "import os, sys, pathlib; from tasks.build import source;"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        "source.from_working_tree(pathlib.Path(sys.argv[1]), build_args={})"
    )
    if os.geteuid() == 0:
        result = subprocess.run(
            [sys.executable, "-c", script, str(repo)], check=False, capture_output=True, text=True,
            env={**repos.GIT_ENV, "PYTHONPATH": os.getcwd(), "HOME": "/nonexistent"},
        )  # fmt: skip
        assert "BadInput: cannot read secretive" in result.stderr
    else:
        with pytest.raises(BadInput, match="cannot read secretive"):
            source.from_working_tree(repo, build_args={})


NAMES = st.sampled_from(["a", "b", "c/d", "c/e", "c/f/g", "h i", "j\nk"])


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "delete", "chmod", "stage", "commit", "unstage", "link"]),
        NAMES,
        st.integers(0, 3),
    ),
    max_size=12,
)


@given(steps=STEPS)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_history_of_edits(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    base = tmp_path_factory.mktemp("any")
    repo = repos.new(base / "repo")
    for action, name, number in steps:
        path = repo / name
        if action == "write" and not path.is_symlink():
            repos.write(repo, {name: f"content {number}"})
        elif action == "delete":
            path.unlink(missing_ok=True)
        elif action == "chmod" and path.is_file() and not path.is_symlink():
            path.chmod(0o755 if number % 2 else 0o644)
        elif action == "link" and not os.path.lexists(path) and path.parent.is_dir():
            path.symlink_to("a")
        elif action == "stage":
            repos.git(repo, "add", "-A", "--", name, check=False)
        elif action == "unstage":
            repos.git(repo, "rm", "-q", "--cached", "--", name, check=False)
        elif action == "commit":
            repos.git(repo, "commit", "-q", "--allow-empty", "-m", str(number))
    repos.same(repo, repos.unpack(repo, base / "in"))
