"""What Daytona's builder does to a context, and what the image build then makes of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tasks import git
from tasks.base import project
from tasks.build import parts, source
from tasks.git import refs
from tests.support import repos

if TYPE_CHECKING:
    from tasks.build.parts import Packed
    from tasks.build.source import Source

_ENV = {**repos.GIT_ENV, "PYTHONDONTWRITEBYTECODE": "1"}


def find(repo: Path, ref: str = "HEAD") -> Source:
    checkout = git.open_repo(repo)
    return source.from_ref(checkout, refs.resolve(checkout, ref), build_args={})


def pack(repo: Path, into: Path, ref: str = "HEAD") -> Packed:
    return parts.pack(find(repo, ref), into)


def flatten(packing: Packed, to: Path, *, backwards: bool = False) -> Path:
    """The runner's own assembly (v0.190.0, `image_build.go`), then what BuildKit unpacks of it.

    First `Dockerfile`, then each archive's members: folders are dropped, whatever is left becomes
    a regular file with its mode's bits and its data; owners and times go; leading `/` and `../`
    land at the root; folders appear as 0755.
    """
    to.mkdir()
    (to / "Dockerfile").write_text(packing.dockerfile)
    for part in reversed(packing.parts) if backwards else packing.parts:
        with tarfile.open(part.path, encoding="utf-8", errors="surrogateescape") as tar:
            for member in tar:
                if member.isdir():
                    continue
                content = tar.extractfile(member) if member.isreg() else None
                parts_of = [p for p in member.name.split("/") if p not in {"", ".", ".."}]
                path = to.joinpath(*parts_of)
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    if content:
                        shutil.copyfileobj(content, file)
                path.chmod(member.mode & 0o7777)
    return to


def restore(tree: Path) -> subprocess.CompletedProcess[str]:
    """The first step of the image's `source` stage, run from where it runs there."""
    command = [sys.executable, str(tree / parts.RESTORE), str(tree)]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, env=_ENV, timeout=60
    )


def built(packing: Packed, to: Path, *, backwards: bool = False) -> Path:
    """The tree in the image, its `.git` in its place."""
    flatten(packing, to, backwards=backwards)
    result = restore(to)
    assert result.returncode == 0, result.stderr
    (to / ".git/sandbox-source.json").unlink()
    return to


def listed(repo: Path, ref: str) -> dict[bytes, tuple[str, bytes]]:
    """A clean checkout of `ref` in the form of `repos.listing`."""
    with tempfile.TemporaryDirectory(prefix="iterate-checkout-") as folder:
        repos.git(repo, "clone", "-q", "--shared", "--no-checkout", str(repo), folder)
        repos.git(Path(folder), "checkout", "-q", "--detach", ref)
        return repos.listing(Path(folder))


def buildable(**files: str) -> dict[str, str]:
    """The files that make a commit one that can be packed, and `files`."""
    text = (
        'FROM debian:trixie-slim\nCOPY . /out/tree\nCOPY package.json web ./\nENTRYPOINT ["/x"]\n'
    )
    return {
        project.DOCKERFILE: text,
        parts.RESTORE: (project.ROOT / parts.RESTORE).read_text(),
        "package.json": "{}\n",
        "web/index.ts": "export {}\n",
        **files,
    }


def same(repo: Path, ref: str, inside: Path) -> None:
    """The image holds the ref: its tree entry by entry, a clean status, its whole history."""
    sha = repos.git(repo, "rev-parse", f"{ref}^{{commit}}").strip()
    assert repos.listing(inside) == listed(repo, sha)
    assert repos.status(inside) == ""
    assert repos.git(inside, "log", "--format=%H") == repos.git(repo, "log", "--format=%H", sha)
    assert repos.git(inside, "rev-parse", "HEAD").strip() == sha
    assert repos.git(inside, "fsck", "--full", "--strict") == ""
    assert not os.path.exists(os.path.join(inside, ".git", "logs"))
