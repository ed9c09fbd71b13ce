from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tasks.base import files, project
from tests.support import pid_namespace

if TYPE_CHECKING:
    from pathlib import Path

WRITER = """if True:
    import pathlib, sys
    from tasks.base import files
    print("begun", flush=True)
    while True:
        for letter in "ab":
            files.write(pathlib.Path(sys.argv[1]), letter * 500_000)
"""
#: Begins to write, and says so; ends when its input does.
SLOW_WRITER = """if True:
    import pathlib, sys
    from tasks.base import files
    with files.replacement(pathlib.Path(sys.argv[1])) as file:
        file.write(b"slow")
        print("begun", flush=True)
        sys.stdin.read()
"""


def start(program: str, path: Path) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], cwd=project.ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == b"begun\n"
    return child


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_created_with_the_mode_that_the_user_has_chosen(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        files.write(tmp_path / "x", "ä")
    finally:
        os.umask(mask)
    assert (tmp_path / "x").read_text() == "ä"
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640
    assert names(tmp_path) == ["x"]


def test_a_replaced_file_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")
    (tmp_path / "x").chmod(0o751)
    with files.replacement(tmp_path / "x", is_durable=True) as file:
        file.write(b"new")
    assert (tmp_path / "x").read_text() == "new"
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o751


def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")

    def interrupt() -> None:
        with files.replacement(tmp_path / "x") as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert (tmp_path / "x").read_text() == "old"
    assert names(tmp_path) == ["x"]


def test_an_unfinished_file_waits_in_the_folder_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "through").mkdir()
    with files.replacement(tmp_path / "x", through=tmp_path / "through"):
        assert names(tmp_path) == ["through"]
        assert len(names(tmp_path / "through")) == 1
    assert names(tmp_path) == ["through", "x"]


def test_a_hundred_kills_leave_whole_content_and_at_most_one_unfinished_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x"
    path.write_text("")
    contents = {"", "a" * 500_000, "b" * 500_000}
    chance = random.Random(1)  # noqa: S311 - to be repeated
    for _ in range(20):
        child = start(WRITER, path)
        time.sleep(chance.random() * 0.01)
        child.kill()
        child.communicate()
        assert path.read_text() in contents
        assert len(names(tmp_path)) <= 2
    files.write(path, "after")
    assert names(tmp_path) == ["x"]


def test_the_unfinished_file_of_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    child = start(SLOW_WRITER, tmp_path / "x")
    files.write(tmp_path / "x", "quick")
    remover = "import pathlib, sys; from tasks.base import files;"
    remover += "files.remove_unfinished(pathlib.Path(sys.argv[1]))"
    pid_namespace.run_python(remover, str(tmp_path))
    assert len(names(tmp_path)) == 2
    child.communicate()
    assert child.returncode == 0
    assert (tmp_path / "x").read_text() == "slow"
    assert names(tmp_path) == ["x"]


def test_files_of_others_that_look_unfinished_are_left_alone(tmp_path: Path) -> None:
    for name in ("x.new", "notes.123.new", "x.0123456789ab.new.txt"):
        (tmp_path / name).touch()
    files.write(tmp_path / "x", "")
    assert len(names(tmp_path)) == 4


def test_many_writers_at_once_do_not_hinder_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        pool.starmap(files.write, [(tmp_path / f"x{n % 3}", str(n)) for n in range(200)])
    assert names(tmp_path) == ["x0", "x1", "x2"]


def test_what_nobody_has_touched_for_long_is_removed(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / f"{name}-folder/inside").mkdir(parents=True)
        (tmp_path / f"{name}-file").touch()
    (tmp_path / "old-link").symlink_to(tmp_path / "new-folder")
    (tmp_path / "old-kept").touch()
    for path in tmp_path.glob("old-*"):
        os.utime(path, (0, 0), follow_symlinks=False)
    files.remove_unused(tmp_path, seconds=3600, pattern="*-fil*")
    files.remove_unused(tmp_path, seconds=3600, pattern="*-fol*")
    files.remove_unused(tmp_path, seconds=3600, pattern="*-li*")
    assert names(tmp_path) == ["new-file", "new-folder", "old-kept"]
    files.remove_unused(tmp_path / "nowhere", seconds=1)


def test_a_killed_writer_leaves_one_file_that_the_next_removes(tmp_path: Path) -> None:
    child = start(SLOW_WRITER, tmp_path / "x")
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert len(names(tmp_path)) == 1
    files.write(tmp_path / "y", "next")
    assert names(tmp_path) == ["y"]
