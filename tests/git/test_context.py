"""The context holds what the checkout holds, in every state that people have checkouts in."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tasks.base.errors import BadInput
from tasks.build import context, source
from tests.support import repos

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_plain_checkout_with_every_kind_of_change(tmp_path: Path) -> None:
    repo = repos.new(
        tmp_path / "repo", **{"a.txt": "a", "b.txt": "b", "c/d.txt": "d", "run.sh": "x"}
    )
    repos.write(repo, {"a.txt": "changed", "new/untracked.txt": "u", "staged.txt": "s"})
    repos.git(repo, "add", "staged.txt")
    repos.write(repo, {"staged.txt": "staged, then changed"})
    (repo / "b.txt").unlink()
    (repo / "run.sh").chmod(0o755)
    repos.git(repo, "mv", "c/d.txt", "c/moved.txt")
    repos.git(repo, "add", "-N", "new/untracked.txt")
    repos.same(repo, repos.unpack(repo, tmp_path / "in"))


def test_ignored_files_stay_out_but_forced_ones_go_in(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo", **{".gitignore": "*.log\nbuild/\n!keep.log\n"})
    repos.write(repo, {"x.log": "x", "keep.log": "k", "build/out.js": "o", "build/forced.js": "f"})
    repos.git(repo, "add", "-f", "build/forced.js")
    inside = repos.unpack(repo, tmp_path / "in")
    assert set(repos.listing(inside)) == {
        b".gitignore", b"keep.log", b"readme.txt", b"build/forced.js",
    }  # fmt: skip
    assert repos.status(inside) == repos.status(repo)


@pytest.mark.parametrize(
    "kind", ["worktree", "shallow", "detached", "spaces", "bytes", "alternates"]
)
def test_every_form_of_checkout(tmp_path: Path, kind: str) -> None:
    origin = repos.new(tmp_path / "origin")
    for number in range(3):
        repos.write(origin, {"n.txt": str(number)})
        repos.commit(origin)
    checkouts: dict[str, Callable[[Path], object]] = {
        "worktree": lambda to: repos.git(origin, "worktree", "add", "-q", "-b", "side", str(to)),
        "shallow": lambda to: repos.git(
            tmp_path, "clone", "-q", "--depth", "2", f"file://{origin}", str(to)
        ),
        "detached": lambda to: (
            repos.git(tmp_path, "clone", "-q", str(origin), str(to)),
            repos.git(to, "checkout", "-q", "HEAD~1"),
        ),
        "spaces": lambda to: repos.git(tmp_path, "clone", "-q", str(origin), str(to)),
        "bytes": lambda to: repos.git(tmp_path, "clone", "-q", str(origin), str(to)),
        "alternates": lambda to: repos.git(
            tmp_path, "clone", "-q", "--shared", str(origin), str(to)
        ),
    }
    names = {"spaces": "a path: with, spaces", "bytes": os.fsdecode(b"caf\xe9")}
    repo = tmp_path / names.get(kind, kind)
    checkouts[kind](repo)
    repos.write(repo, {"n.txt": "changed", "new file": "x"})
    inside = repos.unpack(repo, tmp_path / "in")
    repos.same(repo, inside)
    branch = repos.git(repo, "symbolic-ref", "-q", "HEAD", check=False)
    assert repos.git(inside, "symbolic-ref", "-q", "HEAD", check=False) == branch


def test_names_and_kinds_that_trip_others(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo")
    root = os.fsencode(repo)
    for name in [
        b"new\nline",
        b"byte-\xff",
        b"-dash",
        b"back\\slash",
        b"trailing ",
        b"a" * 255,
        b"quote'\"",
        b"Case",
        b"case",
        "日本".encode(),
        b"*star?",
        b"\x01control",
    ]:
        with open(os.path.join(root, name), "wb") as file:
            file.write(b"content of " + name)
    for link, target in {
        "dangling": "nowhere",
        "absolute": "/etc/shadow",
        "loop": "loop",
        "up": "../../..",
        "to-dir": "folder",
    }.items():
        os.symlink(target, repo / link)
    (repo / "folder/deep/empty").mkdir(parents=True)
    (repo / "private").write_text("mode")
    (repo / "private").chmod(0o600)
    repos.same(repo, repos.unpack(repo, tmp_path / "in"))
    repos.commit(repo)
    repos.same(repo, repos.unpack(repo, tmp_path / "in2"))


def test_fifos_and_sockets_are_left_out_with_a_line(tmp_path: Path, short_path: Path) -> None:
    repo = repos.new(short_path / "repo")
    os.mkfifo(repo / "pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(repo / "sock"))
        notes = source.from_working_tree(repo, build_args={}).tree.all_notes()
        inside = repos.unpack(repo, tmp_path / "in")
    assert [note.split(" ")[0] for note in notes] == ["pipe", "sock"]
    assert set(repos.listing(inside)) == {b"readme.txt"}


def test_a_change_that_keeps_size_and_mtime_is_seen(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo", **{"f.txt": "content-1"})
    os.utime(repo / "f.txt", ns=(10**18, 10**18))
    repos.git(repo, "update-index", "--refresh")
    original_identity = source.from_working_tree(repo, build_args={}).identity
    (repo / "f.txt").write_text("content-2")
    os.utime(repo / "f.txt", ns=(10**18, 10**18))
    assert source.from_working_tree(repo, build_args={}).identity != original_identity
    inside = repos.unpack(repo, tmp_path / "in")
    assert (inside / "f.txt").read_text() == "content-2"


@pytest.mark.parametrize("present", [True, False])
def test_submodules(tmp_path: Path, present: bool) -> None:
    library = repos.new(tmp_path / "library", **{"lib.txt": "l"})
    repo = repos.new(tmp_path / "repo")
    repos.git(repo, "submodule", "add", "-q", str(library), "vendor/library")
    repos.commit(repo)
    if not present:
        clone = tmp_path / "clone"
        repos.git(tmp_path, "clone", "-q", str(repo), str(clone))
        repo = clone
    notes = source.from_working_tree(repo, build_args={}).tree.all_notes()
    assert any("vendor/library is not initialised" in note for note in notes) is not present
    inside = repos.unpack(repo, tmp_path / "in")
    assert repos.status(inside) == repos.status(repo) == ""
    assert (inside / "vendor/library/lib.txt").exists() is present
    if present:
        (repo / "vendor/library/lib.txt").write_text("changed")
        second_result = repos.unpack(repo, tmp_path / "in2")
        assert repos.status(second_result) == repos.status(repo) != ""
        assert repos.git(second_result / "vendor/library", "log", "--format=%s") == "change\n"


def test_a_lost_submodule_is_never_a_silent_empty_folder(tmp_path: Path) -> None:
    library = repos.new(tmp_path / "library")
    repo = repos.new(tmp_path / "repo")
    repos.git(repo, "submodule", "add", "-q", str(library), "sub")
    repos.commit(repo)
    repos.git(repo, "submodule", "deinit", "-q", "-f", "sub")
    assert source.from_working_tree(repo, build_args={}).tree.all_notes()


def test_lfs_pointers_are_named(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 9\n"
    repo = repos.new(tmp_path / "repo", **{"model.bin": pointer})
    notes = source.from_working_tree(repo, build_args={}).tree.all_notes()
    assert any("model.bin" in note and "git lfs pull" in note for note in notes)
    assert (repos.unpack(repo, tmp_path / "in") / "model.bin").read_text() == pointer


def test_line_ends_that_git_converts(tmp_path: Path) -> None:
    repo = repos.new(
        tmp_path / "repo", **{".gitattributes": "*.txt text eol=crlf\n", "w.txt": "a\nb\n"}
    )
    (repo / "w.txt").unlink()
    repos.git(repo, "checkout", "w.txt")
    assert (repo / "w.txt").read_bytes() == b"a\r\nb\r\n"
    repos.same(repo, repos.unpack(repo, tmp_path / "in"))


def test_nothing_of_this_machine_travels_in_git_data(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo")
    repos.git(repo, "remote", "add", "origin", "https://me:hunter2@git.example/a/b.git")
    repos.git(repo, "config", "http.extraheader", "AUTHORIZATION: basic aHVudGVyMg==")
    repos.git(repo, "branch", "other")
    repos.git(repo, "tag", "v1")
    repos.write(repo, {"readme.txt": "stashed-canary"})
    repos.git(repo, "stash")
    repos.write(repo, {"gone.txt": "dangling-canary"})
    repos.commit(repo)
    repos.git(repo, "reset", "-q", "--hard", "HEAD~1")
    hook = repo / ".git/hooks/post-checkout"
    hook.write_text("#!/bin/sh\ntrue\n")
    inside = repos.unpack(repo, tmp_path / "in")
    content = b"".join(
        path.read_bytes() for path in sorted((inside / ".git").rglob("*")) if path.is_file()
    )
    for canary in [b"hunter2", b"aHVudGVyMg", os.fsencode(tmp_path), b"post-checkout"]:
        assert canary not in content
    objects = repos.git(inside, "cat-file", "--batch-all-objects", "--batch-check")
    reachable = repos.git(inside, "rev-list", "--objects", "HEAD").split()
    assert len(objects.splitlines()) == len([word for word in reachable if len(word) == 40])
    assert repos.git(inside, "for-each-ref", "--format=%(refname)") == "refs/heads/main\n"
    assert repos.git(inside, "remote", "get-url", "origin") == "https://git.example/a/b.git\n"
    assert repos.git(inside, "stash", "list") == ""
    assert not (inside / ".git/logs").exists()
    assert not (inside / ".git/hooks").exists()


def test_fetch_works_in_the_result(tmp_path: Path) -> None:
    origin = repos.new(tmp_path / "origin")
    clone = tmp_path / "clone"
    repos.git(tmp_path, "clone", "-q", "--depth", "1", f"file://{origin}", str(clone))
    inside = repos.unpack(clone, tmp_path / "in")
    # The address of a folder on this machine does not travel; any other one does.
    repos.git(inside, "remote", "add", "origin", f"file://{origin}")
    repos.write(origin, {"later.txt": "x"})
    new_commit = repos.commit(origin)
    repos.git(inside, "fetch", "-q", "origin")
    assert repos.git(inside, "rev-parse", "origin/main").strip() == new_commit


def test_a_hostile_configuration_is_not_run(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo", **{".gitattributes": "* filter=evil diff=evil\n"})
    library = repos.new(tmp_path / "library")
    repos.git(repo, "submodule", "add", "-q", str(library), "sub")
    repos.commit(repo)
    canary = tmp_path / "pwned"
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-index-change", "post-checkout", "pre-auto-gc", "reference-transaction"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {canary}\n")
        (hooks / name).chmod(0o755)
    for at in (repo, repo / "sub"):
        for name in (
            "core.fsmonitor",
            "core.sshCommand",
            "core.pager",
            "filter.evil.clean",
            "filter.evil.smudge",
            "filter.evil.process",
            "diff.evil.command",
            "diff.evil.textconv",
            "diff.external",
            "core.alternateRefsCommand",
        ):
            repos.git(at, "config", name, f"touch {canary};:")
        repos.git(at, "config", "core.hooksPath", str(hooks))
    (repo / "readme.txt").write_text("two\n")
    (repo / "sub/readme.txt").write_text("two\n")
    build_source = source.from_working_tree(repo, build_args={})
    context.refuse_secrets(build_source)
    context.write(build_source, io.BytesIO())
    assert not canary.exists()
    # The canary is alive: git itself would have run it.
    subprocess.run(["git", "-C", str(repo), "status"], check=False, capture_output=True)
    assert canary.exists()


def test_the_checkout_is_not_written_to(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo")
    repos.write(repo, {"readme.txt": "two\n", "new.txt": "n"})

    def fingerprint() -> dict[str, tuple[int, int]]:
        return {str(p): (p.lstat().st_mtime_ns, p.lstat().st_ctime_ns) for p in repo.rglob("*")}

    original_state = fingerprint()
    repos.unpack(repo, tmp_path / "in")
    assert fingerprint() == original_state


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo", **{"a/b.txt": "b", "z": "z"})
    repos.write(repo, {"z": "zz"})
    digests = set()
    for number in range(2):
        clone = tmp_path / f"clone {number}"
        subprocess.run(["cp", "-R", str(repo), str(clone)], check=True)
        out = io.BytesIO()
        context.write(source.from_working_tree(clone, build_args={}), out)
        digests.add(hashlib.sha256(out.getvalue()).hexdigest())
    assert len(digests) == 1


def test_checkouts_that_cannot_be_built_from(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    repos.git(tmp_path, "init", "-q", str(empty))
    bare = tmp_path / "bare"
    repos.git(tmp_path, "init", "-q", "--bare", str(bare))
    (tmp_path / "plain").mkdir()
    unreachable = tmp_path / "lost"
    unreachable.mkdir()
    (unreachable / ".git").write_text("gitdir: /nowhere/at/all\n")
    for path, problem in {
        empty: "no commit", bare: "bare", tmp_path / "plain": "not in a git repository",
        tmp_path / "gone": "not a folder", unreachable: "linked worktree",
    }.items():  # fmt: skip
        with pytest.raises(BadInput, match=problem) as caught:
            source.from_working_tree(path, build_args={})
        assert caught.value.fix


def test_the_archive_is_readable_by_gnu_tar(tmp_path: Path) -> None:
    repo = repos.new(tmp_path / "repo", **{"d/" * 60 + "deep.txt": "x"})
    out = tmp_path / "context.tar"
    with out.open("wb") as file:
        context.write(source.from_working_tree(repo, build_args={}), file)
    listed = subprocess.run(["tar", "-tf", str(out)], check=True, capture_output=True, text=True)
    assert "d/" * 60 + "deep.txt" in listed.stdout.splitlines()
    with tarfile.open(out) as tar:
        assert {(m.uid, m.gid) for m in tar} == {(0, 0)}
