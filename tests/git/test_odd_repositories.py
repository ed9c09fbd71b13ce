"""Odd but legal repositories are built as they are, or one line says what is not."""

from __future__ import annotations

import io
import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from tasks.base import project
from tasks.base.errors import BadInput, TaskError
from tasks.build import context, dockerfile, dockerignore, source
from tasks.git import file_ids
from tests.support import builder, repos

if TYPE_CHECKING:
    from pathlib import Path


def notes(repo: Path) -> list[str]:
    return source.from_working_tree(repo, build_args={}).tree.all_notes()


def test_a_nested_repository_without_a_commit_is_left_out_with_a_line(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo")
    repos.git(repo, "init", "-q", "scratch/new")
    repos.write(repo, {"scratch/new/file": "x"})
    assert [note for note in notes(repo) if "scratch/new is a repository without a commit" in note]
    assert set(repos.listing(repos.unpack(repo, tmp_path / "in"))) == {b"readme.txt"}


@pytest.mark.parametrize("kind", ["empty folder", "dead link", "noise", "dangling"])
def test_a_git_folder_that_is_none_is_no_repository(tmp_path: Path, kind: str) -> None:
    repo = repos.new(tmp_path / "repo", **{"sub/file.txt": "x"})
    place = repo / "sub/.git"
    if kind == "empty folder":
        place.mkdir()
    elif kind == "dangling":
        place.symlink_to("/nowhere/at/all")
    else:
        place.write_text("gitdir: /nowhere/at/all\n" if kind == "dead link" else "noise")
    assert [note for note in notes(repo) if "sub/.git is not a git repository" in note]
    assert b"sub/file.txt" in repos.listing(repos.unpack(repo, tmp_path / "in"))


@pytest.mark.parametrize("kind", ["file", "link", "worktree"])
def test_history_from_outside_the_checkout_is_said(tmp_path: Path, kind: str) -> None:
    library = repos.new(tmp_path / "library", **{"lib.txt": "l"})
    repo = repos.new(tmp_path / "repo")
    if kind == "worktree":
        repos.git(library, "worktree", "add", "-q", "-b", "side", str(repo / "sub"))
    elif kind == "file":
        repos.git(tmp_path, "clone", "-q", "--separate-git-dir", str(tmp_path / "git"),
                  str(library), str(repo / "sub"))  # fmt: skip
    else:
        repos.git(tmp_path, "clone", "-q", str(library), str(repo / "sub"))
        (repo / "sub/.git").rename(tmp_path / "git")
        (repo / "sub/.git").symlink_to(tmp_path / "git")
    assert [note for note in notes(repo) if "sub belongs to the repository at" in note]
    inside = repos.unpack(repo, tmp_path / "in")
    assert repos.git(inside / "sub", "log", "--format=%s") == "change\n"
    assert os.fsencode(tmp_path) not in (inside / "sub/.git/config").read_bytes()


def test_submodules_and_worktrees_of_the_checkout_itself_need_no_line(tmp_path: Path) -> None:
    library = repos.new(tmp_path / "library")
    repo = repos.new(tmp_path / "repo")
    repos.git(repo, "submodule", "add", "-q", str(library), "vendor/library")
    repos.git(repo, "worktree", "add", "-q", "--detach", "side")
    linked = tmp_path / "linked"
    repos.git(repo, "commit", "-q", "-m", "submodule")
    repos.git(repo, "worktree", "add", "-q", "-b", "other", str(linked))
    repos.git(linked, "submodule", "update", "-q", "--init")
    assert notes(repo) == notes(linked) == []


@pytest.mark.parametrize("is_tracked", [False, True])
@pytest.mark.parametrize("place", project.FILLED_FOLDERS)
def test_a_link_where_the_image_has_a_folder_is_left_out_with_a_line(
    tmp_path: Path, place: str, is_tracked: bool
) -> None:
    repo = repos.new(tmp_path / "repo")
    (repo / place).parent.mkdir(parents=True, exist_ok=True)
    (repo / place).symlink_to("/elsewhere")
    if is_tracked:
        repos.commit(repo)
        assert [n for n in builder.find(repo).tree.notes if place in n and "left out" in n]
    assert [note for note in notes(repo) if place in note and "left out" in note]
    assert os.fsencode(place) not in repos.listing(repos.unpack(repo, tmp_path / "in"))


def test_the_folders_that_the_image_fills_are_those_of_the_dockerfile() -> None:
    text = (project.ROOT / project.DOCKERFILE).read_text()
    targets = {
        instruction.operands[-1].removeprefix("./")
        for instruction in dockerfile.parse(text)
        if instruction.keyword == "COPY" and instruction.operands[-1].startswith("./")
        and any(flag.startswith("--from=") for flag in instruction.flags)
    }  # fmt: skip
    assert targets - {"", ".git"} == set(project.FILLED_FOLDERS)


def test_tracked_files_that_dockerignore_takes_out_are_named(tmp_path: Path) -> None:
    rules = "# a comment\n**/node_modules\n*.log\ndocs/**/x?.md\n!docs/a/x1.md\n"
    names = ("pkg/node_modules/a/index.js", "top.log", "deep/kept.log", "docs/a/x1.md",
             "docs/b/x2.md", "deleted.txt", "sparse.log")  # fmt: skip
    repo = repos.new(tmp_path / "repo", **{".dockerignore": rules, **dict.fromkeys(names, "x")})
    repos.git(repo, "update-index", "--skip-worktree", "sparse.log")
    for name in set(names) - {"deep/kept.log"}:
        (repo / name).unlink()
    with pytest.raises(BadInput) as caught:
        dockerignore.refuse_left_out(source.from_working_tree(repo, build_args={}).tree)
    listing = "docs/b/x2.md, pkg/node_modules/a/index.js, top.log"
    assert caught.value.what == f".dockerignore keeps tracked files out of the build: {listing}"
    for name in ("pkg/node_modules/a/index.js", "top.log", "docs/b/x2.md"):
        repos.write(repo, {name: "x"})
    dockerignore.refuse_left_out(source.from_working_tree(repo, build_args={}).tree)


def test_a_repository_whose_commit_is_lost_is_not_called_empty(tmp_path: Path) -> None:
    origin = repos.new(tmp_path / "origin")
    repos.git(tmp_path, "clone", "-q", "--shared", str(origin), str(tmp_path / "clone"))
    origin.rename(tmp_path / "moved")
    with pytest.raises(TaskError, match="not in this clone"):
        source.from_working_tree(tmp_path / "clone", build_args={})


@pytest.mark.parametrize("kind", ["work tree", "submodule"])
def test_a_git_folder_of_another_folder_is_named(tmp_path: Path, kind: str) -> None:
    repo = repos.new(tmp_path / "repo")
    nested = repos.new(repo / "sub")
    if kind == "submodule":
        repos.git(repo, "add", "sub")
        shutil.rmtree(nested / ".git")
        (nested / ".git").mkdir()
    else:
        repos.git(nested, "config", "core.worktree", str(repo))
    with pytest.raises(BadInput, match=r"sub.* (is not of that folder|has its files elsewhere)"):
        source.from_working_tree(repo, build_args={})


def test_a_checkout_whose_name_ends_in_a_line_break_is_the_one_that_is_built(
    tmp_path: Path,
) -> None:
    repos.new(tmp_path / "repo", **{"wrong.txt": "x"})
    repo = repos.new(tmp_path / "repo\n", **{"right.txt": "x"})
    assert b"right.txt" in repos.listing(repos.unpack(repo, tmp_path / "in"))


def test_deep_folders_are_built(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo")
    deep = repo.joinpath(*["d"] * (sys.getrecursionlimit() // 2 + 400))
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    build_source = source.from_working_tree(repo, build_args={})
    assert any(entry.path.endswith(b"/d/file") for entry in build_source.tree.everything())
    context.write(build_source, io.BytesIO())


def test_a_path_that_the_system_cannot_open_is_named(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo")
    at = os.open(repo, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("x" * 250, dir_fd=at)
        inner = os.open("x" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)
    with pytest.raises(BadInput, match=r"cannot read xxx.*name too long"):
        source.from_working_tree(repo, build_args={})


def test_a_filter_driver_that_the_image_lacks_is_said(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo")
    repos.git(repo, "config", "filter.upper.clean", "tr a-z A-Z")
    repos.git(repo, "config", "filter.unused.clean", "cat")
    repos.write(repo, {".gitattributes": "*.up filter=upper\n*.un filter=unused\n*.no filter=no\n"})
    repos.write(repo, {"text.up": "lower\n", "text.un": "x\n", "text.no": "x\n", "SAME.up": "X\n"})
    repos.commit(repo)
    assert repos.status(repo) == ""
    lines = notes(repo)
    assert len(lines) == 1
    assert "no filter driver upper" in lines[0]
    assert "converted here: text.up" in lines[0]


@pytest.mark.parametrize("attributes", ["", "* text=auto\n*.bin binary\n", "*.txt filter=no\n"])
def test_what_was_read_once_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attributes: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    repo = repos.new(
        tmp_path / "repo", **{"a.txt": "a", "b.bin": "b", ".gitattributes": attributes}
    )
    reads: list[str] = []
    original = file_ids.blob_id

    def recorded(path: bytes, status: os.stat_result, *, sha256: bool) -> str:
        reads.append(os.path.basename(os.fsdecode(path)))
        return original(path, status, sha256=sha256)

    monkeypatch.setattr(file_ids, "blob_id", recorded)
    monkeypatch.setattr(file_ids, "_TICK", -1)
    first = source.from_working_tree(repo, build_args={})
    assert sorted(reads) == [".gitattributes", "a.txt", "b.bin", "readme.txt"]
    reads.clear()
    repos.write(repo, {"new.txt": "n"})
    source.from_working_tree(repo, build_args={})
    assert reads == ["new.txt"]
    (repo / "new.txt").unlink()
    assert source.from_working_tree(repo, build_args={}).identity == first.identity
    assert source.from_working_tree(repo, build_args={}, use_cache=False).identity == first.identity


def test_a_file_changed_just_now_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(file_ids, "_TICK", 3600 * 10**9)
    repo = repos.new(tmp_path / "repo")
    source.from_working_tree(repo, build_args={})
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").rglob("stat/*"))
