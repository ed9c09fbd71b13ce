"""Throw-away git repositories in every state that people have them in."""

from __future__ import annotations

import os
import stat
import subprocess
import tarfile
from pathlib import Path

from tasks.build import context, source

#: Independent of the developer's own git configuration.
GIT_ENV = {
    **{k: v for k, v in os.environ.items() if not k.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": str(Path(__file__).parent / "gitconfig"),
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.invalid",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.invalid",
}


def git(at: Path, *args: str, check: bool = True) -> str:
    command = ["git", "-C", str(at), *args]
    result = subprocess.run(command, env=GIT_ENV, capture_output=True, check=False, timeout=60)
    if check and result.returncode:
        raise AssertionError(f"git {args}: {result.stderr.decode(errors='replace')}")
    return os.fsdecode(result.stdout)


def new(at: Path, **files: str) -> Path:
    """A repository with one commit that holds `files`."""
    at.mkdir(parents=True, exist_ok=True)
    git(at, "init", "-q", "-b", "main")
    write(at, {"readme.txt": "one\n", **files})
    commit(at)
    return at


def write(at: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_text(content)


def commit(at: Path, message: str = "change") -> str:
    git(at, "add", "-A")
    git(at, "commit", "-q", "--allow-empty", "-m", message)
    return git(at, "rev-parse", "HEAD").strip()


def status(at: Path) -> str:
    return git(at, "status", "--porcelain", "-z")


def isolated_status(at: Path) -> str:
    """`git status` as in the image: the attributes of this machine's user are not there."""
    env = {**GIT_ENV, "HOME": "/nonexistent", "GIT_ATTR_NOSYSTEM": "1"}
    command = ["git", "-C", str(at), "status", "--porcelain", "-z"]
    return os.fsdecode(subprocess.run(command, env=env, capture_output=True, check=True).stdout)


def extract(tar: tarfile.TarFile, to: Path) -> None:
    """All of our own archive, as it is. `filter=` came with Python 3.11.4; Debian 12 has 3.11.2."""
    tar.extraction_filter = lambda member, _path: member
    tar.extractall(to)  # noqa: S202


def unpack(repo: Path, to: Path) -> Path:
    """The context of `repo`, unpacked as the image build would find it."""
    tree = source.from_working_tree(repo, build_args={})
    archive = to.with_suffix(".tar")
    with archive.open("wb") as file:
        context.write(tree, file)
    with tarfile.open(archive, encoding="utf-8", errors="surrogateescape") as tar:
        extract(tar, to)
    (to / context.SOURCE_FILE).unlink()
    return to


def listing(at: Path) -> dict[bytes, tuple[str, bytes]]:
    """Every file, link and empty folder below `at`, git data aside: kind and content."""
    entries: dict[bytes, tuple[str, bytes]] = {}
    root = os.fsencode(at)
    for folder, folders, files in os.walk(root):
        if b".git" in folders:
            folders.remove(b".git")
        for name in (name for name in [*files, *folders] if name != b".git"):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            relative = os.path.relpath(path, root)
            if stat.S_ISLNK(status.st_mode):
                entries[relative] = ("link", os.readlink(path))
            elif stat.S_ISREG(status.st_mode):
                kind = "executable" if status.st_mode & stat.S_IXUSR else "file"
                with open(path, "rb") as file:
                    entries[relative] = (kind, file.read())
            elif stat.S_ISDIR(status.st_mode) and not os.listdir(path):
                entries[relative] = ("empty", b"")
    return entries


def contents(inside: Path) -> bytes:
    """Every file's bytes, and every object's in its git data, as git shows them."""
    files = (path for path in inside.rglob("*") if path.is_file() and not path.is_symlink())
    lines = git(inside, "cat-file", "--batch-all-objects", "--batch-check").splitlines()
    objects = (git(inside, "cat-file", "-p", line.split()[0]) for line in lines)
    return b"".join([*(path.read_bytes() for path in files), *map(os.fsencode, objects)])


def same(outside: Path, inside: Path) -> None:
    """What the image gets equals what is outside: files, modes, `git status`, history."""
    ignored_names = git(outside, "ls-files", "-z", "-o", "-i", "--exclude-standard", "--directory")
    left_out = [os.fsencode(name.rstrip("/")) for name in ignored_names.split("\0") if name]
    expected = {
        path: entry
        for path, entry in listing(outside).items()
        if not any(path == out or path.startswith(out + b"/") for out in left_out)
    }
    assert listing(inside) == expected
    assert status(inside) == status(outside)
    assert git(inside, "log", "--format=%H") == git(outside, "log", "--format=%H")
    assert git(inside, "fsck", "--full", "--strict") == ""
