"""Local mode's sync: after it, the sandbox's repository is as the host's, whatever it was."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
import sync
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.base.errors import TaskError
from tests.support import repos

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.git.tree import Entry


@pytest.fixture(autouse=True)
def state_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sync, "_STATE_FILE", tmp_path / "state/sync.json")
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"):
        monkeypatch.setenv(name, repos.GIT_ENV[name])
    return tmp_path / "state/sync.json"


def pair(tmp_path: Path, **files: str) -> tuple[Path, Path]:
    """A host checkout, and a sandbox's repository as an image would have it."""
    host = repos.new(tmp_path / "host", **{".gitignore": "built/\n*.log\n", **files})
    return host, repos.unpack(host, tmp_path / "inside")


def assert_same_content(host: Path, inside: Path) -> None:
    assert repos.status(inside) == repos.status(host)
    assert repos.git(inside, "log", "--format=%H") == repos.git(host, "log", "--format=%H")
    assert repos.git(inside, "fsck", "--strict", "--no-dangling") == ""

    def listed(at: Path) -> dict[bytes, tuple[str, bytes]]:
        return {path: what for path, what in repos.listing(at).items()
                if path.split(b"/")[0] != b"built" and not path.endswith(b".log")}  # fmt: skip

    assert listed(inside) == listed(host)


def edit(host: Path) -> None:
    repos.write(host, {"readme.txt": "two\n", "new/deep/file.txt": "n", "staged.txt": "s"})
    repos.git(host, "add", "staged.txt")
    (host / "gone.txt").unlink()
    (host / "run").chmod(0o755)


def test_edits_deletes_modes_and_the_index(tmp_path: Path) -> None:
    host, inside = pair(tmp_path, **{"gone.txt": "g", "run": "#!/bin/sh\n", "dir/file": "x"})
    edit(host)
    sync.mirror(host, inside)
    assert_same_content(host, inside)
    # A file becomes a folder, a folder a link, a link a file.
    (host / "run").unlink()
    repos.write(host, {"run/inner": "x"})
    (host / "dir/file").unlink()
    (host / "dir").rmdir()
    (host / "dir").symlink_to("/etc")
    repos.commit(host)
    sync.mirror(host, inside)
    assert_same_content(host, inside)
    (host / "dir").unlink()
    repos.write(host, {"dir/file": "back"})
    sync.mirror(host, inside)
    assert_same_content(host, inside)


def test_a_folder_that_became_empty_stays(tmp_path: Path) -> None:
    host, inside = pair(tmp_path, **{"c/d": "x"})
    sync.mirror(host, inside)
    (host / "c/d").unlink()
    sync.mirror(host, inside)
    assert_same_content(host, inside)
    (host / "c").rmdir()
    sync.mirror(host, inside)
    assert_same_content(host, inside)


def test_what_git_ignores_in_the_sandbox_stays(tmp_path: Path) -> None:
    host, inside = pair(tmp_path)
    repos.write(inside, {"built/app.js": "kept", "debug.log": "kept"})
    repos.write(host, {"built/app.js": "the host's", "new.txt": "n"})
    sync.mirror(host, inside)
    assert (inside / "built/app.js").read_text() == "kept"
    assert (inside / "debug.log").exists()
    assert (inside / "new.txt").exists()


def test_a_second_sync_copies_nothing(tmp_path: Path) -> None:
    host, inside = pair(tmp_path, **{"a/b": "x"})
    edit_later = {"a/b": "changed"}
    sync.mirror(host, inside)
    original_files = {
        str(p): p.lstat().st_ctime_ns for p in inside.rglob("*") if ".git" not in p.parts
    }
    assert "0 copied, 0 removed" in sync.mirror(host, inside)
    assert original_files == {
        str(p): p.lstat().st_ctime_ns for p in inside.rglob("*") if ".git" not in p.parts
    }
    repos.write(host, edit_later)
    assert "1 copied, 0 removed" in sync.mirror(host, inside)


