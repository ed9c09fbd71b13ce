"""At build time, before anything else: make the repository of a context packed from a ref.

Such a context holds git data and the few files that COPY lines name, as regular files, because a
remote builder loses all else (links, empty folders, odd names, a root Dockerfile). The tree is
written from git's objects, so none of that can be lost. `restore.py TREE`; nothing to do where
the context is of another kind. Needs only Python and git: the rest is not there yet.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

#: tasks/build/parts.py checks that a ref's own restore.py knows the form of its context.
FORMAT = 2
ORDER = "sandbox-restore.json"


def main(tree: Path) -> None:
    git_dir = tree / ".git"
    order = git_dir / ORDER
    if not order.exists():
        return
    request: dict[str, Any] = json.loads(order.read_text())
    if request["format"] != FORMAT:
        sys.exit(f"the context's form is {request['format']}, this commit knows {FORMAT}")
    for name, (size, digest) in request["files"].items():
        _check(git_dir / name, size, digest)
    for path in tree.iterdir():
        if path.name == ".git":
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    order.unlink()
    for folder in ("refs/heads", "objects/info"):
        (git_dir / folder).mkdir(parents=True, exist_ok=True)
    for name in request["thin"]:  # the oldest first: each is complete with those before it
        with (git_dir / name).open("rb") as file:
            _git(tree, "index-pack", "--fix-thin", "--stdin", stdin=file)
        (git_dir / name).unlink()
    if request["thin"]:
        (git_dir / "sandbox-packs").rmdir()
        _git(tree, "-c", "repack.writeBitmaps=false", "repack", "-a", "-d", "-q")
    # As a checkout does it: line ends, encodings and `ident` as the tree's attributes say. There is
    # no filter driver, here or in the image.
    _git(tree, "read-tree", request["sha"])
    _git(tree, "checkout-index", "--all", "--force")


def _check(path: Path, size: int, digest: str) -> None:
    computed = hashlib.sha256()
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == size:
                while chunk := file.read(1 << 20):
                    computed.update(chunk)
    except FileNotFoundError:
        pass
    if computed.hexdigest() != digest:
        sys.exit(f"the context has lost .git/{path.name}, or part of it: publish it again")


def _git(tree: Path, *args: str, stdin: IO[bytes] | None = None) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    options = ["-c", f"safe.directory={tree}", "--git-dir", str(tree / ".git"), "--work-tree", "."]
    result = subprocess.run(
        ["git", *options, *args], cwd=tree, env=env, check=False,
        stdin=stdin or subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    if result.returncode:
        sys.exit(f"git {' '.join(args)} ended with status {result.returncode}")


if __name__ == "__main__":
    os.umask(0o022)
    main(Path(sys.argv[1]))
