"""The index is read as git reads it, in each form that git writes; stat data stays behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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
    index = indexfile.read(git.open_repo(repo))
    rows = [(f"{e.mode:o}", e.oid, str(e.stage), e.path.decode()) for e in index.entries]
    assert rows == listed(repo)
    original_status = repos.status(repo)
    flags = repos.git(repo, "ls-files", "-v", "-z")
    indexfile.write(index, repo / ".git")
    assert repos.git(repo, "ls-files", "-v", "-z") == flags
    assert repos.status(repo) == original_status
    assert indexfile.read(git.open_repo(repo)).digest == index.digest


@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_an_index_says_nothing_of_this_machine(tmp_path: Path, form: str) -> None:
    repo = tmp_path / "repo"
    repos.git(tmp_path, "init", "-q", f"--object-format={form}", str(repo))
    repos.write(repo, {"a": "a", "late": "", "skipped": "", "assumed": "", "tool": ""})
    repos.commit(repo)
    repos.write(repo, {"new": "", "script": "x"})
    (repo / "script").chmod(0o755)
    (repo / "link").symlink_to("a")
    repos.git(repo, "add", "-N", "new", "script", "link")
    repos.git(repo, "update-index", "--skip-worktree", "skipped")
    repos.git(repo, "update-index", "--assume-unchanged", "assumed")
    index = indexfile.read(git.open_repo(repo))
    (repo / ".git/index").unlink()
    original_objects = {path: path.stat().st_mtime_ns for path in (repo / ".git").rglob("??/*")}
    indexfile.write(index, repo / ".git")
    second_index = tmp_path / "second"
    indexfile.write(index, repo / ".git", into=second_index)
    assert second_index.read_bytes() == (repo / ".git/index").read_bytes()
    assert indexfile.read(git.open_repo(repo)) == index
    listing = repos.git(repo, "ls-files", "--debug")
    assert listing.count("  ctime: 0:0\n") == listing.count("  ctime: ") == len(index.entries) == 8
    assert {path: path.stat().st_mtime_ns for path in original_objects} == original_objects


@pytest.mark.parametrize("damage", ["cut", "noise"])
def test_a_damaged_index_is_refused(tmp_path: Path, damage: str) -> None:
    repo = repos.new(tmp_path / "repo")
    raw = (repo / ".git/index").read_bytes()
    (repo / ".git/index").write_bytes(raw[:20] if damage == "cut" else b"DIRC" + raw[9:])
    with pytest.raises(BadInput, match="git's index cannot be read"):
        indexfile.read(git.open_repo(repo))
