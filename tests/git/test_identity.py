"""What decides the image, or what git says in it, is part of the identity."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tasks.build import source
from tests.support import repos

if TYPE_CHECKING:
    from pathlib import Path


def identity(repo: Path) -> str:
    return source.from_working_tree(repo, build_args={}).identity


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder whose configuration git reads, here and in `repos`."""
    for environment in (os.environ, repos.GIT_ENV):
        monkeypatch.setitem(environment, "HOME", str(tmp_path / "home"))
        monkeypatch.delitem(environment, "XDG_CONFIG_HOME", raising=False)
    (tmp_path / "home/.config/git").mkdir(parents=True)
    return tmp_path / "home"


def test_the_depth_of_history_is_part_of_the_identity(tmp_path: Path) -> None:
    origin = repos.new(tmp_path / "origin")
    for number in range(4):
        repos.write(origin, {"n.txt": str(number)})
        repos.commit(origin)
    clone = tmp_path / "clone"
    repos.git(tmp_path, "clone", "-q", "--depth", "2", f"file://{origin}", str(clone))
    repos.git(clone, "config", "remote.origin.url", "https://git.example/a.git")
    identities = [identity(clone)]
    for option in ("--depth=3", "--unshallow"):
        repos.git(clone, "fetch", "-q", option, f"file://{origin}")
        identities.append(identity(clone))
    assert len(set(identities)) == 3


@pytest.mark.parametrize("place", ["user", "setting", "info", "worktree", "untracked", "ignored"])
def test_attributes_of_every_place_are_seen(tmp_path: Path, home: Path, place: str) -> None:
    repo = repos.new(tmp_path / "repo", **{"sub/we ird*.txt": "a\nb\n", "same.bin": "x\n"})
    if place == "worktree":
        linked = tmp_path / "linked"
        repos.git(repo, "worktree", "add", "-q", "-b", "side", str(linked))
        repo, common = linked, repo / ".git"
    else:
        common = repo / ".git"
    original_identity = identity(repo)
    files = {
        "user": home / ".config/git/attributes",
        "setting": tmp_path / "attributes",
        "info": common / "info/attributes",
        "worktree": common / "info/attributes",
        "untracked": repo / ".gitattributes",
        "ignored": repo / "sub/.gitattributes",
    }
    files[place].parent.mkdir(exist_ok=True)
    files[place].write_text("*.txt text eol=crlf\n")
    if place == "setting":
        repos.git(repo, "config", "core.attributesFile", str(files[place]))
    if place == "ignored":
        (common / "info/exclude").write_text(".gitattributes\n")
    with_attribute = identity(repo)
    for name in ["sub/we ird*.txt", *(["readme.txt"] if place != "ignored" else [])]:
        (repo / name).unlink()
        repos.git(repo, "checkout", "-q", "--", f":(literal){name}")
        assert b"\r\n" in (repo / name).read_bytes()
    converted = identity(repo)
    assert len({original_identity, with_attribute, converted}) == 3
    inside = repos.unpack(repo, tmp_path / "in")
    inner_status = repos.isolated_status(inside)
    assert inner_status == repos.status(repo) == ("?? .gitattributes\0" * (place == "untracked"))
    # The attribute goes, the bytes stay: git's own index still calls the file clean.
    files[place].unlink()
    assert identity(repo) not in {original_identity, with_attribute, converted}


def test_what_git_in_the_image_says_is_part_of_the_identity(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo")
    repos.git(repo, "config", "remote.origin.url", "https://git.example/a.git")
    identities = {identity(repo)}
    for number, (name, value) in enumerate(
        [
            ("remote.origin.url", "https://git.example/b.git"),
            ("branch.main.merge", "refs/heads/main"),
            ("branch.main.merge", "refs/heads/next"),
            ("core.eol", "crlf"),
            ("core.autocrlf", "input"),
            ("core.autocrlf", "yes"),
            ("core.symlinks", "off"),
        ],
        start=2,
    ):
        repos.git(repo, "config", name, value)
        identities.add(identity(repo))
        assert len(identities) == number, name
    count = len(identities)
    repos.git(repo, "config", "user.name", "somebody")
    repos.git(repo, "config", "core.autocrlf", "1")  # as `yes`
    repos.git(repo, "config", "core.fileMode", "on")  # the default
    assert len(identities | {identity(repo)}) == count


def test_a_sparse_checkout_says_the_same_in_the_image(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo", **{"a/x": "x", "b/y": "y", "b/z": "z"})
    repos.git(repo, "sparse-checkout", "set", "a")
    original_identity = identity(repo)
    repos.write(repo, {"b/y": "changed outside of the patterns"})
    assert " M b/y" in repos.status(repo)
    repos.same(repo, repos.unpack(repo, tmp_path / "in"))
    assert identity(repo) != original_identity


def test_links_that_are_files_say_the_same_in_the_image(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo")
    (repo / "link").symlink_to("readme.txt")
    repos.commit(repo)
    repos.git(repo, "config", "core.symlinks", "false")
    (repo / "link").unlink()
    (repo / "link").write_text("readme.txt")
    assert repos.status(repo) == ""
    repos.same(repo, repos.unpack(repo, tmp_path / "in"))
