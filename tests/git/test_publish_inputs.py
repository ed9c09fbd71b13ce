"""What people give `snapshot_daytona`: refs of every kind, and repositories with traps in them."""

from __future__ import annotations

import contextlib
import os
import random
import re
import socket
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from tasks.base.errors import BadInput
from tasks.daytona import naming, request
from tests.support import builder, repos

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.dry_run import DryRun

    Show = Callable[[str, object], None]


def sha(repo: Path, ref: str = "HEAD") -> str:
    return repos.git(repo, "rev-parse", ref).strip()


HOSTILE = [
    pytest.param("--upload-pack=touch {}", "option", marks=pytest.mark.case("N1")),
    *(
        pytest.param(ref, "option", marks=pytest.mark.case("N2"))
        for ref in ("-h", "--output={}", "--exec=touch {}", "--json")
    ),
    *(
        pytest.param(ref, "not in this clone|control characters", marks=pytest.mark.case("N3"))
        for ref in ("; touch {}", "$(touch {})", "`touch {}`", "main|touch {}", "main\ntouch {}",
                    "main\0touch {}")
    ),
    *(
        pytest.param(ref, "not one commit", marks=pytest.mark.case("N8"))
        for ref in ("HEAD^{{tree}}", "HEAD:n.txt", "main..HEAD", ":/change")
    ),
    *(
        pytest.param(ref, "empty", marks=pytest.mark.case("N9")) for ref in ("", "   ")
    ),
]  # fmt: skip


@pytest.mark.parametrize(("ref", "says"), HOSTILE)
def test_an_impossible_ref_is_refused(
    command: DryRun, tmp_path: Path, ref: str, says: str, show: Show
) -> None:
    canary = tmp_path / "pwned"
    error = command.refuses(ref.format(canary))
    assert re.search(says, error.what)
    assert not canary.exists()
    show(f"--ref {ref!r}", error)


@pytest.mark.case("N4")
def test_an_unknown_ref_is_refused_with_similar_names(command: DryRun, show: Show) -> None:
    for name in ("main1", "main2", "main3", "main4"):
        repos.git(command.repo, "branch", name)
    error = command.refuses("mian")
    assert error.what.partition("near it: ")[2].count(",") == 2
    show("--ref of a branch that is not there", error)


@pytest.mark.case("N5")
def test_a_branch_of_any_script_and_length_gets_a_valid_name(command: DryRun, show: Show) -> None:
    names = set()
    branches = ["feat/x", "ünïcode/日本", "b" * 200, "b" * 199 + "c"]
    for branch in branches:
        repos.write(command.repo, {"n.txt": branch})
        dry_run = repos.commit(command.repo)
        repos.git(command.repo, "branch", branch)
        result, _ = command("--ref", branch)
        assert result["sha"] == dry_run
        name = str(result["snapshot_name"])
        assert naming.check_name(name) == name
        assert naming.SnapshotName.parse(name)
        names.add(name)
    assert len(names) == len(branches)
    show("--ref feat/x, ünïcode/日本, a branch of 200 characters", f"snapshot: {name}")


@pytest.mark.case("N6")
def test_a_branch_that_looks_like_an_option_is_published(command: DryRun, show: Show) -> None:
    repos.git(command.repo, "update-ref", "refs/heads/-evil", "HEAD~1")
    for arguments in (["--ref", "-evil"], ["--ref=-evil"]):
        result, output = command(*arguments)
        assert result["sha"] == sha(command.repo, "HEAD~1")
        assert not any(word == "-evil" for words in command.commands for word in words)
    show(
        "--ref -evil, a legal branch", next(line for line in output.splitlines() if "-evil" in line)
    )


@pytest.mark.case("N7")
def test_an_ambiguous_ref_is_refused_with_its_candidates(command: DryRun, show: Show) -> None:
    repos.git(command.repo, "branch", "both", "HEAD~1")
    repos.git(command.repo, "tag", "both", "HEAD~2")
    error = command.refuses("both")
    for result in ("refs/heads/both", "refs/tags/both", sha(command.repo, "HEAD~1")[:12]):
        assert result in error.what
    show("--ref that is a branch and a tag", error)


@pytest.mark.case("N10")
def test_a_branch_that_only_the_remote_has_is_not_fetched(
    command: DryRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, show: Show
) -> None:
    clone = tmp_path / "clone"
    repos.git(tmp_path, "clone", "-q", str(command.repo), str(clone))
    repos.git(command.repo, "branch", "later")
    monkeypatch.setattr(request, "ROOT", clone)
    error = command.refuses("later")
    assert "git fetch" in error.fix
    command.repo.rename(tmp_path / "gone")  # offline
    assert str(command.refuses("later")) == str(error)
    show("--ref that only the remote has, offline", error)


def test_a_detached_head_is_published_by_its_commit(command: DryRun) -> None:
    """N11."""
    repos.git(command.repo, "checkout", "-q", "--detach", "HEAD~1")
    result, output = command()
    assert result["sha"] == sha(command.repo)
    assert "from the checked-out commit, on no branch" in output


