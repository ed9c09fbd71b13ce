"""The scripts of the sandbox have Linux's line ends in every clone, or are named before a build."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tasks import git
from tasks.base.errors import BadInput
from tasks.base.project import ROOT
from tasks.build import source
from tasks.git import line_ends, refs, worktree
from tests.sandbox import checkout
from tests.support import repos

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = "apps/os/sandbox/setup-home.sh"
RUN = "apps/os/sandbox/s6-daemons/opencode/run"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """As a person on Windows, or in WSL with Windows' settings, has it."""
    folder = tmp_path / "clone"
    repos.git(tmp_path, "clone", "-q", "--no-checkout", str(ROOT), str(folder))
    repos.git(folder, "config", "core.autocrlf", "true")
    repos.git(folder, "checkout", "-q", "-B", "main")
    (folder / ".gitattributes").write_bytes((ROOT / ".gitattributes").read_bytes())
    return folder


def test_a_clone_with_autocrlf_has_scripts_that_run(clone: Path) -> None:
    repos.git(clone, "rm", "-q", "-r", "--cached", ".")
    repos.git(clone, "reset", "-q", "--hard")
    assert b"\r\n" in (clone / "README.md").read_bytes()
    assert line_ends.find_crlf(str(clone)) == []
    line_ends.refuse_crlf(worktree.scan(clone), is_ref=False)


@pytest.mark.parametrize("name", [SCRIPT, RUN])
def test_a_script_with_windows_line_ends_is_named_before_the_build(
    tmp_path: Path, name: str
) -> None:
    clone = checkout.create(tmp_path / "clone").path
    path = clone / name
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert name in line_ends.find_crlf(str(clone))
    result = subprocess.run(
        [sys.executable, "-m", "tasks", "snapshot-local", "--dry-run"],
        cwd=clone, check=False, capture_output=True, text=True, env=repos.GIT_ENV,
    )  # fmt: skip
    assert result.returncode == 2
    line = result.stderr.splitlines()[-1]
    assert f"{name} has Windows line ends (CRLF)" in line
    assert "git config core.autocrlf input" in line


def test_windows_line_ends_in_a_commit_are_named(clone: Path) -> None:
    (clone / ".gitattributes").write_text("")  # without the file, git takes the index's
    repos.git(clone, "config", "core.autocrlf", "false")
    (clone / SCRIPT).write_bytes(b"#!/bin/sh\r\n")
    repos.commit(clone, "CRLF")
    repo = git.open_repo(clone)
    resolved_ref = refs.resolve(repo, "HEAD")
    platform = "linux/amd64"
    tree = source.from_ref(repo, resolved_ref, build_args={}, platform=platform).tree
    with pytest.raises(BadInput, match=f"{SCRIPT}.*CRLF"):
        line_ends.refuse_crlf(tree, is_ref=True)