def test_work_done_in_the_sandbox_is_kept_before_it_is_overwritten(tmp_path: Path) -> None:
    host, inside = pair(tmp_path, **{"a.txt": "a"})
    sync.mirror(host, inside)
    repos.write(inside, {"a.txt": "committed by an agent", "b.txt": "b"})
    repos.git(inside, "checkout", "-q", "-b", "agents-branch")
    agent_commit = repos.commit(inside, "an agent's commit")
    repos.write(inside, {"a.txt": "not committed", "untracked.txt": "u"})
    repos.write(host, {"readme.txt": "host\n"})
    sync.mirror(host, inside)
    assert_same_content(host, inside)
    ref = repos.git(inside, "for-each-ref", "--format=%(refname)", "refs/sandbox").strip()
    assert repos.git(inside, "show", f"{ref}:a.txt") == "not committed"
    assert repos.git(inside, "show", f"{ref}:untracked.txt") == "u"
    assert repos.git(inside, "rev-parse", f"{ref}^").strip() == agent_commit
    assert repos.git(inside, "rev-parse", "agents-branch").strip() == agent_commit


@pytest.mark.parametrize("kind", ["branch", "detach", "rewind", "amend", "pull", "nested-name"])
def test_the_host_moves_on(tmp_path: Path, kind: str) -> None:
    host, inside = pair(tmp_path)
    repos.write(host, {"x": "1"})
    repos.commit(host)
    sync.mirror(host, inside)
    if kind == "branch":
        repos.git(host, "checkout", "-q", "-b", "feature/x")
    elif kind == "nested-name":
        repos.git(host, "branch", "-m", "main/next")
    elif kind == "detach":
        repos.git(host, "checkout", "-q", "--detach", "HEAD~1")
    elif kind == "rewind":
        repos.git(host, "reset", "-q", "--hard", "HEAD~1")
    elif kind == "amend":
        repos.git(host, "commit", "-q", "--amend", "-m", "amended")
    else:
        for number in range(5):
            repos.write(host, {"x": f"pulled {number}"})
            repos.commit(host)
    sync.mirror(host, inside)
    assert_same_content(host, inside)
    head = repos.git(host, "symbolic-ref", "-q", "HEAD", check=False)
    assert repos.git(inside, "symbolic-ref", "-q", "HEAD", check=False) == head


def test_from_a_shallow_clone_and_back(tmp_path: Path) -> None:
    origin = repos.new(tmp_path / "origin")
    for number in range(4):
        repos.write(origin, {"n": str(number)})
        repos.commit(origin)
    shallow = tmp_path / "shallow"
    repos.git(tmp_path, "clone", "-q", "--depth", "2", f"file://{origin}", str(shallow))
    inside = repos.unpack(shallow, tmp_path / "inside")
    sync.mirror(shallow, inside)
    assert_same_content(shallow, inside)
    sync.mirror(origin, inside)
    assert_same_content(origin, inside)
    sync.mirror(shallow, inside)
    assert_same_content(shallow, inside)


def test_the_host_is_never_written(tmp_path: Path) -> None:
    host, inside = pair(tmp_path, **{"gone.txt": "g", "run": "r"})
    edit(host)
    original_files = {str(p): p.lstat().st_ctime_ns for p in host.rglob("*")}
    sync.mirror(host, inside)
    repos.write(inside, {"readme.txt": "inside\n"})
    sync.mirror(host, inside)
    assert {str(p): p.lstat().st_ctime_ns for p in host.rglob("*")} == original_files