@pytest.mark.case("N42")
def test_an_empty_variable_is_unset_and_the_flag_takes_precedence(
    command: DryRun, monkeypatch: pytest.MonkeyPatch, show: Show
) -> None:
    variable = "SANDBOX_ITERATE_REPO_REF"
    monkeypatch.setenv(variable, "")
    unset, output = command()
    assert unset["sha"] == sha(command.repo)
    assert "from the current branch" in output
    monkeypatch.setenv(variable, "no-such-branch")
    with pytest.raises(BadInput, match="no-such-branch") as caught:
        command()
    result, output = command("--ref", "HEAD~1")
    assert result["sha"] == sha(command.repo, "HEAD~1")
    assert "from --ref" in output
    show(f"{variable}=no-such-branch (empty: it is unset; with --ref: it is not read)",
         caught.value)  # fmt: skip


@pytest.mark.case("N13")
def test_uncommitted_changes_are_left_out_and_counted(command: DryRun, show: Show) -> None:
    clean, output = command("--ref", "main")
    assert "uncommitted" not in output
    repos.write(command.repo, {"n.txt": "changed", "untracked.txt": "u", "apps/os/sandbox/x": "y"})
    repos.git(command.repo, "mv", "package.json", "renamed.json")
    dirty, output = command("--ref", "main")
    assert dirty["context"] == clean["context"]
    assert dirty["snapshot_name"] == clean["snapshot_name"]
    # Changed, new, new, and a rename, which is a deletion and something new.
    (line,) = (line for line in output.splitlines() if "uncommitted" in line)
    assert "5 uncommitted changes are not in it" in line
    show("changes that are not committed", line)


@pytest.mark.case("N15")
def test_a_submodule_is_named(command: DryRun, tmp_path: Path, show: Show) -> None:
    library = repos.new(tmp_path / "library", lib="l")
    repos.git(command.repo, "submodule", "add", "-q", str(library), "vendor/lib")
    repos.commit(command.repo)
    repos.git(command.repo, "submodule", "deinit", "-q", "-f", "vendor/lib")
    _, output = command("--ref", "main")
    (line,) = (line for line in output.splitlines() if "vendor/lib" in line)
    assert "stays empty" in line
    show("a submodule", line)


@pytest.mark.case("N16")
def test_a_pointer_of_lfs_is_named(command: DryRun, show: Show) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 9\n"
    repos.write(command.repo, {"model.bin": pointer})
    repos.commit(command.repo)
    _, output = command("--ref", "main")
    (line,) = (line for line in output.splitlines() if "model.bin is a" in line)
    show("a Git LFS pointer", line)


@pytest.mark.case("N17")
def test_links_are_kept_and_never_followed(command: DryRun, tmp_path: Path, show: Show) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("canary-of-another-folder")
    links = {"shadow": "/etc/shadow", "up": "../../..", "loop": "loop", "broken": "nowhere",
             "file": str(outside / "file"), "folder": str(outside)}  # fmt: skip
    for name, target in links.items():
        (command.repo / name).symlink_to(target)
    repos.commit(command.repo)
    context = builder.pack(command.repo, tmp_path / "parts")
    inside = builder.built(context, tmp_path / "in")
    assert {name: os.readlink(inside / name) for name in links} == links
    assert b"canary-of-another-folder" not in repos.contents(inside)
    show("links out of the tree, in a circle, to nothing", "kept as links; nothing is followed")


@pytest.mark.case("N18")
@pytest.mark.timeout(30)
def test_pipes_sockets_and_devices_are_not_opened(command: DryRun, show: Show) -> None:
    """Beside the files, and in the place of a tracked one: a commit cannot hold any of them."""
    clean, _ = command("--ref", "main")
    os.mkfifo(command.repo / "pipe")
    (command.repo / "n.txt").unlink()
    os.mkfifo(command.repo / "n.txt")
    with socket.socket(socket.AF_UNIX) as sock:
        with contextlib.chdir(command.repo):  # a whole path may be too long for a socket
            sock.bind("sock")
        with contextlib.suppress(PermissionError):  # it takes root
            os.mknod(command.repo / "device", stat.S_IFCHR | 0o600, os.makedev(1, 5))
        result, output = command("--ref", "main")
    assert result["context"] == clean["context"]
    (line,) = (line for line in output.splitlines() if "uncommitted" in line)
    show("a FIFO, a socket, a device in the tree", line)


@pytest.mark.case("F48")
def test_a_git_gc_at_the_same_time_does_no_harm(command: DryRun, show: Show) -> None:
    """Twenty times, at whatever moment they meet; what is published stays the same."""
    clean, _ = command("--ref", "main")
    end = threading.Event()
    collected = []

    def collect() -> None:
        while not end.is_set():
            repos.git(command.repo, "repack", "-q", "-a", "-d", "-f", check=False)
            repos.git(command.repo, "gc", "-q", "--prune=now", check=False)
            collected.append(1)

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        for _ in range(20):
            # From nothing each time: what is in the cache is not packed again.
            cache = os.environ["XDG_CACHE_HOME"]
            os.environ["XDG_CACHE_HOME"] = f"{cache}/{random.random()}"  # noqa: S311 - a name
            try:
                result, _ = command("--ref", "main")
            finally:
                os.environ["XDG_CACHE_HOME"] = cache
            assert result["context"] == clean["context"]
    finally:
        end.set()
        thread.join()
    show("git gc --prune=now during a build from a ref", f"as ever; {len(collected)} times")
