"""The index is read as git reads it, in each form that git writes; stat data stays behind."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import git
from tasks.base.errors import BadInput
from tasks.git import indexfile
from tests.support import repos

if TYPE_CHECKING:
    from pathlib import Path


def listed(repo: Path) -> list[tuple[str, ...]]:
    """`git ls-files --stage` as mode, id, stage, path."""
    lines = repos.git(repo, "ls-files", "--stage", "-z").split("\0")
    return [
        (*line.partition("\t")[0].split(" "), line.partition("\t")[2]) for line in lines if line
    ]


@pytest.mark.parametrize("form", ["2", "3", "4", "split", "long", "conflict", "empty"])
def test_every_form(tmp_path: Path, form: str) -> None:
    repo = repos.new(tmp_path / "repo", **{f"{n}/file {n}.txt": str(n) for n in range(20)})
    if form == "3":
        repos.write(repo, {"new": "n"})
        repos.git(repo, "add", "-N", "new")
        repos.git(repo, "update-index", "--skip-worktree", "readme.txt")
    elif form == "4":
        repos.git(repo, "update-index", "--index-version", "4")
    elif form == "split":
        repos.git(repo, "update-index", "--split-index")
        repos.write(repo, {"another": "x"})
        repos.git(repo, "add", "another")
    elif form == "long":
        repos.write(
            repo, {"/".join(["d" * 200] * 15) + "/f": "x"}
        )  # over 4095: the length field is full
        repos.git(repo, "config", "core.longpaths", "true")
    elif form == "conflict":
        repos.git(repo, "checkout", "-q", "-b", "side")
        repos.write(repo, {"readme.txt": "side\n"})
        repos.commit(repo)
        repos.git(repo, "checkout", "-q", "main")
        repos.write(repo, {"readme.txt": "main\n"})
        repos.commit(repo)
        repos.git(repo, "merge", "side", check=False)
    elif form == "empty":
        (repo / ".git/index").unlink()
    read = indexfile.read(git.open_repo(repo), sha256=False)
    got = [(f"{e.mode:o}", e.oid, str(e.stage), e.path.decode()) for e in read.entries]
    assert got == listed(repo)
    original_status = repos.status(repo)
    flags = repos.git(repo, "ls-files", "-v", "-z")
    (repo / ".git/index").write_bytes(read.clean)
    assert repos.git(repo, "ls-files", "-v", "-z") == flags
    assert repos.status(repo) == original_status
    second_result = indexfile.parse(read.clean, mtime_ns=0, sha256=False)
    assert second_result.clean == read.clean
    assert all(sum(entry.stat) == entry.mode for entry in second_result.entries)


def test_sha256_repositories(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    repos.git(tmp_path, "init", "-q", "--object-format=sha256", str(repo))
    repos.write(repo, {"a": "a"})
    repos.commit(repo)
    read = indexfile.read(git.open_repo(repo), sha256=True)
    assert [(f"{e.mode:o}", e.oid, str(e.stage), e.path.decode()) for e in read.entries] == listed(
        repo
    )


@given(st.binary(max_size=300), st.integers(0, 200))
def test_damaged_indexes_are_refused(noise: bytes, cut: int) -> None:
    header = b"DIRC\0\0\0\2\0\0\0\1"
    for raw in (noise, header + noise[:cut]):
        with suppress(BadInput):
            indexfile.parse(raw, mtime_ns=0, sha256=False)