def test_a_half_done_sync_is_completed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, inside = pair(tmp_path, **{f"{n}.txt": "x" for n in range(10)})
    sync.mirror(host, inside)
    repos.write(host, {f"{n}.txt": f"changed {n}" for n in range(10)})
    copy, copies = sync._bring, 0

    def interrupt(source: bytes, to: bytes, entry: Entry) -> None:
        nonlocal copies
        copies += 1
        if copies == 5:
            raise KeyboardInterrupt
        copy(source, to, entry)

    monkeypatch.setattr(sync, "_bring", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sync.mirror(host, inside)
    monkeypatch.setattr(sync, "_bring", copy)
    sync.mirror(host, inside)
    assert_same_content(host, inside)
    # Nobody had worked in the half-synced tree, so there was nothing to keep.
    assert repos.git(inside, "for-each-ref", "refs/sandbox") == ""


def test_a_change_while_copying_leads_to_a_second_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, inside = pair(tmp_path, **{"a.txt": "1", "b.txt": "1"})
    repos.write(host, {"a.txt": "2", "b.txt": "2"})
    copy, edits = sync._bring, iter([{"a.txt": "3", "b.txt": "3"}])

    def with_an_edit(source: bytes, to: bytes, entry: Entry) -> None:
        copy(source, to, entry)
        repos.write(host, next(edits, {}))

    monkeypatch.setattr(sync, "_bring", with_an_edit)
    sync.mirror(host, inside)
    assert_same_content(host, inside)
    assert (inside / "a.txt").read_text() == (inside / "b.txt").read_text() == "3"


def test_a_host_that_never_holds_still_is_an_error_not_a_mixture(tmp_path: Path) -> None:
    host, inside = pair(tmp_path)
    end = threading.Event()

    def write_on() -> None:
        number = 0
        while not end.is_set():
            number += 1
            (host / "readme.txt").write_text(str(number))

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        with pytest.raises(TaskError, match="keep changing"):
            sync.mirror(host, inside)
    finally:
        end.set()
        writer.join()
    sync.mirror(host, inside)
    assert_same_content(host, inside)


def test_a_repository_made_in_the_sandbox_is_left_alone(tmp_path: Path) -> None:
    host, inside = pair(tmp_path)
    sync.mirror(host, inside)
    repos.new(inside / "their-clone", **{"work.txt": "w"})
    repos.write(host, {"x": "1"})
    sync.mirror(host, inside)
    assert (inside / "their-clone/work.txt").read_text() == "w"
    assert (inside / "x").exists()


def test_secrets_of_the_hosts_history_are_said_and_the_start_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host, inside = pair(tmp_path)
    token = "ghp_" + "a1B2" * 9
    repos.write(host, {"old.env": "A=1", "notes.txt": f"use {token}\n"})
    repos.commit(host)
    (host / "old.env").unlink()
    repos.write(host, {"notes.txt": "clean\n", "staged.txt": token})
    repos.commit(host)
    repos.write(host, {"staged.txt": "clean\n"})
    capsys.readouterr()
    sync.mirror(host, inside)
    assert_same_content(host, inside)
    log = capsys.readouterr().err
    for name in ("old.env (environment file, in the history as", "notes.txt (GitHub token",
                 "staged.txt (GitHub token", "docker commit"):  # fmt: skip
        assert name in log
    assert token not in log
    sync.mirror(host, inside)
    assert "secrets" not in capsys.readouterr().err, "what was there before is not new"
    oid = repos.git(host, "rev-parse", "HEAD~1:notes.txt").strip()
    for allow in (f'["*.env", "staged.txt", "{oid}"]', "3"):
        repos.write(host, {"pyproject.toml": f"[tool.sandbox.secrets]\nallow = {allow}\n"})
        repos.git(host, "commit", "-q", "--amend", "-a", "-m", "amended")
        sync.mirror(host, inside)
        assert_same_content(host, inside)
    assert "is not a list of strings" in capsys.readouterr().err


def test_a_damaged_state_file_costs_nothing(tmp_path: Path, state_file: Path) -> None:
    host, inside = pair(tmp_path)
    sync.mirror(host, inside)
    for damage in ("", "{", "[]", '{"files": 3}', '{"surprise": 1}'):
        state_file.write_text(damage)
        repos.write(host, {"x": damage})
        sync.mirror(host, inside)
        assert_same_content(host, inside)


NAMES = st.sampled_from(["a", "b", "c/d", "c/e", "c/f/g", "h i", "built/x", "y.log"])
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["write", "delete", "link", "chmod", "add", "commit"]),
        NAMES,
        st.integers(0, 2),
    ),
    max_size=8,
)


def apply(at: Path, edits: list[tuple[str, str, int]]) -> None:
    for action, name, number in edits:
        path = at / name
        if action == "write" and not path.is_symlink() and not path.is_dir():
            repos.write(at, {name: f"{number}"})
        elif action == "delete" and not path.is_dir():
            path.unlink(missing_ok=True)
        elif action == "link" and not os.path.lexists(path) and path.parent.is_dir():
            path.symlink_to("a")
        elif action == "chmod" and path.is_file() and not path.is_symlink():
            path.chmod(0o755 if number else 0o644)
        elif action == "add":
            repos.git(at, "add", "-A", "--", name, check=False)
        elif action == "commit":
            repos.git(at, "commit", "-q", "--allow-empty", "-m", "c")


@given(first=EDITS, meanwhile=EDITS, second=EDITS)
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_edits_on_both_sides(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    first: list[tuple[str, str, int]],
    meanwhile: list[tuple[str, str, int]],
    second: list[tuple[str, str, int]],
) -> None:
    base = tmp_path_factory.mktemp("any")
    monkeypatch.setattr(sync, "_STATE_FILE", base / "sync.json")
    host, inside = pair(base)
    apply(host, first)
    sync.mirror(host, inside)
    assert_same_content(host, inside)
    apply(inside, meanwhile)
    apply(host, second)
    sync.mirror(host, inside)
    assert_same_content(host, inside)
