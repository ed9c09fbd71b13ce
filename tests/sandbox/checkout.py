"""A checkout on this machine for local mode to mount, and how to compare it with the inside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.base import project
from tests.support import repos

if TYPE_CHECKING:
    from tasks.sandbox.sandbox import Sandbox

#: Runs on both sides. What git lists, with kind, executable bit and content; and git's opinion.
LOOK = r"""
import hashlib, json, os, subprocess, sys
os.chdir(sys.argv[1])
def git(*args):
    args = ["git", "--no-optional-locks", "-c", "safe.directory=*", *args]
    return os.fsdecode(subprocess.run(args, check=True, stdout=subprocess.PIPE).stdout)
tree = {}
for path in git("ls-files", "-co", "--exclude-standard", "-z").split("\0"):
    if not os.path.lexists(path):
        continue
    if os.path.islink(path):
        tree[path] = "link " + os.readlink(path)
    elif os.path.isfile(path):
        bit = "x" if os.stat(path).st_mode & 0o100 else "-"
        tree[path] = bit + " " + hashlib.sha256(open(path, "rb").read()).hexdigest()
print(json.dumps({
    "head": git("rev-parse", "HEAD").strip(),
    "branch": git("rev-parse", "--abbrev-ref", "HEAD").strip(),
    "status": sorted(git("status", "--porcelain=v1", "-z").split("\0")),
    "index": git("ls-files", "--stage", "-z").split("\0"),
    "tree": tree,
}))
"""


@dataclass(frozen=True)
class Checkout:
    path: Path

    def git(self, *args: str) -> str:
        return repos.git(self.path, *args)

    def write(self, name: str, content: str) -> None:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)

    def read(self, name: str) -> str:
        return (self.path / name).read_text()

    def state(self) -> dict[str, Any]:
        args = ["python3", "-c", LOOK, str(self.path)]
        answer = subprocess.run(
            args, check=True, stdout=subprocess.PIPE, timeout=60, env=repos.GIT_ENV
        )
        return dict(json.loads(answer.stdout))

    def bytes_on_disk(self) -> dict[str, tuple[int, int, int]]:
        """Every file, those of `.git` too: size, mode, time of change. Nobody may write here."""
        contents = {}
        for folder, _, names in os.walk(self.path):
            for name in names:
                file = Path(folder, name)
                stat = file.lstat()
                contents[str(file)] = (stat.st_size, stat.st_mode, stat.st_mtime_ns)
        return contents


def state_inside(sandbox: Sandbox) -> dict[str, Any]:
    answer = sandbox.exec(["python3", "-c", LOOK, project.REPO], timeout=60)
    return dict(json.loads(answer.stdout))


def create(folder: Path) -> Checkout:
    """Copy this repository at its commit, with what is not committed yet on top of it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    repos.git(project.ROOT, "clone", "--quiet", "--no-hardlinks", str(project.ROOT), str(folder))
    # Readable by the user inside, whatever the umask is here.
    folder.chmod(0o755)
    listed = repos.git(project.ROOT, "ls-files", "-co", "--exclude-standard", "-z")
    for name in filter(None, listed.split("\0")):
        source, target = project.ROOT / name, folder / name
        if source.is_dir() and not source.is_symlink():
            continue
        target.unlink(missing_ok=True)
        if os.path.lexists(source):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    if repos.git(folder, "status", "--porcelain"):
        repos.commit(folder, "What was not committed yet")
    return Checkout(folder)


def delete(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
